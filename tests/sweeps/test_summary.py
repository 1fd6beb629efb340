"""The table of a sweep: its shares, its branches, and how it displays itself."""

import html

import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.model.alignment import alpha_text
from odelandscape.relaxation import outcomes
from odelandscape.relaxation.outcomes import LEVEL_WIDTH
from odelandscape.sweeps.levels import Family
from odelandscape.sweeps.result import branch_of
from odelandscape.sweeps.summary import loss_text, percent, summarise


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
    assert [alpha_text(n) for n in (0, 3, -1, None)] == ["0", "3", "–", "–"]


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


@pytest.mark.parametrize(
    ("loss", "power", "text"),
    [
        (0.0215080371, 1.0, "0.021508037"),
        (0.0215080371, 0.01, "0.021508037"),
        (0.0215080371e-12, 1e-12, "2.150804e-14"),
        (0.0215080371e-6, 1e-6, "2.150804e-08"),
        (0.0215080371e12, 1e12, "2.150804e+10"),
        (3.2e-12, 1e-12, "3.2e-12"),
    ],
)
def test_losses_have_nine_digits_relative_to_the_power_of_the_teacher(loss, power, text):
    """No loss that is not 0 prints as 0.000000000."""
    assert loss_text(loss, LEVEL_WIDTH * power) == text


def test_the_table_of_a_small_teacher_has_digits():
    found = [_family(outcomes.LOCAL_MINIMUM, 2.1508037e-14, 3)]
    counts = np.array([3 * (name == outcomes.LOCAL_MINIMUM) for name in outcomes.OUTCOMES])
    small = str(summarise("title", counts, found, [""], level_width=1e-12 * LEVEL_WIDTH))
    assert small.splitlines()[4].split()[-2:] == ["2.150804e-14", "0.01"]
    unit = str(summarise("title", counts, found, [""]))
    assert unit.splitlines()[4].split()[-2:] == ["0.000000000", "0.01000"]


def test_a_long_summary_displays_itself_in_a_few_lines():
    found = [_family(outcomes.LOCAL_MINIMUM, 0.01 * n, 1) for n in range(50)]
    counts = np.array([50 * (name == outcomes.LOCAL_MINIMUM) for name in outcomes.OUTCOMES])
    summary = summarise("title", counts, found, [""] * 50)
    lines = repr(summary).splitlines()
    assert len(lines) < 15
    assert lines[-1] == "… and 44 more"
    assert len(str(summary).splitlines()) == 56


@pytest.mark.slow
def test_the_branch_of_an_end_state_does_not_depend_on_the_order_of_its_students_and_teachers():
    """A state without blocks, for a teacher without, or outside the teachers' span has no branch."""
    problem, v = ol.Problem(4, 4), jnp.ones(4)
    W = np.full((4, 4), 0.1) + np.diag([0.9, 0.9, 0.9, -0.8])
    branch = branch_of(problem, ol.Weights(jnp.asarray(W), v))
    assert branch
    permuted = jnp.asarray(W[[2, 3, 0, 1]][:, [3, 0, 2, 1]])
    assert branch_of(problem, ol.Weights(permuted, v)) == branch
    assert branch_of(problem, ol.Weights(jnp.pad(W, ((0, 0), (0, 1))) + 0.1, v)) == ""
    T = np.diag([1.0, 2.0, 3.0, 4.0])
    assert branch_of(ol.Problem(4, 4, None, T), ol.Weights(permuted, v)) == ""
