"""Orthonormal gradient descent (onGD): followed to its end, stopped early, and with a projection that never
turns the students within their span."""

import argparse
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import odelandscape as ol

from ._draw import plain
from ._report import BLUE, GREEN, ORANGE, PINK
from ._sweeps import interval, swept
from .orthonormal_endings import HorizontalFlow

END, HORIZONTAL = "to the end", "horizontal"
COLOURS = {END: BLUE, "t = 100": GREEN, "t = 30": GREEN, "t = 10": PINK, HORIZONTAL: ORANGE}
LABELS = {
    END: "Euclidean projection, to the end",
    "t = 100": "Euclidean, stopped at t = 100",
    "t = 30": "Euclidean, stopped at t = 30",
    "t = 10": "Euclidean, stopped at t = 10",
    HORIZONTAL: "horizontal projection, at rest",
}
REST = 300.0
"""By this time the horizontal projection has come to rest."""
_ALIKE = 1e-5  # losses closer than this are one level
_AT_ONCE = 128
_SHADE = 0.75


def paths(
    problem: ol.Problem, flow: ol.AbstractFlow, starts: int, times, dimension: int
) -> ol.Trajectory:
    """The starts of a sweep (seed 0) along the flow, N in front of the states and losses."""

    @jax.jit
    def some(seeds):
        def one(seed):
            key = jax.random.fold_in(jax.random.key(0), seed)
            weights = ol.random_weights(key, problem, dimension)
            return ol.trajectory(problem, flow, weights, times, rtol=1e-6)

        return jax.vmap(one)(seeds)

    width = min(starts, _AT_ONCE)
    parts = [
        jax.tree.map(np.asarray, some(jnp.minimum(jnp.arange(at, at + width), starts - 1)))
        for at in range(0, starts, width)
    ]
    return jax.tree.map(lambda *part: np.concatenate(part)[:starts], *parts)


class Endings(NamedTuple):
    """What becomes of the starts of a sweep, by where one looks: losses, and order parameters."""

    runs: ol.Sweep
    loss: dict[str, np.ndarray]
    states: dict[str, ol.OrderParameters]


def endings(args: argparse.Namespace, students: int, teachers: int, stops) -> Endings:
    """The starts of a sweep in twice as many dimensions as teachers, where students can leave the
    teachers' span: at these stops, at their ends, and at those of the horizontal projection."""
    runs = swept(args, students, teachers, "ongd", dimension=2 * teachers)
    problem, starts, d = runs.problem, len(runs), runs.dimension
    early = paths(problem, runs.flow, starts, stops, d)
    beside = paths(problem, HorizontalFlow(), starts, (REST,), d)
    loss, states = {}, {}
    for at, stop in enumerate(stops):
        loss[f"t = {stop:g}"] = early.loss[:, at]
        states[f"t = {stop:g}"] = jax.tree.map(lambda x, at=at: x[:, at], early.states)
    loss[END] = runs.loss
    states[END] = jax.vmap(lambda weights: ol.overlaps(problem, weights))(runs.weights)
    loss[HORIZONTAL] = beside.loss[:, 0]
    states[HORIZONTAL] = jax.tree.map(lambda x: x[:, 0], beside.states)
    return Endings(runs, loss, states)


def distinct(losses: np.ndarray) -> int:
    """How many levels these losses lie on."""
    return 1 + int((np.diff(np.sort(losses)) > _ALIKE).sum())


def row(seen: Endings, where: str) -> dict:
    """The losses at one of the endings, for a table."""
    problem, losses = seen.runs.problem, seen.loss[where]
    lowest, low, median, high = np.quantile(losses, [0, 0.1, 0.5, 0.9])
    learned = int((losses < 1e-4).sum())  # the lowest level above 0 is far higher
    return {
        "K": problem.students,
        "M": problem.teachers,
        "d": seen.runs.dimension,
        "seen": where,
        "starts": len(losses),
        "loss: lowest": max(float(lowest), 0.0),  # below 0 by rounding only
        "10 %": max(float(low), 0.0),
        "median": max(float(median), 0.0),
        "90 %": float(high),
        "distinct losses": distinct(losses),
        "below 1e-4, % (95 %)": interval(learned, len(losses)),
    }


def distributions(
    args: argparse.Namespace, teachers: tuple[int, ...], surplus: tuple[int, ...] = (0, 1)
) -> tuple[list[dict], Figure]:
    """Table and figure of the losses at the end, at t = 30 and with the horizontal projection: a column
    for each M, a row for each K − M."""
    where = (END, "t = 30", HORIZONTAL)
    figure = Figure(figsize=(1.8 + 2.3 * len(teachers), 0.8 + 2.2 * len(surplus)), layout="constrained")
    panels = figure.subplots(len(surplus), len(teachers), sharex=True, sharey=True, squeeze=False)
    edges = np.geomspace(5e-4, 5, 81)
    rows = []
    for column, width in enumerate(teachers):
        for down, more in enumerate(surplus):
            seen = endings(args, width + more, width, (30.0,))
            rows += [row(seen, name) for name in where]
            axes = panels[down, column]
            for name in where:
                losses = np.clip(seen.loss[name], edges[0], edges[-1])
                weights = np.full(len(losses), 1 / len(losses))
                axes.hist(losses, edges, weights=weights, color=COLOURS[name], alpha=_SHADE)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylim(0.5 / args.seeds, 1.5)
            axes.set_title(f"K = {width + more}, M = {width}", fontsize=10)
            plain(axes)
        print(f"M = {width}: done", flush=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("share of the starts")
    for axes in panels[-1]:
        axes.set_xlabel("loss (those below 0.0005 there)")
    patches = [Patch(color=COLOURS[name], alpha=_SHADE, label=LABELS[name]) for name in where]
    figure.legend(handles=patches, frameon=False, loc="outside upper center", ncols=len(where))
    return rows, figure


def remarks(rows: list[dict]) -> str:
    """What the table of `distributions` says of quantised losses and of learning."""
    told = []
    for name in (END, "t = 30", HORIZONTAL):
        some = [row for row in rows if row["seen"] == name]
        counts = [row["distinct losses"] for row in some]
        told.append(f"{LABELS[name]}: {min(counts)} – {max(counts)}")
    equal = [row for row in rows if row["seen"] == END and row["K"] == row["M"]]
    learned = ", ".join(f"{row['below 1e-4, % (95 %)']} % at M = {row['M']}" for row in equal)
    surplus = [row for row in rows if row["seen"] == END and row["K"] > row["M"]]
    lowest = ", ".join(f"{row['loss: lowest']:.6f} at M = {row['M']}" for row in surplus)
    return (
        f"Distinct losses of {rows[0]['starts']:,} starts: {'; '.join(told)}. Followed to its end, onGD is "
        f"quantised and for K = M learns: {learned}. With K = M + 1 orthonormal students no loss is 0; "
        f"the lowest seen is {lowest}. The paper reports a continuum and no learning: that is what a stop at "
        "t = 30, or the horizontal projection, shows."
    )
