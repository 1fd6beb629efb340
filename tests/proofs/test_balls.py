"""Validated linear algebra, against eigenvalues and zeros that are known."""

import importlib
import sys

import numpy as np
import pytest

from odelandscape.proofs import balls
from odelandscape.proofs.balls import arb, arb_mat, ctx


def test_eigenvalues_are_enclosed_where_they_are_known():
    # −u″ on n points: 2 − 2 cos(kπ/(n + 1)); and in a basis that isn't orthogonal.
    n, rng = 6, np.random.default_rng(0)
    H = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    basis = rng.integers(-3, 4, (n, n)) + 7 * np.eye(n, dtype=int)
    with ctx.workprec(128):
        B = arb_mat(basis.tolist())
        found = balls.enclosed_eigenvalues(
            B * arb_mat(H.tolist()) * B.transpose(), B * B.transpose()
        )
        for k, value in enumerate(found, 1):
            assert value.contains(2 - 2 * arb.cos_pi(arb(k) / (n + 1)))
            assert float(value.rad()) < 1e-28


def test_equal_eigenvalues_are_enclosed():
    with ctx.workprec(128):
        B = arb_mat([[1, 2, 2], [2, 1, -2], [2, -2, 1]]) * (arb(1) / 3)
        D = arb_mat([[1, 0, 0], [0, 1, 0], [0, 0, 5]])
        one = arb_mat([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
        found = balls.enclosed_eigenvalues(B * D * B.transpose(), one)
    assert [value.contains(x) for value, x in zip(found, (1, 1, 5), strict=True)] == [True] * 3


def test_indefinite_forms_have_no_eigenvalues():
    with ctx.workprec(64):
        assert (
            balls.enclosed_eigenvalues(arb_mat([[1, 0], [0, 1]]), arb_mat([[1, 1], [1, 1]])) is None
        )
        assert balls.independent_directions(arb_mat([[1, 1], [1, 1]])) == [0]
        assert balls.independent_directions(arb_mat([[0, 0], [0, 1]])) == [1]


def test_krawczyk_finds_a_single_zero_and_no_double_one():
    with ctx.workprec(128):

        def test(zero, f, slope, radius=1e-10):
            x, r = arb(zero), arb(radius)
            return balls.krawczyk_image([x], [r], [f(x)], arb_mat([[slope(arb(x, r))]]))

        (root,) = test(2**0.5, lambda x: x * x - 2, lambda x: 2 * x)
        assert root.contains(arb(2).sqrt())
        assert test(0.0, lambda x: x * x, lambda x: 2 * x) is None
        assert test(2**0.5 + 1e-6, lambda x: x * x - 2, lambda x: 2 * x) is None


def test_without_python_flint_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(ImportError, match=r'python3 -m pip install "odelandscape\[proof\]"'):
        importlib.reload(balls)
    monkeypatch.undo()
    importlib.reload(balls)
