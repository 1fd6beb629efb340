r"""Are there anti-aligned students with erf under normalised gradient descent (paper, Figure 12)?

Random students of unit length are relaxed by normalised gradient flow for erf. In each family of end states
students are assigned to teachers, and anti-aligned is who overlaps negatively with its own. erf is odd: such
a student is one of readout −1 that points the other way. Whether it opposes its own teacher most, as ReLU's
do, or others more, is told too. Q and R of the families are drawn with students sorted by alignment.
"""

import odelandscape as ol

from ..shared import opposed as _opposed
from ..shared.draw import overlaps_figure
from ..shared.legacy import arguments, report
from ..shared.sweeps import family_counts, swept

_WIDTHS = (6, 8, 10)
_MOST = 3  # local minima drawn of each width


def _range(numbers: list) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


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
        found[f"erf, K = M = {width}"] = family_counts(runs)
        some, single = _opposed.shares(runs)
        told.append(f"K = M = {width}: {some} % and {single} %")
        families = runs.summary().families
        minima = [family for family in families if family.outcome == "local_minimum"]
        common = sorted(minima, key=lambda family: -family.count)[:_MOST]
        shown = [families[0], *common] if width == widths[-1] else common
        panels += [_opposed.panel(runs, family, f"K = M = {width}") for family in shown]
    remarks = (
        "Shares of starts that end with anti-aligned students, and with such as oppose no teacher more than "
        f"their own: {'; '.join(told)}."
    )
    odd = [row for row in rows if row["anti-aligned"]]
    if odd:
        own, lowest, teachers = (
            _range([row[name] for row in odd])
            for name in ("overlap with its own", "lowest overlap", "with teachers")
        )
        remarks += (
            f" In {len(odd)} of {sum(row['end'] != 'global minimum' for row in rows)} families above loss 0 "
            f"there is one, with overlaps of {own} with its own teacher, of {lowest} with {teachers} others, "
            f"and none above {max(row['highest'] for row in odd):.4f}: it opposes a group. The paper sees no "
            "anti-aligned neurons; by the sign after the assignment there are these, but of another kind "
            "than ReLU's."
        ).replace("-0.", "−0.")
    report(args, rows, overlaps_figure(panels, "nGD, erf"), remarks, levels=found)


if __name__ == "__main__":
    main()
