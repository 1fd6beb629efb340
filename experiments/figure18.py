r"""At which losses does orthonormal gradient descent (onGD) end for many hidden units (paper, Figure 18)?

As `figure17`, for M = 8 … 17.
"""

from ._ongd import distributions, remarks
from ._report import arguments, report

_TEACHERS = (8, 10, 12, 14, 17)


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure18",
        __doc__,
        argv,
        seeds=dict(type=int, default=1000, metavar="N", help="starts of each K and M (1,000)"),
    )
    teachers, surplus = _TEACHERS, (0, 1)
    if args.quick:
        teachers, surplus, args.seeds = (5,), (1,), 64
    rows, figure = distributions(args, teachers, surplus)
    report(args, rows, figure, remarks(rows))


if __name__ == "__main__":
    main()
