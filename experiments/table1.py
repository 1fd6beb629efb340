r"""Which families do starts reach with K = 17, 18 and 19 students for M = 17 teachers (paper, Table 1)?

End states of gradient flow are counted by their number α of anti-aligned students (global minima stand as
global, whatever surplus students do in them). For K > M a surplus student is counted with the teacher it
overlaps most with, so that a split anti-aligned student counts twice; `surplus_levels` names each minimum.
"""

import numpy as np
from matplotlib.figure import Figure

from ._draw import plain
from ._published import TABLE_1
from ._report import BLUE, GREEN, ORANGE, arguments, report
from ._sweeps import interval, levels, percent, swept
from ._tables import inside, verdict


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "table1",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each K (10,000)"),
    )
    M, widths = 17, (17, 18, 19)
    if args.quick:
        M, widths, args.seeds = 8, (8,), 200
    rows, found, drawn = [], {}, {}
    for K in widths:
        runs = swept(args, K, M)
        n, minimum = len(runs), runs.outcome == "local_minimum"
        counts = [int((runs.outcome == "global_minimum").sum())]
        counts += [int((minimum & (runs.anti_aligned == alpha)).sum()) for alpha in range(1, 5)]
        counts.append(n - sum(counts))
        names = ["global", *(f"α = {alpha}" for alpha in range(1, 5)), "others"]
        published = (*TABLE_1[K], None) if M == 17 else (None,) * 6
        for name, count, theirs in zip(names, counts, published, strict=True):
            row = {"K": K, "M": M, "end": name, "paper %": theirs}
            row["here % (95 %)"] = interval(count, n)
            row["agreement"] = verdict(count, n, theirs) if theirs is not None else None
            rows.append(row | {"seeds": n, "seconds": runs.seconds})
        found[f"K = {K}, M = {M}"] = levels(runs)
        drawn[K] = (np.array([percent(count, n) for count in counts]), published, names)
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    panels = figure.subplots(1, len(widths), sharey=True, squeeze=False)[0]
    for axes, (K, (ours, published, names)), colour in zip(
        panels, drawn.items(), (BLUE, GREEN, ORANGE), strict=False
    ):
        x = np.arange(len(names))
        errors = np.abs(ours[:, 1:] - ours[:, :1]).T
        axes.bar(x, ours[:, 0], yerr=errors, color=colour, capsize=2, label="here (95 %)")
        known = [i for i, share in enumerate(published) if share is not None]
        axes.plot(known, [published[i] for i in known], "kx", label="paper")
        axes.set_xticks(x, names, rotation=60, fontsize=8)
        axes.set_title(f"K = {K}, M = {M}", fontsize=10)
        axes.legend(frameon=False, fontsize=8)
        plain(axes)
    panels[0].set_ylabel("% of the starts")
    report(args, rows, figure, inside(rows), levels=found)


if __name__ == "__main__":
    main()
