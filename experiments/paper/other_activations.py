r"""Are there anti-aligned students with other activations than ReLU (paper, Figures 11 and 12)?

The families in which normalised gradient flow ends, with the students that are anti-aligned: the overlap with
the teacher that they are assigned to is negative.
"""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.model.alignment import align
from odelandscape.sweeps.summary import FamilyRow

from ..shared.draw import state_arrays, states_figure
from ..shared.matrices import grouped
from ..shared.options import starts
from ..shared.results import Results
from ..shared.shares import interval
from ..shared.sweeps import family_counts, swept
from ..shared.tables import Cell, Column, Row, fixed, number, share

DOCS = {
    "figure11": """\
Has leaky ReLU anti-aligned students, too, under normalised gradient descent (paper, Figure 11)?

Random students of unit length are relaxed by normalised gradient flow for leaky ReLU of slope 0.1 (the
paper's slope isn't known) and, to compare with, for ReLU. Q and R of the families of end states are drawn
with students sorted by alignment, and the share of each is given.
""",
    "figure12": """\
Are there anti-aligned students with erf under normalised gradient descent (paper, Figure 12)?

Random students of unit length are relaxed by normalised gradient flow for erf. In each family of end states
students are assigned to teachers; those are anti-aligned that overlap negatively with their own. erf is odd:
such a student is one of readout −1 that points the other way. Whether its overlap with its own teacher is the
strongest, as for ReLU's, or those with others are stronger, is reported, too. Q and R of the families are
drawn with students sorted by alignment.
""",
}
OPTIONS = {"seeds": starts("each activation and width", default=2000, quick=64)}
_SLOPE = 0.1
_LEAKY = "leaky ReLU"
_SWEEPS = {
    "figure11": ((_LEAKY, 10), ("ReLU", 10)),
    "figure12": (("erf", 6), ("erf", 8), ("erf", 10)),
}
_QUICK = {"figure11": ((_LEAKY, 8),), "figure12": (("erf", 6),)}
_TITLES = {
    "figure11": f"nGD, K = M = {{K}}; leaky ReLU of slope {_SLOPE}",
    "figure12": "nGD, erf",
}
_SAME = 1e-6  # overlaps that are closer are one


def _activation(name: str) -> ol.AbstractActivation | None:
    """None is ReLU, whose sweep is stored under no name."""
    return {_LEAKY: ol.LeakyReLU(_SLOPE), "ReLU": None, "erf": ol.Erf()}[name]


class _AntiAligned(NamedTuple):
    """The anti-aligned students of a state: overlaps with all teachers (n, M) and with their own (n,)."""

    overlaps: np.ndarray
    own: np.ndarray

    @property
    def single(self) -> int:
        """How many overlap with no other teacher as strongly as with their own."""
        strongest = np.abs(self.overlaps).max(axis=1, initial=0)
        return int((strongest <= np.abs(self.own) + _SAME).sum())


def _anti_aligned(state: ol.OrderParameters) -> _AntiAligned:
    R = np.asarray(state.R)
    order, teacher, _ = align(R, np.sqrt(np.diagonal(state.Q)))
    own = R[order, teacher]
    return _AntiAligned(R[order[own < 0]], own[own < 0])


def rows(options) -> Results:
    """Describe the families that the starts of each sweep end in."""
    sweeps = (_QUICK if options.quick else _SWEEPS)[options.name]
    found, panels, states, families = [], [], [], []
    for name, width in sweeps:
        runs = swept(options, width, width, "ngd", _activation(name))
        size = {"activation": name, "K": width}
        found += [size | _family(runs, family) for family in runs.summary().families]
        families.append(size | {"M": width, "d": runs.dimension, "families": family_counts(runs)})
        for family in _shown(runs, name, width == sweeps[-1][1]):
            states.append(grouped(runs, family)[0])
            panels.append(size | _panel(runs, family))
    return Results(found, {"panels": panels, "sweeps": families}, state_arrays(states))


def _family(runs: ol.Sweep, family: FamilyRow) -> Row:
    state, ansatz = grouped(runs, family)
    students = _anti_aligned(state)
    row: Row = {
        "end": family.outcome,
        "loss": family.loss,
        "count": family.count,
        "starts": len(runs),
        "smallest_eigenvalue": family.smallest_eigenvalue,
        "groups": None if ansatz is None else ol.describe(ansatz),
        "anti_aligned": len(students.own),
        "single": students.single,
    }
    if not row["anti_aligned"]:
        return row | dict.fromkeys(("own", "lowest", "teachers", "highest"))
    lowest = students.overlaps.min()
    of_the_most = students.overlaps[students.own.argmin()]
    return row | {
        "own": float(students.own.min()),
        "lowest": float(lowest),
        "teachers": int((of_the_most < lowest + _SAME).sum()),
        "highest": float(students.overlaps.max()),
    }


def _shown(runs: ol.Sweep, name: str, with_global: bool) -> list[FamilyRow]:
    """The families that are drawn of a sweep."""
    families = runs.summary().families
    if name == _LEAKY:
        return families[:4]
    if name == "ReLU":
        return [family for family in families if family.anti_aligned][:2]
    minima = [family for family in families if family.outcome == "local_minimum"]
    commonest = sorted(minima, key=lambda family: -family.count)[:3]
    return [families[0], *commonest] if with_global else commonest


def _panel(runs: ol.Sweep, family: FamilyRow) -> dict[str, Any]:
    return {
        "anti_aligned": family.anti_aligned,
        "loss": 0.0 if family.outcome == "global_minimum" else family.loss,
        "count": family.count,
        "starts": len(runs),
    }


def columns(results: Results) -> list[Column]:
    """The families, and the overlaps of their anti-aligned students."""
    return [
        number("activation"),
        number("K = M", "K"),
        Column("end", _end),
        number("loss"),
        number("starts", "count"),
        share("share % (95 %)", "count"),
        fixed("smallest eigenvalue", "smallest_eigenvalue", 5),
        number("groups of teachers: students", "groups"),
        number("anti-aligned", "anti_aligned"),
        number("strongest with its own", "single"),
        fixed("overlap with its own", "own", 4),
        fixed("lowest overlap", "lowest", 4),
        number("with teachers", "teachers"),
        fixed("highest", "highest", 4),
    ]


def _end(row: Row) -> Cell:
    return row["end"].replace("_", " ")


def remarks(results: Results) -> str:
    """Shares of starts that end with anti-aligned students."""
    by_width = results.name == "figure12"
    parts: dict[str, list[Row]] = {}
    for row in results.rows:
        name = f"K = M = {row['K']}" if by_width else row["activation"]
        parts.setdefault(name, []).append(row)
    shares = "; ".join(
        f"{name}: {_share(rows, 'anti_aligned')} % and {_share(rows, 'single')} %"
        for name, rows in parts.items()
    )
    text = (
        "Shares of starts that end with anti-aligned students, and with ones that overlap with no other "
        f"teacher more strongly than with their own: {shares}."
    )
    if not by_width:
        return f"{text} The paper, too, finds them with leaky ReLU as with ReLU."
    return text + _overlaps_remark(results.rows)


def _share(rows: list[Row], key: str) -> str:
    return interval(sum(row["count"] for row in rows if row[key]), rows[0]["starts"])


def _overlaps_remark(rows: list[Row]) -> str:
    """What the anti-aligned students of erf are like."""
    some = [row for row in rows if row["anti_aligned"]]
    if not some:
        return ""
    own, lowest, teachers = (
        _range([text.format(row[key]) for row in sorted(some, key=lambda row: row[key])])
        for key, text in (("own", "{:.4f}"), ("lowest", "{:.4f}"), ("teachers", "{}"))
    )
    above = sum(row["end"] != "global_minimum" for row in rows)
    return (
        f" In {len(some)} of {above} families above loss 0 there is one, with overlaps of {own} with its own "
        f"teacher, of {lowest} with {teachers} others, and none above "
        f"{max(row['highest'] for row in some):.4f}: it is anti-aligned with a group. The paper finds no "
        "anti-aligned neurons; by the sign after the assignment there are these, but of another kind than "
        "ReLU's."
    ).replace("-0.", "−0.")


def _range(ascending: list[str]) -> str:
    low, high = ascending[0], ascending[-1]
    return low if low == high else f"{low} to {high}"


def figure(results: Results) -> Figure:
    """Draw Q and R of the chosen families."""
    captions = [_caption(results.name, panel) for panel in results.facts["panels"]]
    title = _TITLES[results.name].format(K=results.rows[0]["K"])
    return states_figure(results.arrays, captions, title)


def _caption(figure: str, panel: dict[str, Any]) -> str:
    first = f"K = M = {panel['K']}"
    if figure == "figure11":
        first = f"{panel['activation']}, α = {panel['anti_aligned']}"
    loss = f"{panel['loss']:.6f}" if panel["loss"] else "0"
    return f"{first}\nL = {loss}\n{100 * panel['count'] / panel['starts']:.3g} % of starts"
