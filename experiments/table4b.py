r"""How often does normalised gradient flow (nGD) end above its lowest levels for K = M + 1 (paper, Table 4b)?

A surplus student of length 1 cannot be silent, so that nothing has loss 0; the paper calls global what ends
below a loss that it reads off its histograms. The same thresholds are taken here, for students in the
teachers' span (d = M) and for students that can leave it (d = 2M), whose minima are others.
"""

from ._published import TABLE_4B, THRESHOLDS_4B
from ._report import arguments, report
from ._sweeps import levels, swept
from ._tables import agreement, fates_row, shares_figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "table4b",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each M (10,000)"),
    )
    teachers, times = TABLE_4B, (1, 2)
    if args.quick:
        teachers, args.seeds = {3: TABLE_4B[3]}, 200
    rows: dict[int, list[dict]] = {time: [] for time in times}
    found = {}
    for M, published in teachers.items():
        for time in times:
            runs = swept(args, M + 1, M, "ngd", dimension=time * M)
            row = fates_row(runs, published, below=THRESHOLDS_4B.get(M, 0.1))
            rows[time].append(row | {"global if below": THRESHOLDS_4B.get(M, 0.1)})
            found[f"K = {M + 1}, M = {M}, d = {time * M}"] = levels(runs)
    figure = shares_figure(rows[2], "nGD, K = M + 1, d = 2M", "M")
    told = [f"d = {'M' if time == 1 else '2M'}: {agreement(rows[time])}" for time in times]
    report(
        args, [row for time in times for row in rows[time]], figure, " ".join(told), levels=found
    )


if __name__ == "__main__":
    main()
