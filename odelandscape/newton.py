"""Newton's method from where the flow has come to, and what certifies the point that it leads to."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .flows import AbstractFlow
from .lanes import unpack
from .problem import Problem, population_loss
from .stability import curvature, free_rate, leaving, tidy

GRADIENT_TOLERANCE = 1e-10
"""An end state is converged if the norm of the flow's rates is at most this."""

_SHOOTS = 20
_CHORDS = 8


class Finish(NamedTuple):
    """A Newton finish: the point, what certifies it, and how it got there."""

    y: Float[Array, "K D"]
    speed: Float[Array, ""]  # norm of the rates
    definite: Bool[Array, ""]  # the Hessian where Newton took over was positive definite
    curvature: Float[Array, "n n"]  # the Hessian at the point
    leaving: Float[Array, ""]  # the fastest way out for a silent student
    distance: Float[Array, ""]
    loss: Float[Array, ""]


def _finish_from(flow, problem, y0, y, f, definite) -> Finish:
    return Finish(
        y=y,
        speed=jnp.linalg.norm(f),
        definite=definite,
        curvature=curvature(flow, problem, y),
        leaving=leaving(flow, problem, y),
        distance=jnp.linalg.norm(y - y0),
        loss=population_loss(problem, unpack(y)),
    )


def _chords(flow, problem, y, f, solve, count):
    """Newton steps with one Hessian, whole and half by turns (where students coincide without being kept
    together the curvature itself vanishes), as long as the rates fall."""

    def chord(i, carry):
        y, f = carry
        step = solve(f.ravel()).reshape(y.shape)
        trial = tidy(flow, y + jnp.where(i % 2 == 0, 1.0, 0.5) * step)
        f_trial = free_rate(flow, problem, trial)
        better = jnp.linalg.norm(f_trial) < jnp.linalg.norm(f)
        return jnp.where(better, trial, y), jnp.where(better, f_trial, f)

    return jax.lax.fori_loop(0, count, chord, (y, f))


def plain_finish(flow: AbstractFlow, problem: Problem, y: Float[Array, "K D"]) -> Finish:
    """Newton's method from a point with small rates where the Hessian is positive definite.

    Elsewhere `definite` is false and the point is left where it is.
    """
    y0 = tidy(flow, y)
    f0 = free_rate(flow, problem, y0)
    factor = jnp.linalg.cholesky(curvature(flow, problem, y0))
    definite = jnp.min(jnp.diagonal(factor)) > 1e-4  # NaN, where there is no factor, is not
    factor = jnp.where(definite, factor, jnp.eye(y.size))

    def solve(f):
        return jax.scipy.linalg.cho_solve((factor, True), f)

    steps = jnp.where(definite, _CHORDS, 0)
    y, f = _chords(flow, problem, y0, f0, solve, steps)
    return _finish_from(flow, problem, y0, y, f, definite)


def careful_finish(flow: AbstractFlow, problem: Problem, y: Float[Array, "K D"]) -> Finish:
    r"""Newton's method where the Hessian may be singular or indefinite.

    With the eigenpairs $(\lambda, u)$ of the Hessian and the rates f the step is
    $\sum u\,(u\cdot f)\,\lambda/(\lambda^2+|f|^2)$: Newton's where $\lambda$ is well above $|f|$, none along
    directions without curvature (global minima of overparameterised students are not isolated).
    """

    def shoot(carry):
        y, f, _, definite, count = carry
        before = jnp.linalg.norm(f)
        values, vectors = jnp.linalg.eigh(curvature(flow, problem, y))
        gain = values / (values**2 + before**2 + 1e-300)
        y, f = _chords(flow, problem, y, f, lambda f: vectors @ (gain * (vectors.T @ f)), _CHORDS)
        definite = jnp.where(count == 0, values[0] >= -1e-3, definite)
        return y, f, jnp.linalg.norm(f) < 0.8 * before, definite, count + 1

    def going(carry):
        _, f, moved, _, count = carry
        # The first turn is never left out: it also says what Newton took over.
        rest = moved & (count < _SHOOTS) & (jnp.linalg.norm(f) > GRADIENT_TOLERANCE / 10)
        return (count == 0) | rest

    y0 = tidy(flow, y)
    yes, zero = jnp.asarray(True), jnp.asarray(0)
    y, f, _, definite, _ = jax.lax.while_loop(
        going, shoot, (y0, free_rate(flow, problem, y0), yes, yes, zero)
    )
    return _finish_from(flow, problem, y0, y, f, definite)
