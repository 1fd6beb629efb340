"""Whole spectra from the symmetry, against dense Hessians, closed forms and Hessian-vector products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import spectrum_at_teacher

import odelandscape as ol
from odelandscape.ansatz.ansatz_point import AnsatzPoint
from odelandscape.ansatz.block_ansatz import BlockAnsatz
from odelandscape.ansatz.isotypic import components, hessian_spectrum, refined, vectors
from odelandscape.ansatz.lifting import lift, write_matrix
from odelandscape.landscape.spectrum import spectrum


def at(ansatz, z):
    """Parameters as they are, not solved for: spectra don't need a fixed point."""
    return AnsatzPoint(ansatz, jnp.asarray(z))


def repeated(found):
    """Every eigenvalue as often as it occurs."""
    counts = np.round(found.multiplicities).astype(int)
    np.testing.assert_allclose(counts, found.multiplicities, atol=1e-9)
    return np.repeat(found.eigenvalues, counts)


def dense(problem, weights, dimension):
    """The Hessian by `jax.hessian` of the full loss."""
    W = jnp.pad(weights.W, ((0, 0), (0, dimension - weights.W.shape[1])))

    def loss(w):
        return ol.population_loss(problem, ol.Weights(w.reshape(W.shape), weights.v))

    return np.linalg.eigvalsh(np.asarray(jax.jit(jax.hessian(loss))(W.ravel())))


# Generic points: every block is in general position, small blocks (1, 2, 3) have fewer copies.
@pytest.mark.parametrize(
    ("K", "M", "blocks", "d", "c"),
    [
        (10, 10, ((8, 2), (0, 1), 0), 11, 0.0),
        (11, 9, ((6, 2, 1), (0, 1), 3), 9, 0.3),
        pytest.param(10, 7, ((4, 3), (0, 1), 3), 9, 0.0, marks=pytest.mark.slow),
        (9, 5, ((3, 2), (0, 1, 0), 1), 5, 0.0),
        pytest.param(12, 12, ((5, 4, 3), (0, 1, 2), 0), 12, -0.05, marks=pytest.mark.slow),
        (5, 9, ((5, 4), (0,), 0), 10, 0.0),
    ],
)
def test_spectrum_is_the_dense_one_with_multiplicities(K, M, blocks, d, c):
    T = None if c == 0 else (1 - c) * np.eye(M) + c
    problem = ol.Problem(K, M, teacher_overlaps=T)
    ansatz = BlockAnsatz(problem, *blocks)
    z = 0.4 * np.random.default_rng(K * M).standard_normal(ansatz.count)
    found = spectrum(problem, at(ansatz, z), d)
    assert found.complete
    truth = dense(problem, lift(ansatz, jnp.asarray(z)), d)
    np.testing.assert_allclose(repeated(found), truth, atol=1e-11)


@pytest.mark.parametrize("k", [6, 20, 1000])
@pytest.mark.parametrize("factor", [1, 2])
def test_spectrum_at_the_teacher_is_the_closed_form(k, factor):
    problem = ol.Problem(k, k)
    found = spectrum(problem, at(BlockAnsatz(problem, (k,), (0,)), [1.0, 0.0]), factor * k)
    truth = spectrum_at_teacher(k, factor * k)
    np.testing.assert_allclose(repeated(found), truth, atol=1e-12 * k)


@pytest.mark.slow
def test_a_thousand_units_against_hessian_vector_products():
    K = 1000
    problem = ol.Problem(K + 1, K)
    ansatz = BlockAnsatz(problem, (K,), (0,), 1)
    z = jnp.asarray([1.0, -2e-6, 2e-3])
    weights, fine = lift(ansatz, z), refined(ansatz)

    @jax.jit
    def along(u):
        def rates(W):
            return ol.GradientFlow()(0.0, ol.Weights(W, weights.v), problem).W

        return -jax.jvp(rates, (weights.W,), (u,))[1]

    # The representative vectors written out: their images stay in their span, with these eigenvalues.
    found = hessian_spectrum(ansatz, z)  # in a padded ansatz; the vectors below: of the plain one
    shape = ansatz.matched, len(ansatz.sizes), ansatz.free
    for component in components(*shape):
        written = [
            np.asarray(write_matrix(fine, fine.coefficients(jnp.asarray(v))))
            for v in vectors(component, *shape)
        ]
        U = np.stack([v.ravel() / np.linalg.norm(v) for v in written])
        HU = np.stack([np.asarray(along(jnp.asarray(u.reshape(K + 1, K)))).ravel() for u in U])
        inside, *_ = np.linalg.lstsq(U.T, HU.T, rcond=None)
        assert np.linalg.norm(HU.T - U.T @ inside) < 1e-9 * np.linalg.norm(HU)
        name = component.name + "".join(f" {b}" for b in component.blocks)
        values = [value for value, _, which in found if which == name]
        np.testing.assert_allclose(values, np.sort(np.linalg.eigvals(inside).real), atol=1e-9)
    assert sum(count for _, count, _ in found) == pytest.approx((K + 1) * K)


def test_weights_without_symmetry_have_a_dense_spectrum_or_its_ends(monkeypatch):
    problem = ol.Problem(5, 4, ol.LeakyReLU(0.1))
    weights = ol.random_weights(jax.random.key(0), problem, 6)
    truth = dense(problem, weights, 8)
    np.testing.assert_allclose(repeated(spectrum(problem, weights, 8)), truth, atol=1e-12)
    monkeypatch.setattr("odelandscape.landscape.spectrum.DENSE", 10)
    ends = spectrum(problem, weights, 8)
    assert not ends.complete
    np.testing.assert_allclose(repeated(ends), [*truth[:12], *truth[-12:]], atol=1e-9)


def test_the_verdict_depends_on_the_band():
    problem = ol.Problem(4, 4)
    point = at(BlockAnsatz(problem, (4,), (0,)), [1.0, 0.0])
    assert spectrum(problem, point).verdict == "stable"
    wide = spectrum(problem, point, band=0.2)
    assert (wide.verdict, wide.band) == ("marginal", 0.2)
    assert "marginal (band 2e-01)" in str(wide)
    # Two students on one line with a teacher: moving length between them changes nothing.
    problem = ol.Problem(2, 1)
    split = spectrum(problem, ol.Weights(jnp.asarray([[0.4], [0.6]]), jnp.ones(2)))
    assert split.verdict == "marginal"


@pytest.mark.slow
def test_the_index_counts_negative_eigenvalues_with_their_multiplicities():
    problem = ol.Problem(6, 6)
    # A generic point, and the paper's family with two of six anti-aligned, which is a saddle.
    generic = at(BlockAnsatz(problem, (4, 2), (0, 1)), [0.3, -0.5, 0.2, -0.1, 0.3, 0.1])
    for point in (generic, ol.fixed_point(problem, ol.family(problem, 2))):
        found = spectrum(problem, point)
        truth = dense(problem, point.weights, 6)
        assert found.index == (truth < -1e-8).sum() > 0
        assert found.verdict == "unstable"
        assert f"index {found.index}" in str(found)
    assert spectrum(problem, generic, band=10.0).index == 0
    # Where sizes are real, so are multiplicities.
    real = AnsatzPoint(generic.ansatz.replace(sizes=jnp.array([3.5, 2.5])), generic.parameters)
    assert spectrum(problem, real).index % 1 != 0


def test_what_does_not_fit_is_refused():
    problem = ol.Problem(3, 3)
    weights = ol.random_weights(jax.random.key(0), problem, 5)
    with pytest.raises(ValueError, match="point must have weights"):
        spectrum(ol.Problem(4, 3), weights)
    with pytest.raises(ValueError, match="dimension must be at least the weights' own, 5; got 4"):
        spectrum(problem, weights, 4)
    point = at(BlockAnsatz(problem, (3,), (0,)), [1.0, 0.0])
    with pytest.raises(ValueError, match="point must have the problem's K = 4"):
        spectrum(ol.Problem(4, 4), point)


def erf_loss(W, v, Wt, vt):
    """The population loss of erf units (Saad and Solla 1995): I2 = (2/π) asin(c12/√((1 + c11)(1 + c22)))."""
    A, a = np.concatenate([W, Wt]), np.concatenate([v, -vt])
    C = A @ A.T
    n = 1 + np.diagonal(C)
    return a @ np.arcsin(C / np.sqrt(n[:, None] * n[None, :])) @ a / np.pi


def test_coordinates_of_the_hessian_are_those_of_pack():
    """Student after student, weights and then readout; W and then v is another direction."""
    rng = np.random.default_rng(0)
    K, M, d = 3, 2, 4
    W, v, dW, dv = (rng.standard_normal(shape) for shape in ((K, d), K, (K, d), K))
    problem = ol.Problem(K, M, ol.Erf())
    H, left_out = ol.hessian(ol.TwoLayerFlow(), problem, ol.Weights(jnp.asarray(W), jnp.asarray(v)))
    np.testing.assert_array_equal(left_out, 0)
    direction = ol.Weights(jnp.asarray(dW), jnp.asarray(dv))
    u = ol.pack(direction).ravel()
    h = 1e-3
    teachers = np.eye(M, d), np.ones(M)
    ahead, here, back = (erf_loss(W + t * dW, v + t * dv, *teachers) for t in (h, 0.0, -h))
    assert float(u @ H @ u) == pytest.approx((ahead - 2 * here + back) / h**2, rel=1e-4)
    other = np.concatenate([dW.ravel(), dv])
    assert abs(float(other @ H @ other) - float(u @ H @ u)) > 0.01
    back = ol.unpack(u.reshape(K, d + 1))
    np.testing.assert_array_equal(back.W, dW)
    np.testing.assert_array_equal(back.v, dv)
    of_weights = H.reshape(K, d + 1, K, d + 1)[:, :d, :, :d].reshape(K * d, K * d)
    truth = dense(problem, ol.Weights(jnp.asarray(W), jnp.asarray(v)), d)
    np.testing.assert_allclose(np.linalg.eigvalsh(of_weights), truth, atol=1e-12)


def test_results_print_in_a_few_lines():
    problem = ol.Problem(10, 10)
    point = ol.fixed_point(problem, ol.family(problem, 1))
    found = spectrum(problem, point)
    first, *rest = repr(point).splitlines()
    assert first == "FixedPoint (compensated, α = 1; K = 10, M = 10; 9+1: matched 9, free 1)"
    assert rest[0].startswith("  loss 0.01870219459, residual ")
    assert len(rest) == 2
    assert (
        repr(found).splitlines()[0] == "Spectrum of 100 eigenvalues: stable (band 1e-08), index 0"
    )
    assert len(repr(found).splitlines()) == 2
    assert "0.031964028 (×8)" in repr(found)
    assert len(str(found).splitlines()) > 10
    assert found._repr_html_().startswith("<table>")
    assert repr(point.ansatz) == "BlockAnsatz(9+1: matched 9, free 1; ReLU())"
    step = next(ol.continue_family(problem, point, stop=11.0))
    assert repr(step).startswith(
        "BranchPoint at 10: loss 0.01870219459, smallest eigenvalue 0.03196"
    )
    many = at(BlockAnsatz(problem, (1,) * 10, (), 10), np.eye(10).ravel())
    assert len(repr(many).splitlines()) == 2
    assert repr(many).endswith("… and 92 more")
    # What is traced has no numbers to print, and says so without an error.
    shapes = jax.eval_shape(lambda z: AnsatzPoint(point.ansatz, z), point.z)
    assert "AnsatzPoint" in repr(shapes)
    said = []
    jax.grad(lambda z: said.append(repr(AnsatzPoint(point.ansatz, z))) or jnp.sum(z))(point.z)
    assert "AnsatzPoint" in said[0]


@pytest.mark.parametrize("c", [0.99, 0.9999999, 0.99999999999, -0.19, -0.1999999999])
def test_nearly_dependent_teachers_lose_no_eigenvalue(c):
    """Directions whose length in weights is small were taken for directions that a small block doesn't have.
    The truth is the Hessian of the written-out weights, to rounding over the smallest eigenvalue of T."""
    problem = ol.Problem(6, 6, None, (1 - c) * jnp.eye(6) + c)
    point = ol.fixed_point(problem, ol.family(problem, 0))
    found, dense = ol.spectrum(problem, point), ol.spectrum(problem, point.weights)
    assert found.multiplicities.sum() == 36
    values = np.repeat(found.eigenvalues, found.multiplicities.astype(int))
    truth = np.repeat(dense.eigenvalues, dense.multiplicities.astype(int))
    np.testing.assert_allclose(values, truth, rtol=0, atol=max(found.error, 1e-9))
    assert found.verdict != "unstable"


@pytest.mark.parametrize("part", [0.5, 0.05, 1e-3, 1e-5, 1e-7])
def test_parts_of_teachers_have_no_negative_curvature(part):
    """The loss is 0, so the Hessian is positive semidefinite; the angles of parallel units are rounded.

    The kind: an error that is not a part of the largest eigenvalue. It grows like 1 / part.
    """
    rng = np.random.default_rng(0)
    for _ in range(6):
        B = rng.normal(size=(2, 2))
        problem = ol.Problem(3, 2, teacher_overlaps=B @ B.T + 0.05 * np.eye(2))
        teacher = np.asarray(problem.teacher_weights(2))
        W = np.array([part * teacher[1], (1 - part) * teacher[1], teacher[0]])
        for band in (1e-8, 0.0):
            found = ol.spectrum(problem, ol.Weights(jnp.asarray(W), jnp.ones(3)), band=band)
            assert (found.verdict, found.index) == ("marginal", 0)
            assert -found.smallest <= found.error


def test_coincident_students_in_blocks_have_the_error_that_they_have():
    """Two students on one ray, of lengths 1 and 3: what one loses the other gains, and the loss stays."""
    problem = ol.Problem(4, 2, ol.LeakyReLU(slope=-0.5))
    ansatz = BlockAnsatz(problem, (1, 1), (), 4)
    rows = jnp.array([[0.25, 0.0], [0.75, 0.0], [0.0, 0.1], [0.0, 0.9]])
    found = spectrum(problem, AnsatzPoint(ansatz, rows.ravel()))
    assert (found.verdict, found.index) == ("marginal", 0)
    assert found.smallest >= -found.error
    assert found.error < 1e-6
