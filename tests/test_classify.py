"""Alignment and families, on end states made by hand."""

import itertools

import numpy as np
import pytest
from systems import MINIMA

from odelandscape.classify import align, families


def test_alignment_is_the_best_of_all_assignments():
    rng = np.random.default_rng(0)
    for _ in range(20):
        R = rng.normal(size=(4, 4))
        result = align(R, np.ones(4))
        best = max(np.abs(R[list(p), range(4)]).sum() for p in itertools.permutations(range(4)))
        assert np.abs(R[result.order, result.teacher]).sum() == pytest.approx(best)


@pytest.mark.parametrize("minimum", MINIMA, ids=lambda minimum: minimum.name)
def test_anti_aligned_students_of_published_minima_are_counted(minimum):
    counts = {"paper α=1": 1, "hidden α=10": 10, "K=12, M=11": 2}
    shuffled = np.random.default_rng(0).permutation(minimum.W)
    result = align(shuffled, np.linalg.norm(shuffled, axis=1))
    assert result.anti_aligned == counts[minimum.name]


def test_silent_and_surplus_students():
    R = np.array([[0.0, 0.0], [0.1, 0.9], [-0.8, 0.2], [0.0, 0.5]])
    result = align(R, np.array([0.0, 1.0, 1.0, 1.0]))
    np.testing.assert_array_equal(result.order, [2, 1, 0, 3])
    np.testing.assert_array_equal(result.teacher, [0, 1, -1, 1])
    assert result.anti_aligned == 1
    few = align(np.array([[0.1, -0.9, 0.2]]), np.ones(1))
    np.testing.assert_array_equal(few.teacher, [1])
    assert few.anti_aligned == 1


def test_families_by_outcome_anti_aligned_students_and_level():
    outcome = np.array(
        "local_minimum global_minimum local_minimum saddle local_minimum failed "
        "global_minimum not_converged local_minimum".split()
    )
    alpha = np.array([1, 0, 1, 1, 2, 0, 2, 0, 1])
    loss = np.array([0.02, 0.0, 0.02 + 1e-12, 0.02, 0.04, np.inf, 0.0, 0.5, 0.03])
    eigenvalue = np.array([0.1, 0.3, 0.2, -0.5, 0.1, np.inf, 0.2, 0.0, 0.4])
    found = families(outcome, alpha, loss, eigenvalue)
    told = [(f.outcome, f.anti_aligned, f.count, f.smallest_eigenvalue) for f in found]
    assert told == [
        ("global_minimum", 0, 2, 0.2),
        ("local_minimum", 1, 2, 0.1),
        ("saddle", 1, 1, -0.5),
        ("local_minimum", 1, 1, 0.4),
        ("local_minimum", 2, 1, 0.1),
    ]
    assert [f.representative for f in found] == [1, 0, 3, 8, 4]
