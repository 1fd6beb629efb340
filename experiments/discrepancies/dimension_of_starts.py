r"""In which dimension d of the inputs were the published runs made (paper, Tables 3 and 4)?

Rows of students are N(0, I/d): for d = M they stay in the teachers' span, for larger d they can leave it, and
begin with smaller overlaps. The share of each flow is mapped against d and held beside the published one. For
K = M + 1 nGD has other minima when students can leave the span: K = 3, M = 2 ends above the paper's threshold
of 0.123 for d = M and below it for d > M.
"""

import numpy as np
from matplotlib.figure import Figure

from ..shared.draw import BLUE, GREY, plain
from ..shared.legacy import arguments, report
from ..shared.published import SAFRAN_SHAMIR, TABLE_3A, TABLE_4A, TABLE_4B, THRESHOLDS_4B
from ..shared.shares import interval, percent, verdict
from ..shared.sweeps import LARGE, swept

_CASES = (  # flow, K, M, published share, threshold on the loss
    *(("gd", M, M, TABLE_3A[M].global_share, None) for M in (8, 10, 12)),
    *(("ngd", M, M, TABLE_4A[M].global_share, None) for M in (8, 10, 12)),
    *(("ngd", M + 1, M, TABLE_4B[M].global_share, THRESHOLDS_4B[M]) for M in (2, 3, 4)),
)


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "dimension_of_starts",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each (10,000)"),
    )
    cases, times = _CASES, (1, 1.25, 1.5, 2, 4)
    if args.quick:
        cases, times, args.seeds = _CASES[-2:-1], (1, 2), 500
    rows, drawn = [], {}
    for flow, K, M, published, below in cases:
        shares = []
        dimensions = sorted({round(time * M) for time in times} | {LARGE})
        for d in dimensions:
            runs = swept(args, K, M, flow, dimension=d)
            ended = np.isin(runs.outcome, ["global_minimum", "local_minimum"])
            world = (
                runs.outcome == "global_minimum" if below is None else ended & (runs.loss < below)
            )
            count, n = int(world.sum()), len(runs)
            found = runs.summary().families
            row = {"flow": flow, "K": K, "M": M, "d": d, "global if below": below}
            row |= {"paper %": published, "here % (95 %)": interval(count, n)}
            row["agreement"] = verdict(count, n, published)
            row["Safran, Shamir %"] = 100 - SAFRAN_SHAMIR[M] / 10 if flow == "gd" else None
            row["levels (share %)"] = "; ".join(
                f"{f.loss:.6f} ({100 * f.fraction:.1f})" for f in found[:3]
            )
            rows.append(row | {"seeds": n, "seconds": runs.seconds})
            shares.append(percent(count, n))
        drawn[flow, K, M] = (dimensions, np.array(shares), published)
    figure = Figure(figsize=(8.6, 2.5 * -(-len(drawn) // 3) + 0.6), layout="constrained")
    panels = figure.subplots(-(-len(drawn) // 3), min(3, len(drawn)), squeeze=False).flat
    for axes, ((flow, K, M), (d, shares, published)) in zip(panels, drawn.items(), strict=False):
        errors = np.abs(shares[:, 1:] - shares[:, :1]).T
        axes.errorbar(
            np.array(d) / M, shares[:, 0], errors, fmt="o-", color=BLUE, capsize=2, markersize=4
        )
        axes.axhline(published, color=GREY, linestyle="--", label=f"paper: {published} %")
        axes.set_xscale("log")
        axes.set_title(f"{'nGD' if flow == 'ngd' else 'GD'}, K = {K}, M = {M}", fontsize=9)
        axes.set_xlabel("d / M", fontsize=8)
        axes.set_ylabel("global, %", fontsize=8)
        axes.legend(frameon=False, fontsize=7)
        plain(axes)
    inside = {
        f"{row['flow']} K = {row['K']}, M = {row['M']}: d = {row['d']}"
        for row in rows
        if row["agreement"] == "inside"
    }
    remarks = "The published share lies in our 95 % interval for " + "; ".join(sorted(inside)) + "."
    report(args, rows, figure, remarks if inside else "No published share lies in our intervals.")


if __name__ == "__main__":
    main()
