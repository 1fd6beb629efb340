"""Orthonormalised gradient flow (onGD)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..model.problem import Problem
from ..model.state import OrderParameters, Weights
from ..runtime.arguments import shown
from ..runtime.errors import UserError
from .base import AbstractFlow, Mixing
from .gradient import gradient_mixing


@jax.custom_jvp
def _polar_factor(W: Float[Array, "K d"]) -> Float[Array, "K d"]:
    """Return the matrix with orthonormal rows nearest to W: U of W = P U, P = (W Wᵀ)^½; undefined numbers
    where rows are linearly dependent, and many are as near."""
    left, s, right = jnp.linalg.svd(W, full_matrices=False)
    independent = s[-1] > 100 * jnp.finfo(s.dtype).eps * s[0]
    return jnp.where(independent, left @ right, jnp.nan)


@_polar_factor.defjvp
def _polar_factor_jvp(primals, tangents):
    # That of the singular vectors is infinite where singular values are equal, as on the constraint they all
    # are. With dU = Ω U within the rows, dW Uᵀ − U dWᵀ = P Ω + Ω P; beyond them dU = P⁻¹ dW.
    (W,), (dW,) = primals, tangents
    left, s, right = jnp.linalg.svd(W, full_matrices=False)
    factor = _polar_factor(W)
    within = left.T @ dW @ right.T
    turned = left @ ((within - within.T) / (s[:, None] + s[None, :])) @ right
    beyond = left @ ((left.T @ dW - within @ right) / s[:, None])
    return factor, turned + beyond


class OrthonormalFlow(AbstractFlow):
    r"""Gradient flow on the Stiefel manifold $WW^\top = I$.

    $\dot W = -(G - \frac12(GW^\top + WG^\top)W)$ keeps Q (paper, Eqs. 57-59). Initial weights are
    projected to the nearest orthonormal rows (polar factor), so it needs K ≤ d. Linearly dependent rows have
    no nearest ones: such a start is refused by `trajectory`, and one of many has failed.

    - `metric`: the metric of the steepest descent. "euclidean" is the flow above; "canonical" is
      $\dot W = -(G - WG^\top W)$, in which a rotation within the rows costs half as much (Edelman, Arias and
      Smith 1998). Fixed points and their stability are the same; for K = d the second is the first at twice
      the speed.

    Raises UserError for another metric, and for initial weights with K > d.
    """

    metric: str = eqx.field(static=True, default="euclidean")

    def __check_init__(self):
        if not isinstance(self.metric, str) or self.metric not in ("euclidean", "canonical"):
            raise UserError(f'metric must be "euclidean" or "canonical"; got {shown(self.metric)}')

    @property
    def preserves_norms(self) -> bool:
        return True

    def mixing(self, state: OrderParameters, problem: Problem) -> Mixing:
        X, Y, dv, _ = gradient_mixing(state, problem)
        GW = X @ state.Q + Y @ state.R.T
        within = (GW + GW.T) / 2 if self.metric == "euclidean" else GW.T
        return Mixing(X - within, Y, dv)

    def project_initial(self, weights: Weights) -> Weights:
        K, d = weights.W.shape
        if K > d:
            raise UserError(
                f"weights of OrthonormalFlow must have K ≤ d; got students K = {K} and dimension d = {d}"
            )
        return Weights(_polar_factor(weights.W), weights.v)

    def retract(self, weights: Weights) -> Weights:
        # One Newton–Schulz step towards the polar factor: the error in WWᵀ is squared.
        W = weights.W
        products = jnp.einsum("im...,jm...->ij...", W, W)
        return Weights(W - (jnp.einsum("ij...,jm...->im...", products, W) - W) / 2, weights.v)

    def neutral_directions(self, weights: Weights, problem: Problem):
        i, j = np.triu_indices(problem.students)
        K, n = problem.students, len(i)
        S = jnp.zeros((n, K, K)).at[jnp.arange(n), i, j].set(1.0)
        S = S.at[jnp.arange(n), j, i].set(1.0)
        normals = jnp.pad(S @ weights.W, ((0, 0), (0, 0), (0, 1)))
        return jnp.concatenate([normals, super().neutral_directions(weights, problem)])
