r"""Has leaky ReLU anti-aligned students, too, under normalised gradient descent (paper, Figure 11)?

Random students of unit length are relaxed by normalised gradient flow for leaky ReLU of slope 0.1 (the
paper's slope isn't known) and, to compare with, for ReLU. Q and R of the families of end states are drawn
with students sorted by alignment, and the share of each is told.
"""

import odelandscape as ol

from ..shared import opposed as _opposed
from ..shared.draw import overlaps_figure
from ..shared.legacy import arguments, report
from ..shared.sweeps import family_counts, swept

_WIDTH = 10
_SLOPE = 0.1
_MOST = {"leaky ReLU": 4, "ReLU": 2}  # families drawn


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure11",
        __doc__,
        argv,
        seeds=dict(type=int, default=2000, metavar="N", help="starts of each activation (2,000)"),
    )
    width, activations = _WIDTH, {"leaky ReLU": ol.LeakyReLU(_SLOPE), "ReLU": None}
    if args.quick:
        width, args.seeds, activations = 8, 64, {"leaky ReLU": ol.LeakyReLU(_SLOPE)}
    rows, panels, told, found = [], [], [], {}
    for name, activation in activations.items():
        runs = swept(args, width, width, "ngd", activation)
        rows += _opposed.rows(runs)
        found[f"{name}, K = M = {width}"] = family_counts(runs)
        some, single = _opposed.shares(runs)
        told.append(f"{name}: {some} % and {single} %")
        families = [f for f in runs.summary().families if f.anti_aligned or name != "ReLU"]
        for family in families[: _MOST[name]]:
            panels.append(_opposed.panel(runs, family, f"{name}, α = {family.anti_aligned}"))
    figure = overlaps_figure(panels, f"nGD, K = M = {width}; leaky ReLU of slope {_SLOPE}")
    remarks = (
        "Shares of starts that end with anti-aligned students, and with such as oppose no teacher more than "
        f"their own: {'; '.join(told)}. The paper, too, finds them with leaky ReLU as with ReLU."
    )
    report(args, rows, figure, remarks, levels=found)


if __name__ == "__main__":
    main()
