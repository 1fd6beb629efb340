"""Searches for critical points of any index: closed forms, published levels, symmetries and scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.landscape.exploration import critical_points, structures, structures_up_to
from odelandscape.landscape.search import distinct, explore, families
from odelandscape.landscape.spectrum import spectrum


def averaging_level(m):
    """The plateau of erf at K = M = m, (m/π)(π/6 − m arcsin(1/2m)) (Saad and Solla 1995)."""
    return m / np.pi * (np.pi / 6 - m * np.arcsin(1 / (2 * m)))


def found_at(points, loss, tolerance=2e-9):
    """The points at a level of the loss."""
    return [point for point in points if abs(float(point.loss) - loss) < tolerance]


@pytest.mark.slow
@pytest.mark.parametrize(("M", "index"), [(2, 1), (3, 4)])
def test_the_plateau_of_erf_is_found_with_its_index(M, index):
    """Saddles that attract within no ansatz: a search that descends meets minima of the ansatz only.

    All students are alike there, with Q = 1/(2M − 1). The index is that of the dense Hessian.
    """
    problem = ol.Problem(M, M, ol.Erf())
    points = families(problem, blocks=1, starts=32)
    (point,) = found_at(points, averaging_level(M))
    Q = np.asarray(point.overlaps.Q)
    np.testing.assert_allclose(Q, np.full((M, M), 1 / (2 * M - 1)), atol=1e-10)
    by_symmetry = spectrum(problem, point)
    eigenvalues = np.linalg.eigvalsh(dense_hessian(problem, point.weights))
    assert by_symmetry.index == (eigenvalues < -1e-8).sum() == index
    assert by_symmetry.verdict == "unstable"
    if M == 2:
        assert by_symmetry.smallest == pytest.approx(-0.0657, abs=1e-4)


def dense_hessian(problem, weights):
    """The Hessian of the loss in the weights, by differentiating the loss twice."""
    K, d = weights.W.shape

    def loss(w):
        return ol.population_loss(problem, ol.Weights(w.reshape(K, d), weights.v))

    return np.asarray(jax.hessian(loss)(weights.W.ravel()))


@pytest.mark.slow
def test_the_plateau_of_five_students_is_found():
    points = families(ol.Problem(5, 5, ol.Erf()), blocks=1)
    assert found_at(points, averaging_level(5))


@pytest.mark.slow
def test_the_bisector_of_two_teachers_is_a_saddle():
    """ReLU, K = M = 2: its students share the bisector, and no critical point is a spurious minimum."""
    problem = ol.Problem(2, 2)
    points = families(problem, starts=64)
    (point,) = found_at(points, 0.088511936633)
    W = np.asarray(point.weights.W)
    np.testing.assert_allclose(W, np.full((2, 2), W[0, 0]), atol=1e-10)
    verdicts = [spectrum(problem, p).verdict for p in points if float(p.loss) > 1e-12]
    assert set(verdicts) == {"unstable"}


@pytest.mark.slow
@pytest.mark.parametrize("M", [2, 3, 10, 17])
def test_one_student_averages_all_teachers(M):
    """K < M: L = M/4 + M(M − 1)/4π − M² h², h = k(arccos M^−½)/2π, k(θ) = sin θ + (π − θ) cos θ."""
    angle = np.arccos(M**-0.5)
    h = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    level = M / 4 + M * (M - 1) / (4 * np.pi) - (M * h) ** 2
    problem = ol.Problem(1, M)
    (point,) = found_at(families(problem, blocks=1, starts=8), level)
    assert spectrum(problem, point).verdict == "stable"
    assert point.anti_aligned == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("blocks", "loss", "smallest"),
    [
        ((3, 3), 0.0237577, -0.045922),
        ((5, 1), 0.0603849, -2.2169),
        ((5, 1), 0.0604630, -0.56727),
        pytest.param((4, 1, 1), 0.0250923, -0.004759, marks=pytest.mark.slow),
        pytest.param((4, 1, 1), 0.0557029, -0.002749, marks=pytest.mark.slow),
    ],
)
def test_saddles_of_index_one_at_six(blocks, loss, smallest):
    """All saddles of index 1 at K = M = 6 that eigenvector following in all 36 coordinates has met."""
    problem = ol.Problem(6, 6)
    matched = tuple(b for b, size in enumerate(blocks) if size > 1)
    ansatz = ol.BlockAnsatz(problem, blocks, matched, blocks.count(1))
    points = explore(problem, ansatz, jax.random.key(0))
    (point,) = found_at(points, loss, 1e-7)
    found = spectrum(problem, point)
    assert found.index == 1
    assert found.smallest == pytest.approx(smallest, abs=1e-4)


# --- equal networks -------------------------------------------------------------------------------


class Square(ol.AbstractActivation):
    """x², whose moments are polynomials (Isserlis)."""

    def __call__(self, x):
        return x * x

    @property
    def smooth(self):
        return True

    def second_moment(self, c11, c12, c22):
        return c11 * c22 + 2 * c12**2

    def mixing_scalars(self, c11, c12, c22):
        return 2 * c22 + 0 * c12, 4 * c12 + 0 * (c11 * c22)


@pytest.mark.parametrize(
    ("K", "M"),
    [
        (2, 2),
        pytest.param(2, 3, marks=pytest.mark.slow),
        pytest.param(3, 2, marks=pytest.mark.slow),
    ],
)
def test_every_level_of_the_square_is_found_once(K, M):
    """Even, with rotations of students and teachers: levels (M − r)(M + 2)/(r + 2), r = 0 … min(K, M), and
    only the last a minimum (arXiv:2501.06074). W = 0 is one of them. α is not defined."""
    problem = ol.Problem(K, M, Square())
    points = families(problem, blocks=1, starts=64)
    levels = [(M - r) * (M + 2) / (r + 2) for r in range(min(K, M), -1, -1)]
    np.testing.assert_allclose([float(point.loss) for point in points], levels, atol=1e-9)
    verdicts = [spectrum(problem, point).verdict for point in points]
    assert all(verdict == "unstable" for verdict in verdicts[1:])
    assert verdicts[0] != "unstable"
    assert {point.anti_aligned for point in points} == {None}


def test_students_on_one_ray_share_a_length_in_many_ways_and_are_one_family():
    """ReLU, K > M: any shares of one length on a ray are the same network, and have one index."""
    problem = ol.Problem(3, 2)
    ansatz = ol.BlockAnsatz(problem, (2,), (), 3)
    (two,) = found_at(families(ol.Problem(2, 2), blocks=1, starts=32), 0.088511936633)
    total = float(np.asarray(two.weights.W)[:, 0].sum())
    shares = [(0.2, 0.3, 0.5), (0.6, 0.3, 0.1)]
    points = [ol.fixed_point(problem, ansatz, start=total * jnp.asarray(share)) for share in shares]
    assert all(point.result == "converged" for point in points)
    assert len(distinct(points)) == 1
    assert len({spectrum(problem, point).index for point in points}) == 1


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_a_scaled_teacher_has_the_same_families(scale):
    """Tolerances are relative: ReLU with readouts s has the same families at s² times the loss."""
    plain = families(ol.Problem(3, 3), blocks=1, starts=32)
    scaled = families(ol.Problem(3, 3, teacher_readout=[scale] * 3), blocks=1, starts=32)
    losses = [[float(point.loss) for point in points] for points in (plain, scaled)]
    np.testing.assert_allclose(np.array(losses[1]) / scale**2, losses[0], rtol=1e-9, atol=1e-12)
    assert all(point.result == "converged" for point in scaled)


def test_correlations_of_the_error_are_those_of_the_network():
    """E[Δ σ(w*·x)] of a critical point, against I2 summed unit by unit."""
    problem = ol.Problem(4, 4)
    ansatz = ol.BlockAnsatz(problem, (3, 1), (0,), 1)
    starts = np.array([[0.9, 0.1, 0.1, 0.1, -0.8]])
    candidates = next(c for c in critical_points(ansatz, starts) if len(c.loss))
    point = ol.AnsatzPoint(ansatz, jnp.asarray(candidates.z[0]))
    W = np.vstack([point.weights.W, -np.eye(4)])
    C = np.vstack([point.weights.W, np.eye(4)])
    a = np.array([1.0] * 4 + [-1.0] * 4)
    I2 = jax.vmap(lambda w, n: ol.ReLU().I2(jnp.array([[w @ w, w @ n], [w @ n, n @ n]])), (0, None))
    for block, teacher in ((0, 0), (1, 3)):
        direct = float(a @ I2(jnp.asarray(C), jnp.eye(4)[teacher]))
        assert candidates.correlations[0, block] == pytest.approx(direct, abs=1e-12)
    assert W.shape == C.shape


# --- ansätze and refusals -------------------------------------------------------------------------


def test_ansatze_have_students_that_average_and_students_in_copies():
    few = {(a.sizes.tolist()[0], a.matched, a.free) for a in structures(ol.Problem(2, 4), 2)}
    assert (2.0, (), 2) in few  # two students that average two teachers each
    many = {(a.matched, a.free) for a in structures(ol.Problem(8, 4), 1)}
    assert ((0, 0), 0) in many  # two students to each teacher


@pytest.mark.parametrize(
    ("K", "M", "arguments", "message"),
    [
        (5, 5, {"anti_aligned": 6}, "anti_aligned must be a whole number from 0 to M = 5; got 6"),
        (5, 5, {"anti_aligned": 1.5}, r"anti_aligned must be .*; got 1\.5"),
        (5, 5, {"starts": 0}, "starts must be .* at least 1; got 0"),
        (5, 5, {"blocks": -1}, "blocks must be .* at least 0; got -1"),
        (300, 300, {"blocks": 3}, "blocks must be such that at most 2,000 ansätze .*; got 3"),
        (200, 3, {}, "students must be fewer for a search: .* got K = 200, M = 3"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_searched_is_refused(K, M, arguments, message):
    with pytest.raises(ol.UserError, match=message):
        families(ol.Problem(K, M), **arguments)


def test_an_even_activation_has_no_anti_aligned_students():
    with pytest.raises(ol.UserError, match="anti_aligned must not be given for an even activation"):
        families(ol.Problem(3, 3, Square()), 1)


def test_a_search_of_many_blocks_is_counted_without_writing_them_out():
    with pytest.raises(ol.UserError, match="0 searches none"):
        structures_up_to(ol.Problem(10**6, 10**6), 3)


def test_progress_is_reported_before_and_after_each_ansatz():
    seen = []
    families(ol.Problem(2, 2), blocks=1, starts=4, progress=lambda *done: seen.append(done))
    assert seen == [(0, 1), (1, 1)]


def test_an_interruption_passes():
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        families(ol.Problem(2, 2), blocks=1, starts=4, progress=interrupt)


@pytest.mark.parametrize(("K", "M"), [(3, 2), (4, 3), (3, 1)])
def test_the_teacher_of_surplus_students_is_a_point_without_loss(K, M):
    """The kind: a name that a point has by its construction. Two erf units of half the length are no unit:
    surplus students have length 0, and no point of positive loss is called the teacher."""
    problem = ol.Problem(K, M, ol.Erf())
    point = ol.fixed_point(problem, ol.family(problem, 0))
    network = np.asarray(
        ol.Erf()(jnp.linspace(-2, 2, 9)[:, None] @ jnp.ones((1, M)) @ point.weights.W.T)
    )
    expected = M * np.asarray(ol.Erf()(jnp.linspace(-2, 2, 9)))
    np.testing.assert_allclose(network.sum(1), expected, atol=1e-12)
    assert ol.spectrum(problem, point).smallest > -1e-8


@pytest.mark.parametrize("slope", [-0.9999, pytest.param(-0.999999, marks=pytest.mark.slow)])
def test_families_of_a_nearly_even_activation_are_each_found_once(slope):
    """α students turned round have the loss α (1 + slope)²/2, and c = −1."""
    found = ol.families(ol.Problem(2, 2, ol.LeakyReLU(slope)))
    low = [(p.anti_aligned, float(p.loss)) for p in found if p.loss < 1e-6]
    expected = [alpha * (1 + slope) ** 2 / 2 for alpha in range(3)]
    assert [alpha for alpha, _ in low] == [0, 1, 2]
    np.testing.assert_allclose([loss for _, loss in low], expected, rtol=1e-2)  # digits of 1e-15


def test_what_a_nearly_linear_activation_cannot_tell_apart_is_one_family():
    found = ol.families(ol.Problem(2, 2, ol.LeakyReLU(0.9999)))
    assert sum(float(p.loss) < 1e-14 for p in found) == 1
