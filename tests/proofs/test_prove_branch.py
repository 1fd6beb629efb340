"""Proofs that one branch joins two fixed points."""

import pytest
from proofs.proved_points import family

import odelandscape as ol


@pytest.mark.slow
def test_a_critical_width_is_enclosed():
    """α = 2: at K = 7.56119 a saddle, at 7.56120 a minimum, on one branch."""
    problem = ol.Problem(9, 9)
    ends = []
    for width in (7.56119, 7.5612):
        *_, last = ol.continue_family(problem, family(9, 2), "teachers", width, step=0.3)
        assert last.event == "end"
        ends.append(last.point)
    below, above = (ol.prove(end) for end in ends)
    assert (below.verdict, above.verdict) == ("saddle", "local minimum")
    assert below.eigenvalues[0].representation == above.eigenvalues[0].representation
    assert ol.prove_between(*ends)
    with pytest.raises(ValueError, match="same blocks"):
        ol.prove_between(ends[0], family(9, 1))


@pytest.mark.slow
def test_different_families_are_not_connected():
    assert not ol.prove_between(family(8, 2), family(8, 3, "hidden"))
