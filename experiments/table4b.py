r"""How often does normalised gradient flow (nGD) end above its lowest levels for K = M + 1 (paper, Table 4b)?

A surplus student of length 1 cannot be silent, so that nothing has loss 0; the paper calls global what ends
below a loss that it reads off its histograms. The same thresholds are taken here, for students in the
teachers' span (d = M) and for students that can leave it (d = 1,000), whose minima are others.
"""

from ._published import TABLE_4B, THRESHOLDS_4B
from ._report import arguments, report
from ._sweeps import LARGE, dimension_name, levels, swept
from ._tables import agreement, fates_row, shares_figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "table4b",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each M (10,000)"),
    )
    teachers = TABLE_4B
    if args.quick:
        teachers, args.seeds = {3: TABLE_4B[3]}, 200
    parts, found = {}, {}
    for d in (None, LARGE):
        name = dimension_name(d)
        parts[name] = []
        for M, published in teachers.items():
            runs = swept(args, M + 1, M, "ngd", dimension=d)
            below = THRESHOLDS_4B.get(M, 0.1)
            row = fates_row(runs, published, below=below)
            parts[name].append(row | {"global if below": below})
            found[f"K = {M + 1}, M = {M}, {name}"] = levels(runs)
    figure = shares_figure(parts[name], f"nGD, K = M + 1, {name}", "M")
    told = [f"{name}: {agreement(some)}" for name, some in parts.items()]
    rows = [row for some in parts.values() for row in some]
    report(args, rows, figure, " ".join(told), levels=found)


if __name__ == "__main__":
    main()
