r"""Does the length of the students at the start explain the published shares at K = M (paper, Table 3a)?

Rows are N(0, s² I/d): s = 1 is the initialisation of Safran and Shamir, s = √M are standard normal rows for
d = M, a small s is a start near 0. The same starts, longer or shorter, are followed to their ends; the share
of the global minimum is compared with both published ones.
"""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, GREY, plain
from ..shared.options import starts
from ..shared.published import SAFRAN_SHAMIR, TABLE_3A
from ..shared.results import Results
from ..shared.shares import percent, verdict
from ..shared.tables import Column, Row, number, share

OPTIONS = {"seeds": starts("each width and scale", quick=500)}
_WIDTHS, _SCALES = (8, 12, 16), (0.01, 0.1, 0.3, 1.0, 3.0)
_SPURIOUS_RUNS = 1000  # of Safran and Shamir


def rows(options) -> Results:
    """Count the starts of each width and scale that end in the global minimum."""
    widths, scales = ((8,), (0.1, 1.0)) if options.quick else (_WIDTHS, _SCALES)
    found = []
    for width in widths:
        problem = ol.Problem(width, width)
        for scale in scales:
            outcome = _outcomes(problem, scale, options.seeds)
            found.append(
                {
                    "K": width,
                    "scale": scale,
                    "starts": options.seeds,
                    "global": int((outcome == "global_minimum").sum()),
                    "published_global": TABLE_3A[width].global_share,
                    "published_spurious": SAFRAN_SHAMIR[width],
                }
            )
        print(f"K = M = {width}: done", flush=True)
    return Results(found)


def _outcomes(problem: ol.Problem, scale: float, count: int) -> np.ndarray:
    """Outcomes of the starts of a sweep (seed 0), their weights multiplied by the scale."""
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(count))
    weights = jax.vmap(lambda key: ol.random_weights(key, problem))(keys)
    return ol.relax(problem, ol.GradientFlow(), ol.Weights(scale * weights.W, weights.v)).outcome


def columns(results: Results) -> list[Column]:
    """Our shares beside those of the paper and of Safran and Shamir."""
    return [
        number("K = M", "K"),
        number("s", "scale"),
        number("starts"),
        share("global: here % (95 %)", "global"),
        number("paper %", "published_global"),
        Column("of the paper", _of_the_paper),
        Column("Safran, Shamir %", _safran_shamir),
        Column("of theirs", _of_safran_shamir),
    ]


def _of_the_paper(row: Row) -> str:
    return verdict(row["global"], row["starts"], row["published_global"])


def _safran_shamir(row: Row) -> float:
    return 100 - 100 * row["published_spurious"] / _SPURIOUS_RUNS


def _of_safran_shamir(row: Row) -> str:
    return verdict(row["global"], row["starts"], _safran_shamir(row), _SPURIOUS_RUNS)


def remarks(results: Results) -> str:
    """At which scales our intervals hold the paper's shares."""
    inside = [row for row in results.rows if _of_the_paper(row) == "inside"]
    which = ", ".join(f"K = {row['K']} at s = {row['scale']:g}" for row in inside)
    widths = {row["K"] for row in results.rows}
    scales = dict.fromkeys(row["scale"] for row in results.rows)
    of_scale = {scale: {row["K"] for row in inside if row["scale"] == scale} for scale in scales}
    always = ", ".join(f"{scale:g}" for scale in scales if of_scale[scale] == widths)
    none = "none of these"
    return (
        f"The paper's share lies in our interval for {which or none}; "
        f"for all widths at s = {always or none}."
    )


def figure(results: Results) -> Figure:
    """Draw our shares against the scale, a panel for each width, with the published ones."""
    widths = list(dict.fromkeys(row["K"] for row in results.rows))
    drawn = Figure(figsize=(2.9 * len(widths) + 0.4, 3.6), layout="constrained")
    panels = drawn.subplots(1, len(widths), squeeze=False)[0]
    for axes, width in zip(panels, widths, strict=True):
        _panel(axes, [row for row in results.rows if row["K"] == width])
        axes.set_title(f"K = M = {width}", fontsize=10)
    panels[0].set_ylabel("global, % of the starts")
    panels[0].legend(frameon=False, fontsize=8)
    return drawn


def _panel(axes: Axes, rows: list[Row]) -> None:
    shares = np.array([percent(row["global"], row["starts"]) for row in rows])
    errors, style = np.abs(shares[:, 1:] - shares[:, :1]).T, dict(capsize=2)
    scales = [row["scale"] for row in rows]
    axes.errorbar(scales, shares[:, 0], errors, fmt="o-", color=BLUE, label="here (95 %)", **style)
    axes.axhline(rows[0]["published_global"], color=GREY, linestyle="--", label="paper")
    learned = _SPURIOUS_RUNS - rows[0]["published_spurious"]
    theirs, low, high = percent(learned, _SPURIOUS_RUNS)
    bar = [[theirs - low], [high - theirs]]
    axes.errorbar(1, theirs, bar, fmt="^", color=GREEN, label="Safran, Shamir", **style)
    axes.set_xscale("log")
    axes.set_xlabel("scale s of the start")
    plain(axes)
