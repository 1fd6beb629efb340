"""A branch of fixed points followed from one set of numbers to another."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from ..activations.relu import LeakyReLU, ReLU
from ..ansatz.block_ansatz import BlockAnsatz
from ..runtime.errors import NoSuchFamilyError, UserError

_CORRECTIONS = 6
_SMALLEST_STEP = 1e-5  # of a path from 0 to 1


def scaled_rates(x: Float[Array, " P"], ansatz: BlockAnsatz) -> Float[Array, " P"]:
    """Rates in units in which the lifted weights' norm is that of x (for orthonormal teachers): the
    Jacobian is then as well conditioned as the Hessian is."""
    return ansatz.unit * ansatz.field(x / ansatz.unit)


class Path(NamedTuple):
    """Where following a branch has come: t of the way, the parameters there, accepted steps."""

    t: Float[Array, ""]
    z: Float[Array, " P"]
    steps: Int[Array, ""]
    arrived: Bool[Array, ""]


def between(start: BlockAnsatz, end: BlockAnsatz, t: Float[Array, ""]) -> BlockAnsatz:
    """The ansatz a part t of the way: sizes geometrically, every other number in proportion."""
    middle = jax.tree.map(lambda a, b: (1 - t) * a + t * b, start, end)
    there = start.sizes > 0
    a, b = (jnp.log(jnp.where(there, sizes, 1)) for sizes in (start.sizes, end.sizes))
    return middle.replace(sizes=jnp.where(there, jnp.exp((1 - t) * a + t * b), 0))


def _correct(ansatz: BlockAnsatz, x: Float[Array, " P"]):
    """A few Newton steps. Returns the point, the first correction's length, the largest ratio of one
    correction to the one before, and the sign of the Jacobian's determinant."""

    idle = jnp.diag((ansatz.multiplicity == 0).astype(x.dtype))

    def body(_, carry):
        x, first, last, worst, _ = carry
        J = jax.jacfwd(scaled_rates)(x, ansatz) + idle
        dx = -jnp.linalg.solve(J, scaled_rates(x, ansatz))
        size = jnp.linalg.norm(dx)
        noise = 1e-11 * (1 + jnp.linalg.norm(x))
        ratio = jnp.where((last > noise) & (last < jnp.inf), size / last, 0.0)
        sign = jnp.linalg.slogdet(J)[0]
        return x + dx, jnp.minimum(first, size), size, jnp.maximum(worst, ratio), sign

    far = jnp.asarray(jnp.inf)
    x, _, last, worst, sign = jax.lax.fori_loop(
        0, _CORRECTIONS, body, (x, far, far, jnp.asarray(0.0), jnp.asarray(0.0))
    )
    settled = last < 1e-9 * (1 + jnp.linalg.norm(x))
    return x, jnp.where(settled, worst, jnp.inf), sign


@eqx.filter_jit
def follow(start: BlockAnsatz, end: BlockAnsatz, z: Float[Array, " P"]) -> Path:
    """Follow the branch through z at `start` to `end`. It stops short (`arrived` is False) at a fold."""

    def going(carry):
        path, step, _, _ = carry
        return (path.t < 1) & (step > _SMALLEST_STEP)

    def attempt(carry):
        path, step, before, sign = carry
        # The first attempt stays at t = 0 and only corrects z: a start is near a fixed point, not on it.
        begun = path.steps > 0
        t = jnp.where(begun, jnp.minimum(path.t + step, 1.0), 0.0)
        here = between(start, end, t)
        unit = here.unit
        # Through the last two points, in the logarithm where that exists: parameters follow powers of sizes.
        stretch = jnp.where(
            path.steps > 1, (t - path.t) / jnp.maximum(path.t - before[0], 1e-12), 0.0
        )
        ratio = path.z / jnp.where(before[1] == 0, 1, before[1])
        power = jnp.where((ratio > 0.1) & (ratio < 10), path.z * jnp.abs(ratio) ** stretch, path.z)
        guess = jnp.where(stretch > 0, power, path.z)
        x, worst, new_sign = _correct(here, guess * unit)
        good = (worst < jnp.where(begun, 0.25, 1.0)) & jnp.all(jnp.isfinite(x))
        good &= ~begun | (new_sign == sign)
        new = Path(t, x / unit, path.steps + 1, ~begun | path.arrived)
        path, before = jax.tree.map(
            lambda a, b: jnp.where(good, a, b), (new, (path.t, path.z)), (path, before)
        )
        step = jnp.where(good, jnp.where(worst < 0.05, 2.0, 1.0) * step, 0.25 * step)
        step = jnp.where(begun | good, step, 0.0)
        return path, step, before, jnp.where(good, new_sign, sign)

    zero = jnp.zeros(())
    path = Path(zero, z, jnp.asarray(0), jnp.asarray(False))
    state = (path, jnp.asarray(0.125), (zero, z), zero)
    path, *_ = jax.lax.while_loop(going, attempt, state)
    return path._replace(arrived=path.arrived & (path.t >= 1))


def carry(ansatz: BlockAnsatz, target: BlockAnsatz, z: Float[Array, " P"]) -> Path:
    """`follow` with whatever is traced held fixed: where the root is, not how it moves."""
    # The activation may differ in kind: ReLU is LeakyReLU at slope 0.
    if isinstance(target.activation, LeakyReLU) and isinstance(ansatz.activation, ReLU):
        ansatz = ansatz.replace(activation=LeakyReLU(0.0))
    elif isinstance(ansatz.activation, LeakyReLU) and isinstance(target.activation, ReLU):
        target = target.replace(activation=LeakyReLU(0.0))
    start, end = ansatz.padding(), target.padding()
    if jax.tree.structure(start.ansatz) != jax.tree.structure(end.ansatz):
        raise UserError(
            "a branch can be followed between ReLU and LeakyReLU and between sizes, correlations and "
            f"readouts of the same blocks; not from {ansatz.activation!r} to {target.activation!r}"
        )
    path = follow(*jax.lax.stop_gradient((start.ansatz, end.ansatz, start.pad(z))))
    return path._replace(z=end.strip(path.z))


def check_arrival(path: Path, start: BlockAnsatz, end: BlockAnsatz, what: str) -> None:
    """Raises ValueError, saying where the branch ends, if following it stopped short."""
    if isinstance(path.arrived, Tracer) or path.arrived:
        return
    last = between(start.padding().ansatz, end.padding().ansatz, path.t)

    def told(ansatz):
        sizes = " + ".join(f"{size:.6g}" for size in np.asarray(ansatz.sizes) if size > 0)
        return f"blocks of {sizes} teachers, c = {float(ansatz.correlation):.6g}, {ansatz.activation!r}"

    raise NoSuchFamilyError(
        f"{what} does not exist at {told(end)}: followed from {told(start)}, it ends near {told(last)}"
    )
