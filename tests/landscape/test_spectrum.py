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
        (10, 7, ((4, 3), (0, 1), 3), 9, 0.0),
        (9, 5, ((3, 2), (0, 1, 0), 1), 5, 0.0),
        (12, 12, ((5, 4, 3), (0, 1, 2), 0), 12, -0.05),
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
    with pytest.raises(ValueError, match="point must hold weights"):
        spectrum(ol.Problem(4, 3), weights)
    with pytest.raises(ValueError, match="dimension must be at least the weights' own, 5; got 4"):
        spectrum(problem, weights, 4)
    point = at(BlockAnsatz(problem, (3,), (0,)), [1.0, 0.0])
    with pytest.raises(ValueError, match="ansatz must have the problem's K = 4"):
        spectrum(ol.Problem(4, 4), point)
