"""Whether compiled rates are as fast as this processor lets them be.

Another release of jax may compile the same program into loops that take several times as long: it computes
the same, and nothing else would say so.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..model.problem import Problem
from ..model.state import Weights
from ..runtime.compiler import host_device, known_numbers, program
from .gradient import GradientFlow

_WIDTH = 17  # K = M, wide enough for arithmetic to cost more than calls
_LANES, _SIDE_BY_SIDE = 64, 8  # as starts are relaxed at this width
_STEPS = 16  # of a call
_REPEATS = 15
_EXPECTED = 0.4
"""Of the ratio: 0.34 to 0.49 with jax 0.10.1, 0.11.2 and 0.12.0, 0.8 with half the vectors, 2.2 and more
where loops are broken apart."""
_SLOW = 2.0  # times that


class RatesSpeed(NamedTuple):
    """How long an evaluation of the rates takes of gradient flow at K = M = 17, in float64 on a processor.

    - `rates`: microseconds a start, as they are compiled for many starts; `reference`: of as many arcsines as
      there are pairs, in NumPy.
    """

    rates: float
    reference: float

    @property
    def ratio(self) -> float:
        """Time of the rates over that of the reference, which is much the same on any processor."""
        return self.rates / self.reference

    @property
    def as_expected(self) -> bool:
        """Whether this is less than twice what it is with the releases of jax that were tried."""
        return self.ratio < _SLOW * _EXPECTED

    def __str__(self) -> str:
        found = (
            f"rates at K = M = {_WIDTH} take {self.rates:.2f} µs a start, {self.ratio:.2f} times a reference "
            f"in NumPy ({_EXPECTED:g} is expected)"
        )
        if self.as_expected:
            return found
        return (
            f"{found}: jax {jax.__version__} compiles them into slow loops, or the machine is busy; another "
            "version of jax may be faster, numbers are not affected"
        )


@known_numbers()
def check_speed() -> RatesSpeed:
    """Time the compiled rates of gradient flow against NumPy, on this processor.

    The shortest of 15 times each, by turns; a second with compiling. `str` of the result is one line.
    """
    rng = np.random.default_rng(0)
    shape = (_LANES // _SIDE_BY_SIDE, _WIDTH, _WIDTH, _SIDE_BY_SIDE)
    pairs = rng.uniform(-1, 1, (2 * _WIDTH**2, _LANES))
    with jax.enable_x64(True), jax.default_device(host_device()):
        problem, flow = jax.tree.map(jnp.asarray, (Problem(_WIDTH, _WIDTH), GradientFlow()))
        W = jnp.asarray(rng.standard_normal(shape) / _WIDTH**0.5)
        v = jnp.ones((_WIDTH, _SIDE_BY_SIDE))

        def step(_, W):
            return W + 1e-6 * jax.vmap(lambda W: flow.batched_rates(Weights(W, v), problem).W)(W)

        run = program(lambda W: jax.lax.fori_loop(0, _STEPS, step, W))
        jax.block_until_ready(run(W))
        rates, reference = [], []
        for _ in range(_REPEATS):
            rates.append(_seconds(lambda: jax.block_until_ready(run(W))) / (_STEPS * _LANES))
            reference.append(_seconds(lambda: _arcsines(pairs)) / _LANES)
    return RatesSpeed(1e6 * min(rates), 1e6 * min(reference))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _arcsines(c: np.ndarray) -> np.ndarray:
    """Do what an arcsine costs: a square root, a division, and a polynomial of degree 12."""
    y = np.sqrt(1 - c * c)
    y /= 1 + y
    total = np.full_like(y, 0.1)
    for _ in range(12):
        total *= y
        total += 0.1
    return total
