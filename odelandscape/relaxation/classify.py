"""What certifies an end state, and tells its outcome.

Three ways lead to a certificate. A point that is plainly in the basin of a minimum that is known already
takes over that one's (`catalogue`). A point close to where every student lies on the ray of a teacher, more
than one on some, is at a global minimum that is known in closed form. Any other gets a Newton finish and the
exact Hessian of its own.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..flows.base import AbstractFlow, packed_rates
from ..landscape.local_geometry import STABILITY_BAND
from ..model.loss import population_loss, teacher_power
from ..model.problem import Problem
from ..model.state import unpack
from . import outcomes
from .catalogue import ISOLATED, NEAR, Catalogue, KnownMinimum, Order, merge_equal_entries, rounded
from .newton import GRADIENT_TOLERANCE, REACH, Finish, eigenpairs, evaluate, newton_finish
from .outcomes import EndStates

ESCAPE_RATE_TOLERANCE = 1e-5
"""A silent student that the flow would lengthen at a rate above this is not at a minimum."""
ZERO_LOSS = 1e-10
"""A loss below this fraction of the teacher's power ½E[f*²] is zero: the global minimum."""
_TOGETHER = 64  # points whose rates are checked by one call


@eqx.filter_jit
def _speed_and_loss(flow, problem, y: Float[Array, "n K D"]):
    speed = jax.vmap(lambda y: jnp.linalg.norm(packed_rates(flow, problem, y)))(y)
    return speed, jax.vmap(lambda y: population_loss(problem, unpack(y)))(y)


def padded_indices(index: np.ndarray, width: int) -> np.ndarray:
    """`index` filled up to `width` with its first entry."""
    return np.concatenate([index, np.full(width - len(index), index[0])])


def _smallest(H: np.ndarray) -> float:
    try:
        return float(np.linalg.eigvalsh(H)[0])
    except np.linalg.LinAlgError:
        return float(eigenpairs(H)[0][0])


class _Verdict(NamedTuple):
    """What a finish says. `minimum`: it is one, and was already one where Newton took over."""

    outcome: str
    smallest: float
    minimum: bool
    isolated: bool  # and there is no other next to it, and no silent student


class EndStateClassifier:
    """End states being told, of starts of one problem and flow.

    `ends` are filled in; `catalogue` is used and learns. Threads may share a catalogue, not this.
    """

    def __init__(self, problem: Problem, flow: AbstractFlow, catalogue: Catalogue, ends: EndStates):
        self.problem, self.flow, self.catalogue, self.ends = problem, flow, catalogue, ends
        self.power = float(teacher_power(problem))

    def recognise(self, index: np.ndarray, y: Float[np.ndarray, "n K D"]) -> np.ndarray:
        """Enter the points that need no finish of their own, and say which these are."""
        belongs = self._of_the_catalogue(index, y)
        rest = np.flatnonzero(~belongs)
        belongs[rest] = self._on_the_rays(index[rest], y[rest])
        return belongs

    def finish(self, index: int, y: Float[np.ndarray, "K D"], lost: bool, spent: bool) -> bool:
        """A Newton finish. Enter the point if its end has come, and say whether it has.

        `lost`, `spent`: the lane's numbers are undefined, or its time is over.
        """
        f = newton_finish(self.flow, self.problem, y)
        lost = lost or not f.sound
        verdict = self._judge(f, lost)
        # Before its time is over only a minimum may end: anything else might be a saddle that the flow
        # is about to leave.
        if not (lost or spent or verdict.minimum):
            return False
        self.ends.outcome[index] = verdict.outcome
        if not lost:  # of a failed start nothing but the name
            self._enter(index, f.y, f.loss, f.speed, verdict.smallest)
            if verdict.isolated and self.catalogue.open:
                # All that are at one minimum shall say the same of it, whoever was there first.
                order = self.catalogue.order(f.y[None])
                known = self._learn(self.catalogue.put(f.y[None], order)[0])
                if known is not None:
                    self._take_over(np.array([index]), order, [known])
        return True

    def _enter(self, at, y: np.ndarray, loss, speed, smallest) -> None:
        self.ends.loss[at] = np.maximum(loss, 0)  # below 0 by rounding only
        self.ends.gradient_norm[at] = speed
        self.ends.smallest_eigenvalue[at] = smallest
        self.ends.weights[at], self.ends.readout[at] = y[..., :-1], y[..., -1]

    def _of_the_catalogue(self, index: np.ndarray, y: np.ndarray) -> np.ndarray:
        belongs = np.zeros(len(y), bool)
        sound = np.flatnonzero(np.isfinite(y).all(axis=(1, 2)))
        if not (self.catalogue.known and len(sound)):
            return belongs
        order = self.catalogue.order(y[sound])
        number = self.catalogue.nearest(self.catalogue.put(y[sound], order))
        belongs[sound] = number >= 0
        if belongs.any():
            known = [self.catalogue.known[k] for k in number if k >= 0]
            self._take_over(index[belongs], Order(*(x[number >= 0] for x in order)), known)
        return belongs

    def _take_over(self, index: np.ndarray, order: Order, known: list[KnownMinimum]) -> None:
        """Enter a known minimum for each of some points, in the order of the point."""
        states = self.catalogue.put_back(np.stack([one.y for one in known]), order)
        columns = ([getattr(one, name) for one in known] for name in KnownMinimum._fields[2:])
        self._enter(index, states, *columns)
        self.ends.outcome[index] = [one.outcome for one in known]

    def _on_the_rays(self, index: np.ndarray, y: np.ndarray) -> np.ndarray:
        belongs = np.zeros(len(y), bool)
        near = np.flatnonzero(self.catalogue.near_rays(y, REACH))
        for part in np.split(near, range(_TOGETHER, len(near), _TOGETHER)):
            if not len(part):
                continue
            points = self.catalogue.on_rays(y[part])
            some = jnp.asarray(points[padded_indices(np.arange(len(part)), _TOGETHER)])
            checked = _speed_and_loss(self.flow, self.problem, some)
            speed, loss = (np.asarray(x)[: len(part)] for x in checked)
            good = (speed <= GRADIENT_TOLERANCE) & (loss <= ZERO_LOSS * self.power)
            part, points = part[good], points[good]
            belongs[part] = True
            # The Hessian is positive semidefinite, as the loss is 0, and singular: what one of two students
            # on a ray gains the other may lose.
            self._enter(index[part], points, loss[good], speed[good], 0.0)
            self.ends.outcome[index[part]] = outcomes.GLOBAL_MINIMUM
        return belongs

    def _judge(self, f: Finish, lost: bool) -> _Verdict:
        if lost:
            return _Verdict(outcomes.FAILED, np.inf, False, False)
        smallest = _smallest(f.curvature)
        if not f.converged:
            return _Verdict(outcomes.NOT_CONVERGED, smallest, False, False)
        zero = f.loss <= ZERO_LOSS * self.power
        stable = smallest >= -STABILITY_BAND and f.leaving <= ESCAPE_RATE_TOLERANCE
        outcome = outcomes.GLOBAL_MINIMUM if zero else outcomes.LOCAL_MINIMUM
        minimum = zero or (stable and f.definite)
        isolated = minimum and smallest >= ISOLATED and f.leaving == -np.inf
        return _Verdict(outcome if zero or stable else outcomes.SADDLE, smallest, minimum, isolated)

    def _learn(self, y: np.ndarray) -> KnownMinimum | None:
        """The isolated minimum at y, which is in its own order: known, or solved again from its first digits
        and made known."""
        catalogue = self.catalogue
        with catalogue.learning:
            number = catalogue.nearest(y[None])[0]
            if number >= 0:
                return catalogue.known[number]
            f = newton_finish(self.flow, self.problem, rounded(y))
            verdict = self._judge(f, not f.sound)
            here = np.linalg.norm(f.y - y) <= NEAR * verdict.smallest
            if not (verdict.isolated and here):
                return None
            point = merge_equal_entries(f.y)
            f = evaluate(self.flow, self.problem, point)
            known = KnownMinimum(
                point, verdict.outcome, max(f.loss, 0.0), f.speed, _smallest(f.curvature)
            )
            catalogue.add(known)
            return known
