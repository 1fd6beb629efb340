r"""A flow is a mixing of students and teachers.

Every flow here moves the students by
$\dot w_i = -\sum_j X_{ij} w_j - \sum_n Y_{in} w^*_n$ and the readouts by $\dot v$, with X (K, K),
Y (K, M) and $\dot v$ (K,) functions of the order parameters alone. So it acts alike on weights,
$\dot W = -XW - YW^*$, and on order parameters, $\dot R = -XR - YT$ and
$\dot Q = -(XQ + YR^\top) + \text{transpose}$. A flow that is the limit of noisy steps adds a positive
semidefinite matrix to $\dot Q$, and then acts on order parameters alone.

A new flow is one file with a subclass of `AbstractFlow` that defines `mixing`, and one line in
`flows.BY_NAME`. It overrides what else differs from gradient flow: the properties, the projections onto its
constraint and the neutral directions.
"""

import abc
from typing import NamedTuple, overload

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model.problem import Problem
from ..model.state import (
    OrderParameters,
    State,
    Weights,
    check_shapes,
    overlaps,
    pack,
    unpack,
)
from ..runtime.errors import UserError
from ..runtime.registry import restore_defaults


class Mixing(NamedTuple):
    """Ẇ = −X W − Y W*, the rate `dv` of the readout, and the matrix that noise adds to the rate of Q."""

    X: Float[Array, "K K"]
    Y: Float[Array, "K M"]
    dv: Float[Array, " K"]
    noise: Float[Array, "K K"] | None = None


_DERIVED = {
    "__call__": ("mixing",),
    "batched_rates": ("mixing", "__call__"),
    "sample_step": ("mixing", "__call__"),
}
"""What each method follows from: a subclass that overrides the latter does not inherit the former, but has
the default of `AbstractFlow`."""


class AbstractFlow(eqx.Module):
    """A flow on the population loss; call it as `flow(t, state, problem)` for the rates.

    The signature is diffrax's, so `diffrax.ODETerm(flow)` works with the problem as `args`.

    A subclass of another flow that overrides its mixing is what its own mixing says everywhere: the other
    flow's arithmetic for many lanes, and its process of samples, are not inherited then.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        restore_defaults(cls, AbstractFlow, _DERIVED)

    @property
    def stochastic(self) -> bool:
        """Whether noise adds to Q (False unless overridden).

        Such a flow is a flow of order parameters: weights of finite dimension do not determine its rates.
        """
        return False

    def sample_step(self, dimension: int) -> float | Float[Array, ""]:
        """Return the time of one step of the process in d dimensions whose limit d → ∞ a stochastic flow is.

        The step moves the trained weights by minus that time times the gradient of ½Δ² on one fresh input.
        A stochastic flow whose networks `train_network` can train overrides it, and so does a subclass of one
        with another mixing (or other noise), if it is the limit of the same steps.

        Raises UserError unless overridden.
        """
        raise UserError(
            f"flow must define sample_step, together with its mixing, for networks of dimension {dimension} "
            f"to be trained by its steps; got {type(self).__name__}"
        )

    @property
    def trains_readout(self) -> bool:
        """Whether the flow moves the readout v (False unless overridden: then v̇ = 0)."""
        return False

    @property
    def preserves_norms(self) -> bool:
        """Whether the flow keeps each |w_i| at the value that `project_initial` gives it (False unless
        overridden)."""
        return False

    @property
    def permutation_equivariant(self) -> bool:
        """Whether permuted students, or teachers that a permutation leaves equal, have permuted rates.

        True unless overridden: students and teachers enter `mixing` by their overlaps and readouts alone. A
        flow that treats its units differently by their index must return False.
        """
        return True

    @abc.abstractmethod
    def mixing(self, state: OrderParameters, problem: Problem) -> Mixing:
        """Return the mixing at these order parameters."""

    def project_initial(self, weights: Weights) -> Weights:
        """Return the point of the flow's constraint nearest to `weights`, from which the flow starts.

        Without a constraint, `weights` themselves (unless overridden).
        """
        return weights

    def retract(self, weights: Weights) -> Weights:
        """Return to the flow's constraint from very near it: undo the error of a step.

        Without a constraint, `weights` themselves (unless overridden). Costs no more than a few evaluations
        of the flow. Lanes may be on a last axis, as in `batched_rates`.
        """
        return weights

    def neutral_directions(self, weights: Weights, problem: Problem) -> Float[Array, "n K D"]:
        """Return the directions in [W | v] in which stability is not judged, stacked along the first axis.

        They are normal to the flow's constraint, or not moved by the flow (an untrained readout), or change
        no network (rescalings): the stability of a fixed point is judged on their complement.

        Unless overridden, those of a flow without a constraint: the readout's where it is not trained; where
        it is, the rescalings (w_i, v_i) → (a w_i, v_i / a) for a positively homogeneous activation, and none
        for another or where norms are preserved.
        """
        if not self.trains_readout:
            return readout_directions(*weights.W.shape)
        K, d = weights.W.shape
        if self.preserves_norms or not problem.activation.positively_homogeneous:
            return jnp.zeros((0, K, d + 1))
        rescaled = jnp.concatenate([weights.W, -weights.v[:, None]], axis=1)
        return jnp.eye(K)[:, :, None] * rescaled[None, :, :]

    def batched_rates(self, weights: Weights, problem: Problem) -> Weights:
        """Return the rates of n weights at once, lanes on the last axis: W (K, d, n), v (K, n).

        A vector register then holds one number of several lanes, whatever K is. A flow overrides it where
        its arithmetic can be written with lanes on the last axis.
        """
        return jax.vmap(lambda w: self(0.0, w, problem), in_axes=-1, out_axes=-1)(weights)

    @overload
    def __call__(self, t, state: Weights, problem: Problem) -> Weights: ...
    @overload
    def __call__(self, t, state: OrderParameters, problem: Problem) -> OrderParameters: ...
    def __call__(self, t, state: State, problem: Problem) -> State:
        del t  # autonomous
        state = check_shapes(problem, state)
        if isinstance(state, Weights):
            if self.stochastic:
                raise UserError(
                    f"state must be order parameters, such as ol.overlaps(problem, weights): "
                    f"{type(self).__name__} acts on order parameters alone; got weights"
                )
            X, Y, dv, _ = self.mixing(overlaps(problem, state), problem)
            if problem.teacher_overlaps is None:
                M, d = problem.teachers, state.W.shape[1]
                return Weights(-(X @ state.W) - jnp.pad(Y, ((0, 0), (0, d - M))), dv)
            return Weights(-(X @ state.W) - Y @ problem.teacher_weights(state.W.shape[1]), dv)
        X, Y, dv, noise = self.mixing(state, problem)
        half = X @ state.Q + Y @ state.R.T
        teacher = Y if problem.teacher_overlaps is None else Y @ problem.teacher_overlaps
        dQ = -(half + half.T) if noise is None else noise - (half + half.T)
        return OrderParameters(dQ, -(X @ state.R) - teacher, dv)


def readout_directions(K: int, d: int) -> Float[Array, "{K} {K} {d}+1"]:
    """Return the K unit directions of the readout in [W | v]."""
    return jnp.zeros((K, K, d + 1)).at[jnp.arange(K), jnp.arange(K), d].set(1.0)


def packed_rates(
    flow: AbstractFlow, problem: Problem, y: Float[Array, "K D *lanes"]
) -> Float[Array, "K D *lanes"]:
    """Return the flow's rates of [W | v], of one state or of many with lanes on the last axis."""
    if y.ndim == 2:
        return pack(flow(0.0, unpack(y), problem))
    return pack(flow.batched_rates(unpack(y), problem))
