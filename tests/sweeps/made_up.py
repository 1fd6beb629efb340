"""End states that nobody has relaxed, another for each seed, and stores of them."""

import numpy as np

from odelandscape.relaxation import outcomes
from odelandscape.relaxation.outcomes import EndStates
from odelandscape.sweeps.store import Store, StoreWriter

CONFIGURATION = {
    "students": 3,
    "teachers": 2,
    "flow": {"name": "GradientFlow"},
    "seed": 0,
    "slope": 0.1,
}


def ends(first: int, stop: int) -> EndStates:
    """End states made up, another for each seed."""
    rows = [np.random.default_rng(seed) for seed in range(first, stop)]
    numbers = np.array([rng.normal(size=20) for rng in rows])
    return EndStates(
        outcome=np.array([outcomes.OUTCOMES[seed % 5] for seed in range(first, stop)], "<U14"),
        loss=numbers[:, 0],
        gradient_norm=numbers[:, 1],
        smallest_eigenvalue=numbers[:, 2],
        anti_aligned=np.arange(first, stop) % 3,
        time=numbers[:, 3],
        evaluations=np.arange(first, stop),
        weights=numbers[:, 4:10].reshape(-1, 3, 2),
        readout=numbers[:, 10:13],
    )


def filled(folder, *ranges, configuration=CONFIGURATION) -> StoreWriter:
    writer = StoreWriter(folder, configuration)
    for first, stop in ranges:
        writer.put(first, ends(first, stop))
    return writer


def check(held: Store, seeds) -> None:
    """These seeds are held, no others, and all numbers are theirs."""
    seeds = np.asarray(seeds)
    np.testing.assert_array_equal(held.seeds(), seeds)
    expected = ends(0, 40)
    found = list(held.parts(EndStates._fields, 40))
    np.testing.assert_array_equal(np.concatenate([seeds[:0], *(part[0] for part in found)]), seeds)
    for some, *columns in found:
        for column, whole in zip(columns, expected, strict=True):
            np.testing.assert_array_equal(column, whole[some])
            assert column.dtype == whole.dtype


def share(folder, number: int) -> None:
    """Write all seeds, as a process or a thread that was given the whole sweep does."""
    writer = StoreWriter(folder, CONFIGURATION)
    with writer.hold(shared=True):
        for first in range(0, 40, 5):
            at = (first + 5 * number) % 40
            writer.put(at, ends(at, at + 5))
