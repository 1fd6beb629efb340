"""End states grouped into families by outcome, anti-aligned students and loss level."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..relaxation import outcomes
from ..relaxation.outcomes import LEVEL_WIDTH


@dataclass(frozen=True)
class Family:
    """A level of the loss: how many end states reach it, and one of them as an example."""

    outcome: str
    anti_aligned: int  # `alignment.NOT_DEFINED` with an even activation
    loss: float  # of its representative
    count: int
    smallest_eigenvalue: float
    representative: int  # its first seed
    levels: tuple[float, float]  # lowest and highest loss


def group_by_level(
    seed: np.ndarray,
    outcome: np.ndarray,
    anti_aligned: np.ndarray,
    loss: np.ndarray,
    smallest: np.ndarray,
    width: float = LEVEL_WIDTH,
) -> list[Family]:
    """Group converged end states by outcome, anti-aligned students and loss level, lowest loss first.

    - `width`: distance of losses up to which they are one level.

    All global minima are one family: overparameterised students reach zero loss in many ways. What σ's own
    symmetries do to a student changes neither its loss nor α (`model.alignment`), and makes no other family.
    """
    found: list[Family] = []

    def add(members: np.ndarray) -> None:
        first = members[np.argmin(seed[members])]
        found.append(
            Family(
                str(outcome[first]),
                int(anti_aligned[first]),
                float(loss[first]),
                len(members),
                float(smallest[members].min()),
                int(seed[first]),
                (float(loss[members].min()), float(loss[members].max())),
            )
        )

    zero = np.flatnonzero(outcome == outcomes.GLOBAL_MINIMUM)
    if len(zero):
        add(zero)
    for name in (outcomes.LOCAL_MINIMUM, outcomes.MARGINAL, outcomes.SADDLE):
        for alpha in np.unique(anti_aligned[outcome == name]):
            index = np.flatnonzero((outcome == name) & (anti_aligned == alpha))
            index = index[np.argsort(loss[index], kind="stable")]
            cuts = np.flatnonzero(np.diff(loss[index]) > width) + 1
            for members in np.split(index, cuts):
                add(members)
    return _sorted(found)


def merge_families(parts: Iterable[list[Family]], width: float = LEVEL_WIDTH) -> list[Family]:
    """Return a sweep's families from those of its parts, as if all end states had been grouped at once."""
    found: list[Family] = []
    # A level is a run of losses without a gap, so levels join where their ranges come close enough.
    for one in sorted((f for part in parts for f in part), key=_kind_and_level):
        last = found[-1] if found else None
        if last is None or not _joins(last, one, width):
            found.append(one)
            continue
        first = min(last, one, key=lambda family: family.representative)
        found[-1] = replace(
            first,
            count=last.count + one.count,
            smallest_eigenvalue=min(last.smallest_eigenvalue, one.smallest_eigenvalue),
            levels=(last.levels[0], max(last.levels[1], one.levels[1])),
        )
    return _sorted(found)


def _kind(family: Family) -> tuple[str, int]:
    one_kind = family.outcome == outcomes.GLOBAL_MINIMUM
    return family.outcome, 0 if one_kind else family.anti_aligned


def _kind_and_level(family: Family):
    return *_kind(family), family.levels


def _joins(last: Family, one: Family, width: float) -> bool:
    near = one.levels[0] - last.levels[1] <= width
    return _kind(last) == _kind(one) and (near or one.outcome == outcomes.GLOBAL_MINIMUM)


def _sorted(found: list[Family]) -> list[Family]:
    return sorted(found, key=lambda family: (family.loss, family.outcome))
