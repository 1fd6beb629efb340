r"""Where do nGD with a surplus student and onGD end (paper, Figure 13)?

(a) nGD for K = 18, M = 17: no loss is 0, a few levels lie below 0.1 and many others above.
(b) onGD for K = M = 17: at the end of the paths its losses are quantised as those of gradient flow; at a stop
at t = 10 or 100, or at the end of the horizontal projection, which never turns the students within their span
(`orthonormal_endings`), they are a continuum and no start has reached loss 0.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

import odelandscape as ol

from ..shared.draw import GREY, histogram
from ..shared.ongd import END, HORIZONTAL, LABELS, endings, loss_columns, loss_row
from ..shared.options import starts
from ..shared.published import TABLE_4B, THRESHOLDS_4B
from ..shared.results import Results
from ..shared.shares import interval
from ..shared.sweeps import family_counts, swept
from ..shared.tables import Column, Row, number

OPTIONS = {"seeds": starts(default=1000, quick=32)}
_STOPS = (10.0, 100.0)
_WHERE = (END, *(f"t = {stop:g}" for stop in reversed(_STOPS)), HORIZONTAL)
_NGD, _ONGD = "nGD", "onGD"
_APART = 0.03  # of an axis: levels that are closer are under one name

Families = list[dict[str, Any]]


def rows(options) -> Results:
    """Compute the losses of nGD in two dimensions, and of onGD in four places."""
    M, dimensions = (4, (1,)) if options.quick else (17, (1, 2))
    found, families, losses = [], [], []
    for times in dimensions:
        runs = swept(options, M + 1, M, "ngd", dimension=times * M)
        row = loss_row(runs, END, runs.loss, THRESHOLDS_4B.get(M, 0.1))
        found.append({"flow": _NGD} | row)
        losses.append(runs.loss)
        families.append(_sweep(_NGD, runs))
    some = endings(options, M, M, _STOPS)
    families.append(_sweep(_ONGD, some.runs))
    for where in _WHERE:
        found.append({"flow": _ONGD} | loss_row(some.runs, where, some.loss[where]))
        losses.append(some.loss[where])
    data = {f"losses_{at}": np.asarray(values) for at, values in enumerate(losses)}
    return Results(found, {"sweeps": families}, data)


def _sweep(flow: str, runs: ol.Sweep) -> dict[str, Any]:
    size = {"K": runs.problem.students, "M": runs.problem.teachers, "d": runs.dimension}
    return {"flow": flow} | size | {"families": family_counts(runs)}


def columns(results: Results) -> list[Column]:
    """Quantiles of the losses, and the share of low ones."""
    return [number("flow"), *loss_columns()]


def _of_flow(results: Results, flow: str) -> list[Row]:
    return [row for row in results.rows if row["flow"] == flow]


def remarks(results: Results) -> str:
    """Shares of low losses, and how many losses are distinct."""
    nGD, onGD = (_of_flow(results, flow) for flow in (_NGD, _ONGD))
    end, *others = onGD
    first = nGD[0]
    low = " and ".join(f"{interval(r['below'], r['starts'])} % (d = {r['d']})" for r in nGD)
    early = ", ".join(f"{100 * row['below'] / row['starts']:.2f}" for row in others)
    counts = ", ".join(f"{row['distinct']} ({row['where']})" for row in onGD)
    return (
        f"Of nGD's starts {low} end below {first['threshold']}, of the paper's "
        f"{TABLE_4B[first['M']].global_share} %, and none below {min(row['lowest'] for row in nGD):.6f}. Of "
        f"onGD's {interval(end['below'], end['starts'])} % learn if they are followed to the end, but "
        f"{early} % at the stops and under the horizontal projection; distinct losses of "
        f"{end['starts']:,} starts: {counts}. The paper reports high losses and no learning."
    )


def figure(results: Results) -> Figure:
    """Draw the losses of nGD on the left, of onGD on the right."""
    drawn = Figure(figsize=(11, 6.6), layout="constrained")
    grid = drawn.add_gridspec(4, 2)
    losses = [results.arrays[f"losses_{at}"] for at in range(len(results.rows))]
    split = len(_of_flow(results, _NGD))
    _draw_ngd(drawn, grid, results, losses[:split])
    _draw_ongd(drawn, grid, results, losses[split:])
    return drawn


def _draw_ngd(drawn: Figure, grid: GridSpec, results: Results, losses: list[np.ndarray]) -> None:
    low, high = (f([f(one) for one in losses]) for f in (min, max))
    margin = 0.05 * (high - low) + 2e-3
    rows, sweeps = _of_flow(results, _NGD), results.facts["sweeps"]
    for at, (row, one, sweep) in enumerate(zip(rows, losses, sweeps, strict=False)):
        axes = drawn.add_subplot(grid[2 * at : 2 * at + 2, 0])
        named = _names(sweep["families"], _APART * (high - low))
        _panel(axes, one, named, low - 2 * margin, high + margin)
        axes.set_title(f"(a) nGD, K = {row['K']}, M = {row['M']}, d = {row['d']}", fontsize=9)
        _mark_threshold(axes, row["threshold"])
    axes.set_xlabel("population loss of the end state (no start comes near 0)")


def _mark_threshold(axes: Axes, threshold: float) -> None:
    axes.axvline(threshold, color=GREY, linestyle=":")
    axes.annotate(
        f"“global” in the paper: < {threshold:g} ",
        (threshold, 1),
        (3, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        rotation=90,
        fontsize=7,
        va="top",
        color="0.25",
    )


def _draw_ongd(drawn: Figure, grid: GridSpec, results: Results, losses: list[np.ndarray]) -> None:
    families = results.facts["sweeps"][-1]["families"]
    for at, (row, one) in enumerate(zip(_of_flow(results, _ONGD), losses, strict=True)):
        axes = drawn.add_subplot(grid[at, 1])
        top = 1.08 * float(one.max()) + 1e-3
        named = _names(families, _APART * top) if row["where"] == END else []
        _panel(axes, one, named, -0.05 * top, top)
        axes.set_title(f"(b) onGD, K = M = {row['M']}: {LABELS[row['where']]}", fontsize=9)
    axes.set_xlabel("population loss (the scales differ)")


def _names(families: Families, gap: float) -> list[tuple[str, float]]:
    """The levels of a sweep, those closer than `gap` under one name."""
    near: list[Families] = []
    for family in families:
        if near and family["loss"] - near[-1][0]["loss"] < gap:
            near[-1].append(family)
        else:
            near.append([family])
    named = []
    for some in near:
        alphas = sorted({family["anti_aligned"] for family in some})
        name = f"α = {', '.join(map(str, alphas))}"
        more = f" ({len(some)} levels)" if len(some) > len(alphas) else ""
        named.append((name + more, some[0]["loss"]))
    return named


def _panel(
    axes: Axes, losses: np.ndarray, named: list[tuple[str, float]], left: float, right: float
) -> None:
    histogram(axes, losses, named, right, bins=round(120 * right / (right - left)))
    axes.set_xlim(left, right)
    axes.set_ylim(top=60 if named else 3)  # room for the names
    axes.set_yticks([1e-2, 1])
    axes.set_ylabel("share of starts", fontsize=8)
