"""The table of a sweep: outcomes and families, with the intervals of their frequencies."""

import math
from typing import NamedTuple

import numpy as np

from ..relaxation import outcomes
from .levels import Family


def wilson(count: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """95 % interval of a fraction, `count` of `total` (Wilson's score interval)."""
    if total == 0:
        return 0.0, 1.0
    p = count / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    # At the ends the interval touches 0 or 1; rounding must not carry it past the fraction itself.
    return max(0.0, min(centre - half, p)), min(1.0, max(centre + half, p))


class FamilyRow(NamedTuple):
    """A row of the table of families; `ci95` is the interval of `fraction` (of all seeds)."""

    outcome: str
    anti_aligned: int
    loss: float
    count: int
    fraction: float
    ci95: tuple[float, float]
    smallest_eigenvalue: float
    representative: int


class Summary(NamedTuple):
    """Counts and 95 % intervals of the outcomes, and the families, lowest loss first.

    `outcomes` maps each name of `results.OUTCOMES` to {"count", "fraction", "ci95"}. `str()` gives
    the table.
    """

    title: str
    outcomes: dict[str, dict]
    families: list[FamilyRow]

    def __str__(self) -> str:
        total = sum(outcome["count"] for outcome in self.outcomes.values())
        head = (
            f"{'end state':<16}{'anti-aligned':>13}{'count':>8}{'fraction':>10}"
            f"{'95 % interval':>18}{'loss':>15}{'smallest eigenvalue':>21}"
        )
        lines = [self.title, "", head, "-" * len(head)]

        def line(name, alpha, count, ci, loss, eigenvalue):
            interval = f"{100 * ci[0]:.2f} – {100 * ci[1]:.2f} %"
            lines.append(
                f"{name.replace('_', ' '):<16}{alpha:>13}{count:>8}{100 * count / total:>8.2f} %"
                f"{interval:>18}{loss:>15}{eigenvalue:>21}"
            )

        for row in self.families:
            zero = row.outcome == outcomes.GLOBAL_MINIMUM
            loss = "0" if zero else f"{row.loss:.9f}"
            eigenvalue = f"{round(row.smallest_eigenvalue, 5) + 0.0:.5f}"  # no -0.00000
            line(row.outcome, row.anti_aligned, row.count, row.ci95, loss, eigenvalue)
        for name in (outcomes.NOT_CONVERGED, outcomes.FAILED):
            outcome = self.outcomes[name]
            line(name, "", outcome["count"], outcome["ci95"], "", "")
        return "\n".join(lines)


def count_outcomes(outcome: np.ndarray) -> np.ndarray:
    """How many of these names are each of `results.OUTCOMES`."""
    return np.array([np.sum(outcome == name) for name in outcomes.OUTCOMES])


def summarise(title: str, counts: np.ndarray, found: list[Family]) -> Summary:
    """The table of so many of each outcome, and these families."""
    total = int(counts.sum())

    def share(count: int) -> dict:
        return {"count": count, "fraction": count / total, "ci95": wilson(count, total)}

    rows = [
        FamilyRow(
            family.outcome,
            family.anti_aligned,
            family.loss,
            family.count,
            family.count / total,
            wilson(family.count, total),
            family.smallest_eigenvalue,
            family.representative,
        )
        for family in found
    ]
    shares = {
        name: share(int(count)) for name, count in zip(outcomes.OUTCOMES, counts, strict=True)
    }
    return Summary(title, shares, rows)
