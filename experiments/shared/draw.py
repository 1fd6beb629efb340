"""How the figures look: order parameters with their block lines, and losses with the predicted levels."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

import odelandscape as ol
from odelandscape.model.alignment import align

# Okabe and Ito: distinguishable with any colour vision.
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"


def arranged(
    R: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[float], list[float]]:
    """Students and teachers in the order they are drawn in: aligned pairs, anti-aligned pairs, surplus
    students; and where the lines between these go, in rows and in columns."""
    order, teacher, _ = align(R, lengths)
    pairs = min(R.shape)
    anti = R[order[:pairs], teacher[:pairs]] < 0
    by = np.argsort(anti, kind="stable")
    rows = np.concatenate([order[:pairs][by], order[pairs:]])
    columns = teacher[:pairs][by]
    columns = np.concatenate([columns, np.setdiff1d(np.arange(R.shape[1]), columns)])
    aligned = int((~anti).sum())
    rows_at = sorted({aligned, pairs} - {0, len(rows)})
    columns_at = sorted({aligned, pairs} - {0, len(columns)})
    return rows, columns, [x - 0.5 for x in rows_at], [x - 0.5 for x in columns_at]


def matrix(axes: Axes, values: np.ndarray, across: list[float], down: list[float]) -> AxesImage:
    """A matrix of overlaps between −1 and 1 with lines between its blocks."""
    picture = axes.imshow(values, cmap="PuOr_r", vmin=-1, vmax=1, interpolation="nearest")
    for at in across:
        axes.axhline(at, color="0.2", linewidth=0.8)
    for at in down:
        axes.axvline(at, color="0.2", linewidth=0.8)
    axes.set_xticks([])
    axes.set_yticks([])
    return picture


def overlaps(above: Axes, below: Axes, Q: np.ndarray, R: np.ndarray) -> AxesImage:
    """Q above and R below, students sorted by alignment, with block lines."""
    rows, columns, across, down = arranged(R, np.sqrt(np.diagonal(Q)))
    matrix(above, Q[np.ix_(rows, rows)], across, across)
    above.set_ylabel("Q", rotation=0, labelpad=10)
    picture = matrix(below, R[np.ix_(rows, columns)], across, down)
    below.set_ylabel("R", rotation=0, labelpad=10)
    return picture


def state_arrays(states: Sequence[ol.OrderParameters]) -> dict[str, np.ndarray]:
    """Return Q_0, R_0, Q_1, … of several states, as results keep them for `states_figure`."""
    arrays = {}
    for at, state in enumerate(states):
        arrays |= {f"Q_{at}": np.asarray(state.Q), f"R_{at}": np.asarray(state.R)}
    return arrays


def states_figure(arrays: dict[str, np.ndarray], captions: Sequence[str], title: str) -> Figure:
    """Draw Q and R of several states side by side, each with its caption."""
    figure = Figure(figsize=(0.9 + 1.75 * len(captions), 4.4), layout="constrained")
    axes = figure.subplots(2, len(captions), squeeze=False)
    picture = None
    for at, caption in enumerate(captions):
        picture = overlaps(axes[0, at], axes[1, at], arrays[f"Q_{at}"], arrays[f"R_{at}"])
        axes[0, at].set_title(caption, fontsize=8)
    if picture is not None:
        figure.colorbar(picture, ax=axes, label="overlap", shrink=0.6)
    figure.suptitle(title, fontsize=10)
    return figure


def histogram(
    axes: Axes, losses: np.ndarray, levels: list[tuple[str, float]], top: float, bins: int = 120
) -> None:
    """Final losses as a share of the starts, and predicted levels as dashed lines with their names."""
    edges = np.linspace(-0.5 * top / bins, top, bins + 1)
    weights = np.full(len(losses), 1 / len(losses))
    axes.hist(np.clip(losses, 0, top), edges, weights=weights, color=BLUE)
    for name, level in levels:
        axes.axvline(level, color=ORANGE, linestyle="--", linewidth=0.9, zorder=0)
        axes.annotate(
            f" {name}",
            (level, 1),
            xycoords=("data", "axes fraction"),
            rotation=90,
            fontsize=7,
            va="top",
            ha="right",
            color="0.25",
        )
    axes.set_yscale("log")
    lowest = 0.5 / len(losses)
    longest = max((len(name) for name, _ in levels), default=0)
    axes.set_ylim(lowest, 2 * 10 ** (longest / 12))  # names stand above the bars
    axes.set_yticks(10.0 ** np.arange(np.ceil(np.log10(lowest)), 1))
    axes.set_ylabel("share of the starts")
    plain(axes)


def plain(axes: Axes) -> None:
    """Without a frame, with a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=GREY, alpha=0.2)


def representative(runs: ol.Sweep, family) -> ol.OrderParameters:
    """Order parameters of the first start that ended in a family of the sweep's summary."""
    return ol.overlaps(runs.problem, weights_of(runs, family.representative))


def weights_of(runs: ol.Sweep, seed: int) -> ol.Weights:
    """The weights that one start of a sweep ended in."""
    many = runs.weights_of(np.array([seed]))
    return ol.Weights(jnp.asarray(many.W[0]), jnp.asarray(many.v[0]))
