"""The table of a sweep: outcomes and families, with the intervals of their frequencies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..model.alignment import NOT_DEFINED, alpha_text
from ..relaxation import outcomes
from ..relaxation.outcomes import LEVEL_WIDTH
from ..runtime.tables import html_table, text_table, with_digits
from .levels import Family


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a fraction, `count` of `total` (Wilson's score interval)."""
    from scipy.stats import binomtest  # takes a second to load

    if total == 0:
        return 0.0, 1.0
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def percent(fraction: float) -> str:
    """Return a fraction in per cent, with two decimals, and as many more as show that it is neither 0 nor 1,
    and its distance from there to two digits: 3 of 110,000 are 0.0027 %."""
    distance = 100 * min(fraction, 1 - fraction)
    decimals = 1 - math.floor(math.log10(distance)) if distance > 1e-9 else 2
    return f"{100 * fraction:.{max(decimals, 2)}f} %"


def loss_text(loss: float, level_width: float) -> str:
    """Return a loss with nine decimals or, for a teacher whose power is far from 1, as many relative to it.

    - `level_width`: of the problem, `LEVEL_WIDTH` times the teacher's power.
    """
    power = level_width / LEVEL_WIDTH
    if _ORDINARY[0] <= power <= _ORDINARY[1]:
        return f"{loss:.9f}"
    return with_digits(loss, 1e-9 * power)


def _eigenvalue_text(value: float, level_width: float) -> str:
    """Return an eigenvalue with five decimals or, for a teacher whose power is far from 1, four digits of
    those that are above the fifth decimal of its power."""
    power = level_width / LEVEL_WIDTH
    if _ORDINARY[0] <= power <= _ORDINARY[1] and abs(value) < _ORDINARY[1]:
        return f"{round(value, 5) + 0.0:.5f}"  # no -0.00000
    last = 1e-5 * min(power, 1.0)
    return f"{value:.4g}" if abs(value) >= last else "0"


_ORDINARY = 1e-3, 1e3  # the power of teachers whose losses have nine decimals
_HEAD = (
    *("end state", "branch", "anti-aligned", "count", "fraction", "95 % interval"),
    *("loss", "smallest eigenvalue"),
)
_LEFT = (0, 1)
_ROWS_SHOWN = 8  # of a summary that a notebook or a debugger displays as text


@dataclass(frozen=True)
class FamilyRow:
    """A row of the table of families; `ci95` is the interval of `fraction` (of all seeds).

    `branch` names the family's fixed points ("" if they have no name), `anti_aligned` is None where it
    means nothing (an even activation).
    """

    outcome: str
    anti_aligned: int | None
    loss: float
    count: int
    fraction: float
    ci95: tuple[float, float]
    smallest_eigenvalue: float
    representative: int
    branch: str = ""


Range = tuple[float, float]
"""The lowest and the highest of some numbers."""


class Unfinished(NamedTuple):
    """Where starts are that have not converged, and how their losses fall; `str()` says it in words.

    `early` of them were stopped before the time limit, after as many evaluations as are allowed or because
    their steps had become too small.
    `rate` is −(dL/dt)/L; `exponent` is p of those `algebraic` ones whose loss falls like t^(−p), None without
    any.
    """

    starts: int
    loss: Range
    gradient_norm: Range
    rate: Range
    algebraic: int
    exponent: Range | None
    early: int

    @classmethod
    def of(
        cls,
        loss: np.ndarray,
        gradient_norm: np.ndarray,
        rate: np.ndarray,
        exponent: np.ndarray,
        early: np.ndarray,
    ) -> "Unfinished | None":
        """Return the ranges of these numbers, each (n,), and how many are `early` (n,); None if n is 0."""
        if not len(loss):
            return None
        falling = exponent[exponent > 0]
        loss_range, norm_range, rate_range = map(_range, (loss, gradient_norm, rate))
        p = _range(falling) if len(falling) else None
        early_ones = int(np.count_nonzero(early))
        return cls(len(loss), loss_range, norm_range, rate_range, len(falling), p, early_ones)

    def __str__(self) -> str:
        words = (
            f"not converged ({self.starts}): loss {_in_words(self.loss, '.2g')}, gradient norm "
            f"{_in_words(self.gradient_norm, '.2g')}, relative rate of decay {_in_words(self.rate, '.2g')}"
        )
        if self.exponent is not None:
            p = _in_words(self.exponent, ".2f")
            words += f"; {self.algebraic} with L ~ t^(−p), p = {p}"
        if self.early:
            words += f"; {self.early} stopped early (too many evaluations, or steps too small)"
        return words + ". A larger time limit on the same store continues them"


def _range(x: np.ndarray) -> Range:
    return float(x.min()), float(x.max())


def _in_words(ends: Range, digits: str) -> str:
    return " – ".join(dict.fromkeys(format(end, digits) for end in ends))


class Summary(NamedTuple):
    """Counts and 95 % intervals of the outcomes, and the families, lowest loss first.

    `outcomes` maps each name of `outcomes.OUTCOMES` to {"count", "fraction", "ci95"}. `str()` gives
    the table.
    """

    title: str
    outcomes: dict[str, dict]
    families: list[FamilyRow]
    unfinished: Unfinished | None = None
    level_width: float = LEVEL_WIDTH  # of the problem

    def __str__(self) -> str:
        remark = f"\n\n{self.unfinished}" if self.unfinished else ""
        return f"{self.title}\n\n{text_table(_HEAD, self._rows(), _LEFT)}{remark}"

    def __repr__(self) -> str:
        lines = str(self).splitlines()
        more = len(lines) - _ROWS_SHOWN - 4
        return "\n".join([*lines[: _ROWS_SHOWN + 4], *([f"… and {more} more"] if more > 0 else [])])

    def _repr_html_(self) -> str:
        return html_table(self.title, _HEAD, self._rows(), _LEFT)

    def _rows(self) -> list[tuple[str, ...]]:
        def cells(fraction: float, ci95: tuple[float, float]) -> tuple[str, str]:
            low, high = (percent(end) for end in ci95)
            return percent(fraction), f"{low.removesuffix(' %')} – {high}"

        rows = []
        for family in self.families:
            zero = family.outcome == outcomes.GLOBAL_MINIMUM
            rows.append(
                (
                    family.outcome.replace("_", " "),
                    family.branch or "–",
                    alpha_text(family.anti_aligned),
                    str(family.count),
                    *cells(family.fraction, family.ci95),
                    "0" if zero else loss_text(family.loss, self.level_width),
                    _eigenvalue_text(family.smallest_eigenvalue, self.level_width),
                )
            )
        for name in (outcomes.NOT_CONVERGED, outcomes.FAILED):
            one = self.outcomes[name]
            shares = cells(one["fraction"], one["ci95"])
            rows.append((name.replace("_", " "), "", "", str(one["count"]), *shares, "", ""))
        return rows


def count_outcomes(outcome: np.ndarray) -> np.ndarray:
    """Return how many of these names are each of `outcomes.OUTCOMES`."""
    return np.array([np.sum(outcome == name) for name in outcomes.OUTCOMES])


def summarise(
    title: str,
    counts: np.ndarray,
    found: list[Family],
    branches: Sequence[str],
    unfinished: Unfinished | None = None,
    level_width: float = LEVEL_WIDTH,
) -> Summary:
    """Return the table of these counts (one for each of `outcomes.OUTCOMES`) and families, with the name of
    the branch that each is on, and what `unfinished` starts are like; losses within `level_width` are one."""
    total = int(counts.sum())

    def share(count: int) -> dict:
        return {"count": count, "fraction": count / total, "ci95": wilson_interval(count, total)}

    rows = [
        FamilyRow(
            family.outcome,
            None if family.anti_aligned == NOT_DEFINED else family.anti_aligned,
            family.loss,
            family.count,
            family.count / total,
            wilson_interval(family.count, total),
            family.smallest_eigenvalue,
            family.representative,
            branch,
        )
        for family, branch in zip(found, branches, strict=True)
    ]
    shares = {
        name: share(int(count)) for name, count in zip(outcomes.OUTCOMES, counts, strict=True)
    }
    return Summary(title, shares, rows, unfinished, level_width)
