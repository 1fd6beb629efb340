r"""What decides whether a fixed point is stable: the Hessian in the weights, and the kinks.

At a point of [W | v] the Hessian counts only between directions that the flow can take. Where a
student is *silent* (of length 0) the loss has a kink in its weights and no Hessian; there the rates
close by say whether the flow leaves.

`spectrum` gives all eigenvalues for gradient flow: at a point of a block ansatz from its symmetry at any
width (`isotypic`), elsewhere from the dense Hessian or, where that is too large, its ends by Lanczos.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse.linalg import LinearOperator, eigsh

from ..ansatz.block_ansatz import BlockAnsatz
from ..ansatz.isotypic import hessian_spectrum
from ..flows.gradient import GradientFlow
from ..model.problem import Problem, check_dimension
from ..model.state import Weights
from ..runtime.errors import UserError
from .fixed_points import FixedPoint
from .local_geometry import STABILITY_BAND, hessian

DENSE = 3000
"""The largest K·d whose Hessian is written out."""
_SAME = 1e-9  # eigenvalues of a dense Hessian closer than this are one
_ENDS = 12  # how many eigenvalues Lanczos looks for at either end


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of the Hessian ∂²L/∂W², ascending, with their multiplicities.

    - `eigenvalues`, `multiplicities` (n,): multiplicities add up to K·d (they are real numbers where
      block sizes are).
    - `representations` (n,): what of the symmetry each belongs to; "" where none was used.
    - `complete`: False if these are only the ends of the spectrum, by Lanczos.
    - `verdict`: `stable`, `unstable` or `marginal`, by the smallest eigenvalue against ± `band`.
    """

    eigenvalues: np.ndarray
    multiplicities: np.ndarray
    representations: tuple[str, ...]
    complete: bool
    band: float

    @property
    def smallest(self) -> float:
        """The smallest eigenvalue."""
        return float(self.eigenvalues[0])

    @property
    def verdict(self) -> str:
        """`stable`, `unstable` or `marginal`."""
        if abs(self.smallest) <= self.band:
            return "marginal"
        return "stable" if self.smallest > 0 else "unstable"

    def __str__(self) -> str:
        rows = zip(self.eigenvalues, self.multiplicities, self.representations, strict=True)
        lines = [f"{value:14.9f}  × {count:<12.10g} {name}" for value, count, name in rows]
        return "\n".join([*lines, f"{self.verdict} (band {self.band:.0e})"])


def spectrum(
    problem: Problem,
    point: FixedPoint | Weights,
    dimension: int | None = None,
    band: float = STABILITY_BAND,
) -> Spectrum:
    """All eigenvalues of the full Hessian in the weights, with multiplicities.

    - `point`: a point of a block ansatz, at a cost that doesn't grow with its size; or any weights. Their
      Hessian is written out up to K·d = 3,000, where eigenvalues that agree to 1e-9 are told as one;
      above that the 12 lowest and 12 highest eigenvalues are found by Lanczos (`complete` is False).
    - `dimension`: d of the inputs; M, or the weights' own, unless given.
    - `band`: eigenvalues this close to 0 are called `marginal`.

    For gradient flow; `hessian` has the matrix for any flow. Where a student has length 0 the loss has
    a kink and no Hessian. Raises ValueError if the point and the problem or the dimension don't fit.
    """
    if isinstance(point, FixedPoint):
        ansatz = point.ansatz.of(problem)
        d = check_dimension(problem, dimension)
        return _in_blocks(ansatz, point.z, d - problem.teachers, band)
    K, d = point.W.shape
    if K != problem.students or d < problem.teachers:
        raise UserError(
            f"point must hold weights (K = {problem.students}, d ≥ {problem.teachers}); got {(K, d)}"
        )
    wanted = d if dimension is None else check_dimension(problem, dimension)
    if wanted < d:
        raise UserError(f"dimension must be at least the weights' own, {d}; got {wanted}")
    weights = Weights(jnp.pad(point.W, ((0, 0), (0, wanted - d))), point.v)
    if K * wanted <= DENSE:
        return _dense(problem, weights, band)
    return _lanczos(problem, weights, band)


def _in_blocks(ansatz: BlockAnsatz, z: Float[Array, " P"], beyond: int, band: float) -> Spectrum:
    values, counts, names = zip(*hessian_spectrum(ansatz, z, beyond), strict=True)
    return Spectrum(np.array(values), np.array(counts), names, True, band)


def _gathered(values: np.ndarray, complete: bool, band: float) -> Spectrum:
    """Eigenvalues one by one as different ones with multiplicities."""
    first = np.flatnonzero(np.diff(values, prepend=-np.inf) > _SAME)
    counts = np.diff(first, append=len(values))
    means = np.add.reduceat(values, first) / counts
    return Spectrum(means, counts.astype(float), ("",) * len(first), complete, band)


@eqx.filter_jit
def _weight_hessian(problem: Problem, weights: Weights) -> Float[Array, "n n"]:
    K, d = weights.W.shape
    H, _ = hessian(GradientFlow(), problem, weights)
    return H.reshape(K, d + 1, K, d + 1)[:, :d, :, :d].reshape(K * d, K * d)


def _dense(problem: Problem, weights: Weights, band: float) -> Spectrum:
    H = np.asarray(_weight_hessian(problem, weights))
    return _gathered(np.linalg.eigvalsh(H), True, band)


@eqx.filter_jit
def _curvature_along(problem: Problem, weights: Weights, u: Float[Array, "K d"]):
    def rates(W):
        return GradientFlow()(0.0, Weights(W, weights.v), problem).W

    return -jax.jvp(rates, (weights.W,), (u,))[1]


def _lanczos(problem: Problem, weights: Weights, band: float) -> Spectrum:
    shape = weights.W.shape

    def product(u: np.ndarray) -> np.ndarray:
        return np.asarray(_curvature_along(problem, weights, jnp.asarray(u.reshape(shape)))).ravel()

    n = weights.W.size
    H = LinearOperator((n, n), matvec=product, dtype=float)  # pyright: ignore
    start = np.random.default_rng(0).standard_normal(n)
    ends = [
        eigsh(H, k=_ENDS, which=which, v0=start, return_eigenvectors=False)
        for which in ("SA", "LA")
    ]
    return _gathered(np.sort(np.concatenate(ends)), False, band)
