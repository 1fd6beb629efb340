"""Newton's method from where the flow has come to, and what certifies the point that it leads to.

The rates and their derivatives are programs; the linear algebra is LAPACK's, called from here, where it needs
no compiling and every start takes as long as it takes.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, eigh

from ..flows.base import AbstractFlow
from ..landscape.local_geometry import curvature, escape_rate, project, projected_rates
from ..model.loss import population_loss
from ..model.problem import Problem
from ..model.state import unpack

GRADIENT_TOLERANCE = 1e-10
"""An end state is converged if the norm of the flow's rates is at most this."""
REACH = 0.02
"""How far from where the flow has come to a converged end state may be, in [W | v]."""
_MAX_NEWTON_STEPS = 20
_MAX_CHORD_STEPS = 8
Point = Float[np.ndarray, "K D"]


class Finish(NamedTuple):
    """A Newton finish: the point, what certifies it, and how it got there."""

    y: Point
    speed: float  # norm of the rates
    definite: bool  # the Hessian where Newton took over was positive definite
    curvature: Float[np.ndarray, "n n"]  # the Hessian at the point
    escape_rate: float  # the fastest way out for a silent student
    distance: float
    loss: float

    @property
    def converged(self) -> bool:
        """Whether it is a fixed point in the neighbourhood of where Newton took over."""
        return self.speed <= GRADIENT_TOLERANCE and self.distance <= REACH

    @property
    def sound(self) -> bool:
        """Whether all numbers are finite."""
        numbers = np.isfinite(self.speed) and np.isfinite(self.loss)
        return bool(numbers and np.isfinite(self.curvature).all())


@eqx.filter_jit
def _tidied(flow, problem, y):
    y = project(flow, y)
    return y, projected_rates(flow, problem, y)


@eqx.filter_jit
def _looked_at(flow, problem, y):
    loss = population_loss(problem, unpack(y))
    return curvature(flow, problem, y), escape_rate(flow, problem, y), loss


def _rates(flow, problem, y) -> tuple[Point, Point]:
    y, f = (np.asarray(x) for x in _tidied(flow, problem, jnp.asarray(y)))
    return y, f


def evaluate(flow: AbstractFlow, problem: Problem, y: Point) -> Finish:
    """What a finish says of a point, without moving it."""
    y, f = _rates(flow, problem, y)
    H, out, loss = (np.asarray(x) for x in _looked_at(flow, problem, jnp.asarray(y)))
    return Finish(y, float(np.linalg.norm(f)), False, H, float(out), 0.0, float(loss))


def newton_finish(flow: AbstractFlow, problem: Problem, y: Point) -> Finish:
    r"""Newton's method from a point with small rates.

    Where the Hessian is positive definite, and leads to a fixed point close by, it serves for all steps.
    Where it is singular or indefinite, the step is, with its eigenpairs $(\lambda, u)$ and the rates f,
    $\sum u\,(u\cdot f)\,\lambda/(\lambda^2+|f|^2)$: Newton's where $\lambda$ is well above $|f|$, none along
    directions without curvature (global minima of overparameterised students are not isolated).
    """

    def rates(y):
        return _rates(flow, problem, y)

    def finish(y, definite) -> Finish:
        distance = float(np.linalg.norm(y - y0))
        return evaluate(flow, problem, y)._replace(definite=definite, distance=distance)

    start = evaluate(flow, problem, y)
    if not start.sound:
        return start
    y0, f0 = rates(start.y)
    factor = _factor(start.curvature)
    if factor is not None:
        end = finish(_chords(rates, y0, f0, lambda f: cho_solve((factor, True), f))[0], True)
        if end.converged:
            return end
    y, f, H, lowest = y0, f0, start.curvature, None
    for _ in range(_MAX_NEWTON_STEPS):
        before = np.linalg.norm(f)
        values, vectors = eigenpairs(H)
        lowest = values[0] if lowest is None else lowest
        gain = values / (values**2 + before**2 + 1e-300)
        y, f = _chords(rates, y, f, lambda f, g=gain, u=vectors: u @ (g * (u.T @ f)))
        H = np.asarray(_looked_at(flow, problem, jnp.asarray(y))[0])
        speed = np.linalg.norm(f)
        if not speed < 0.8 * before or speed <= GRADIENT_TOLERANCE / 10 or not np.isfinite(H).all():
            break
    return finish(y, bool(lowest is not None and lowest >= -1e-3))


def eigenpairs(H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix of finite numbers.

    LAPACK's methods, in the order of their speed: the fastest has been seen to give up, once in some hundred
    thousand matrices, on one that the others can do.
    """
    try:
        return np.linalg.eigh(H)
    except np.linalg.LinAlgError:
        return eigh(H, driver="ev")


def _factor(H: np.ndarray) -> np.ndarray | None:
    """The Cholesky factor of a matrix that is plainly positive definite."""
    try:
        factor = np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        return None
    return factor if np.diagonal(factor).min() > 1e-4 else None


def _chords(rates: Callable, y: Point, f: Point, solve: Callable) -> tuple[Point, Point]:
    """Newton steps with one Hessian, whole and half by turns (where students coincide without being kept
    together the curvature itself vanishes), as long as the rates fall."""
    for i in range(_MAX_CHORD_STEPS):
        step = solve(f.ravel()).reshape(y.shape)
        trial, f_trial = rates(y + (1.0 if i % 2 == 0 else 0.5) * step)
        if np.linalg.norm(f_trial) < np.linalg.norm(f):
            y, f = trial, f_trial
    return y, f
