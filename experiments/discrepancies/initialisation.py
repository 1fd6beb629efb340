r"""Does the length of the students at the start explain the published shares at K = M (paper, Table 3a)?

Rows are N(0, s² I/d): s = 1 is the initialisation of Safran and Shamir, s = √M are standard normal rows for
d = M, a small s is a start near 0. The same starts, longer or shorter, are followed to their ends; the share
of the global minimum is held beside both published ones.
"""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, GREY, plain
from ..shared.legacy import arguments, report
from ..shared.published import SAFRAN_SHAMIR, TABLE_3A
from ..shared.shares import interval, percent, verdict


def _ends(problem: ol.Problem, scale: float, starts: int):
    """End states of the starts of a sweep (seed 0), their weights multiplied by the scale."""
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(starts))
    weights = jax.vmap(lambda key: ol.random_weights(key, problem))(keys)
    return ol.relax(problem, ol.GradientFlow(), ol.Weights(scale * weights.W, weights.v))


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "initialisation",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each (10,000)"),
    )
    widths, scales = (8, 12, 16), (0.01, 0.1, 0.3, 1.0, 3.0)
    if args.quick:
        widths, scales, args.seeds = (8,), (0.1, 1.0), 500
    rows, drawn = [], {}
    for width in widths:
        problem = ol.Problem(width, width)
        shares = []
        for scale in scales:
            ends = _ends(problem, scale, args.seeds)
            count = int((ends.outcome == "global_minimum").sum())
            rows.append(
                {
                    "K = M": width,
                    "s": scale,
                    "starts": args.seeds,
                    "global: here % (95 %)": interval(count, args.seeds),
                    "paper %": TABLE_3A[width].global_share,
                    "of the paper": verdict(count, args.seeds, TABLE_3A[width].global_share),
                    "Safran, Shamir %": 100 - SAFRAN_SHAMIR[width] / 10,
                    "of theirs": verdict(count, args.seeds, 100 - SAFRAN_SHAMIR[width] / 10, 1000),
                }
            )
            shares.append(percent(count, args.seeds))
        drawn[width] = np.array(shares)
        print(f"K = M = {width}: done", flush=True)
    figure = Figure(figsize=(2.9 * len(widths) + 0.4, 3.6), layout="constrained")
    for axes, (width, shares) in zip(
        figure.subplots(1, len(widths), squeeze=False)[0], drawn.items(), strict=True
    ):
        errors = np.abs(shares[:, 1:] - shares[:, :1]).T
        axes.errorbar(
            scales, shares[:, 0], errors, fmt="o-", color=BLUE, capsize=2, label="here (95 %)"
        )
        axes.axhline(TABLE_3A[width].global_share, color=GREY, linestyle="--", label="paper")
        theirs, low, high = percent(1000 - SAFRAN_SHAMIR[width], 1000)
        bar = [[theirs - low], [high - theirs]]
        axes.errorbar(1, theirs, bar, fmt="^", color=GREEN, capsize=2, label="Safran, Shamir")
        axes.set_xscale("log")
        axes.set_xlabel("scale s of the start")
        axes.set_title(f"K = M = {width}", fontsize=10)
        plain(axes)
    figure.axes[0].set_ylabel("global, % of the starts")
    figure.axes[0].legend(frameon=False, fontsize=8)
    inside = [f"K = {r['K = M']} at s = {r['s']:g}" for r in rows if r["of the paper"] == "inside"]
    always = [
        f"{scale:g}"
        for scale in scales
        if all(r["of the paper"] == "inside" for r in rows if r["s"] == scale)
    ]
    remarks = (
        f"The paper's share lies in our interval for {', '.join(inside) or 'none of these'}; for all widths "
        f"at s = {', '.join(always) or 'none of these'}."
    )
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
