r"""Which families do starts reach with K = 17, 18 and 19 students for M = 17 teachers (paper, Table 1)?

End states of gradient flow are counted by their number α of anti-aligned students (global minima stand as
global, whatever surplus students do in them). For K > M a surplus student is counted with the teacher it
overlaps most with, so that a split anti-aligned student counts twice; `surplus_levels` names each minimum.

The paper gives no dimension: shares are those of students in the teachers' span (d = M), and, beside them,
of students in 1,000 dimensions, who begin almost orthogonal to it.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, ORANGE, plain
from ..shared.published import TABLE_1
from ..shared.legacy import arguments, report
from ..shared.sweeps import LARGE, dimension_name, family_counts, swept
from ..shared.shares import interval, percent
from ..shared.legacy import inside
from ..shared.shares import verdict

_ENDS = ("global", *(f"α = {alpha}" for alpha in range(1, 5)), "others")


def _counts(runs: ol.Sweep) -> list[int]:
    """How many starts end in each of `_ENDS`."""
    minimum = runs.outcome == "local_minimum"
    counts = [int((runs.outcome == "global_minimum").sum())]
    counts += [int((minimum & (runs.anti_aligned == alpha)).sum()) for alpha in range(1, 5)]
    return [*counts, len(runs) - sum(counts)]


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "table1",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each K (10,000)"),
    )
    M, widths, dimensions = 17, (17, 18, 19), (None, LARGE)
    if args.quick:
        M, widths, dimensions, args.seeds = 8, (8,), (None,), 200
    rows, found, drawn = [], {}, {}
    for K in widths:
        published = (*TABLE_1[K], None) if M == 17 else (None,) * 6
        some: list[dict] = [
            {"K": K, "M": M, "end": name, "paper %": theirs}
            for name, theirs in zip(_ENDS, published, strict=True)
        ]
        for d in dimensions:
            runs, name = swept(args, K, M, dimension=d), dimension_name(d)
            n, counts = len(runs), _counts(runs)
            for row, count, theirs in zip(some, counts, published, strict=True):
                row[f"{name}: here % (95 %)"] = interval(count, n)
                row[f"{name}: agreement"] = None if theirs is None else verdict(count, n, theirs)
                row[f"{name}: seconds"] = runs.seconds
                row["seeds"] = n
            found[f"K = {K}, M = {M}, {name}"] = family_counts(runs)
            drawn[K, name] = np.array([percent(count, n) for count in counts])
        rows += some
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    panels = figure.subplots(1, len(widths), sharey=True, squeeze=False)[0]
    for axes, K, colour in zip(panels, widths, (BLUE, GREEN, ORANGE), strict=False):
        x = np.arange(len(_ENDS))
        published = [row["paper %"] for row in rows if row["K"] == K]
        for at, d in zip((-0.2, 0.2), dimensions, strict=False):
            name = dimension_name(d)
            look = dict(color=colour) if d is None else dict(color="white", edgecolor=colour)
            ours = drawn[K, name]
            errors = np.abs(ours[:, 1:] - ours[:, :1]).T
            label = f"{name} (95 %)"
            axes.bar(x + at, ours[:, 0], 0.4, yerr=errors, capsize=2, label=label, **look)
        known = [i for i, share in enumerate(published) if share is not None]
        axes.plot(known, [published[i] for i in known], "kx", markersize=7, label="paper")
        axes.set_xticks(x, _ENDS, rotation=60, fontsize=8)
        axes.set_title(f"K = {K}, M = {M}", fontsize=10)
        axes.legend(frameon=False, fontsize=8)
        plain(axes)
    panels[0].set_ylabel("% of the starts")
    names = [dimension_name(d) for d in dimensions]
    told = [f"{name}: {inside(rows, f'{name}: agreement')}" for name in names]
    report(args, rows, figure, " ".join(told), levels=found)


if __name__ == "__main__":
    main()
