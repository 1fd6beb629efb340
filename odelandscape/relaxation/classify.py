"""What certifies an end state and classifies its outcome.

There are three ways to a certified end state. A point well inside the basin of a minimum that is known
already takes over that one's (`catalogue`). A point close to where every student lies on the ray of a
teacher, more than one on some, is at a global minimum that is known in closed form. Any other gets a Newton
finish and the exact Hessian of its own.
"""

from typing import NamedTuple, final

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from ..flows.base import AbstractFlow
from ..landscape.escape import ESCAPE_RATE_TOLERANCE
from ..landscape.local_geometry import (
    STABILITY_BAND,
    LocalGeometry,
    has_kink_at_zero,
    local_geometry,
)
from ..landscape.rounding import weights_rounding
from ..model.alignment import Order, count_anti_aligned
from ..model.loss import ZeroLoss, reproduces_teacher
from ..model.problem import Problem
from ..runtime.compiler import host_device
from . import outcomes
from .catalogue import (
    BASIN_FRACTION,
    CLOSED_FORM,
    ISOLATED_EIGENVALUE,
    NO_MINIMUM,
    Catalogue,
    KnownMinimum,
    merge_equal_entries,
    rounded,
)
from .newton import (
    NewtonFinish,
    has_certain_curvature,
    newton_finish,
)
from .outcomes import TEACHER_DISTANCE, EndStates

_SHORT = 1e-3
"""Length below which a student that does not converge may be caught at the kink of the loss at 0."""


class _Classification(NamedTuple):
    """The outcome of a Newton finish, and the smallest eigenvalue of the Hessian at its end."""

    outcome: str
    smallest_eigenvalue: float
    final: bool  # no saddle, and none either where Newton's method began
    isolated: bool  # a minimum without another next to it, and without inactive students


@final
class EndStateClassifier:
    """Certify and classify the end states of starts of one problem and flow.

    `ends` are filled in; minima of the `catalogue` are used, and others entered there. Threads may share a
    catalogue, not a classifier.
    """

    def __init__(
        self,
        problem: Problem,
        flow: AbstractFlow,
        zero_loss: ZeroLoss,
        catalogue: Catalogue,
        ends: EndStates,
    ):
        # On the host: one small matrix after another.
        self._host = host_device()
        if self._host is not None:
            problem, flow = jax.device_put((problem, flow), self._host)
        self.problem, self.flow, self.catalogue, self.ends = problem, flow, catalogue, ends
        self.zero_loss = zero_loss

    def recognise(
        self, index: Int[np.ndarray, " n"], y: Float[np.ndarray, "n K D"]
    ) -> Bool[np.ndarray, " n"]:
        """Enter the points that belong to a known minimum, and return which these are."""
        belongs = np.zeros(len(y), bool)
        finite = np.flatnonzero(np.isfinite(y).all(axis=(1, 2)))
        if not (self.catalogue.minima and len(finite)):
            return belongs
        order = self.catalogue.order(y[finite])
        number = self.catalogue.nearest(self.catalogue.permute(y[finite], order))
        belongs[finite] = number >= 0
        if belongs.any():
            known = [self.catalogue.minima[k] for k in number if k >= 0]
            self._take_over(index[belongs], Order(*(x[number >= 0] for x in order)), known)
        return belongs

    def enter_recognised(
        self, number: Int[np.ndarray, " N"], y: Float[np.ndarray, "N K D"], loss, speed
    ) -> None:
        """Enter the minima that a program has recognised (`catalogue`), at y in the order of each start,
        and count the anti-aligned students of all ends.

        `loss` and `speed` (N,) are those of minima in closed form; the others' are known.
        """
        ends = self.ends
        closed, own = np.flatnonzero(number == CLOSED_FORM), number == NO_MINIMUM
        # The Hessian is positive semidefinite, as the loss is 0, and singular: one of two students on a ray
        # may lose what the other gains.
        self._enter(closed, y[closed], loss[closed], speed[closed], 0.0)
        ends.outcome[closed] = outcomes.GLOBAL_MINIMUM
        ends.anti_aligned[own] = self._anti_aligned(ends.weights[own], ends.readout[own])
        known = np.flatnonzero(number >= 0)
        if len(known):
            minima, number = self.catalogue.minima[: int(number.max()) + 1], number[known]
            columns = [np.array(x) for x in zip(*(one[1:] for one in minima), strict=True)]
            self._enter(known, y[known], *(column[number] for column in columns[1:]))
            ends.outcome[known] = columns[0][number]
            points = np.stack([one.y for one in minima])
            ends.anti_aligned[known] = self._anti_aligned(points[:, :, :-1], points[:, :, -1])[
                number
            ]

    def _anti_aligned(self, W: np.ndarray, v: np.ndarray) -> np.ndarray:
        teacher = np.asarray(self.problem.teacher_weights(W.shape[2]))
        return count_anti_aligned(self.problem, W @ teacher.T, np.linalg.norm(W, axis=2), v)

    def finish(
        self, index: int, y: Float[np.ndarray, "K D"], diverged: bool, budget_exhausted: bool
    ) -> bool:
        """Apply a Newton finish. Enter its end if it is final, and return whether it is.

        `diverged`, `budget_exhausted`: of the lane at [W | v].
        """
        with jax.default_device(self._host):
            return self._finish(index, y, diverged, budget_exhausted)

    def _finish(
        self, index: int, y: Float[np.ndarray, "K D"], diverged: bool, budget_exhausted: bool
    ) -> bool:
        finish = newton_finish(self.flow, self.problem, y)
        failed = diverged or not finish.geometry.finite
        found = self._classify(finish, failed)
        if budget_exhausted and not failed and not finish.converged:
            finish, found = self._at_the_kink(y) or (finish, found)
        # Before the budget is exhausted a saddle is not final: the flow may be about to leave it.
        if not (failed or budget_exhausted or found.final):
            return False
        self.ends.outcome[index] = found.outcome
        if not failed:  # a failed start keeps the numbers of `blank`
            self._enter_finish(index, finish, found)
        return True

    def _at_the_kink(self, y: np.ndarray) -> tuple[NewtonFinish, _Classification] | None:
        """The fixed point with short students at 0, if the flow leads there from beside it.

        A student that reaches a kink of the loss in finite time is thrown from one side of it to the other by
        every step, and never converges.
        """
        short = np.linalg.norm(y[:, :-1], axis=1) < _SHORT
        if not (short.any() and has_kink_at_zero(self.problem)):
            return None
        at_zero = y.copy()
        at_zero[short, :-1] = 0
        finish = newton_finish(self.flow, self.problem, at_zero)
        failed = not finish.geometry.finite
        found = self._classify(finish, failed)
        known = finish.converged and not failed and found.outcome != outcomes.SADDLE
        return (finish, found) if known else None

    def _enter_finish(self, index: int, finish: NewtonFinish, found: _Classification) -> None:
        # What has not converged is where the flow has come to, not where Newton's method went from there.
        end = finish.geometry if finish.converged else finish.start
        self._enter(index, end.point, end.loss, end.speed, found.smallest_eigenvalue)
        if found.isolated and self.catalogue.enabled:
            # All starts that end at one minimum get the same numbers, whichever of them was first.
            order = self.catalogue.order(end.point[None])
            known = self._known_minimum(self.catalogue.permute(end.point[None], order)[0])
            if known is not None:
                self._take_over(np.array([index]), order, [known])

    def _enter(self, at, y: np.ndarray, loss, speed, smallest_eigenvalue) -> None:
        self.ends.loss[at] = np.maximum(loss, 0)  # below 0 by rounding only
        self.ends.gradient_norm[at] = speed
        self.ends.smallest_eigenvalue[at] = smallest_eigenvalue
        self.ends.weights[at], self.ends.readout[at] = y[..., :-1], y[..., -1]

    def _take_over(self, index: np.ndarray, order: Order, known: list[KnownMinimum]) -> None:
        """Enter a known minimum for each of some points, in the order of the point."""
        states = self.catalogue.unpermute(np.stack([one.y for one in known]), order)
        columns = ([getattr(one, name) for one in known] for name in KnownMinimum._fields[2:])
        self._enter(index, states, *columns)
        self.ends.outcome[index] = [one.outcome for one in known]

    def _classify(self, finish: NewtonFinish, failed: bool) -> _Classification:
        if failed:
            return _Classification(outcomes.FAILED, np.inf, False, False)
        if not finish.converged:
            smallest = finish.start.smallest_eigenvalue
            return _Classification(outcomes.NOT_CONVERGED, smallest, False, False)
        end = finish.geometry
        smallest = end.smallest_eigenvalue
        outcome = self._outcome(end)
        minimum = outcome == outcomes.GLOBAL_MINIMUM or (
            outcome in (outcomes.LOCAL_MINIMUM, outcomes.MARGINAL) and finish.definite_at_start
        )
        isolated = minimum and smallest >= ISOLATED_EIGENVALUE and end.escape_rate == -np.inf
        return _Classification(outcome, smallest, minimum, isolated)

    def _outcome(self, end: LocalGeometry) -> str:
        """The name of a fixed point."""
        zero, rounding = self.zero_loss
        W, v = end.point[:, :-1], end.point[:, -1]
        if self.zero_loss.resolved:
            learned = end.loss <= zero
        else:
            learned = reproduces_teacher(self.problem, W, v, TEACHER_DISTANCE)
        if learned:
            return outcomes.GLOBAL_MINIMUM
        smallest = end.smallest_eigenvalue if end.movable else np.inf
        if end.movable and not has_certain_curvature(self.flow, self.problem, end):
            return outcomes.MARGINAL
        band = max(STABILITY_BAND, weights_rounding(self.problem, W, v))
        if smallest < -band or end.escape_rate > ESCAPE_RATE_TOLERANCE:
            return outcomes.SADDLE
        flat = smallest <= band or end.escape_rate >= -ESCAPE_RATE_TOLERANCE
        unresolved = not self.zero_loss.resolved and end.loss <= rounding
        return outcomes.MARGINAL if flat or unresolved else outcomes.LOCAL_MINIMUM

    def _known_minimum(self, y: np.ndarray) -> KnownMinimum | None:
        """The isolated minimum at y, which is in its own order: from the catalogue, or solved again from its
        first digits and entered there."""
        catalogue = self.catalogue
        with catalogue.lock:
            number = catalogue.nearest(y[None])[0]
            if number >= 0:
                return catalogue.minima[number]
            finish = newton_finish(self.flow, self.problem, rounded(y))
            found = self._classify(finish, not finish.geometry.finite)
            distance = np.linalg.norm(finish.geometry.point - y)
            if not (found.isolated and distance <= BASIN_FRACTION * found.smallest_eigenvalue):
                return None
            point = merge_equal_entries(finish.geometry.point)
            end = local_geometry(self.flow, self.problem, point)
            known = KnownMinimum(
                point, found.outcome, max(end.loss, 0.0), end.speed, end.smallest_eigenvalue
            )
            catalogue.add(known)
            return known
