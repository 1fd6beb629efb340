"""Noise on the weights of a fixed point, and the flow from there.

The paper's test of stability (Sec. 3.1, Fig. 3 and Appendix D): a stable point takes the flow back to its
loss, from a saddle the loss falls. With one more student (an *embedding*) a minimum of K students becomes
a point of K + 1, and may cease to be a minimum.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..flows.base import AbstractFlow
from ..flows.consistency import check_flow
from ..landscape.fixed_points import FixedPoint
from ..model.alignment import align, overlap_sign
from ..model.loss import population_loss
from ..model.problem import Problem, check_concrete
from ..model.state import Weights, check_weights, float_arrays, overlaps
from ..runtime.arguments import (
    check_instance,
    check_key,
    check_memory,
    check_real_numbers,
    check_whole_number,
    shown,
)
from ..runtime.compiler import known_numbers
from ..runtime.errors import UserError
from ..runtime.tables import text_table
from .outcomes import OUTCOMES
from .relax import TIME_LIMIT, relax
from .units import level_width

ZERO, SPLIT = "zero", "split"
_CONSTRAINT_TOLERANCE = 1e-9  # how far a point may lie off the flow's constraint


class Perturbation(NamedTuple):
    """End states of a perturbed fixed point, for each strength of the noise; `str()` gives the table.

    - `sigma` (S,): standard deviations of the noise. `loss`: of the point.
    - `level_width`: distance of losses up to which they are one level.
    - `gaps` (S, N): final loss − `loss` of each repeat, inf where it failed.
    - `outcomes` (S, N): names from outcomes.OUTCOMES.
    - `mean`, `std` (S,): mean and standard deviation of the gaps that are finite, inf if none is.
    - `returned` (S,): fraction that ended at the point's loss.
    """

    sigma: np.ndarray
    loss: float
    gaps: np.ndarray
    outcomes: np.ndarray
    level_width: float

    @property
    def mean(self) -> np.ndarray:
        """Mean gap at each noise."""
        return _over_finite(np.mean, self.gaps)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of the gaps at each noise."""
        return _over_finite(np.std, self.gaps)

    @property
    def returned(self) -> np.ndarray:
        """Fraction at each noise that ended at the point's loss."""
        return (np.abs(self.gaps) <= self.level_width).mean(axis=1)

    def __str__(self) -> str:
        title = f"loss {self.loss:.9f}; {self.gaps.shape[1]} repeats of each noise"
        head = ("noise", "mean gap", "std", "lowest", "returned", "end states")
        columns = self.sigma, self.gaps, self.mean, self.std, self.returned, self.outcomes
        rows = []
        for sigma, gaps, mean, std, returned, outcomes in zip(*columns, strict=True):
            count = Counter(outcomes.tolist())
            rows.append(
                (
                    f"{sigma:.3g}",
                    f"{mean:.2e}",
                    f"{std:.0e}",
                    f"{gaps.min():.2e}",
                    f"{100 * returned:.1f} %",
                    ", ".join(f"{count[x]} {x.replace('_', ' ')}" for x in OUTCOMES if count[x]),
                )
            )
        return f"{title}\n\n{text_table(head, rows, left=(5,))}"


def _over_finite(function, gaps: np.ndarray) -> np.ndarray:
    finite = (row[np.isfinite(row)] for row in gaps)
    return np.array([function(row) if len(row) else np.inf for row in finite])


@known_numbers()
def perturb(
    problem: Problem,
    flow: AbstractFlow,
    point: FixedPoint | Weights,
    sigma: float | Sequence[float] | np.ndarray,
    repeats: int,
    key: PRNGKeyArray,
    embedding: str | None = None,
    student: int | None = None,
    time_limit: float = TIME_LIMIT,
) -> Perturbation:
    """Add Gaussian noise to a fixed point's weights, and relax them along the flow (paper, Appendix D).

    - `problem`: with the point's K students; where it is embedded, K + 1 will do as well.
    - `sigma`: standard deviation of the noise on each weight; of several, all are relaxed together.
    - `repeats`: N, of each level. The noise of repeat r at level s depends on (`key`, s, r) alone.
    - `embedding`: None; `zero`, one more student of length 0 (the paper's inactive neuron); or `split`, a
      student w becomes two of w/2. Neither changes the network.
    - `student`: which one is split, from 0; the most anti-aligned one unless given.
    - `time_limit`: flow time after which a start that has not converged is reported where it is.

    Readouts are not perturbed; a new student has readout 1, or that of the student it is split from. The flow
    is followed at `sigma` = 0 too: rounding takes it off a saddle, and the kink of the loss at a student of
    length 0 is no stationary point. Weights that are no fixed point are perturbed alike; gaps are to their
    loss.

    Raises UserError for a negative or undefined `sigma`, `repeats` < 1, an unknown embedding, one that
    changes the network (`split` where σ is not positively homogeneous, `zero` where σ(0) ≠ 0), any for a
    flow that fixes the students' lengths, a `student` that does not exist, and a point that doesn't fit the
    problem or the flow's constraint.
    """
    check_flow(problem, flow, end_states=True)
    check_concrete("point", point)
    check_key("key", key)
    check_concrete("key", key)
    levels = np.atleast_1d(check_real_numbers("sigma", sigma, "one or more numbers of at least 0"))
    if levels.ndim != 1 or not levels.size or not (np.isfinite(levels) & (levels >= 0)).all():
        raise UserError(f"sigma must be one or more numbers of at least 0; got {shown(sigma)}")
    repeats = check_whole_number("repeats", repeats, 1)
    if embedding is not None and not (isinstance(embedding, str) and embedding in (ZERO, SPLIT)):
        raise UserError(f"embedding must be None, {ZERO!r} or {SPLIT!r}; got {shown(embedding)}")
    if student is not None:
        student = check_whole_number("student", student, 0)
    problem, weights = _embedded(problem, point, embedding, student)
    if embedding is not None and not _on_constraint(flow, Weights(weights.W / 2, weights.v)):
        raise UserError(f"embedding needs a flow that leaves students any length; got {flow!r}")
    if not _on_constraint(flow, weights):
        raise UserError(f"point must satisfy the constraint of the flow, {flow!r}")
    size = 8 * len(levels) * repeats * weights.W.size
    check_memory("repeats", "the weights of all of them", size)
    starts = _noisy(weights, key, jnp.asarray(levels), repeats)
    ends = relax(problem, flow, starts, time_limit=time_limit)
    loss = float(population_loss(problem, weights))
    shape = (len(levels), repeats)
    gaps, outcome = ends.loss.reshape(shape) - loss, ends.outcome.reshape(shape)
    return Perturbation(levels, loss, gaps, outcome, level_width(problem))


def _on_constraint(flow: AbstractFlow, weights: Weights) -> bool:
    """Whether the flow's constraint leaves weights as they are."""
    return np.allclose(
        flow.project_initial(weights).W, weights.W, rtol=0, atol=_CONSTRAINT_TOLERANCE
    )


def _embedded(
    problem: Problem, point: FixedPoint | Weights, embedding: str | None, student: int | None
) -> tuple[Problem, Weights]:
    """The problem with as many students as the embedded point has, and its weights."""
    check_instance("point", point, (FixedPoint, Weights), "a FixedPoint or Weights")
    weights = point.weights if isinstance(point, FixedPoint) else point
    W, _ = float_arrays("point", weights)
    K, M = problem.students, problem.teachers
    allowed = (K,) if embedding is None else (K, K - 1)
    if W.ndim != 2 or len(W) not in allowed or W.shape[1] < M:
        raise UserError(
            f"point must have the problem's K = {K} students"
            f"{'' if embedding is None else ', or one less,'} in d ≥ M = {M}; got {W.shape}"
        )
    K, d = W.shape
    problem = replace(problem, students=K)
    weights = check_weights(problem, weights, "point")
    if isinstance(point, FixedPoint):
        point.ansatz.of(problem)  # raises UserError for another number of teachers
    if student is not None and embedding != SPLIT:
        raise UserError(f"student is the one that {SPLIT!r} splits; got {student!r} without it")
    if embedding is None:
        return problem, weights
    if embedding == ZERO:
        W, new, readout = weights.W, jnp.zeros(d), jnp.asarray(1.0)
        if float(problem.activation(jnp.asarray(0.0))) != 0:
            raise UserError(
                f"embedding {ZERO!r} needs σ(0) = 0: a student of length 0 would change the network; "
                f"got {problem.activation!r}"
            )
    else:
        if not problem.activation.positively_homogeneous:
            raise UserError(
                f"embedding {SPLIT!r} needs a positively homogeneous activation, for which w is twice "
                f"w/2; got {problem.activation!r}"
            )
        if student is None:
            student = _most_anti_aligned(problem, weights)
        if not 0 <= student < K:
            raise UserError(f"student must be from 0 to K − 1 = {K - 1}; got {student!r}")
        new, readout = weights.W[student] / 2, weights.v[student]
        W = weights.W.at[student].set(new)
    embedded = Weights(jnp.concatenate([W, new[None]]), jnp.append(weights.v, readout))
    return replace(problem, students=K + 1), embedded


def _most_anti_aligned(problem: Problem, weights: Weights) -> int:
    """The student whose overlap with its teacher is lowest, with the sign of `overlap_sign`."""
    state = overlaps(problem, weights)
    R, norms = np.asarray(state.R), np.sqrt(np.diagonal(state.Q))
    order, teacher, _ = align(R, norms)
    R = R * overlap_sign(problem, np.asarray(state.v))
    return int(order[np.argmin(np.where(teacher < 0, np.inf, R[order, teacher]))])


@eqx.filter_jit
def _noisy(
    weights: Weights, key: PRNGKeyArray, levels: Float[Array, " S"], repeats: int
) -> Weights:
    """All starts, those of one level after another."""

    def start(sigma, level, repeat):
        own = jax.random.fold_in(jax.random.fold_in(key, level), repeat)
        return weights.W + sigma * jax.random.normal(own, weights.W.shape)

    S = levels.shape[0]
    level, repeat = jnp.repeat(jnp.arange(S), repeats), jnp.tile(jnp.arange(repeats), S)
    W = jax.vmap(start)(jnp.repeat(levels, repeats), level, repeat)
    return jax.vmap(lambda w: Weights(w, weights.v))(W)
