r"""Is the landscape of gradient flow also that of online SGD (paper, Result 3)?

The same starts are followed along gradient flow and along the ODE of online SGD at learning rates that fall.
The table has the fates under each, with their intervals; the share of starts whose fate is that of gradient
flow (outcome and number α of anti-aligned students); and the distance of levels: where some loss remains, the
noise does not vanish, and a minimum's loss is raised in proportion to η.
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.sweeps.summary import wilson_interval

from ..shared.draw import BLUE, GREEN, GREY, ORANGE
from ..shared.options import Option, starts
from ..shared.results import Results
from ..shared.tables import Cell, Column, Row, bounds, fraction, number

OPTIONS = {
    "width": Option(8, 3, "K = M", "K"),
    "seeds": starts("each", default=128, quick=12),
}
_RATES = (0.3, 0.1, 0.03, 0.01)


def rows(options) -> Results:
    """Count the fates of the same starts at each learning rate; η = 0 is gradient flow."""
    problem = ol.Problem(options.width, options.width)
    flow = ol.sweep(problem, ol.GradientFlow(), options.seeds, progress=False)
    found = [_row(0.0, flow, flow)]
    for rate, runs in _noisy_runs(options, problem):
        found.append(_row(rate, runs, flow))
        print(f"η = {rate:g}: done", flush=True)
    facts = {"level": None, "largest_stable_rate": float(ol.largest_learning_rate(problem))}
    if any(row["level"] is not None for row in found[1:]):
        point = ol.fixed_point(problem, ol.family(problem, 1))
        facts["level"] = float(point.loss)
    return Results(found, facts)


def _noisy_runs(options, problem: ol.Problem) -> Iterator[tuple[float, ol.Sweep]]:
    for rate in _RATES[:1] if options.quick else _RATES:
        store = options.out / f"sgd_fates-K{options.width}-eta{rate:g}"
        flow, progress = ol.OnlineSGD(rate), not options.quick
        yield rate, ol.sweep(problem, flow, options.seeds, store=store, progress=progress)


def _row(rate: float, runs: ol.Sweep, flow: ol.Sweep) -> Row:
    """Counts of fates at one learning rate, and the median loss of those that end with α = 1."""
    one = (runs.outcome == "local_minimum") & (runs.anti_aligned == 1)
    return {
        "K": runs.problem.students,
        "rate": rate,
        "starts": len(runs),
        "global": int((runs.outcome == "global_minimum").sum()),
        "alpha_1": int(one.sum()),
        "not_converged": int((runs.outcome == "not_converged").sum()),
        "failed": int((runs.outcome == "failed").sum()),
        "same": int((_fates(runs) == _fates(flow)).sum()),
        "level": float(np.median(runs.loss[one])) if one.any() else None,
    }


def _fates(runs: ol.Sweep) -> np.ndarray:
    """Outcome and α of each start; every global minimum is one fate."""
    names = zip(runs.outcome, runs.anti_aligned, strict=True)
    fates = [f"{outcome} {alpha}" for outcome, alpha in names]
    return np.array([fate.replace("global_minimum 0", "global") for fate in fates])


def columns(results: Results) -> list[Column]:
    """Shares of the fates, and how far the level of α = 1 is raised."""

    def raised(row: Row) -> Cell:
        if row["level"] is None or not row["rate"]:
            return None
        return (row["level"] - results.facts["level"]) / row["rate"]

    return [
        number("K = M", "K"),
        number("η", "rate"),
        number("starts"),
        fraction("global", "global"),
        *bounds("95 % from", "to", "global"),
        fraction("α = 1", "alpha_1"),
        fraction("not converged", "not_converged"),
        fraction("failed", "failed"),
        fraction("same fate as gradient flow", "same"),
        bounds("from", "to", "same")[0],
        number("level of α = 1", "level"),
        Column("above gradient flow's / η", raised),
    ]


def remarks(results: Results) -> str:
    """The learning rate at which the teacher becomes unstable."""
    stable = results.facts["largest_stable_rate"]
    return f"The largest stable η at the teacher is {stable:.6f}; gradient flow stands as η = 0."


def figure(results: Results) -> Figure:
    """Draw the share of the global minimum, and of equal fates, against the learning rate."""
    flow, *sgd = results.rows
    drawn = Figure(figsize=(5.8, 4), layout="constrained")
    axes = drawn.subplots()
    _draw_shares(axes, sgd, "global", "global minimum", BLUE)
    _draw_shares(axes, sgd, "same", "same fate as gradient flow", GREEN, only_low=True)
    axes.axhspan(*wilson_interval(flow["global"], flow["starts"]), color=GREY, alpha=0.25)
    share = flow["global"] / flow["starts"]
    axes.axhline(share, color=GREY, label="gradient flow: global minimum (95 %)")
    stable = results.facts["largest_stable_rate"]
    axes.axvline(stable, color=ORANGE, linestyle="--", label=f"largest stable η = {stable:.3f}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate η of online SGD")
    axes.set_ylabel("share of the starts")
    drawn.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"K = M = {flow['K']}, ReLU, {flow['starts']} starts", fontsize=10)
    return drawn


def _draw_shares(
    axes: Axes, rows: list[Row], key: str, label: str, colour: str, only_low: bool = False
) -> None:
    """Shares with their 95 % intervals, or with the lower part of these."""
    share = np.array([row[key] / row["starts"] for row in rows])
    low, high = np.array([wilson_interval(row[key], row["starts"]) for row in rows]).T
    rates = [row["rate"] for row in rows]
    above = np.zeros_like(share) if only_low else high - share
    style = dict(fmt="o-", color=colour, label=label, capsize=2)
    axes.errorbar(rates, share, [share - low, above], **style)
