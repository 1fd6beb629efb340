"""Newton's method from where the flow has come to.

Rates alone are evaluated at every step, the whole local geometry only where a new Hessian is needed.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve

from ..flows.base import AbstractFlow
from ..landscape.local_geometry import (
    STABILITY_BAND,
    LocalGeometry,
    eigenpairs,
    has_kink_at_zero,
    local_geometry,
    projected_rates,
)
from ..model.problem import Problem

GRADIENT_TOLERANCE = 1e-10
"""An end state is converged if the norm of the flow's rates is at most this."""
NEWTON_RADIUS = 0.02
"""How far from where the flow has come to a converged end state may be, in [W | v]."""
_CERTAIN = 1e4  # (8 times a third derivative of 1e3): λ² ≫ |f| |dλ/du|, without evaluating dλ/du
_UNMOVED = 1e-12  # of the largest singular value
_MAX_NEWTON_STEPS = 20
_MAX_CHORD_STEPS = 8
_PackedWeights = Float[np.ndarray, "K D"]


class NewtonFinish(NamedTuple):
    """The end of Newton's method from one point."""

    start: LocalGeometry  # where it began
    geometry: LocalGeometry  # where it ended
    definite_at_start: bool  # the Hessian was positive definite where Newton's method began
    distance: float  # from there, in [W | v]

    @property
    def converged(self) -> bool:
        """Whether it is a fixed point in the neighbourhood of where Newton's method began."""
        return self.geometry.speed <= GRADIENT_TOLERANCE and self.distance <= NEWTON_RADIUS


def newton_finish(flow: AbstractFlow, problem: Problem, y: _PackedWeights) -> NewtonFinish:
    r"""Apply Newton's method from a point [W | v] with small rates.

    Where the Hessian is positive definite, and leads to a fixed point close by, it serves for all steps.
    Where it is singular or indefinite, the step is, with its eigenpairs $(\lambda, u)$ and the rates f,
    $\sum u\,(u\cdot f)\,\lambda/(\lambda^2+|f|^2)$: Newton's where $\lambda$ is well above $|f|$, none along
    directions without curvature (global minima of overparameterised students are not isolated). Where the
    Jacobian is not symmetric its singular vectors take the eigenvectors' place.
    """
    kinked = has_kink_at_zero(problem)
    start = local_geometry(flow, problem, y, kinked)
    if not start.finite:
        return NewtonFinish(start, start, False, 0.0)
    factor = _cholesky_factor(start.hessian) if start.symmetric else None
    if factor is not None:
        end = _chords(flow, problem, start, partial(cho_solve, (factor, True)), kinked)
        finish = NewtonFinish(start, end, True, _distance(start, end))
        if finish.converged:
            return finish
    end, definite = start, False
    for step in range(_MAX_NEWTON_STEPS):
        before = end.speed
        left, values, right = _decomposed(end)
        if step == 0:
            definite = bool((values[0] if end.symmetric else end.smallest_eigenvalue) >= -1e-3)
        gain = values / (values**2 + before**2 + 1e-300)
        end = _chords(flow, problem, end, partial(_regularised_solve, left, gain, right), kinked)
        if not end.speed < 0.8 * before or end.speed <= GRADIENT_TOLERANCE / 10 or not end.finite:
            break
    return NewtonFinish(start, end, definite, _distance(start, end))


def has_certain_curvature(flow: AbstractFlow, problem: Problem, end: LocalGeometry) -> bool:
    r"""Return whether the smallest eigenvalue $\lambda$ at an end state is also that of the fixed point.

    That is a Newton step away, $\sum u\,(u\cdot f)/\lambda$ over all eigenpairs. Where the curvature vanishes
    at the fixed point itself (of $x^3$ or $x^4$ in some direction) it changes by as much as itself on the
    way.
    """
    smallest = end.smallest_eigenvalue
    if abs(smallest) <= STABILITY_BAND or smallest**2 > _CERTAIN * end.speed:
        return True
    values, vectors = eigenpairs(end.hessian)
    curved = np.abs(values) > STABILITY_BAND
    u = vectors[:, curved]
    step = 2 * (u @ ((u.T @ end.rates.ravel()) / values[curved])).reshape(end.point.shape)
    beside = (local_geometry(flow, problem, end.point + sign * step) for sign in (-1, 1))
    return all(
        one.finite and (one.smallest_eigenvalue - smallest / 2) * smallest > 0 for one in beside
    )


def _distance(start: LocalGeometry, end: LocalGeometry) -> float:
    return float(np.linalg.norm(end.point - start.point))


def _cholesky_factor(H: np.ndarray) -> np.ndarray | None:
    """The Cholesky factor of a matrix that is well inside the positive definite ones."""
    try:
        factor = np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        return None
    return factor if np.diagonal(factor).min() > 1e-4 else None


def _decomposed(at: LocalGeometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return u, λ and w of the Jacobian Σ w λ uᵀ: eigenpairs; or, of what it is between directions in which
    the flow moves, singular values and their vectors."""
    if at.symmetric:
        values, vectors = eigenpairs(at.hessian)
        return vectors, values, vectors
    moved, values, _ = np.linalg.svd(at.jacobian)
    moved = moved[:, values > _UNMOVED * values[0]]
    left, values, right = np.linalg.svd(moved.T @ at.jacobian @ moved)
    return moved @ right.T, values, moved @ left


def _regularised_solve(
    u: np.ndarray, gain: np.ndarray, w: np.ndarray, rates: np.ndarray
) -> np.ndarray:
    return u @ (gain * (w.T @ rates))


def _chords(
    flow: AbstractFlow,
    problem: Problem,
    start: LocalGeometry,
    solve: Callable[[np.ndarray], np.ndarray],
    kinked: bool,
) -> LocalGeometry:
    """The local geometry after Newton steps with one Hessian, whole and half by turns (where students
    coincide without being kept together the curvature itself vanishes), as long as the rates fall."""
    y, rates = start.point, start.rates
    for i in range(_MAX_CHORD_STEPS):
        step = solve(rates.ravel()).reshape(y.shape)
        part = 1.0 if i % 2 == 0 else 0.5
        trial, trial_rates = projected_rates(flow, problem, y + part * step, kinked)
        if np.linalg.norm(trial_rates) < np.linalg.norm(rates):
            y, rates = trial, trial_rates
    return local_geometry(flow, problem, y, kinked)
