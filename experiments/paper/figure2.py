r"""How do the final losses change with one and two students more than teachers (paper, Figure 2)?

Final losses of random starts of gradient flow at M = 17 and K = 17, 18 and 19, each with the levels of
minima that the fixed-point solver predicts (dashed): of the named families at K = M, above of all that a
search in up to two blocks finds. Minima are named by α and, for K > M, by the sizes of their blocks.
"""

import numpy as np
from matplotlib.figure import Figure

from ..shared.draw import histogram
from ..shared.levels import level_rows, marks, minima
from ..shared.published import TABLE_1, TABLE_2, TABLE_3B
from ..shared.legacy import arguments, report
from ..shared.sweeps import family_counts, swept
from ..shared.shares import interval


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure2",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each K (10,000)"),
    )
    M, widths = 17, (17, 18, 19)
    if args.quick:
        M, widths, args.seeds = 8, (8,), 200
    rows, found, drawn = [], {}, []
    for K in widths:
        runs = swept(args, K, M)
        predicted = minima(runs.problem)
        rows += level_rows(runs, predicted)
        found[f"K = {K}, M = {M}"] = family_counts(runs)
        drawn.append((runs, predicted))
    top = 1.05 * max(float(np.max(runs.loss)) for runs, _ in drawn)
    figure = Figure(figsize=(8.6, 0.6 + 2.5 * len(widths)), layout="constrained")
    panels = figure.subplots(len(widths), 1, sharex=True, squeeze=False)[:, 0]
    told = []
    for axes, (runs, predicted) in zip(panels, drawn, strict=True):
        histogram(axes, runs.loss, marks(predicted, top), top)
        if not predicted:
            none = "the search in two blocks finds no minimum above loss 0"
            axes.text(0.5, 0.5, none, transform=axes.transAxes, ha="center", fontsize=8)
        K, n = runs.problem.students, len(runs)
        share = interval(int((runs.outcome == "global_minimum").sum()), n)
        axes.set_title(
            f"K = {K}, M = {M}: {share} % of {n:,} starts reach the global minimum", fontsize=9
        )
        told.append(f"{share} % (K = {K})")
    panels[-1].set_xlabel("population loss of the end state")
    remarks = f"Global, with 95 % intervals: {', '.join(told)}."
    if M == 17:
        published = [f"{TABLE_1[K][0]} and {TABLE_2['gd'][K - M]}" for K in widths]
        remarks += (
            f" The paper's Tables 1 and 2 give {', '.join(published)} (and Table 3b "
            f"{TABLE_3B[M].global_share} for K = 18), its text that with one student more nearly all starts "
            "reach zero loss."
        )
    other = sum(row["starts"] for row in rows if row["end"] == "other levels")
    remarks += f" {other:,} starts end at levels that were not predicted."
    report(args, rows, figure, remarks, levels=found)


if __name__ == "__main__":
    main()
