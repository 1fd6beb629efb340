"""The loss and its variations in balls, against fifty digits, autodiff, and limits."""

import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from proofs.proved_points import ball, encloses, family, loss_in_digits

import odelandscape as ol
from odelandscape.proofs.ball_hessian import hessian
from odelandscape.proofs.ball_loss import BallPoint
from odelandscape.proofs.balls import arb, ctx
from odelandscape.proofs.groups import Rows


def students(K, z):
    """Of the family α = 1: K − 1 aligned students and one alone, from its five parameters."""
    diagonal, a, b, c, d = z
    W = [[diagonal if i == j else a for j in range(K - 1)] + [b] for i in range(K - 1)]
    return [*W, [c] * (K - 1) + [d]]


@pytest.fixture(scope="module")
def fifty():
    """K = M = 4, α = 1: the point, by Newton's method on numerical derivatives, its loss and its Hessian."""
    K, point = 4, family(4, 1)
    certificate = ol.prove(point)
    with mp.workdps(80):
        teachers = [[mp.mpf(i == j) for j in range(K)] for i in range(K)]

        def reduced(*z):
            return loss_in_digits(students(K, z), teachers)

        def slope(k, z, h=mp.mpf(10) ** -25):
            up, down = ([x + s * h * (i == k) for i, x in enumerate(z)] for s in (1, -1))
            return (reduced(*up) - reduced(*down)) / (2 * h)

        start = [mp.mpf(float(x)) for x in point.z]
        z = mp.findroot(lambda *z: [slope(k, z) for k in range(5)], start, tol=1e-50)
        z = list(z)
        W = [x for row in students(K, z) for x in row]
        h, n = mp.mpf(10) ** -20, K * K

        def at(*moves):
            x = list(W)
            for i, s in moves:
                x[i] += s * h
            return loss_in_digits([x[K * i : K * i + K] for i in range(K)], teachers)

        H = mp.matrix(n, n)
        for i in range(n):
            for j in range(i + 1):
                corners = sum(s * t * at((i, s), (j, t)) for s in (1, -1) for t in (1, -1))
                H[i, j] = H[j, i] = corners / (4 * h * h)
        values = sorted(mp.eigsy(H, eigvals_only=True))
        return certificate, z, reduced(*z), values


def test_the_enclosures_hold_fifty_digits(fifty):
    certificate, z, value, eigenvalues = fifty
    assert certificate.verdict == "saddle"
    with mp.workdps(80):
        for enclosure, x in zip(certificate.parameters.values(), z, strict=True):
            assert encloses(enclosure, x, 1e-45)
            assert ball(enclosure).rad() < 1e-30
        assert encloses(certificate.loss, value, 1e-50)
        assert ball(certificate.loss).rad() < 1e-28
        rows = [row for row in certificate.eigenvalues for _ in range(round(row.multiplicity))]
        assert len(rows) == len(eigenvalues) == 16
        for row, x in zip(rows, eigenvalues, strict=True):
            assert encloses(row.value, x, 1e-35)
            assert row.value.low < x < row.value.high
            assert ball(row.value).rad() < 1e-19


@pytest.mark.parametrize(
    ("K", "alpha", "branch", "activation"),
    [
        (6, 1, "compensated", None),
        (6, 2, "compensated", None),
        (5, 3, "hidden", None),
        pytest.param(7, 5, "hidden", None, marks=pytest.mark.slow),
        pytest.param(9, 2, "compensated", ol.LeakyReLU(0.05), marks=pytest.mark.slow),
    ],
)
def test_the_spectrum_is_that_of_autodiff(K, alpha, branch, activation):
    point = family(K, alpha, branch, activation)
    certificate = ol.prove(point)
    assert certificate.proved
    problem = ol.Problem(K, K, activation or ol.ReLU())
    # Dense, in the full weights of one more dimension.
    W = jnp.pad(point.weights.W, ((0, 0), (0, 1)))
    truth = ol.spectrum(problem, ol.Weights(W, point.weights.v), K + 1)
    wanted = np.repeat(truth.eigenvalues, truth.multiplicities.astype(int))
    rows = [*certificate.eigenvalues, *certificate.beyond]
    proved = np.sort([row.value.low for row in rows for _ in range(round(row.multiplicity))])
    np.testing.assert_allclose(proved, wanted, atol=3e-9)  # equal ones are merged to their mean
    assert sum(row.multiplicity for row in certificate.eigenvalues) == K * K
    assert certificate.loss.low <= float(point.loss) + 1e-15
    assert certificate.loss.high >= float(point.loss) - 1e-15
    negative = int((wanted < 0).sum())
    assert certificate.index[0] <= negative
    assert (certificate.verdict == "saddle") == (truth.smallest < 0)


def test_coincident_units_have_the_limits_of_close_ones():
    """Second derivatives at an angle of 0 lie in a ball that holds those at small angles."""

    def point(tilt):
        with ctx.workprec(128):
            const = [[arb(0), arb(0)], [tilt, arb(1)]]
            students = Rows(const, [arb(1), 0])
            one = [arb(1), arb(1)]
            made = BallPoint([arb(3), arb(1)], (0,), 1, students, one, one, arb(0))
            present = [x for x in made.directions if x.component.dimension([3, 1]) > 0]
            return [hessian(made, directions) for directions in present]

    with ctx.workprec(128):
        around = point(arb(0, 1e-9))
        for tilt in (arb(0), arb(1e-12), arb(-1e-9)):
            for wide, narrow in zip(around, point(tilt), strict=True):
                for a, b in zip(wide.entries(), narrow.entries(), strict=True):
                    assert a.overlaps(b)
                    assert float(a.rad()) < 1e-6
