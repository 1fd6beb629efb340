"""The table of a sweep: outcomes and families, with the intervals of their frequencies."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..model.alignment import NOT_DEFINED, alpha_text
from ..relaxation import outcomes
from ..runtime.tables import text_table
from .levels import Family


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a fraction, `count` of `total` (Wilson's score interval)."""
    from scipy.stats import binomtest  # takes a second to load

    if total == 0:
        return 0.0, 1.0
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


_HEAD = (
    *("end state", "anti-aligned", "count", "fraction", "95 % interval"),
    *("loss", "smallest eigenvalue"),
)


@dataclass(frozen=True)
class FamilyRow:
    """A row of the table of families.

    `anti_aligned` is None where it is not defined (an even activation); `ci95` is the interval of `fraction`
    (of all seeds).
    """

    outcome: str
    anti_aligned: int | None
    loss: float
    count: int
    fraction: float
    ci95: tuple[float, float]
    smallest_eigenvalue: float
    representative: int


class Summary(NamedTuple):
    """Counts and 95 % intervals of the outcomes, and the families, lowest loss first.

    `outcomes` maps each name of `outcomes.OUTCOMES` to {"count", "fraction", "ci95"}. `str()` gives
    the table.
    """

    title: str
    outcomes: dict[str, dict]
    families: list[FamilyRow]

    def __str__(self) -> str:
        total = sum(outcome["count"] for outcome in self.outcomes.values())

        def row(name: str, alpha: str, count: int, interval: tuple, *rest: str) -> tuple[str, ...]:
            low, high = (100 * end for end in interval)
            fraction = f"{100 * count / total:.2f} %", f"{low:.2f} – {high:.2f} %"
            return name.replace("_", " "), alpha, str(count), *fraction, *rest

        rows = []
        for family in self.families:
            zero = family.outcome == outcomes.GLOBAL_MINIMUM
            loss = "0" if zero else f"{family.loss:.9f}"
            eigenvalue = f"{round(family.smallest_eigenvalue, 5) + 0.0:.5f}"  # no -0.00000
            counted = alpha_text(family.anti_aligned), family.count, family.ci95
            rows.append(row(family.outcome, *counted, loss, eigenvalue))
        for name in (outcomes.NOT_CONVERGED, outcomes.FAILED):
            outcome = self.outcomes[name]
            rows.append(row(name, "", outcome["count"], outcome["ci95"], "", ""))
        return f"{self.title}\n\n{text_table(_HEAD, rows)}"


def count_outcomes(outcome: np.ndarray) -> np.ndarray:
    """Return how many of these names are each of `outcomes.OUTCOMES`."""
    return np.array([np.sum(outcome == name) for name in outcomes.OUTCOMES])


def summarise(title: str, counts: np.ndarray, found: list[Family]) -> Summary:
    """Return the table of these counts (one for each of `outcomes.OUTCOMES`) and families."""
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
        )
        for family in found
    ]
    shares = {
        name: share(int(count)) for name, count in zip(outcomes.OUTCOMES, counts, strict=True)
    }
    return Summary(title, shares, rows)
