r"""A catalogue of cases whose answers are known without odelandscape.

Truth is made in four ways, none of which shares a formula's code with the package:

- *angle integrals*: for a homogeneous activation, an expectation in the plane of (u, w) is one
  integral over the angle, done by mpmath between the kinks;
- *grids*: for an analytic activation the trapezoidal rule on a Gaussian converges exponentially;
- *samples*: Monte Carlo with its standard error;
- *published or derived numbers*, with their source.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy.special import erf, expit

from odelandscape.activations.base import AbstractActivation
from odelandscape.activations.erf import Erf
from odelandscape.activations.quadrature import Quadrature
from odelandscape.activations.relu import LeakyReLU, ReLU
from odelandscape.model.problem import Problem
from odelandscape.model.state import Weights

SAMPLES = 400_000


# --- activations --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sigma:
    """An activation: the package's object, and σ, σ', σ'' in NumPy (σ'' None if σ has a kink)."""

    name: str
    library: AbstractActivation
    value: Callable
    slope: Callable
    curvature: Callable | None = None
    low: float = 0.0  # σ(x) = low · x for x < 0, where σ is homogeneous


def _piecewise(name: str, library: AbstractActivation, low: float) -> Sigma:
    return Sigma(
        name,
        library,
        lambda x: np.where(x > 0, x, low * x),
        lambda x: np.where(x > 0, 1.0, low),
        low=low,
    )


def _gauss(x):
    return np.sqrt(2 / np.pi) * np.exp(-(x**2) / 2)


RELU = _piecewise("relu", ReLU(), 0.0)
LEAKY = _piecewise("leaky", LeakyReLU(slope=0.1), 0.1)
ERF = Sigma("erf", Erf(), lambda x: erf(x / np.sqrt(2)), _gauss, lambda x: -x * _gauss(x))
TANH = Sigma(
    "tanh",
    Quadrature(jnp.tanh),
    np.tanh,
    lambda x: np.cosh(x) ** -2.0,
    lambda x: -2 * np.tanh(x) * np.cosh(x) ** -2.0,
)
# Not odd and with σ''(0) ≠ 0, so it sees terms that vanish by symmetry for the others.
SOFTPLUS = Sigma(
    "softplus",
    Quadrature(jax.nn.softplus),
    lambda x: np.logaddexp(x, 0),
    expit,
    lambda x: expit(x) * expit(-x),
)
SIGMAS = (RELU, LEAKY, ERF, TANH)

each_sigma = pytest.mark.parametrize("sigma", SIGMAS, ids=lambda s: s.name)


# --- expectations in the plane ------------------------------------------------------------------


def expectation(f: Callable, C, sigma: Sigma, degree: int = 2) -> float:
    """E[f(u, w)] for covariance C. With a kinked `sigma`, f must be homogeneous of this degree."""
    n1, n2 = np.sqrt(C[0, 0]), np.sqrt(C[1, 1])
    c = C[0, 1] / (n1 * n2)
    if sigma.curvature is None:
        theta = float(mp.acos(c))
        kinks = {-np.pi, -np.pi / 2, np.pi / 2, theta - np.pi / 2, np.pi, theta + np.pi / 2}
        kinks = sorted(k if k <= np.pi else k - 2 * np.pi for k in kinks)
        radial = mp.mpf(2) ** (degree / 2) * mp.gamma(1 + degree / mp.mpf(2))  # E[r^degree]
        integrand = lambda a: mp.mpf(float(f(n1 * np.cos(float(a)), n2 * np.cos(float(a) - theta))))  # noqa: E731
        return float(radial * mp.quad(integrand, kinks) / (2 * mp.pi))
    h = 0.1
    z = np.arange(-100, 101) * h
    weight = np.exp(-(z**2) / 2) * h / np.sqrt(2 * np.pi)
    u = n1 * z[:, None]
    w = n2 * (c * z[:, None] + np.sqrt(1 - c * c) * z[None, :])
    return float(weight @ f(u + 0 * w, w) @ weight)


def of_units(W) -> np.ndarray:
    W = np.asarray(W, float)
    C = W @ W.T
    return (C + C.T) / 2


def covariance(rng, n: int) -> np.ndarray:
    """A generic covariance with variances of order 1."""
    A = rng.standard_normal((n, n + 1)) / np.sqrt(n + 1)
    return A @ A.T


# --- ReLU in closed form, at any precision and in NumPy ------------------------------------------


def relu_moment_mp(w, u):
    """E[relu(w·x) relu(u·x)] (Cho and Saul 2009) of two vectors, in mpmath's working precision."""
    n1, n2 = mp.norm(mp.matrix(w)), mp.norm(mp.matrix(u))
    if n1 * n2 == 0:
        return mp.mpf(0)
    c = mp.fdot(w, u) / (n1 * n2)
    theta = mp.acos(max(-1, min(1, c)))
    return n1 * n2 * (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta)) / (2 * mp.pi)


def _angles(A, B):
    """Angles between rows, exact to rounding at coincidence: Kahan's 2·atan2(|a−b|, |a+b|)."""
    a = (A / np.linalg.norm(A, axis=-1, keepdims=True))[..., :, None, :]
    b = (B / np.linalg.norm(B, axis=-1, keepdims=True))[..., None, :, :]
    return 2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))


def relu_loss(W, v, Wt, vt):
    """Population loss of ReLU units, rows of W against rows of Wt; leading axes are a batch."""
    A, a = np.concatenate([W, Wt], axis=-2), np.concatenate([v, -vt], axis=-1)
    theta = _angles(A, A)
    n = np.linalg.norm(A, axis=-1)
    kernel = np.sin(theta) + (np.pi - theta) * np.cos(theta)
    return np.einsum("...i,...j,...ij", a * n, a * n, kernel) / (4 * np.pi)


def relu_gradient(W, v, Wt, vt):
    """∂L/∂W of `relu_loss`: Σ_l v_i a_l (|l| sin θ ŵ_i + (π−θ) l)/2π (Safran and Shamir 2018)."""
    A, a = np.concatenate([W, Wt], axis=-2), np.concatenate([v, -vt], axis=-1)
    theta = _angles(W, A)
    n = np.linalg.norm(A, axis=-1)
    radial = np.einsum("...il,...l->...i", np.sin(theta), a * n)[..., None]
    unit = W / np.linalg.norm(W, axis=-1, keepdims=True)
    other = np.einsum("...il,...l,...lx->...ix", np.pi - theta, a, A)
    return v[..., None] * (radial * unit + other) / (2 * np.pi)


# --- known answers ------------------------------------------------------------------------------


# E[relu(u) relu(w)] of unit-length pairs; elementary from sin θ + (π−θ) cos θ.
RELU_AT_ANGLE = {
    0.0: 1 / 2,
    np.pi / 3: (np.sqrt(3) / 2 + np.pi / 3) / (2 * np.pi),
    np.pi / 2: 1 / (2 * np.pi),
    2 * np.pi / 3: (np.sqrt(3) / 2 - np.pi / 6) / (2 * np.pi),
    np.pi: 0.0,
}


def one_on_one_loss(length, angle):
    """ReLU, K = M = 1, teacher of length 1: three known moments."""
    kernel = np.sin(angle) + (np.pi - angle) * np.cos(angle)
    return length**2 / 4 + 1 / 4 - length * kernel / (2 * np.pi)


def linear_loss(W, v, Wt, vt):
    """Slope 1 is a linear network: Δ = (Wᵀv − W*ᵀv*)·x."""
    return np.sum((v @ W - vt @ Wt) ** 2) / 2


def spectrum_at_teacher(k: int, d: int) -> np.ndarray:
    """ReLU Hessian at W = W* for K = M = k, readouts 1: closed form by the symmetry S_k."""
    pi = np.pi
    standard = np.roots([1, -(k / 4 + 1 / 2), (k + 1) / 16 + 1 / (4 * pi) - 1 / (4 * pi**2)])
    trivial = np.roots(
        [
            1,
            -(1 / 2 + k / 4 + k / (2 * pi)),
            (1 / 2 + (k - 1) / (2 * pi)) * (k / 4 + 1 / (2 * pi)) - (k - 1) / 16,
        ]
    )
    values = {1 / 4 - 1 / (2 * pi): k * (k - 1) // 2, 1 / 4 + 1 / (2 * pi): k * (k - 3) // 2}
    values |= {r: k - 1 for r in standard} | {r: 1 for r in trivial}
    further = [1 / 4] * (k - 1) + [(k + 1) / 4]
    return np.sort(
        np.concatenate([np.repeat(list(values), list(values.values())), *[further] * (d - k)])
    )


@dataclass(frozen=True)
class Minimum:
    """A published ReLU minimum in the teacher basis, its weights rounded as printed."""

    name: str
    W: np.ndarray
    loss: float
    tolerance: float
    smallest_eigenvalue: float | None = None


def _blocks(K: int, aligned: int, a, b, column, row, e) -> np.ndarray:
    """`aligned` matched rows (a on the diagonal, b off), then one row (row, …, e)."""
    W = np.full((K, K), b)
    np.fill_diagonal(W, a)
    W[:aligned, aligned:], W[aligned:, :aligned] = column, row
    W[aligned:, aligned:] = e
    return W


def _split() -> np.ndarray:
    W = np.full((12, 11), -0.015)
    W[np.arange(10), np.arange(10)], W[:10, 10] = 0.994, 0.168
    W[10:, :10], W[10:, 10] = np.array([[0.087], [0.053]]), [-0.190, -0.550]
    return W


# Levels of arXiv:2604.09412 and of Safran and Shamir's end states, weights to four digits.
# The loss is flat at a fixed point, so weights rounded by δ give it to about λ_max |δ|²/2.
MINIMA = (
    Minimum(
        "paper α=1",
        _blocks(10, 9, 1.0044, -0.0158, 0.1824, 0.1260, -0.6990),
        0.018702,
        1e-6,
        0.0320,
    ),
    Minimum(
        "hidden α=10", np.full((10, 10), 0.1985) - (0.8003 + 0.1985) * np.eye(10), 0.076637, 1e-6
    ),
    Minimum("K=12, M=11", _split(), 0.0168, 1.5e-4),
)


# --- Monte Carlo --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """A generic student and teacher, in an arbitrary basis of input space."""

    W: np.ndarray
    v: np.ndarray
    Wt: np.ndarray
    vt: np.ndarray

    @classmethod
    def random(cls, K: int, M: int, d: int, seed: int = 0) -> "Network":
        """Rows of order 1 and readouts of both signs; the teacher's rows are correlated."""
        rng = np.random.default_rng(seed)
        W, Wt = rng.standard_normal((K, d)), rng.standard_normal((M, d))
        sign = lambda n: (-1.0) ** np.arange(n) * rng.uniform(0.5, 1.5, n)  # noqa: E731
        return cls(W / np.sqrt(d), sign(K), Wt / np.sqrt(d), sign(M))

    @property
    def T(self) -> np.ndarray:
        return self.Wt @ self.Wt.T

    def basis(self) -> np.ndarray:
        """Orthonormal rows B with W* = [L 0] B and T = L Lᵀ: the package's coordinates."""
        M, d = self.Wt.shape
        span = np.linalg.solve(np.linalg.cholesky(self.T), self.Wt)
        rest = np.linalg.svd(span)[2][M:]
        return np.concatenate([span, rest.reshape(d - M, d)])

    def sample(self, sigma: Sigma, seed: int = 1):
        """Monte Carlo (mean, standard error) of the loss, of ∂L/∂W and of ∂L/∂v."""
        x = np.random.default_rng(seed).standard_normal((SAMPLES, self.W.shape[1]))
        field = x @ self.W.T
        student = sigma.value(field)
        error = student @ self.v - sigma.value(x @ self.Wt.T) @ self.vt
        pull = error[:, None] * sigma.slope(field) * self.v
        by_v = error[:, None] * student
        by_W = pull.T @ x / SAMPLES
        square = (pull**2).T @ x**2 / SAMPLES - by_W**2
        root = np.sqrt(SAMPLES)
        return (
            (np.mean(error**2) / 2, np.std(error**2) / 2 / root),
            (by_W, np.sqrt(square) / root),
            (by_v.mean(axis=0), by_v.std(axis=0) / root),
        )


def state_of(network: Network, sigma):
    """The network as the package writes it: the problem, and weights in the package's basis."""
    problem = Problem(
        len(network.v),
        len(network.vt),
        sigma.library,
        jnp.asarray(network.T),
        jnp.asarray(network.vt),
    )
    W = network.W @ network.basis().T
    return problem, Weights(jnp.asarray(W), jnp.asarray(network.v))


def within(value, estimate, sigmas: float = 5.0) -> None:
    """Fails unless `value` lies within this many standard errors of a Monte Carlo estimate."""
    mean, error = estimate
    z = np.max(np.abs((np.asarray(value) - mean) / error))
    assert z < sigmas, f"{z:.1f} standard errors from Monte Carlo"


def relu_loss_in_digits(M, z):
    """The loss of M − 1 matched students and one free one (z as in `BlockAnsatz`), in mpmath: I2 summed
    over all pairs, class by class."""
    a, b, to_last, row, e = (x if isinstance(x, mp.mpf) else mp.mpf(float(x)) for x in z)
    p = mp.mpf(M - 1)

    def I2(n1, n2, c12):
        c = c12 / (n1 * n2)
        theta = mp.acos(c)
        return n1 * n2 * (mp.sin(theta) + (mp.pi - theta) * c) / (2 * mp.pi)

    n = mp.sqrt(a**2 + (p - 1) * b**2 + to_last**2)
    f = mp.sqrt(p * row**2 + e**2)
    one = mp.mpf(1)
    student_student = (
        p * n**2 / 2
        + p * (p - 1) * I2(n, n, 2 * a * b + (p - 2) * b**2 + to_last**2)
        + 2 * p * I2(n, f, a * row + (p - 1) * b * row + to_last * e)
        + f**2 / 2
    )
    student_teacher = (
        p * I2(n, one, a)
        + p * (p - 1) * I2(n, one, b)
        + p * I2(n, one, to_last)
        + p * I2(f, one, row)
        + I2(f, one, e)
    )
    teacher_teacher = M * one / 2 + M * (mp.mpf(M) - 1) / (2 * mp.pi)
    return (student_student - 2 * student_teacher + teacher_teacher) / 2
