"""A branch of fixed points followed from one set of numbers to another.

Newton's method alone jumps between branches that lie close together. So a point on a branch is followed in
small steps: a predictor along the branch, a corrector, and a step that is refused unless the corrections
shrink fast and the Jacobian's determinant keeps its sign.
"""

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from ..activations.relu import as_leaky_relu
from ..ansatz.ansatz_point import AnsatzPoint
from ..ansatz.block_ansatz import AbstractBlocks, BlockAnsatz, FormalBlocks, formal
from ..ansatz.padding import in_unit_scale, padded
from ..ansatz.reduced_loss import parameter_lengths, reduced_rates
from ..runtime.errors import NoSuchFamilyError

_CORRECTIONS = 6
_SMALLEST_STEP = 1e-5  # of a path from 0 to 1


def scaled_rates(x: Float[Array, " P"], blocks: AbstractBlocks) -> Float[Array, " P"]:
    """Return the rates in units in which the lifted weights' norm is that of x (for orthonormal teachers):
    the Jacobian is then as well conditioned as the Hessian is."""
    lengths = parameter_lengths(blocks)
    return lengths * reduced_rates(blocks, x / lengths)


def follow_branch(point: AnsatzPoint, target: BlockAnsatz, branch: str) -> AnsatzPoint:
    """Return the point of the same branch at the numbers of another ansatz, to a few digits.

    Sizes, correlation, readouts and slope may differ from the point's; blocks and kind of activation may
    not. What is traced is held fixed: derivatives do not pass. Of a traced point or target it isn't checked
    that the branch reaches it.

    Raises NoSuchFamilyError if no path leads from the one ansatz to the other, and, naming the `branch` and
    where it ends, if the branch ends on the way.
    """
    start, end = _with_common_activation(point.ansatz, target)
    (one, of_start), (other, of_end) = (in_unit_scale(formal(blocks)) for blocks in (start, end))
    first, last = padded(one), padded(other)
    if jax.tree.structure(first.blocks) != jax.tree.structure(last.blocks):
        raise NoSuchFamilyError(
            "a branch can be followed between ReLU and LeakyReLU and between sizes, correlations and "
            "readouts of the same blocks; not from "
            f"{point.ansatz.activation!r} to {target.activation!r}"
        )
    z = first.pad(point.parameters / of_start.weights)
    path = _follow(*jax.lax.stop_gradient((first.blocks, last.blocks, z)))
    if not isinstance(path.arrived, Tracer) and not path.arrived:
        where = _interpolated(first.blocks, last.blocks, path.t)
        raise NoSuchFamilyError(
            f"{branch} does not exist at {_in_words(end)}: followed from {_in_words(start)}, it ends near "
            f"{_in_words(where)}"
        )
    return AnsatzPoint(target, last.strip(path.z) * of_end.weights, point.name)


def _with_common_activation(
    start: BlockAnsatz, end: BlockAnsatz
) -> tuple[BlockAnsatz, BlockAnsatz]:
    """Return both with LeakyReLU, where one of them has that and the other ReLU."""
    a, b = as_leaky_relu(start.activation), as_leaky_relu(end.activation)
    if a is None or b is None or type(start.activation) is type(end.activation):
        return start, end
    return start.replace(activation=a), end.replace(activation=b)


def _in_words(blocks: AbstractBlocks) -> str:
    occupied = np.asarray(blocks.sizes) > 0
    sizes = " + ".join(f"{size:.6g}" for size in np.asarray(blocks.sizes)[occupied])
    readouts = np.asarray(blocks.teacher_readout)[occupied]
    of_readout = (
        f" of readout {' and '.join(f'{v:.6g}' for v in readouts)}" if (readouts != 1).any() else ""
    )
    return (
        f"blocks of {sizes} teachers{of_readout}, c = {float(blocks.correlation):.6g}, "
        f"{blocks.activation!r}"
    )


class _PathEnd(NamedTuple):
    """How far a branch was followed: t of the way, the parameters there, accepted steps."""

    t: Float[Array, ""]
    z: Float[Array, " P"]
    steps: Int[Array, ""]
    arrived: Bool[Array, ""]


def _interpolated(start: FormalBlocks, end: FormalBlocks, t: Float[Array, ""]) -> FormalBlocks:
    """Return the blocks a part t of the way: sizes geometrically, every other number in proportion."""
    middle = jax.tree.map(lambda a, b: (1 - t) * a + t * b, start, end)
    occupied = start.sizes > 0
    a, b = (jnp.log(jnp.where(occupied, sizes, 1)) for sizes in (start.sizes, end.sizes))
    return replace(middle, sizes=jnp.where(occupied, jnp.exp((1 - t) * a + t * b), 0))


def _newton_corrected(
    blocks: FormalBlocks, x: Float[Array, " P"]
) -> tuple[Float[Array, " P"], Float[Array, ""], Float[Array, ""]]:
    """Take a few Newton steps. Returns the point, the largest ratio of one correction to the one before
    (infinite if they didn't converge), and the sign of the Jacobian's determinant."""
    # Parameters of blocks without units have no rate: a 1 on the diagonal makes the Jacobian regular.
    regular = jnp.diag((blocks.multiplicity == 0).astype(x.dtype))

    def body(_, carry):
        x, last, worst, _ = carry
        J = jax.jacfwd(scaled_rates)(x, blocks) + regular
        dx = -jnp.linalg.solve(J, scaled_rates(x, blocks))
        size = jnp.linalg.norm(dx)
        noise = 1e-11 * (1 + jnp.linalg.norm(x))
        ratio = jnp.where((last > noise) & (last < jnp.inf), size / last, 0.0)
        sign = jnp.linalg.slogdet(J)[0]
        return x + dx, size, jnp.maximum(worst, ratio), sign

    x, last, worst, sign = jax.lax.fori_loop(
        0, _CORRECTIONS, body, (x, jnp.asarray(jnp.inf), jnp.asarray(0.0), jnp.asarray(0.0))
    )
    converged = last < 1e-9 * (1 + jnp.linalg.norm(x))
    return x, jnp.where(converged, worst, jnp.inf), sign


@eqx.filter_jit
def _follow(start: FormalBlocks, end: FormalBlocks, z: Float[Array, " P"]) -> _PathEnd:
    """Follow the branch through z at `start` to `end`. It stops short (`arrived` is False) at a fold."""

    def unfinished(carry):
        path, step, _, _ = carry
        return (path.t < 1) & (step > _SMALLEST_STEP)

    def attempt(carry):
        path, step, before, sign = carry
        # The first attempt stays at t = 0 and only corrects z: a start is near a fixed point, not on it.
        begun = path.steps > 0
        t = jnp.where(begun, jnp.minimum(path.t + step, 1.0), 0.0)
        blocks = _interpolated(start, end, t)
        lengths = parameter_lengths(blocks)
        # Through the last two points, in the logarithm where that exists: parameters follow powers of sizes.
        stretch = jnp.where(
            path.steps > 1, (t - path.t) / jnp.maximum(path.t - before[0], 1e-12), 0.0
        )
        ratio = path.z / jnp.where(before[1] == 0, 1, before[1])
        power = jnp.where((ratio > 0.1) & (ratio < 10), path.z * jnp.abs(ratio) ** stretch, path.z)
        guess = jnp.where(stretch > 0, power, path.z)
        x, worst, new_sign = _newton_corrected(blocks, guess * lengths)
        good = (worst < jnp.where(begun, 0.25, 1.0)) & jnp.all(jnp.isfinite(x))
        good &= ~begun | (new_sign == sign)
        new = _PathEnd(t, x / lengths, path.steps + 1, ~begun | path.arrived)
        path, before = jax.tree.map(
            lambda a, b: jnp.where(good, a, b), (new, (path.t, path.z)), (path, before)
        )
        step = jnp.where(good, jnp.where(worst < 0.05, 2.0, 1.0) * step, 0.25 * step)
        step = jnp.where(begun | good, step, 0.0)
        return path, step, before, jnp.where(good, new_sign, sign)

    zero = jnp.zeros(())
    path = _PathEnd(zero, z, jnp.asarray(0), jnp.asarray(False))
    state = (path, jnp.asarray(0.125), (zero, z), zero)
    path, *_ = jax.lax.while_loop(unfinished, attempt, state)
    return path._replace(arrived=path.arrived & (path.t >= 1))
