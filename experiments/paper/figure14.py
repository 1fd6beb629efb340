r"""What becomes of a surplus student whose length is fixed, at the minima of nGD (paper, Figure 14)?

Random students of unit length are relaxed by normalised gradient flow for K = 18, M = 17, and the order
parameters of the commonest levels are drawn: of the lowest ones, which the paper's threshold calls global,
and of those above. For each level the table has the groups that the students form. Where there are few
students, those of the best minima leave the teachers' span if the dimension lets them: K = 3, M = 2 and
K = 4, M = 3 are in the table with d = M and d = 2M, too.
"""

from ..shared.draw import overlaps_figure
from ..shared.legacy import arguments, report
from ..shared.ngd import grouped, level_row, reversed_pairs
from ..shared.published import TABLE_4B, THRESHOLDS_4B
from ..shared.shares import interval
from ..shared.sweeps import family_counts, swept

_SIZES = ((17, 1), (17, 2), (3, 1), (3, 2), (2, 1), (2, 2))  # M, d / M
_LOWEST, _HIGHER = 2, 4  # panels


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure14",
        __doc__,
        argv,
        seeds=dict(type=int, default=1000, metavar="N", help="starts of each (1,000)"),
    )
    sizes = _SIZES
    if args.quick:
        sizes, args.seeds = ((5, 1),), 128
    rows, found, told = [], {}, []
    for M, times in sizes:
        runs = swept(args, M + 1, M, "ngd", dimension=times * M)
        rows += [level_row(runs, family) for family in runs.summary().families]
        found[f"K = {M + 1}, M = {M}, d = {runs.dimension}"] = family_counts(runs)
        below = THRESHOLDS_4B.get(M, 0.1)
        share = interval(int((runs.loss < below).sum()), len(runs))
        told.append(
            f"{share} % below {below:g} at K = {M + 1}, d = {runs.dimension} (paper: {TABLE_4B[M].global_share} %)"
        )
    M, _ = sizes[0]
    runs = swept(args, M + 1, M, "ngd", dimension=M)
    below = THRESHOLDS_4B.get(M, 0.1)
    common = sorted(runs.summary().families, key=lambda family: -family.count)
    lowest = [family for family in common if family.loss < below][:_LOWEST]
    higher = [family for family in common if family.loss >= below][:_HIGHER]
    panels = []
    for family in sorted(lowest + higher, key=lambda family: family.loss):
        state, groups = grouped(runs, family)
        caption = (
            f"L = {family.loss:.6f}\n{100 * family.fraction:.1f} % of starts\n"
            f"groups of {(groups or '?').split(':')[0]}\n{reversed_pairs(state)} pairs reversed"
        )
        panels.append((caption, state))
    figure = overlaps_figure(panels, f"nGD, K = {M + 1}, M = {M}, d = {M}")
    best, *others = [row for row in rows if (row["M"], row["d"]) == (M, M)]
    above = [row for row in others if row["level"] >= below]
    words = "teachers in groups: students"
    alike = [row for row in above if f"+{row['of these in pairs']}:" in (row[words] or "")]
    remarks = (
        f"{'; '.join(told)}. At the lowest level of K = {M + 1} {best['of these in pairs']} pairs are "
        f"reversed, and the surplus student, of length {best['surplus student: length']:g}, has overlaps of "
        f"{best['smallest']:g} to {best['largest overlap']:g}: it is not silenced, and no loss is 0."
    )
    if above:
        remarks += (
            f" In {len(alike)} of the {len(above)} levels above {below:g} the second group is the reversed "
            f"pairs: {', '.join(str(row['of these in pairs']) for row in alike)}."
        )
    report(args, rows, figure, remarks, levels=found)


if __name__ == "__main__":
    main()
