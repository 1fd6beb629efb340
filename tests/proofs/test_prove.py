"""What is proved of fixed points, and everything that must not be proved."""

import equinox as eqx
import jax.numpy as jnp
import pytest
from proofs.proved_points import (
    ball,
    exchanged,
    family,
    fifty_digit_loss,
    moved,
    perturb_hessian,
)

import odelandscape as ol
from odelandscape.proofs import groups
from odelandscape.proofs.ball_loss import BallPoint
from odelandscape.proofs.balls import arb, ctx
from odelandscape.proofs.certify import certify
from odelandscape.proofs.statement import from_dyadic, to_dyadic


def test_where_students_coincide_with_teachers_the_global_minimum_is_proved():
    (point,) = ol.families(ol.Problem(5, 5), anti_aligned=0)
    certificate = ol.prove(point)
    assert (certificate.verdict, certificate.index) == ("global minimum", (0, 0))
    assert certificate.loss.ball == "0"
    assert certificate.in_any_dimension
    # At the teacher, angles are 0 and 90°: λ of Λ² is 1/4 − 1/2π, in the limit of any K.
    smallest = ball(certificate.eigenvalues[0].value)
    with ctx.workprec(200):
        assert smallest.overlaps(arb(1) / 4 - 1 / (2 * arb.pi()))


@pytest.mark.slow
def test_a_family_with_a_student_too_many_is_proved():
    problem = ol.Problem(7, 6)
    points = ol.families(problem, blocks=1, starts=16)
    found = {
        ol.prove(p).verdict: p for p in points if ol.spectrum(problem, p).verdict != "marginal"
    }
    assert set(found) <= {"saddle", "local minimum"}
    assert found


@pytest.mark.parametrize("parts", [(0.5, 0.25), (1.5, -0.5), (0.5, 0.5, 1e-12)])
def test_students_that_are_almost_the_teachers_prove_nothing(parts):
    # In the second the parts have the right sum, but ReLU doesn't add up what points opposite ways.
    point = exchanged(*parts)
    assert fifty_digit_loss(point) > 1e-26
    certificate = ol.prove(point)
    assert certificate.verdict in ("undecided", "refuted")


def test_at_real_sizes_no_loss_is_the_least():
    point = exchanged()
    point = eqx.tree_at(lambda p: p.ansatz.sizes, point, jnp.array([4.5, 1.0]))
    certificate = ol.prove(point)
    assert (certificate.verdict, certificate.index) == ("undecided", None)


def test_of_surplus_units_that_can_be_exchanged_the_reason_states_what_is_proved():
    certificate = ol.prove(exchanged(0.5, 0.5, 1e-12))
    assert (certificate.verdict, certificate.index) == ("undecided", None)
    assert "surplus students can be exchanged" in certificate.reason
    assert "its loss is [" in certificate.reason


def test_a_width_no_run_reaches():
    certificate = ol.prove(family(1_000_000, 1))
    assert certificate.verdict == "local minimum"
    assert sum(row.multiplicity for row in certificate.eigenvalues) == 10**12


def test_a_wrong_point_is_refuted():
    point = family(8, 2)
    for wrong in (moved(point, 1e-3), moved(point, 0.3)):
        certificate = ol.prove(wrong)
        assert certificate.verdict in ("refuted", "undecided")
        assert certificate.index is None
        assert certificate.loss is None
    assert ol.prove(moved(point, 1e-3)).verdict == "refuted"


def test_a_rounded_point_is_proved():
    point = family(8, 2)
    assert ol.prove(moved(point, 1e-8)).verdict == "local minimum"


def test_a_statement_with_a_wrong_centre_proves_nothing():
    s = ol.prove(family(8, 2)).statement
    for k in range(len(s.centre)):
        with ctx.workprec(128):
            wrong = to_dyadic((from_dyadic(s.centre[k]) + arb(2) ** -60).mid())
        centre = (*s.centre[:k], wrong, *s.centre[k + 1 :])
        assert certify(s._replace(centre=centre)).verdict == "undecided"


@pytest.mark.parametrize("bits", [2, 8, 16, 24])
def test_too_few_bits_prove_nothing(bits):
    assert ol.prove(family(8, 2), bits=bits).verdict in ("undecided", "refuted")


@pytest.mark.parametrize("bits", [53, 128, 300])
def test_more_bits_prove_more_digits(bits):
    certificate = ol.prove(family(8, 2), bits=bits)
    assert certificate.verdict == "local minimum"
    assert float(ball(certificate.eigenvalues[0].value).rad()) < 2.0 ** (-bits // 2 + 4)


@pytest.mark.parametrize(
    ("which", "i", "j"),
    [("trivial", 0, 0), ("trivial", 0, 3), ("standard", 1, 1), ("Λ²", 0, 0), ("(p−2, 2)", 0, 0)],
)
def test_a_perturbed_hessian_proves_nothing(monkeypatch, which, i, j):
    point = family(8, 2)
    perturb_hessian(monkeypatch, which, i, j, arb(1e-6))
    certificate = ol.prove(point)
    assert (certificate.verdict, certificate.index) == ("undecided", None)


def test_an_uncertain_hessian_leaves_the_sign_open(monkeypatch):
    point = family(8, 2)
    perturb_hessian(monkeypatch, "Λ²", 0, 0, arb(0, 10))
    certificate = ol.prove(point)
    assert certificate.verdict == "undecided"
    assert certificate.index == (0, 10)  # Λ² of a block of 6; a block of 2 has none
    assert "Λ²" in certificate.reason


def test_missing_directions_prove_nothing(monkeypatch):
    point = family(8, 2)
    beyond = BallPoint.beyond

    def without_last(self):
        outside, directions = beyond(self)
        return outside, directions[:-1]

    monkeypatch.setattr(BallPoint, "beyond", without_last)
    certificate = ol.prove(point)
    assert (certificate.verdict, certificate.index) == ("undecided", None)
    assert "eigenvalues were found of 8" in certificate.reason
    monkeypatch.undo()

    def without_alternating(self):
        found = groups.split_directions(self.matched, len(self.sizes), self.free)
        return tuple(directions for directions in found if directions.name != "Λ² 0")

    monkeypatch.setattr(BallPoint, "directions", property(without_alternating))
    certificate = ol.prove(point)
    assert (certificate.verdict, certificate.index) == ("undecided", None)
    assert "54 eigenvalues were found of 64" in certificate.reason


def test_bad_arguments_are_refused():
    point = family(8, 2)
    with pytest.raises(ValueError, match=r"bits must be a whole number of at least 2; got 1"):
        ol.prove(point, bits=1)
    erf = point.ansatz.replace(activation=ol.Erf())
    with pytest.raises(
        ValueError, match=r"activation must be ReLU or LeakyReLU for a proof; got Erf"
    ):
        ol.prove(eqx.tree_at(lambda p: p.ansatz, point, erf))
    tilted = eqx.tree_at(lambda p: p.ansatz.correlation, point, 0.1)
    with pytest.raises(
        ValueError, match=r"teachers must be orthonormal for a proof; got correlation 0\.1"
    ):
        ol.prove(tilted)
