r"""How often does normalised gradient flow (nGD) end in a spurious minimum for K = M (paper, Table 4a)?

As Table 3a, with students of length 1. For d = M they stay in the teachers' span; for d = 1,000 they begin
almost orthogonal to it. The paper gives no dimension (`dimension_of_starts`).
"""

from ._published import TABLE_4A
from ._report import arguments, report
from ._sweeps import LARGE, dimension_name, levels, swept
from ._tables import agreement, fates_row, shares_figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "table4a",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each width (10,000)"),
    )
    widths, dimensions = TABLE_4A, (None, LARGE)
    if args.quick:
        widths, dimensions, args.seeds = {3: TABLE_4A[3]}, (None,), 200
    parts, found = {}, {}
    for d in dimensions:
        name = dimension_name(d)
        parts[name] = []
        for width, published in widths.items():
            runs = swept(args, width, width, "ngd", dimension=d)
            parts[name].append(fates_row(runs, published))
            found[f"K = M = {width}, {name}"] = levels(runs)
    figure = shares_figure(parts[name], f"nGD, K = M, {name}")
    told = [f"{name}: {agreement(some)}" for name, some in parts.items()]
    rows = [row for some in parts.values() for row in some]
    report(args, rows, figure, " ".join(told), levels=found)


if __name__ == "__main__":
    main()
