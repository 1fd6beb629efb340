"""The block ansatz against the full weights and overlaps, and its loss against 50 digits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from systems import ERF, LEAKY, RELU, Sigma, relu_loss_in_digits

import odelandscape as ol
from odelandscape.activations.angles import arccos_remainder, arccos_remainder_deficit
from odelandscape.ansatz.ansatz_point import AnsatzPoint
from odelandscape.ansatz.block_ansatz import BlockAnsatz
from odelandscape.ansatz.isotypic import refine, refined
from odelandscape.ansatz.lifting import lift, restrict
from odelandscape.ansatz.overlap_ansatz import OverlapAnsatz
from odelandscape.ansatz.padding import padded
from odelandscape.ansatz.reduced_loss import (
    block_overlaps,
    gradient_norm,
    reduced_loss,
    reduced_rates,
)
from odelandscape.landscape.named_families import teacher_point

# K, M, teacher blocks, matched, free: two blocks, K > M with free students, two students to a teacher,
# a block without students (K < M), one block.
STRUCTURES = [
    (10, 10, (8, 2), (0, 1), 0),
    (11, 9, (6, 2, 1), (0, 1), 3),
    (14, 7, (4, 3), (0, 1, 0), 3),
    (5, 9, (5, 4), (0,), 0),
    (6, 6, (6,), (0,), 0),
    (4, 2, (1, 1), (), 4),
]
each_structure = pytest.mark.parametrize("structure", STRUCTURES, ids=str)
each_case = pytest.mark.parametrize(
    ("structure", "sigma", "c"),
    [(structure, RELU, 0.3) for structure in STRUCTURES]
    + [(STRUCTURES[1], RELU, 0.0), (STRUCTURES[1], LEAKY, 0.0), (STRUCTURES[1], ERF, -0.05)],
    ids=lambda x: getattr(x, "name", str(x)),
)


@eqx.filter_jit
def loss_rates_and_norm(ansatz, z):
    return reduced_loss(ansatz, z), reduced_rates(ansatz, z), gradient_norm(ansatz, z)


@eqx.filter_jit
def loss_of(ansatz, z):
    return reduced_loss(ansatz, z)


gradient_of = eqx.filter_jit(jax.grad(reduced_loss, argnums=1))
hessian_of = eqx.filter_jit(jax.hessian(reduced_loss, argnums=1))


def setting(structure, sigma: Sigma = RELU, c: float = 0.0, readout: bool = True):
    """A problem, its ansatz with readouts of both signs, and generic parameters."""
    K, M, sizes, matched, free = structure
    rng = np.random.default_rng(K * M)
    T = None if c == 0 else (1 - c) * np.eye(M) + c
    v = rng.uniform(0.5, 1.5, len(sizes)) * (-1.0) ** np.arange(len(sizes))
    teacher_readout = np.repeat(v, sizes) if readout else None
    problem = ol.Problem(K, M, sigma.library, T, teacher_readout)
    students = rng.uniform(0.5, 1.5, len(matched) + free) if readout else None
    ansatz = BlockAnsatz(problem, sizes, matched, free, readout=students)
    return problem, ansatz, jnp.asarray(0.4 * rng.standard_normal(ansatz.count))


@each_case
def test_loss_and_rates_are_those_of_the_lifted_weights(structure, sigma, c):
    problem, ansatz, z = setting(structure, sigma, c)
    weights = lift(ansatz, z)
    assert weights.W.shape == (problem.students, problem.teachers)
    np.testing.assert_allclose(restrict(ansatz, weights), z, atol=1e-14)
    loss, reduced, norm = loss_rates_and_norm(ansatz, z)
    np.testing.assert_allclose(loss, ol.population_loss(problem, weights), rtol=1e-12)
    rates = ol.GradientFlow()(0.0, weights, problem)
    lifted = lift(ansatz, reduced)
    np.testing.assert_allclose(lifted.W, rates.W, atol=1e-13)
    np.testing.assert_allclose(norm, jnp.linalg.norm(rates.W), rtol=1e-12)


jacobian_of = eqx.filter_jit(jax.jacfwd(reduced_rates, argnums=1))


@pytest.mark.parametrize(
    ("structure", "sigma", "c"),
    [(STRUCTURES[1], LEAKY, 0.0), (STRUCTURES[2], RELU, 0.3), (STRUCTURES[3], ERF, -0.05)],
    ids=lambda x: getattr(x, "name", str(x)),
)
def test_derivatives_of_rates_against_differences(structure, sigma, c):
    """They have a rule of their own, from X and Y."""
    _, ansatz, z = setting(structure, sigma, c)
    step = 1e-5
    columns = [
        (loss_rates_and_norm(ansatz, z + e)[1] - loss_rates_and_norm(ansatz, z - e)[1]) / (2 * step)
        for e in step * jnp.eye(len(z))
    ]
    np.testing.assert_allclose(jacobian_of(ansatz, z), jnp.stack(columns, axis=1), atol=2e-8)


@pytest.mark.parametrize("more", [0, 2])
def test_derivatives_of_rates_where_units_coincide_are_those_of_the_loss(more):
    """Students that are the teachers, K = M and K > M: −H divided by how many entries share a parameter."""
    point = teacher_point(ol.Problem(6 + more, 6))
    ansatz, z = point.ansatz, point.parameters
    blocks = padded(ansatz).blocks
    z = padded(ansatz).pad(z)
    n = jnp.where(blocks.multiplicity > 0, blocks.multiplicity, 1)
    wanted = -hessian_of(blocks, z) / n[:, None]
    np.testing.assert_allclose(jacobian_of(blocks, z), wanted, atol=1e-7)


@each_case
def test_the_same_in_order_parameters(structure, sigma, c):
    problem, ansatz, z = setting(structure, sigma, c)
    of_overlaps = OverlapAnsatz(ansatz)
    y = of_overlaps.parameters(*block_overlaps(ansatz, z))
    assert y.shape == (of_overlaps.count,)
    state, truth = of_overlaps.lift(y), ol.overlaps(problem, lift(ansatz, z))
    np.testing.assert_allclose(state.Q, truth.Q, atol=1e-14)
    np.testing.assert_allclose(state.R, truth.R, atol=1e-14)
    # Beyond the teacher's span, too: longer students.
    square = np.zeros(of_overlaps.count)
    square[ansatz.count : ansatz.count + len(ansatz.own)] = 0.7
    y = y + square if len(set(ansatz.matched)) == len(ansatz.matched) else y
    state = of_overlaps.lift(y)
    rates = ol.GradientFlow()(0.0, state, problem)
    lifted = of_overlaps.lift(of_overlaps.field(y))
    np.testing.assert_allclose(lifted.Q, rates.Q, atol=1e-13)
    np.testing.assert_allclose(lifted.R, rates.R, atol=1e-13)


def test_two_blocks_are_the_papers_unknowns():
    _, ansatz, _ = setting(STRUCTURES[0])
    assert ansatz.count == 6
    assert OverlapAnsatz(ansatz).count == 11
    assert len(ansatz.names) == len(set(ansatz.names)) == 6


@each_structure
def test_the_refined_ansatz_holds_the_same_weights(structure):
    problem, ansatz, z = setting(structure)
    fine, w = refined(ansatz), refine(ansatz, z)
    np.testing.assert_allclose(
        loss_of(fine, w), ol.population_loss(problem, lift(ansatz, z)), rtol=1e-11
    )


@each_structure
def test_padding_changes_no_weights(structure):
    """The loss and the rates of the parameters are the same; those that no coefficient has are constant."""
    _, ansatz, z = setting(structure)
    padding = padded(ansatz)
    blocks, y = padding.blocks, padding.pad(z)
    assert y.shape == (blocks.count,)
    np.testing.assert_array_equal(padding.strip(y), z)
    (loss, rates, norm), (wide_loss, wide_rates, wide_norm) = (
        loss_rates_and_norm(*pair) for pair in ((ansatz, z), (blocks, y))
    )
    np.testing.assert_allclose(wide_loss, loss, rtol=1e-13)
    np.testing.assert_allclose(padding.strip(wide_rates), rates, atol=1e-14)
    np.testing.assert_allclose(wide_norm, norm, rtol=1e-13)
    absent = np.asarray(blocks.multiplicity) == 0
    np.testing.assert_array_equal(np.asarray(wide_rates)[absent], 0)


@each_structure
def test_a_point_holds_its_weights_and_overlaps(structure):
    problem, ansatz, z = setting(structure)
    point = AnsatzPoint(ansatz, z, "of a test")
    np.testing.assert_array_equal(point.weights.W, lift(ansatz, z).W)
    truth = ol.overlaps(problem, point.weights)
    np.testing.assert_allclose(point.overlaps.Q, truth.Q, atol=1e-14)
    np.testing.assert_allclose(point.overlaps.R, truth.R, atol=1e-14)


def test_sizes_may_be_real_and_enter_as_polynomials():
    # At fixed parameters the linear network's loss is a polynomial of degree 3 in the size of a block:
    # four whole sizes give it at a size that is none.
    def loss(size):
        problem = ol.Problem(10, 10, ol.LeakyReLU(1.0))
        ansatz = BlockAnsatz(problem, (8, 2), (0, 1))
        z = jnp.asarray([0.9, -0.7, -0.03, 0.2, 0.1, 0.15])
        return float(loss_of(ansatz.replace(sizes=jnp.asarray([size, 2.0])), z))

    whole = np.arange(4.0, 8.0)
    through = np.polyfit(whole, [loss(size) for size in whole], 3)
    assert loss(5.37) == pytest.approx(np.polyval(through, 5.37), rel=1e-10)


# --- digits -------------------------------------------------------------------------------------


def test_kernels_keep_their_digits_where_they_vanish():
    with mp.workdps(40):

        def g(c):
            return mp.sqrt(1 - c * c) + c * mp.asin(c) - 1

        for x in (1e-12, 1e-7, 1e-3, 0.4, 0.97):
            assert float(arccos_remainder(jnp.asarray(x))) == pytest.approx(
                float(g(mp.mpf(x))), rel=1e-14
            )
        # Near 2, where two units point opposite ways, one number in two has no exact root.
        near_two = [np.nextafter(2, 0), *(2 - 2.0 ** -np.arange(4, 52))]
        for h in (1e-14, 1e-8, 1e-3, 0.5, 1.0, 1.7, 2.0, *near_two):
            defect = g(mp.mpf(1)) - g(1 - mp.mpf(h))
            assert float(arccos_remainder_deficit(jnp.asarray(h))) == pytest.approx(
                float(defect), rel=1e-7 if h > 1.7 else 1e-13
            )
            slope = float(jax.grad(arccos_remainder_deficit)(jnp.asarray(h)))
            assert slope == pytest.approx(float(mp.asin(1 - mp.mpf(h))), rel=1e-14, abs=1e-15)
    assert jax.grad(jax.grad(arccos_remainder_deficit))(jnp.asarray(0.0)) == 0.0


@pytest.mark.parametrize("M", [10, 1000, 10**6])
def test_the_loss_keeps_its_digits_at_any_width(M):
    # Numbers of the size they have at the minimum: the loss is 0.3/M, what is summed is of order M².
    z = jnp.asarray([1 + 2.4 / M**2, -1.3 / M**2, 2 / M, 1.27 / M, -1 + 5 / M])
    ansatz = BlockAnsatz(ol.Problem(M, M), (M - 1, 1), (0,), 1)
    with mp.workdps(50):
        truth = float(relu_loss_in_digits(M, z))
    assert float(loss_of(ansatz, z)) == pytest.approx(truth, rel=1e-10)


@pytest.mark.parametrize("surplus", [0, 2])
def test_derivatives_are_finite_and_right_where_units_coincide(surplus):
    # Students on their teachers, and surplus students on one line with the last.
    M = 5
    problem = ol.Problem(M + surplus, M)
    ansatz = BlockAnsatz(problem, (M - 1, 1), (0,), 1 + surplus)
    z = np.zeros(ansatz.count)
    z[0] = 1
    z[-1 - 2 * np.arange(1 + surplus)] = 1 / (1 + surplus)
    H = np.asarray(hessian_of(ansatz, jnp.asarray(z)))
    assert np.isfinite(H).all()
    h = 1e-5
    for i in range(ansatz.count):
        step = h * np.eye(ansatz.count)[i]
        up, down = (gradient_of(ansatz, jnp.asarray(z + s)) for s in (step, -step))
        np.testing.assert_allclose(H[i], (up - down) / (2 * h), atol=3e-5 * (M + surplus))


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((5, 4), (0, 1), 0), r"teachers must be .* M = 10"),
        (((9, 1), (0, 1), 0), r"matched must name .* more than one unit"),
        (((9, 1), (2,), 1), r"matched must name"),
        (((9, 1), (0,), 2), r"K = 10 students; got 11"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ol.UserError, match=message):
        BlockAnsatz(ol.Problem(10, 10), *arguments)


def test_other_teachers_are_refused():
    T = np.eye(3)
    T[0, 1] = T[1, 0] = 0.2
    with pytest.raises(ValueError, match="teacher_overlaps must be"):
        BlockAnsatz(ol.Problem(3, 3, teacher_overlaps=T), (3,), (0,))
    # No fixed point has to have blocks whose teachers cannot be exchanged.
    with pytest.raises(
        ol.NoSuchFamilyError, match=r"teacher_readout must be constant .* got 1 to 2"
    ):
        BlockAnsatz(ol.Problem(3, 3, teacher_readout=[1.0, 1.0, 2.0]), (3,), (0,))
    ansatz = BlockAnsatz(ol.Problem(3, 3), (3,), (0,))
    with pytest.raises(ValueError, match="whole block sizes"):
        lift(ansatz.replace(sizes=jnp.asarray([2.5])), jnp.ones(2))
    wide = BlockAnsatz(ol.Problem(10**6, 10**6), (10**6,), (0,))
    with pytest.raises(ValueError, match="too many to be written out"):
        lift(wide, jnp.ones(2))


def test_a_point_has_as_many_parameters_as_its_ansatz():
    ansatz = BlockAnsatz(ol.Problem(3, 3), (3,), (0,))
    with pytest.raises(ol.UserError, match=r"parameters must have 2 numbers \(block 0.*; got 3"):
        AnsatzPoint(ansatz, jnp.ones(3))
