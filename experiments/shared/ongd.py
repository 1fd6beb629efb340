"""Orthonormal gradient descent (onGD): followed to its end, stopped early, and with a projection that never
turns the students within their span."""

import argparse
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import odelandscape as ol
from odelandscape.classify import LEVEL_WIDTH

from .draw import BLUE, GREEN, ORANGE, PINK, plain

from .sweeps import swept
from .shares import interval

END, HORIZONTAL = "to the end", "horizontal"
COLOURS = {END: BLUE, "t = 100": GREEN, "t = 30": GREEN, "t = 10": PINK, HORIZONTAL: ORANGE}
LABELS = {
    "t = 0": "random start",
    END: "Euclidean projection, to the end",
    "t = 100": "Euclidean, stopped at t = 100",
    "t = 30": "Euclidean, stopped at t = 30",
    "t = 10": "Euclidean, stopped at t = 10",
    HORIZONTAL: "horizontal projection, at rest",
}
REST = 100.0
"""By this time the horizontal projection has come to rest."""
_AT_ONCE = 128
_SHADE = 0.5
_NOTHING = 5e-4
LEARNED = 1e-4  # well below the lowest level above 0


class HorizontalFlow(ol.AbstractFlow):
    """Ẇ = −(G − GWᵀW): what is left of onGD without rotations of the rows within their span."""

    def mixing(self, state: ol.OrderParameters, problem: ol.Problem) -> ol.Mixing:
        X, Y, dv, _ = ol.GradientFlow().mixing(state, problem)
        return ol.Mixing(X - (X @ state.Q + Y @ state.R.T), Y, dv)

    def admit(self, weights: ol.Weights) -> ol.Weights:
        return ol.OrthonormalFlow().admit(weights)

    def retract(self, weights: ol.Weights) -> ol.Weights:
        return ol.OrthonormalFlow().retract(weights)

    def frozen_directions(self, weights: ol.Weights, problem: ol.Problem):
        raise NotImplementedError("its rest points are no critical points: only paths are followed")


@eqx.filter_jit
def _some(problem: ol.Problem, flow: ol.AbstractFlow, dimension: int, times: tuple, seeds):
    def one(seed):
        key = jax.random.fold_in(jax.random.key(0), seed)
        weights = ol.random_weights(key, problem, dimension)
        return ol.trajectory(problem, flow, weights, times, rtol=1e-6)

    return jax.vmap(one)(seeds)


def paths(
    problem: ol.Problem, flow: ol.AbstractFlow, starts: int, times, dimension: int
) -> ol.Trajectory:
    """The starts of a sweep (seed 0) along the flow, N in front of the states and losses."""
    width = min(starts, _AT_ONCE)
    run = partial(_some, problem, flow, dimension, tuple(map(float, times)))
    parts = [
        jax.tree.map(np.asarray, run(jnp.minimum(jnp.arange(at, at + width), starts - 1)))
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
    return 1 + int((np.diff(np.sort(losses)) > LEVEL_WIDTH).sum())


def loss_row(runs: ol.Sweep, where: str, losses: np.ndarray, below: float = LEARNED) -> dict:
    """The losses that starts of a sweep have somewhere, for a table."""
    # Below 0 by rounding only.
    lowest, low, median, high = np.maximum(np.quantile(losses, [0, 0.1, 0.5, 0.9]), 0)
    return {
        "K": runs.problem.students,
        "M": runs.problem.teachers,
        "d": runs.dimension,
        "seen": where,
        "starts": len(losses),
        "loss: lowest": float(lowest),
        "10 %": float(low),
        "median": float(median),
        "90 %": float(high),
        "distinct losses": distinct(losses),
        "threshold": float(below),
        "below it, % (95 %)": interval(int((losses < below).sum()), len(losses)),
    }


def distributions(
    args: argparse.Namespace, teachers: tuple[int, ...], surplus: tuple[int, ...] = (0, 1)
) -> tuple[list[dict], Figure]:
    """Table and figure of the losses at the end, at t = 30 and with the horizontal projection: a column
    for each M, a row for each K − M."""
    where = (END, "t = 30", HORIZONTAL)
    size = 1.8 + 2.3 * len(teachers), 0.8 + 2.3 * len(surplus)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(surplus), len(teachers), sharex="row", sharey=True, squeeze=False)
    rows = []
    for more, line in zip(surplus, panels, strict=True):
        seen = [endings(args, M + more, M, (30.0,)) for M in teachers]
        for one in seen:
            # At the best that there is: 0, but for surplus students.
            below = LEARNED + (one.runs.loss.min() if more else 0)
            rows += [loss_row(one.runs, name, one.loss[name], below) for name in where]
        everything = np.concatenate([one.loss[name] for one in seen for name in where])
        # Whatever is as good as 0 gets the first bar.
        edges = np.geomspace(max(_NOTHING, 0.8 * everything.min()), 1.2 * everything.max(), 91)
        for axes, M, one in zip(line, teachers, seen, strict=True):
            for name in reversed(where):  # the end, a few bars, above the others
                losses = np.maximum(one.loss[name], edges[0])
                weights = np.full(len(losses), 1 / len(losses))
                style = dict(histtype="stepfilled", edgecolor=COLOURS[name], linewidth=1)
                axes.hist(losses, edges, weights=weights, fc=(COLOURS[name], _SHADE), **style)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylim(0.5 / args.seeds, 1.5)
            axes.set_title(f"K = {M + more}, M = {M}", fontsize=10)
            zero = " (0 is at the left end)" if edges[0] == _NOTHING else ""
            axes.set_xlabel(f"loss{zero}")
            plain(axes)
        line[0].set_ylabel("share of the starts")
        print(f"K = M{' + 1' if more else ''}: done", flush=True)
    patches = [
        Patch(fc=(COLOURS[name], _SHADE), ec=COLOURS[name], label=LABELS[name]) for name in where
    ]
    figure.legend(handles=patches, frameon=False, loc="outside upper center", ncols=len(where))
    return rows, figure


def _between(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def remarks(rows: list[dict]) -> str:
    """What the table of `distributions` says of quantised losses and of learning."""
    told, lowest = [], []
    for name in (END, "t = 30", HORIZONTAL):
        some = [row for row in rows if row["seen"] == name]
        counts = [row["distinct losses"] for row in some]
        label = LABELS[name]
        text = f"{label[0].upper() + label[1:]}: distinct losses {_between(counts)}"
        for more, words in ((0, "learn for K = M"), (1, "at the lowest level for K = M + 1")):
            shares = [
                row["below it, % (95 %)"].split()[0] for row in some if row["K"] - row["M"] == more
            ]
            text += f"; {', '.join(shares)} % {words}" if shares else ""
        told.append(text)
        if name == END:
            lowest = [f"{row['loss: lowest']:.6f}" for row in some if row["K"] > row["M"]]
    surplus = f" The lowest levels for K = M + 1 are {', '.join(lowest)}." if lowest else ""
    return (
        f"Of {rows[0]['starts']:,} starts, in the order of M. {'. '.join(told)}.{surplus} The paper reports "
        "a continuum, and no learning: not so at the end of the paths."
    )
