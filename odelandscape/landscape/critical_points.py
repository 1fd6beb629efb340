r"""Critical points of the reduced loss from many starts, of any index.

Descent ends in minima of an ansatz only. Here the norm of the gradient g descends instead, by Newton's method
with the damping of Levenberg and Marquardt, $\delta = -(J^\top J + \mu)^{-1} J^\top g$ with J = ∂g/∂x: saddles
attract as minima do. It may also come to rest where J is singular and g is not 0; such an end is dropped.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..ansatz.block_ansatz import BlockAnsatz, FormalBlocks, formal
from ..ansatz.padding import padded
from ..ansatz.reduced_loss import parameter_lengths, reduced_loss
from ..ansatz.scale import in_unit_scale
from .homotopy import scaled_rates

_LANES = 64  # starts that are iterated together
_ITERATIONS = 10  # in a round
_MOST_ROUNDS = 15
_CONVERGED = 1e-11  # norm of the gradient, in units of the readouts
_NOWHERE = 1e-7  # |Jᵀg| / |g| where the norm of the gradient has a minimum that is not 0
_LONGEST_STEP = 0.5
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-16, 1e6


class Candidates(NamedTuple):
    """Critical points of one ansatz, as NumPy arrays.

    - `z` (n, P): parameters.
    - `loss` (n,), and `correlations` (n, B): E[Δ σ(w*·x)] with a teacher of each block, which depend on the
      network alone; both in units of the readouts (`in_unit_scale`).
    """

    z: Float[np.ndarray, "n P"]
    loss: Float[np.ndarray, " n"]
    correlations: Float[np.ndarray, "n B"]


class _Lanes(NamedTuple):
    """Points x with g, J, |g|² and damping there, and the points that are tried next; starts in front."""

    x: Float[Array, "n P"]
    gradient: Float[Array, "n P"]
    jacobian: Float[Array, "n P P"]
    square: Float[Array, " n"]
    damping: Float[Array, " n"]
    trial: Float[Array, "n P"]


def error_correlations(
    blocks: FormalBlocks, z: Float[Array, " P"]
) -> tuple[Float[Array, ""], Float[Array, " B"]]:
    """Return the loss, and E[Δ σ(w*·x)] with a teacher of each block: equal networks have equal ones, whatever
    their students are. It is the derivative of the loss by −v*, over the size of the block."""

    def loss(teacher_readout):
        return reduced_loss(replace(blocks, teacher_readout=teacher_readout), z)

    value, slope = jax.value_and_grad(loss)(blocks.teacher_readout)
    return value, -slope / jnp.where(blocks.sizes > 0, blocks.sizes, 1)


@eqx.filter_jit
def _iterate(blocks: FormalBlocks, lanes: _Lanes):
    """Make a round of iterations. Returns the lanes, |Jᵀg|, parameters, losses and correlations."""
    lengths = parameter_lengths(blocks)
    regular = jnp.diag((blocks.multiplicity == 0).astype(float))

    def gradient(x):
        rates = scaled_rates(x, blocks)
        return rates, rates

    def step(lane: _Lanes) -> _Lanes:
        J, g = jax.jacfwd(gradient, has_aux=True)(lane.trial)
        square = g @ g
        better = square < lane.square  # false where anything is not finite
        damping = jnp.where(better, lane.damping / 5, lane.damping * 4)
        damping = jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING)
        new = lane.trial, g, J, square
        x, g, J, square = (jnp.where(better, a, b) for a, b in zip(new, lane[:4], strict=True))
        normal = J.T @ J + regular + damping * jnp.eye(len(x))
        move = -jnp.linalg.solve(normal, J.T @ g)
        move = move * jnp.minimum(1, _LONGEST_STEP / (jnp.linalg.norm(move) + 1e-300))
        return _Lanes(x, g, J, square, damping, x + move)

    lanes = jax.lax.fori_loop(0, _ITERATIONS, lambda _, lanes: jax.vmap(step)(lanes), lanes)
    flat = jnp.linalg.norm(jnp.einsum("nij,ni->nj", lanes.jacobian, lanes.gradient), axis=1)
    z = lanes.x / lengths
    return lanes, flat, z, *jax.vmap(lambda z: error_correlations(blocks, z))(z)


def _fresh(lengths: np.ndarray, starts: np.ndarray) -> _Lanes:
    """Return lanes at which nothing has been evaluated."""
    x, (n, P) = starts * lengths, starts.shape
    whatever = np.broadcast_to(np.eye(P), (n, P, P))
    return _Lanes(x, np.zeros((n, P)), whatever, np.full(n, np.inf), np.full(n, _FIRST_DAMPING), x)


def critical_points(ansatz: BlockAnsatz, starts: Float[Array, "n P"]) -> Iterator[Candidates]:
    """Yield the critical points of an ansatz that these starts lead to, some at a time, the same one as often
    as starts lead there.

    - `starts`: parameters in units of the readouts: of students whose weights are of order 1 for readouts of
      order 1.
    """
    unit, scale = in_unit_scale(formal(ansatz))
    padding = padded(unit)
    pending = np.asarray(padding.pad(jnp.asarray(starts)))
    lengths = np.asarray(parameter_lengths(padding.blocks))
    here, pending = pending[:_LANES], pending[_LANES:]
    running = np.arange(_LANES) < len(here)
    # Padded to one size with copies of the first start (one program per structure).
    lanes = _fresh(lengths, np.concatenate([here, np.repeat(here[:1], _LANES - len(here), axis=0)]))
    rounds = np.zeros(_LANES, int)
    while running.any():
        *changed, z, loss, correlations = _iterate(padding.blocks, lanes)
        lanes, flat = _Lanes(*(np.array(x) for x in changed[0])), np.asarray(changed[1])
        rounds += 1
        norm = np.sqrt(lanes.square)
        converged = norm <= _CONVERGED
        hopeless = (rounds >= _MOST_ROUNDS) | (flat <= _NOWHERE * norm) | ~np.isfinite(norm)
        found = running & converged & np.isfinite(np.asarray(loss))
        yield Candidates(
            np.asarray(padding.strip(z))[found] * float(scale.weights),
            np.asarray(loss)[found],
            np.asarray(correlations)[found, : ansatz.sizes.shape[0]],
        )
        ended = np.flatnonzero(running & (converged | hopeless))
        refilled = ended[: len(pending)]
        for column, new in zip(lanes, _fresh(lengths, pending[: len(refilled)]), strict=True):
            column[refilled] = new
        pending = pending[len(refilled) :]
        rounds[ended] = 0
        running[ended[len(refilled) :]] = False
