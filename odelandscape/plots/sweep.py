"""Figures of the end states of a sweep."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy.optimize import isotonic_regression

from ..model.alignment import align, alpha_text, overlap_sign
from ..relaxation import outcomes
from ..sweeps.result import Sweep
from ..sweeps.summary import FamilyRow, loss_text, percent
from .style import (
    OUTCOME_COLOURS,
    PAGE,
    SMALL,
    legend_below,
    open_frame,
    overlap_image,
    overlap_scale,
    panels,
    set_title,
    size_of,
    text_inches,
    title_height,
)

_BARS = 60  # that have room beside each other
_NARROWER = 0.7  # a bar in front of another one, as a part of its width
_LABEL = 1.45 * SMALL / 72  # inches between the names of levels
_LONGEST = 0.6  # name of a level, as a part of the height of the axes
_HISTOGRAM = 2.6  # inches, without the names of levels


def loss_histogram(axes: Axes, runs: Sweep) -> Axes:
    """Draw the number of starts against their final loss: a bar on the level of each family, by outcome.

    Levels are named above the axes by branch and α. Starts that have not converged are on no level; they are
    counted in intervals. Those that failed have no loss, and are in the legend.
    """
    summary = runs.summary()
    families = summary.families
    top = max([1e4 * summary.level_width, _highest_unfinished(runs), *(f.loss for f in families)])
    bar = top / _BARS
    axes.set_xlim(-2 * bar, top + 2 * bar)
    depth = _depths(families, bar)
    shown = []
    for name, colour in OUTCOME_COLOURS.items():
        count = summary.outcomes[name]["count"]
        label = f"{name.replace('_', ' ')} ({count:,})"
        of = [at for at, row in enumerate(families) if row.outcome == name]
        if of:
            levels, heights = [families[at].loss for at in of], [families[at].count for at in of]
            bars = axes.bar(
                levels, heights, bar * _NARROWER ** depth[of], color=colour, label=label
            )
            for patch, at in zip(bars, of, strict=True):
                patch.set(zorder=2 + depth[at], edgecolor="white", linewidth=0.3)
            shown.append(bars)
        elif count:
            shown.append(axes.bar(*_unfinished(runs, bar), bar, color=colour, label=label))
    if failed := summary.outcomes[outcomes.FAILED]["count"]:
        shown += axes.plot([], [], " ", label=f"failed ({failed:,}): no loss")
    axes.set_yscale("log")
    axes.set_ylim(0.7)
    axes.locator_params(axis="x", nbins=5)  # their labels have room in a column, too
    axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4), useMathText=True)
    axes.set_xlabel("population loss of the end state")
    axes.set_ylabel("number of starts")
    _name_levels(axes, [row for row in families if row.outcome != outcomes.GLOBAL_MINIMUM])
    open_frame(axes)
    legend_below(axes, shown)
    return axes


def _depths(families: Sequence[FamilyRow], bar: float) -> np.ndarray:
    """Return how many bars are behind the bar of each family: those of commoner ones, and of no level."""
    loss, count = (np.array([getattr(row, name) for row in families]) for name in ("loss", "count"))
    order = np.arange(len(families))
    near = np.abs(loss[:, None] - loss) < bar
    commoner = (count > count[:, None]) | ((count == count[:, None]) & (order < order[:, None]))
    return 1 + (near & commoner).sum(axis=1)


def _highest_unfinished(runs: Sweep) -> float:
    of = (loss[outcome == outcomes.NOT_CONVERGED] for _, outcome, loss in _losses(runs))
    return max((float(loss.max(initial=0)) for loss in of), default=0.0)


def _unfinished(runs: Sweep, bar: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the middles of intervals of length `bar`, and the starts in each that have not converged."""
    edges = bar * (np.arange(_BARS + 2) - 0.5)
    counts = np.zeros(_BARS + 1)
    for _, outcome, loss in _losses(runs):
        counts += np.histogram(loss[outcome == outcomes.NOT_CONVERGED], edges)[0]
    return edges[:-1] + bar / 2, counts


def _losses(runs: Sweep):
    return runs.parts("outcome", "loss")


def _name(row: FamilyRow) -> str:
    return ", ".join(filter(None, (row.branch, f"α = {alpha_text(row.anti_aligned)}")))


def _name_levels(axes: Axes, families: Sequence[FamilyRow]) -> None:
    """Draw a line on the level of each family, and above the axes the names of as many as have room."""
    for row in families:
        axes.axvline(row.loss, color="0.6", linestyle=":", linewidth=0.8, zorder=0)
    width, height = size_of(axes)
    named = [row for row in families if text_inches(_name(row), SMALL) < _LONGEST * height]
    named = sorted(named, key=lambda row: -row.count)[: int(width / _LABEL)]
    named.sort(key=lambda row: row.loss)
    if len(named) < len(families):
        some = f"{len(named)} of {len(families)} levels are named"
        axes.set_xlabel(f"{axes.get_xlabel()}\n{some}")
    if not named:
        return
    left, right = axes.get_xlim()
    levels = (np.array([row.loss for row in named]) - left) / (right - left)
    steps = _LABEL / width * np.arange(len(named))
    last = 1 - steps[-1]
    # The places nearest to the levels whose distances are a label's at least, and which are on the axes.
    places = np.clip(isotonic_regression(levels - steps).x, 0, last) + steps
    for row, level, place in zip(named, levels, places, strict=True):
        axes.annotate(
            _name(row),
            (level, 1),
            (place, 1.07),
            xycoords="axes fraction",
            textcoords="axes fraction",
            rotation=90,
            fontsize=SMALL,
            horizontalalignment="center",
            verticalalignment="bottom",
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0.5, 0),
                "color": "0.6",
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 0,
            },
        )
    if len(named) < len(families):
        axes.plot(
            [], [], " ", label=f"the {len(named)} commonest of {len(families)} levels are named"
        )


def aligned_overlaps(
    axes: Axes, R: np.ndarray, sign: np.ndarray | float = 1.0, scale: float = 1.0
) -> AxesImage:
    """Draw R (K, M) of one end state.

    Row and column n are a student and the teacher that it is assigned to, anti-aligned pairs last; the
    surplus of students or teachers follows. `sign`: with which overlaps count, see `overlap_sign`.
    """
    order, teacher, _ = align(R, np.ones(len(R)))  # inactive students have a place, too
    pairs = min(R.shape)
    last = np.argsort((sign * R)[order, teacher][:pairs] < 0, kind="stable")
    rows = np.concatenate([order[:pairs][last], order[pairs:]])
    columns = teacher[:pairs][last]
    columns = np.concatenate([columns, np.setdiff1d(np.arange(R.shape[1]), columns)])
    image = overlap_image(axes, R[np.ix_(rows, columns)], scale)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("teacher", fontsize=SMALL, labelpad=2)
    axes.set_ylabel("student", fontsize=SMALL, labelpad=2)
    return image


def representative_overlaps(runs: Sweep, row: FamilyRow) -> tuple[np.ndarray, np.ndarray | float]:
    """Return R (K, M) of a family's representative, and the sign with which overlaps count."""
    found = runs.weights_of(np.array([row.representative]))
    W, v = np.asarray(found.W[0]), np.asarray(found.v[0])
    teacher = np.asarray(runs.problem.teacher_weights(W.shape[1]))
    return W @ teacher.T, overlap_sign(runs.problem, v)


def _caption(row: FamilyRow, level_width: float) -> str:
    zero = row.outcome == outcomes.GLOBAL_MINIMUM
    loss = "0" if zero else loss_text(row.loss, level_width)
    low, high = (percent(x).removesuffix(" %") for x in row.ci95)
    kind = f"{row.outcome.replace('_', ' ')}\n{_name(row)}"
    return f"{kind}\nL = {loss}\n{percent(row.fraction)} ({low} – {high})"


def sweep_figure(runs: Sweep, limit: int = 8, width: float = PAGE) -> Figure:
    """Return a figure: R of the `limit` commonest families, and below the histogram of final losses.

    `width`: in inches.
    """
    summary = runs.summary()
    frequent = sorted(summary.families, key=lambda row: -row.count)[:limit]
    frequent.sort(key=lambda row: row.loss)
    captions = [_caption(row, summary.level_width) for row in frequent]
    grid = panels(captions, width, below=0.3)
    title = runs.title.replace(": ", "\n", 1) + _which(len(frequent), len(summary.families))
    names = max((text_inches(_name(row), SMALL) for row in summary.families), default=0)
    height = title_height(title, width) + grid.height + _HISTOGRAM + names
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, (_HISTOGRAM + names) / height))
    figure = Figure(figsize=(width, height), layout=layout)
    loss_histogram(figure.add_subplot(), runs)
    top = set_title(figure, title)
    found = [representative_overlaps(runs, row) for row in frequent]
    scale = overlap_scale(*(R for R, _ in found))
    image = None
    for axes, one in zip(grid.axes(figure, top), found, strict=True):
        image = aligned_overlaps(axes, *one, scale)
    if image is not None:
        grid.colour_scale(figure, image, top)
    return figure


def _which(drawn: int, families: int) -> str:
    """Return in words which families are drawn."""
    if not drawn:
        return ""
    few = f"the {drawn} commonest of {families} families" if drawn < families else "each family"
    return f"\noverlaps R in {few}, with its share of the starts (95\u00a0%\u00a0interval)"
