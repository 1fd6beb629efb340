"""The shares that a program finds which stops at a finite time and sorts runs by thresholds."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import odelandscape as ol
from odelandscape.dynamics.trajectory import constrained_rates
from odelandscape.sweeps.starts import starts

from .shares import PUBLISHED_RUNS
from .sweeps import FLOWS, swept
from .tables import Column, Row, fixed, number, share

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
            diffrax.ODETerm(constrained_rates),
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

        def measure(weights):
            state = ol.overlaps(problem, flow.retract(weights))
            rates = flow(0.0, state, problem)
            norm = jnp.sqrt(jnp.sum(rates.Q**2) + jnp.sum(rates.R**2))
            return ol.population_loss(problem, state), norm

        return jax.vmap(measure)(solution.ys)

    return jax.vmap(one)(begin)


def stopped(
    problem: ol.Problem,
    flow: ol.AbstractFlow,
    count: int,
    times,
    dimension: int | None = None,
) -> Stops:
    """Follow the first `count` starts of a sweep (seed 0) to each of the times."""
    ts = jnp.asarray(times, float)
    parts = []
    for at in range(0, count, _AT_ONCE):
        seeds = np.minimum(np.arange(at, at + _AT_ONCE), count - 1)  # all parts of one size
        begin = starts(problem, flow, 0, seeds, dimension or problem.teachers)
        parts.append(_at(problem, flow, begin, ts))
    jax.clear_caches()  # each problem has programs of its own, and a process can map only so many
    loss, rates = (np.concatenate([np.asarray(p[i]) for p in parts])[:count] for i in (0, 1))
    return Stops(np.asarray(times, float), loss, rates)


class StoppedShares(NamedTuple):
    """Shares of global runs of one K, M, d at the times τ K, as far as they are computed."""

    share: np.ndarray  # (T,)
    error: np.ndarray  # (T,) standard error
    loss: np.ndarray  # (stops, T)
    rates: np.ndarray  # (stops, T)
    away: np.ndarray  # (T,) share of the stopped ones more than AWAY from the loss they end at
    ended: int  # starts that are global at their ends, …
    starts: int  # … of so many


def _stored(options, problem: ol.Problem, flow: str, d: int, slowness: np.ndarray) -> Stops:
    """Computed once into the folder of --out."""
    K, M = problem.students, problem.teachers
    kind = "" if flow == "gd" else f"{flow}-"
    file = options.out / "sweeps" / f"stops-{kind}{K}-{M}-d{d}-{options.stops}.npz"
    if file.exists():
        with np.load(file) as kept:
            return Stops(*(kept[name] for name in Stops._fields))
    stops = stopped(problem, FLOWS[flow], options.stops, slowness * K, d)
    part = file.with_suffix(".part.npz")
    np.savez(part, **stops._asdict())
    part.replace(file)
    return stops


def stopped_shares(
    options, flow: str, K: int, M: int, d: int, below: float, slowness: np.ndarray
) -> StoppedShares:
    """Return the shares of global runs at the times `slowness` K.

    They are those of all `options.seeds` starts that end as global, less the part of the first
    `options.stops` that are not `below` that loss yet. Where nothing has loss 0, what ends below it is
    global; of 2L-GD, whose surplus students come to 0 ever more slowly, what doesn't end above it.
    """
    runs = swept(options, K, M, flow, dimension=d)
    ended = np.isin(runs.outcome, ["global_minimum", "local_minimum"])
    is_global = runs.outcome == "global_minimum"
    if flow == "ngd" and K > M:
        is_global = ended & (runs.loss < below)
    elif flow == "2l-gd":
        is_global = (runs.outcome != "local_minimum") & (runs.loss < below)
    n, few = len(runs), options.stops
    stops = _stored(options, runs.problem, flow, d, slowness)
    late = (is_global[:few, None] & (stops.loss >= below)).sum(axis=0)
    # (late + 1) / (few + 2): a share of none among few is not certainly none.
    end, lag = is_global.mean(), (late + 1) / (few + 2)
    error = np.sqrt(end * (1 - end) / n + lag * (1 - lag) / few)
    print(f"K = {K}, M = {M}, d = {d}: done", flush=True)
    away = (np.abs(stops.loss - runs.loss[:few, None]) > AWAY).mean(axis=0)
    share = end - late / few
    return StoppedShares(share, error, stops.loss, stops.rates, away, int(is_global.sum()), n)


def z_scores(percent: float, shares: StoppedShares) -> np.ndarray:
    """Our share less one of 10,000 published runs, in standard errors, at each time."""
    p = percent / 100
    return (shares.share - p) / np.sqrt(shares.error**2 + p * (1 - p) / PUBLISHED_RUNS)


def time_of(share: np.ndarray, wanted: float, times: np.ndarray) -> float | None:
    """Return when a share that grows reaches the wanted one, if it does after the first time."""
    above = np.flatnonzero(share >= wanted)
    if not len(above) or above[0] == 0:
        return None
    at = above[0]
    return float(np.interp(wanted, share[at - 1 : at + 1], times[at - 1 : at + 1]))


def stop_numbers(
    percent: float, shares: StoppedShares, times: np.ndarray, common: int | None
) -> Row:
    """Numbers of a published share: when it is reached (with its 95 % interval), and our share at the
    common time (by its index), if it is one of those that this was fitted to."""
    early, T, late = (
        time_of(shares.share + sign * 1.96 * shares.error, percent / 100, times)
        for sign in (1, 0, -1)
    )
    return {
        "published_global": percent,
        "ended_global": shares.ended,
        "starts": shares.starts,
        "T": T,
        "T_from": early,
        "T_to": late,
        "common_share": None if common is None else float(shares.share[common]),
        "common_z": None if common is None else float(z_scores(percent, shares)[common]),
    }


def slowness(row: Row) -> float | None:
    """T / K of a published share."""
    return None if row["T"] is None else row["T"] / row["K"]


def stop_columns() -> list[Column]:
    """How `stop_numbers` are written."""

    def slow(row: Row) -> str | None:
        ratio = slowness(row)
        return None if ratio is None else f"{ratio:.1f}"

    return [
        number("global: paper %", "published_global"),
        share("at the end, % (95 %)", "ended_global"),
        fixed("T of the paper's share", "T", 1),
        fixed("from", "T_from", 1),
        fixed("to", "T_to", 1),
        Column("T / K", slow),
        fixed("at the common T / K, %", "common_share", 2, 100),
        fixed("off, SE", "common_z", 1),
    ]


def fit(z: np.ndarray, slowness: np.ndarray) -> tuple[int, dict]:
    """Fit one T / K to all shares (n, T) by their z-scores: its index, and numbers of the fit."""
    misfit = (z**2).mean(axis=0)
    common = int(np.argmin(misfit))
    return common, {
        "slowness": float(slowness[common]),
        "compared": len(z),
        "within_2": int((np.abs(z[:, common]) <= 2).sum()),
        "mean_square": float(misfit[common]),
        "within_2_at_last": int((np.abs(z[:, -1]) <= 2).sum()),
        "mean_square_at_last": float(misfit[-1]),
    }


def fit_remark(fit: dict, shares: str) -> str:
    """The numbers of `fit` in words."""
    return (
        f"stopped at T = {fit['slowness']:.0f} K, all of them, {fit['within_2']} of {fit['compared']} shares "
        f"of {shares} are within 2 standard errors (mean square {fit['mean_square']:.1f}); followed to "
        f"the last time {fit['within_2_at_last']} (mean square {fit['mean_square_at_last']:.0f})."
    )
