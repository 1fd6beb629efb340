r"""Are there anti-aligned students with erf under normalised gradient descent (paper, Figure 12)?

Random students of unit length are relaxed by normalised gradient flow for erf. In each family of end states
students are assigned to teachers, and anti-aligned is who overlaps negatively with its own. erf is odd: such a
student is one of readout −1 that points the other way. Whether it opposes its own teacher most, as ReLU's
do, or others more, is told too. Q and R of the families are drawn with students sorted by alignment.
"""

import odelandscape as ol

from . import _opposed
from ._draw import overlaps_figure
from ._report import arguments, report
from ._sweeps import levels, swept

_WIDTHS = (6, 8, 10)
_MOST = 3  # local minima drawn of each width


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure12",
        __doc__,
        argv,
        seeds=dict(type=int, default=2000, metavar="N", help="starts of each width (2,000)"),
    )
    widths = _WIDTHS
    if args.quick:
        widths, args.seeds = (6,), 64
    rows, panels, told, found = [], [], [], {}
    for width in widths:
        runs = swept(args, width, width, "ngd", ol.Erf())
        rows += _opposed.rows(runs)
        found[f"erf, K = M = {width}"] = levels(runs)
        some, single = _opposed.shares(runs)
        told.append(f"K = M = {width}: {some} %, {single} %")
        families = runs.summary().families
        minima = [family for family in families if family.outcome == "local_minimum"]
        common = sorted(minima, key=lambda family: -family.count)[:_MOST]
        shown = [families[0], *common] if width == widths[-1] else common
        panels += [_opposed.panel(runs, family, f"K = M = {width}") for family in shown]
    figure = overlaps_figure(panels, "nGD, erf")
    report(args, rows, figure, f"{'; '.join(told)}", levels=found)


if __name__ == "__main__":
    main()
