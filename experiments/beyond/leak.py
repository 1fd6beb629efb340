r"""The leak at which the last spurious family disappears.

Every family K = M that is a minimum for ReLU is followed in the slope a of leaky ReLU, up towards the
linear network (a = 1) and down towards |x| (a = −1); changes of the smallest Hessian eigenvalue's sign and
folds are located to 1e-8. Near a = 1 all losses vanish like (1−a)², so losses and eigenvalues are divided by
(1−a)². By linearity of the Gaussian integrals the loss is, exactly,

    L(a) = (1−a)² [ B(W) + κ |Σ w_i − Σ w*_n|² ],   κ = (1+a)² / 8(1−a)²,

with B that of ReLU less its linear part: a leak does nothing but to raise κ, from 1/8 at a = 0 to ∞.
Two checks do without continuation: dense Hessians on either side of every change, and a search for minima
at slopes above 0, of narrower networks too.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, ORANGE
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Cell, Column, Row, number

OPTIONS = {
    "widths": Option(
        [6, 8, 10, 11, 17], [6], "widths that are followed; the last two are drawn", "K"
    )
}
_ENDS = (-0.99, 0.99)

Path = list[ol.BranchPoint]


def rows(options) -> Results:
    """Follow the minima of ReLU in the slope, and search for others at slopes above 0."""
    narrow, slopes, blocks = [2, 3, 4, 5], [0.5, 0.9, 0.99], 3
    if options.quick:
        narrow, slopes, blocks = [], [0.9], 2
    found, new, changes, curves = [], [], 0, {}
    for width in (*narrow, *options.widths):
        minima = _minima(width, blocks=blocks)
        known = {(point.branch, point.anti_aligned) for point in minima}
        for point in minima[:1] if options.quick else minima:
            path = _path(point, width)
            curves |= _curve(len(found), path)
            found.append(_row(point, width, path))
            for place in path:
                if place.event == "stability":
                    _check_change(width, place)
                    changes += 1
        for a in slopes:
            others = [(p.branch, p.anti_aligned) for p in _minima(width, a, 2)]
            new += [
                {"K": width, "slope": a, "branch": branch, "anti_aligned": alpha}
                for branch, alpha in others
                if (branch, alpha) not in known
            ]
        print(f"K = {width}: {len(minima)} minima followed", flush=True)
    facts: dict[str, Any] = {
        "critical_widths": [[a, _critical(10, a, "teachers", 4.0)] for a in (0.0, 0.5, 0.9, 0.99)],
        "critical_slopes": [[K, _critical(K, 0.0, "slope", _ENDS[0])] for K in (4, 5)],
        "checked_changes": changes,
        "searched_slopes": slopes,
        "searched_widths": [*narrow, *options.widths],
        "new_minima": new,
    }
    return Results(found, facts, curves)


def _minima(width: int, a: float = 0.0, blocks: int = 3) -> list[ol.FixedPoint]:
    """Stable families, the teacher's aside."""
    problem = ol.Problem(width, width, ol.LeakyReLU(a))
    found = [p for p in ol.families(problem, blocks=blocks) if float(p.loss) > 1e-10]
    return [point for point in found if ol.spectrum(problem, point).verdict == "stable"]


def _path(point: ol.FixedPoint, width: int) -> Path:
    """The branch from a = −0.99, or a fold, to a = 0.99, or a fold."""
    problem, ways = ol.Problem(width, width, ol.LeakyReLU(0.0)), []
    for stop in _ENDS:
        way = []
        for place in ol.continue_family(problem, point, "slope", stop, step=0.05):
            way.append(place)
            if place.event == "fold":
                break
        ways.append(way)
    return [*reversed(ways[0]), *ways[1][1:]]


def _row(point: ol.FixedPoint, width: int, path: Path) -> Row:
    changes = [place for place in path if place.event in ("stability", "fold")]
    last = path[-1]
    scale = (1 - last.value) ** 2
    return {
        "K": width,
        "branch": point.branch,
        "anti_aligned": point.anti_aligned,
        "loss": float(point.loss),
        "changes": [[place.value, place.component] for place in changes],
        "last_slope": last.value,
        "last_scaled_loss": last.loss / scale,
        "last_scaled_eigenvalue": last.smallest_eigenvalue / scale,
    }


def _curve(number: int, path: Path) -> dict[str, np.ndarray]:
    """Slopes and smallest eigenvalues along the path of a row."""
    return {
        f"slope_{number}": np.array([place.value for place in path]),
        f"eigenvalue_{number}": np.array([place.smallest_eigenvalue for place in path]),
    }


def _check_change(width: int, place: ol.BranchPoint) -> None:
    """The dense Hessian's smallest eigenvalue has either sign, next to a change of stability."""
    values = []
    for a in (place.value - 1e-3, place.value + 1e-3):
        problem = ol.Problem(width, width, ol.LeakyReLU(a))
        point = ol.fixed_point(problem, place.point)
        values.append(ol.spectrum(problem, point.weights).smallest)
    if values[0] * values[1] >= 0:
        raise ArithmeticError(f"K = {width}: no change at a = {place.value}: {values}")


def _critical(width: int, a: float, parameter: str, stop: float) -> float | None:
    """Where the compensated α = 1 changes its stability."""
    problem = ol.Problem(width, width, ol.LeakyReLU(a))
    point = ol.fixed_point(problem, ol.family(problem, 1))
    return ol.critical_value(problem, point, parameter, stop)


def columns(results: Results) -> list[Column]:
    """Where each minimum changes its stability, and its scaled loss and eigenvalue at the last slope."""
    return [
        number("K"),
        number("branch"),
        number("α", "anti_aligned"),
        number("loss at a = 0", "loss"),
        Column("changes at a", _changes),
        number("followed to a", "last_slope"),
        number("loss / (1−a)² there", "last_scaled_loss"),
        number("smallest eigenvalue / (1−a)² there", "last_scaled_eigenvalue"),
    ]


def _changes(row: Row) -> Cell:
    return ", ".join(f"{a:.8f} ({component})" for a, component in row["changes"]) or "none"


def remarks(results: Results) -> str:
    """Which minima are lost, and at which widths α = 1 is one."""
    rows, facts = results.rows, results.facts
    lost = [row for row in rows if row["last_scaled_eigenvalue"] <= 0]
    which = (
        "; ".join(f"K = {row['K']}, {row['branch']} α = {row['anti_aligned']}" for row in lost)
        or "none"
    )
    widths = ", ".join(f"{width:.6f} at a = {a:g}" for a, width in facts["critical_widths"])
    narrow = ", ".join(f"a < {a:.8f} at K = {K}" for K, a in facts["critical_slopes"])
    changes = facts["checked_changes"]
    slopes, searched = (
        ", ".join(map(str, facts[key])) for key in ("searched_slopes", "searched_widths")
    )
    new = "; ".join(
        f"{one['branch']} α = {one['anti_aligned']} at K = {one['K']}, a = {one['slope']}"
        for one in facts["new_minima"]
    )
    return (
        f"Of the {len(rows)} minima lost on the way to a = 0.99: {which}. The critical width of α = 1 is "
        f"{widths}. So no leak up to 0.99 makes the last family disappear, and with widths, scaled losses "
        "and eigenvalues settled none closer to 1 is expected to: what a leak changes is κ, which in the end "
        "forces Σ w = Σ w*. Towards |x| hidden families are lost and compensated ones stay minima, their "
        "losses vanishing (there a student and its negative are one); α = 1 becomes a minimum of narrow "
        f"networks too: {narrow}. Changes of stability confirmed by dense Hessians at a ± 0.001: {changes} "
        f"of {changes}. Minima at a = {slopes} and K = {searched} that ReLU lacks, in two blocks: "
        f"{new or 'none'}."
    )


def figure(results: Results) -> Figure:
    """Draw the scaled smallest eigenvalues of the two largest widths against the slope."""
    widths = results.options["widths"][-2:]
    drawn = Figure(figsize=(9, 4.2), layout="constrained")
    panels = drawn.subplots(1, len(widths), sharey=True, squeeze=False)[0]
    for axes, width in zip(panels, widths, strict=True):
        _panel(axes, width, results)
    panels[0].set_ylabel("smallest eigenvalue / (1−a)²")
    drawn.suptitle("ReLU's minima under a leak; α beside the lines", fontsize=10)
    return drawn


def _panel(axes: Axes, width: int, results: Results) -> None:
    for branch, colour, shift in (("compensated", BLUE, 0.02), ("hidden", ORANGE, 0.14)):
        ends = {}
        for at, row in enumerate(results.rows):
            if (row["K"], row["branch"]) != (width, branch):
                continue
            a = results.arrays[f"slope_{at}"]
            smallest = results.arrays[f"eigenvalue_{at}"] / (1 - a) ** 2
            axes.plot(a, smallest, color=colour, linewidth=1.2)
            ends[row["anti_aligned"]] = smallest[-1]
        # Of the hidden ones, many and close, the first and the last are labelled.
        every = 1 if branch == "compensated" else max(len(ends) - 1, 1)
        for alpha in sorted(ends)[::every]:
            place = (_ENDS[1] + shift, ends[alpha])
            axes.annotate(f"{alpha}", place, color=colour, fontsize=8, va="center")
        axes.plot([], [], color=colour, label=branch)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.axvline(0, color="0.3", linewidth=0.8, linestyle=":")
    axes.set_xlim(-1, 1.25)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1\n|x|", "−0.5", "0\nReLU", "0.5", "1\nlinear"])
    axes.set_xlabel("slope a of leaky ReLU")
    axes.set_title(f"K = M = {width}", fontsize=9)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
