r"""At which losses does orthonormal gradient descent (onGD) end for few hidden units (paper, Figure 17)?

K = M above, K = M + 1 below, M = 2 … 6, in d = 2M dimensions. Each panel has the losses of the same starts
at the ends of their paths (certified), at a stop at t = 30, and at rest under the horizontal projection
G − GWᵀW, which never turns the students within their span (`orthonormal_endings`). The first are quantised,
the others are not. `figure18` is the same for more hidden units.
"""

from ..shared.ongd import distributions, remarks
from ..shared.legacy import arguments, report

_TEACHERS = (2, 3, 4, 5, 6)


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure17",
        __doc__,
        argv,
        seeds=dict(type=int, default=1000, metavar="N", help="starts of each K and M (1,000)"),
    )
    teachers, surplus = _TEACHERS, (0, 1)
    if args.quick:
        teachers, surplus, args.seeds = (5,), (0,), 64
    rows, figure = distributions(args, teachers, surplus)
    report(args, rows, figure, remarks(rows))


if __name__ == "__main__":
    main()
