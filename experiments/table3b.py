r"""How often does gradient flow end in a spurious minimum for K = M + 1 (paper, Table 3b)?

Each start is followed to its end and certified: local and global are minima by their Hessian, none is what
is not (a saddle, or not converged). Beside them stand the published shares, and those of Safran and Shamir.
Why the paper's are others is asked by `stopping`.
"""

from ._published import SAFRAN_SHAMIR_SURPLUS, TABLE_3B
from ._report import arguments, report
from ._sweeps import levels, swept
from ._tables import agreement, fates_row, shares_figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "table3b",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each M (10,000)"),
    )
    teachers = TABLE_3B
    if args.quick:
        teachers, args.seeds = {8: TABLE_3B[8]}, 200
    rows, found = [], {}
    for M, published in teachers.items():
        runs = swept(args, M + 1, M)
        rows.append(fates_row(runs, published, SAFRAN_SHAMIR_SURPLUS[M]))
        found[f"K = {M + 1}, M = {M}"] = levels(runs)
    figure = shares_figure(rows, "gradient flow, K = M + 1", "M")
    report(args, rows, figure, agreement(rows), levels=found)


if __name__ == "__main__":
    main()
