"""What is proved of fixed points, and everything that must not be proved."""

import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
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
from odelandscape.ansatz.ansatz_point import AnsatzPoint
from odelandscape.ansatz.block_ansatz import BlockAnsatz
from odelandscape.landscape.fixed_points import FixedPoint
from odelandscape.proofs import groups
from odelandscape.proofs.ball_loss import BallPoint
from odelandscape.proofs.balls import arb, ctx
from odelandscape.proofs.certificate import Enclosure
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
    judged = [p for p in points if ol.spectrum(problem, p).verdict != "marginal"]
    # Students on one ray are saddles that aren't isolated, of which nothing is proved.
    single = [p for p in judged if np.linalg.matrix_rank(p.weights.W, 1e-6) == 6]
    assert single
    assert {ol.prove(p).verdict for p in single} <= {"saddle", "local minimum"}
    assert {ol.prove(p).verdict for p in judged} <= {"saddle", "local minimum", "undecided"}


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


@pytest.mark.parametrize("width", [10**6, 10**9, 10**12])
def test_digits_at_large_widths_do_not_depend_on_bits(width):
    """What is printed with any bits holds what is printed with more; K L has its limit, 1/2 − 2/π²."""
    point = family(width, 1)
    losses, smallest = [], []
    for bits in (128, 256, 1024):
        certificate = ol.prove(point, bits)
        assert certificate.verdict == "local minimum"
        losses.append(certificate.loss.short())
        smallest.append(certificate.eigenvalues[0].value.short())
    with ctx.workprec(300):
        for printed in (losses, smallest):
            for few, more in itertools.pairwise(printed):
                assert arb(few).overlaps(arb(more))
        assert float(arb(smallest[-1]).rad()) < 1e-18
        limit = arb(1) / 2 - 2 / arb.pi() ** 2
        assert abs(width * arb(losses[-1]) - limit) < 0.2 / arb(width).sqrt()


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


@pytest.mark.parametrize("bits", [53, 128, 300, 1024, 2048, 4096])
def test_more_bits_prove_more_digits(bits):
    """Newton's method and the eigenvectors are refined as far as the bits go."""
    certificate = ol.prove(family(8, 2), bits=bits)
    assert certificate.verdict == "local minimum"
    with ctx.workprec(bits):
        assert arb(certificate.eigenvalues[0].value.ball).rad() < arb(2) ** (-bits // 2 + 4)


@pytest.mark.parametrize("bits", [30, 33, 40])
def test_the_sign_that_is_proved_is_printed(bits):
    """With few bits no digit may be certain; both ends have the sign."""
    value = ol.prove(family(6, 1), bits).eigenvalues[0].value
    assert value.low > 0
    for text in (str(value), value.short()):
        assert not text.startswith("[+/-")
    ends = Enclosure("[+/- 5.82e-3]", 1.2345e-6, 5.8123e-3)
    assert (str(ends), ends.short()) == ("[0.00000123, 0.00582]", "[0.00000123, 0.00582]")
    assert str(Enclosure("[+/- 5.82e-3]", -5.82e-3, 5.82e-3)) == "[+/- 5.82e-3]"


def blocks_at(K, M, sizes, matched, free, z, activation=None, readout=None, teacher_readout=None):
    """A point of a block ansatz as `ol.fixed_point` returns it, converged or not."""
    problem = ol.Problem(K, M, activation or ol.ReLU(), teacher_readout=teacher_readout)
    ansatz = BlockAnsatz(problem, sizes, matched, free, readout)
    return FixedPoint(AnsatzPoint(ansatz, jnp.array(z)), *map(jnp.array, (0.0, 0.0, 0, 0.0)))


THIRD = 1 / 3
ZERO_LOSS = {
    "the teachers of a block of two, changed over": (2, 2, (2,), (0,), 0, [0.0, 1.0]),
    "each teacher in two parts": (6, 3, (3,), (0, 0), 0, [0.25, 0.75, 0.0, 0.0]),
    "parts that don't add up in floating point": (3, 1, (1,), (), 3, [THIRD, THIRD, THIRD]),
    "a leak": (2, 1, (1,), (), 2, [0.3, 0.7], ol.LeakyReLU(0.3)),
    "|x| of opposite students": (2, 1, (1,), (), 2, [-0.3, 0.7], ol.LeakyReLU(-1.0)),
    "readouts": (2, 1, (1,), (), 2, [0.5, 2.0], None, [3.0, -0.25], jnp.array([1.0])),
    "an inactive student": (4, 3, (3,), (0,), 1, [1.0, 0.0, 0.0]),
    "three students of a block on one teacher": (
        4,
        4,
        (3, 1),
        (0,),
        1,
        [0.0, 0.0, THIRD, 0.0, 0.0],
        None,
        None,
        jnp.array([0.0, 0.0, 0.0, 1.0]),
    ),
}


@pytest.mark.parametrize("name", ZERO_LOSS)
def test_where_students_are_the_teachers_up_to_symmetry_the_minimum_is_global(name):
    """The output at random inputs says whether they are; rounded numbers may be off by their last digits."""
    point = blocks_at(*ZERO_LOSS[name])
    weights, problem = point.weights, point.ansatz
    x = np.random.default_rng(0).standard_normal((50, weights.W.shape[1]))
    teacher = np.repeat(np.asarray(problem.teacher_readout), np.asarray(problem.sizes, int))
    made = problem.activation(x @ weights.W.T) @ weights.v - problem.activation(x) @ teacher
    assert np.abs(made).max() < 1e-12
    certificate = ol.prove(point)
    assert certificate.verdict == "global minimum"
    assert (certificate.loss.ball, certificate.in_any_dimension) == ("0", True)


@pytest.mark.parametrize(
    "z", [[0.0, 1.0 + 1e-9, 0.0], [1.0, 1e-9, 0.0], [1.0 - 1e-9, 0.0, 0.0], [-1.0, 0.0, 0.0]]
)
def test_students_next_to_the_teachers_are_not_said_to_be_them(z):
    certificate = ol.prove(blocks_at(4, 3, (3,), (0,), 1, z))
    assert certificate.verdict in ("undecided", "refuted")


def test_a_certificate_shows_itself_in_one_line():
    shown = repr(ol.prove(family(8, 2)))
    assert shown.startswith("Certificate(local minimum, index 0, loss [0.0")
    assert "smallest eigenvalue [0.00" in shown
    assert len(shown) < 160
    assert repr(ol.prove(moved(family(8, 2), 1e-3))) == "Certificate(refuted)"


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
