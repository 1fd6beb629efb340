"""The table of a sweep: its shares, its branches, and how it displays itself."""

import html

import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.landscape.named_families import family
from odelandscape.relaxation import outcomes
from odelandscape.sweeps.levels import Family
from odelandscape.sweeps.result import branch_of
from odelandscape.sweeps.summary import alpha, percent, summarise


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [
        (3, 110_000, "0.0027 %"),
        (109_997, 110_000, "99.9973 %"),
        (1, 10_000_000, "0.000010 %"),
        (0, 110_000, "0.00 %"),
        (7, 7, "100.00 %"),
        (1, 3, "33.33 %"),
        (1, 100, "1.00 %"),
        (1, 1000, "0.10 %"),
        (999, 1000, "99.90 %"),
    ],
)
def test_a_share_shows_that_it_is_neither_none_nor_all(count, total, text):
    assert percent(count / total) == text


def test_alpha_is_a_dash_where_it_means_nothing():
    assert [alpha(n) for n in (0, 3, -1, None)] == ["0", "3", "–", "–"]


def _family(outcome: str, loss: float, count: int, anti_aligned: int = 1) -> Family:
    return Family(outcome, anti_aligned, loss, count, 0.01, 0, (loss, loss))


def test_families_of_one_alpha_are_told_apart_by_their_branch():
    found = [
        _family(outcomes.GLOBAL_MINIMUM, 0.0, 109_990, 0),
        _family(outcomes.LOCAL_MINIMUM, 0.0244, 3, 3),
        _family(outcomes.LOCAL_MINIMUM, 0.0302, 3, 3),
        _family(outcomes.SADDLE, 0.04, 4, -1),
    ]
    counts = np.array(
        [
            {"global_minimum": 109_990, "local_minimum": 6, "saddle": 4}.get(name, 0)
            for name in outcomes.OUTCOMES
        ]
    )
    summary = summarise("title <of> it", counts, found, ["", "compensated", "hidden", ""])
    rows = str(summary).splitlines()[4:]
    assert [row.split()[2:5] for row in rows[1:3]] == [
        ["compensated", "3", "3"],
        ["hidden", "3", "3"],
    ]
    assert "0.0027 %" in rows[1]
    assert rows[3].split()[:4] == ["saddle", "–", "–", "4"]
    table = summary._repr_html_()
    assert html.escape("title <of> it") in table
    assert "<td" in table
    assert table.count("<tr>") == 7
    assert "compensated" in table


def test_a_long_summary_displays_itself_in_a_few_lines():
    found = [_family(outcomes.LOCAL_MINIMUM, 0.01 * n, 1) for n in range(50)]
    counts = np.array([50 * (name == outcomes.LOCAL_MINIMUM) for name in outcomes.OUTCOMES])
    summary = summarise("title", counts, found, [""] * 50)
    lines = repr(summary).splitlines()
    assert len(lines) < 15
    assert lines[-1] == "… and 44 more"
    assert len(str(summary).splitlines()) == 56


def test_the_branch_of_an_end_state_is_that_of_the_family_whose_point_it_is():
    """Rows and columns in any order; a state without blocks, or outside the span, has no branch."""
    problem = ol.Problem(8, 8)
    point = ol.fixed_point(problem, family(problem, 2))
    rng = np.random.default_rng(0)
    W = jnp.asarray(np.asarray(point.weights.W)[rng.permutation(8)][:, rng.permutation(8)])
    v = jnp.ones(8)
    branch = branch_of(problem, ol.Weights(W, v))
    assert branch in ("compensated", "6+2: matched 6, 2")
    assert branch_of(problem, ol.Weights(jnp.pad(W, ((0, 0), (0, 1))) + 0.1, v)) == ""
    T = np.eye(8) + np.diag(np.arange(8.0))
    assert branch_of(ol.Problem(8, 8, None, T), ol.Weights(W, v)) == ""
