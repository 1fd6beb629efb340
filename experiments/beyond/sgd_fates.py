r"""Is the landscape of gradient flow the one that SGD sees (paper, Result 3)?

The same starts are followed along gradient flow and along the ODE of online SGD at learning rates that fall.
Told are the fates under each, with their intervals; the share of starts whose fate is that of gradient flow
(outcome and number α of anti-aligned students); and the distance of levels: where some loss remains, the
noise never rests, and a minimum's loss is raised in proportion to η.
"""

import functools

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.summary import wilson

from ..shared.draw import BLUE, GREEN, GREY, ORANGE
from ..shared.legacy import arguments, report

_RATES = (0.3, 0.1, 0.03, 0.01)


def _fates(runs: ol.Sweep) -> np.ndarray:
    told = [f"{o} {a}" for o, a in zip(runs.outcome, runs.anti_aligned, strict=True)]
    return np.array([fate.replace("global_minimum 0", "global") for fate in told])


@functools.cache
def _level(width: int) -> float:
    """The loss of α = 1 under gradient flow."""
    problem = ol.Problem(width, width)
    return float(ol.fixed_point(problem, ol.family(problem, 1)).loss)


def _row(width: int, rate: float, runs: ol.Sweep, flow: ol.Sweep) -> dict:
    n = len(runs)
    learned = int((runs.outcome == "global_minimum").sum())
    same = int((_fates(runs) == _fates(flow)).sum())
    one = runs.loss[(runs.outcome == "local_minimum") & (runs.anti_aligned == 1)]
    low, high = wilson(learned, n)
    return {
        "K = M": width,
        "η": rate,
        "starts": n,
        "global": learned / n,
        "95 % from": low,
        "to": high,
        "α = 1": len(one) / n,
        "not converged": float((runs.outcome == "not_converged").mean()),
        "failed": float((runs.outcome == "failed").mean()),
        "same fate as gradient flow": same / n,
        "from": wilson(same, n)[0],
        "level of α = 1": float(np.median(one)) if len(one) else None,
        "above gradient flow's / η": float((np.median(one) - _level(width)) / rate)
        if len(one) and rate
        else None,
    }


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "sgd_fates",
        __doc__,
        argv,
        width=dict(type=int, default=8, metavar="K", help="K = M (8)"),
        seeds=dict(type=int, default=128, metavar="N", help="starts of each (128)"),
    )
    width, seeds, rates = args.width, args.seeds, _RATES
    if args.quick:
        width, seeds, rates = 3, 12, _RATES[:1]
    problem = ol.Problem(width, width)
    flow = ol.sweep(problem, ol.GradientFlow(), seeds, progress=False)
    rows = [_row(width, 0.0, flow, flow)]
    for rate in rates:
        runs = ol.sweep(
            problem,
            ol.OnlineSGD(rate),
            seeds,
            store=args.out / f"sgd_fates-K{width}-eta{rate:g}",
            progress=not args.quick,
        )
        rows.append(_row(width, rate, runs, flow))
        print(f"η = {rate:g}: done", flush=True)
    figure = Figure(figsize=(5.8, 4), layout="constrained")
    axes = figure.subplots()
    sgd = rows[1:]
    eta = np.array([row["η"] for row in sgd])
    for name, low, high, colour, label in (
        ("global", "95 % from", "to", BLUE, "global minimum"),
        ("same fate as gradient flow", "from", None, GREEN, "same fate as gradient flow"),
    ):
        share = np.array([row[name] for row in sgd])
        below = share - [row[low] for row in sgd]
        above = (np.array([row[high] for row in sgd]) if high else share) - share
        axes.errorbar(eta, share, [below, above], fmt="o-", color=colour, label=label, capsize=2)
    axes.axhspan(rows[0]["95 % from"], rows[0]["to"], color=GREY, alpha=0.25)
    axes.axhline(rows[0]["global"], color=GREY, label="gradient flow: global minimum (95 %)")
    stable = ol.largest_learning_rate(problem)
    axes.axvline(stable, color=ORANGE, linestyle="--", label=f"largest stable η = {stable:.3f}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate η of online SGD")
    axes.set_ylabel("share of the starts")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"K = M = {width}, ReLU, {seeds} starts", fontsize=10)
    remarks = f"The largest stable η at the teacher is {stable:.6f}; gradient flow stands as η = 0."
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
