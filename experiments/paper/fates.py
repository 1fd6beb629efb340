r"""How often does gradient flow end in a spurious minimum for K = M = 6 … 20 (paper, Table 3a)?

Each start is followed to its end and certified: local and global are minima by their Hessian, none is what
is not (a saddle, or not converged). Beside them stand the published shares, and those of Safran and Shamir.
"""

from ..shared.published import SAFRAN_SHAMIR, TABLE_3A
from ..shared.legacy import arguments, report
from ..shared.sweeps import family_counts, swept
from ..shared.shares import agreement, fates_row, shares_figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "table3a",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each width (10,000)"),
    )
    widths = TABLE_3A
    if args.quick:
        widths, args.seeds = {6: TABLE_3A[6]}, 200
    rows, found = [], {}
    for width, published in widths.items():
        runs = swept(args, width, width)
        rows.append(fates_row(runs, published, SAFRAN_SHAMIR[width]))
        found[f"K = M = {width}"] = family_counts(runs)
    figure = shares_figure(rows, "gradient flow, K = M")
    report(args, rows, figure, agreement(rows), levels=found)


if __name__ == "__main__":
    main()
