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

from .sweeps import FLOWS, swept
from .shares import interval

_AT_ONCE = 128
AWAY = 1e-4  # of losses; families are some 1e-2 apart


class Stops(NamedTuple):
    """Losses (N, T) and norms of the rates of (Q, R) (N, T) at these times (T,)."""

    times: np.ndarray
    loss: np.ndarray
    rates: np.ndarray


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


class Seen(NamedTuple):
    """Shares of global runs of one K, M, d at the times τ K, and what else is known."""

    share: np.ndarray  # (T,)
    error: np.ndarray  # (T,) standard error
    loss: np.ndarray  # (stops, T)
    rates: np.ndarray  # (stops, T)
    away: np.ndarray  # (T,) share of the stopped ones more than AWAY from the loss they end at
    end: str


def _kept(args, problem: ol.Problem, flow: str, d: int, slowness: np.ndarray) -> Stops:
    """Computed once into the folder of --out."""
    K, M = problem.students, problem.teachers
    kind = "" if flow == "gd" else f"{flow}-"
    file = args.out / "sweeps" / f"stops-{kind}{K}-{M}-d{d}-{args.stops}.npz"
    if file.exists():
        with np.load(file) as kept:
            return Stops(*(kept[name] for name in Stops._fields))
    seen = stopped(problem, FLOWS[flow], args.stops, slowness * K, d)
    part = file.with_suffix(".part.npz")
    np.savez(part, **seen._asdict())
    part.replace(file)
    return seen


def see(args, flow: str, K: int, M: int, d: int, below: float, slowness: np.ndarray) -> Seen:
    """Global runs at the times `slowness` K: of all `args.seeds` starts those that end there, less the part
    of the first `args.stops` that are not `below` that loss yet. Where nothing has loss 0, what ends below
    it is global; of 2L-GD, whose surplus students come to 0 ever more slowly, what doesn't end above it."""
    runs = swept(args, K, M, flow, dimension=d)
    ended = np.isin(runs.outcome, ["global_minimum", "local_minimum"])
    world = runs.outcome == "global_minimum"
    if flow == "ngd" and K > M:
        world = ended & (runs.loss < below)
    elif flow == "2l-gd":
        world = (runs.outcome != "local_minimum") & (runs.loss < below)
    n, few = len(runs), args.stops
    seen = _kept(args, runs.problem, flow, d, slowness)
    late = (world[:few, None] & (seen.loss >= below)).sum(axis=0)
    end, lag = world.mean(), (late + 1) / (few + 2)  # no share of none is surely none
    error = np.sqrt(end * (1 - end) / n + lag * (1 - lag) / few)
    print(f"K = {K}, M = {M}, d = {d}: done", flush=True)
    away = (np.abs(seen.loss - runs.loss[:few, None]) > AWAY).mean(axis=0)
    share = end - late / few
    return Seen(share, error, seen.loss, seen.rates, away, interval(int(world.sum()), n))


def apart(percent: float, seen: Seen) -> np.ndarray:
    """Standard errors between our share and one of 10,000 published runs, at each time."""
    p = percent / 100
    return (seen.share - p) / np.sqrt(seen.error**2 + p * (1 - p) / 10_000)


def reached(share: np.ndarray, wanted: float, times: np.ndarray) -> float | None:
    """When a share that grows reaches the wanted one, if it does."""
    above = np.flatnonzero(share >= wanted)
    if not len(above) or above[0] == 0:
        return None
    at = above[0]
    return float(np.interp(wanted, share[at - 1 : at + 1], times[at - 1 : at + 1]))


def _rounded(x: float | None) -> float | None:
    return None if x is None else round(x, 1)


def told(percent: float, seen: Seen, times: np.ndarray, K: int, common: int | None) -> dict:
    """Of a published share: when it is reached, and our share at the common time (by its index), if it is
    one of those that this was fitted to."""
    early, T, late = (
        reached(seen.share + sign * 1.96 * seen.error, percent / 100, times) for sign in (1, 0, -1)
    )
    return {
        "global: paper %": percent,
        "at the end, % (95 %)": seen.end,
        "T of the paper's share": _rounded(T),
        "from": _rounded(early),
        "to": _rounded(late),
        "T / K": _rounded(None if T is None else T / K),
        "at the common T / K, %": None if common is None else round(100 * seen.share[common], 2),
        "off, SE": None if common is None else round(float(apart(percent, seen)[common]), 1),
    }
