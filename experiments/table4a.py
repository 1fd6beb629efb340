r"""How often does normalised gradient flow (nGD) end in a spurious minimum for K = M (paper, Table 4a)?

As Table 3a, with students of length 1. For d = M they stay in the teachers' span; the paper's other nGD runs
(Table 4b) fit d > M at the smallest widths (`dimension_of_starts`), so d = 2M stands beside it.
"""

from ._published import TABLE_4A
from ._report import arguments, report
from ._sweeps import levels, swept
from ._tables import agreement, fates_row, shares_figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "table4a",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each width (10,000)"),
    )
    widths, times = TABLE_4A, (1, 2)
    if args.quick:
        widths, times, args.seeds = {3: TABLE_4A[3]}, (1,), 200
    rows: dict[int, list[dict]] = {time: [] for time in times}
    found = {}
    for width, published in widths.items():
        for time in times:
            runs = swept(args, width, width, "ngd", dimension=time * width)
            rows[time].append(fates_row(runs, published))
            found[f"K = M = {width}, d = {time * width}"] = levels(runs)
    last = times[-1]
    figure = shares_figure(rows[last], f"nGD, K = M, d = {'2M' if last == 2 else 'M'}")
    told = [f"d = {'M' if time == 1 else '2M'}: {agreement(rows[time])}" for time in times]
    report(
        args, [row for time in times for row in rows[time]], figure, " ".join(told), levels=found
    )


if __name__ == "__main__":
    main()
