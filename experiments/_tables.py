"""Tables 3a, 3b, 4a and 4b: fates of random starts against the published shares."""

import math

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ._draw import plain
from ._published import Shares
from ._report import BLUE, GREEN, GREY, ORANGE
from ._sweeps import interval, percent

_PUBLISHED_RUNS = 10_000


def difference(count: int, total: int, published: float, runs: int = _PUBLISHED_RUNS) -> float:
    """Of two shares, in standard errors: both are of finitely many starts."""
    p, q = count / total, published / 100
    mean = (count + q * runs) / (total + runs)
    return (p - q) / math.sqrt(max(mean * (1 - mean), 1 / runs) * (1 / total + 1 / runs))


def verdict(count: int, total: int, published: float, runs: int = _PUBLISHED_RUNS) -> str:
    """Whether a published percentage lies in our 95 % interval, or how far off it is."""
    _, low, high = percent(count, total)
    if low - 0.005 <= published <= high + 0.005:  # it is printed with two digits
        return "inside"
    return f"{difference(count, total, published, runs):+.1f} SE"


def fates_row(
    runs: ol.Sweep, published: Shares, spurious: int | None = None, below: float | None = None
) -> dict:
    """A row of Table 3 or 4. Global are the certified global minima, or, where nothing has loss 0,
    what ends `below` a loss. `spurious`: of Safran and Shamir's 1,000 runs."""
    n, outcome = len(runs), runs.outcome
    ended = np.isin(outcome, ["global_minimum", "local_minimum"])
    world = outcome == "global_minimum" if below is None else ended & (runs.loss < below)
    counts = {
        "local": int((ended & ~world).sum()),
        "global": int(world.sum()),
        "none": int((~ended).sum()),
    }
    row: dict = {"K": runs.problem.students, "M": runs.problem.teachers, "d": runs.dimension}
    for name, theirs in zip(counts, published, strict=True):
        row[f"{name}: paper %"] = theirs
        row[f"{name}: here % (95 %)"] = interval(counts[name], n)
    row["global of the paper"] = verdict(counts["global"], n, published.world)
    if spurious is not None:
        row["spurious: Safran, Shamir %"] = spurious / 10
        row["spurious of theirs"] = verdict(counts["local"], n, spurious / 10, 1000)
    found = [row for row in runs.summary().families if row.outcome == "local_minimum"]
    row["local minima"] = len(found)
    row["lowest"] = min((f.loss for f in found), default=None)
    row["seeds"] = n
    row["seconds"] = runs.seconds
    return row


def share(cell: str) -> tuple[float, float, float]:
    """What `interval` has written, back as numbers."""
    share, rest = cell.split(" (")
    low, high = rest.rstrip(")").split(" – ")
    return float(share), float(low), float(high)


def shares_figure(rows: list[dict], title: str, widths: str = "K") -> Figure:
    """Published and our shares against the width, and their difference."""
    figure = Figure(figsize=(7, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    x = np.array([row[widths] for row in rows])
    for name, colour in (("global", BLUE), ("local", ORANGE), ("none", GREEN)):
        ours = np.array([share(row[f"{name}: here % (95 %)"]) for row in rows])
        theirs = np.array([row[f"{name}: paper %"] for row in rows])
        errors = np.abs(ours[:, 1:] - ours[:, :1]).T
        above.errorbar(
            x, ours[:, 0], errors, fmt="o", color=colour, capsize=2, label=f"{name}, here"
        )
        above.plot(x, theirs, "x--", color=colour, linewidth=0.8, label=f"{name}, paper")
        if name == "global":
            below.errorbar(x, ours[:, 0] - theirs, errors, fmt="o", color=colour, capsize=2)
    if "spurious: Safran, Shamir %" in rows[0]:
        other = [row["spurious: Safran, Shamir %"] for row in rows]
        above.plot(x, other, "^", color=GREY, fillstyle="none", label="spurious, Safran and Shamir")
    above.set_ylabel("% of the starts")
    above.set_title(title, fontsize=10)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    below.axhline(0, color=GREY, linewidth=0.8)
    below.set_ylabel("global: here − paper")
    below.set_xlabel(f"width {widths}")
    below.set_xticks(x)
    for axes in (above, below):
        plain(axes)
    return figure


def inside(rows: list[dict], column: str = "agreement") -> str:
    """How many of the published shares that rows are compared with in a column our intervals hold."""
    compared = [row[column] for row in rows if row[column]]
    if not compared:
        return "The small version is of another size than the paper's."
    count = compared.count("inside")
    return f"{count} of {len(compared)} published shares lie in our 95 % intervals."


def agreement(rows: list[dict]) -> str:
    """How many published global shares our intervals hold."""
    inside = sum(row["global of the paper"] == "inside" for row in rows)
    text = f"{inside} of the paper's {len(rows)} global shares lie in our 95 % intervals"
    if "spurious of theirs" in rows[0]:
        theirs = sum(row["spurious of theirs"] == "inside" for row in rows)
        text += f", and {theirs} of Safran and Shamir's spurious shares (of 1,000 runs each)"
    return text + "."
