"""Shares of starts: their intervals, and how far they are from published ones."""

import math

from odelandscape.sweeps.summary import wilson_interval

PUBLISHED_RUNS = 10_000


def percent(count: int, total: int) -> tuple[float, float, float]:
    """A share and its 95 % interval, in percent."""
    low, high = wilson_interval(count, total)
    return 100 * count / total, 100 * low, 100 * high


def interval(count: int, total: int) -> str:
    """A share and its 95 % interval as tables show it, in percent."""
    share, low, high = percent(count, total)
    return f"{share:.2f} ({low:.2f} – {high:.2f})"


def difference(count: int, total: int, published: float, runs: int = PUBLISHED_RUNS) -> float:
    """Our share less a published one (in percent), in standard errors: both are of finitely many starts."""
    p, q = count / total, published / 100
    mean = (count + q * runs) / (total + runs)
    return (p - q) / math.sqrt(max(mean * (1 - mean), 1 / runs) * (1 / total + 1 / runs))


def holds(count: int, total: int, published: float) -> bool:
    """Whether a published percentage, printed with two digits, lies in our 95 % interval."""
    _, low, high = percent(count, total)
    return low - 0.005 <= published <= high + 0.005


def verdict(count: int, total: int, published: float, runs: int = PUBLISHED_RUNS) -> str:
    """'inside' if our interval holds a published percentage, else how far off it is, as tables show it."""
    if holds(count, total, published):
        return "inside"
    return f"{difference(count, total, published, runs):+.1f} SE"


def inside(verdicts: list[str | None]) -> str:
    """How many of the published shares that there are (not None) our intervals hold, in a sentence."""
    compared = [one for one in verdicts if one is not None]
    if not compared:
        return "The small version is of another size than the paper's."
    count = compared.count("inside")
    return f"{count} of {len(compared)} published shares lie in our 95 % intervals."
