"""What is seen by a program that stops at a finite time and sorts runs by thresholds."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import odelandscape as ol
from odelandscape.integrate import field
from odelandscape.sweep import starts

_AT_ONCE = 128


class Stops(NamedTuple):
    """Losses (N, T) and norms of the rates of (Q, R) (N, T) at these times (T,)."""

    times: np.ndarray
    loss: np.ndarray
    rates: np.ndarray

    def shares(self, loss: float, rates: float) -> np.ndarray:
        """(3, T): the shares told as local, global and none. A run is global if its loss is below the
        one threshold, none if it isn't and its rates are above the other (paper, Appendix G)."""
        world = self.loss < loss
        none = ~world & (self.rates > rates)
        return np.stack([(~world & ~none).mean(0), world.mean(0), none.mean(0)])


@eqx.filter_jit
def _at(problem: ol.Problem, flow: ol.AbstractFlow, begin: ol.Weights, times):
    def one(start):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            ol.RungeKuttaChebyshev(),
            t0=0.0,
            t1=times[-1],
            dt0=None,
            y0=start,
            args=(flow, problem),
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-5),
            max_steps=100_000,
        )

        def seen(weights):
            state = ol.overlaps(problem, flow.retract(weights))
            rates = flow(0.0, state, problem)
            norm = jnp.sqrt(jnp.sum(rates.Q**2) + jnp.sum(rates.R**2))
            return ol.population_loss(problem, state), norm

        return jax.vmap(seen)(solution.ys)

    return jax.vmap(one)(begin)


def stopped(
    problem: ol.Problem,
    flow: ol.AbstractFlow,
    count: int,
    times,
    dimension: int | None = None,
) -> Stops:
    """The first `count` starts of a sweep (seed 0), followed to each of the times."""
    ts = jnp.asarray(times, float)
    parts = []
    for at in range(0, count, _AT_ONCE):
        seeds = np.minimum(np.arange(at, at + _AT_ONCE), count - 1)  # all parts of one size
        begin = starts(problem, flow, 0, seeds, dimension or problem.teachers)
        parts.append(_at(problem, flow, begin, ts))
    jax.clear_caches()  # each problem has programs of its own, and a process can map only so many
    loss, rates = (np.concatenate([np.asarray(p[i]) for p in parts])[:count] for i in (0, 1))
    return Stops(np.asarray(times, float), loss, rates)
