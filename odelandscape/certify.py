"""What certifies an end state, and tells its outcome.

Three ways lead to a certificate. A point that is plainly in the basin of a minimum that is known already takes
over that one's (`catalogue`). A point close to where every student lies on the ray of a teacher, more than one
on some, is at a global minimum that is known in closed form. Any other gets a Newton finish and the exact
Hessian of its own.
"""

import threading
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from threadpoolctl import threadpool_limits

from . import results
from .catalogue import DIGITS, ISOLATED, Catalogue, Known, Order
from .flows import AbstractFlow
from .lanes import rate, unpack
from .newton import GRADIENT_TOLERANCE, Finish, careful_finish, plain_finish
from .problem import Problem, population_loss
from .stability import STABILITY_BAND

LEAVING = 1e-5
"""A silent student that the flow would lengthen at a rate above this is not at a minimum."""
ZERO_LOSS = 1e-10
"""A loss below this fraction of the teacher's power ½E[f*²] is zero: the global minimum."""

_REACH = 0.02  # how far from where the flow has come to the certified point may be, in [W | v]
_TOGETHER = 64  # points whose rates are checked by one call

# Two programs with LAPACK calls in them, run from two threads of one process, have been seen to wait for
# each other for ever (XLA's CPU threads, jaxlib 0.10.1, two cores).
_ONE_AT_A_TIME = threading.Lock()


class EndStates(NamedTuple):
    """What became of N starts, as NumPy arrays; see `relax`."""

    outcome: np.ndarray  # (N,) names from results.OUTCOMES
    loss: np.ndarray  # (N,)
    gradient_norm: np.ndarray  # (N,) Frobenius norm of the flow's rates
    smallest_eigenvalue: np.ndarray  # (N,) of the Hessian on the directions that count
    time: np.ndarray  # (N,) flow time at which the lane was finished
    evaluations: np.ndarray  # (N,)
    weights: np.ndarray  # (N, K, d)
    readout: np.ndarray  # (N, K)


def blank(count: int, students: int, dimension: int) -> EndStates:
    """End states to be filled in."""
    return EndStates(
        outcome=np.full(count, results.FAILED, dtype="<U14"),
        loss=np.full(count, np.inf),
        gradient_norm=np.full(count, np.inf),
        smallest_eigenvalue=np.full(count, np.inf),
        time=np.zeros(count),
        evaluations=np.zeros(count, int),
        weights=np.zeros((count, students, dimension)),
        readout=np.zeros((count, students)),
    )


@eqx.filter_jit
def _finish(finish, flow, problem, y: Float[Array, "n K D"]) -> Finish:
    return jax.vmap(lambda y: finish(flow, problem, y))(y)


@eqx.filter_jit
def _speed_and_loss(flow, problem, y: Float[Array, "n K D"]):
    speed = jax.vmap(lambda y: jnp.linalg.norm(rate(flow, problem, y)))(y)
    return speed, jax.vmap(lambda y: population_loss(problem, unpack(y)))(y)


@eqx.filter_jit
def teacher_power(problem: Problem) -> Float[Array, ""]:
    """½E[f*²], the loss of a student that is silent."""
    return problem.activation.quadratic_form(problem.readout, problem.T) / 2


def _filled(index: np.ndarray, width: int) -> np.ndarray:
    """`index` filled up to `width` with its first entry."""
    return np.concatenate([index, np.full(width - len(index), index[0])])


class _Verdict(NamedTuple):
    """What finishes say. `minimum`: it is one, and was already one where Newton took over."""

    outcome: np.ndarray
    smallest: np.ndarray
    minimum: np.ndarray


def _converged(f: Finish) -> np.ndarray:
    return np.asarray((f.speed <= GRADIENT_TOLERANCE) & (f.distance <= _REACH))


def _lost(f: Finish) -> np.ndarray:
    sound = np.isfinite(f.speed) & np.isfinite(f.loss)
    return ~(sound & np.isfinite(f.curvature).all(axis=(1, 2)))


def _isolated(f: Finish, verdict: _Verdict) -> np.ndarray:
    """Minima without another one next to them and without silent students."""
    return verdict.minimum & (verdict.smallest >= ISOLATED) & np.isneginf(f.leaving)


class Certificates:
    """End states being told, of starts of one problem and flow.

    `ends` are filled in; `catalogue` is used and learns. Threads may share a catalogue, not this.
    """

    def __init__(self, problem: Problem, flow: AbstractFlow, catalogue: Catalogue, ends: EndStates):
        self.problem, self.flow, self.catalogue, self.ends = problem, flow, catalogue, ends
        self.power = float(teacher_power(problem))
        self._plain = True  # whether plain Newton finishes are likely to do
        size = ends.weights[0].size + ends.readout[0].size
        self.few = max(1, min(4, 2000 // size))
        """How many Newton finishes are made together: one where it is long."""

    def recognise(self, index: np.ndarray, y: Float[np.ndarray, "n K D"]) -> np.ndarray:
        """Enter the points that need no finish of their own, and say which these are."""
        belongs = self._of_the_catalogue(index, y)
        rest = np.flatnonzero(~belongs)
        belongs[rest] = self._on_the_rays(index[rest], y[rest])
        return belongs

    def finish(self, index: np.ndarray, y: Float[np.ndarray, "n K D"], lost, spent) -> np.ndarray:
        """Newton finishes of at most `few` points. Enter those whose end has come, and say which these are.

        `lost`, `spent`: lanes whose numbers are undefined, or whose time is over.
        """
        # The Hessians are small: LAPACK's own threads gain nothing, and where other programs compete for
        # the cores they wait for each other and cost a factor of ten.
        with _ONE_AT_A_TIME, threadpool_limits(1, user_api="blas"):
            f = self._finished(y)
            lost = lost | _lost(f)
            verdict = self._judge(f, lost)
            # Before its time is over only a minimum may end: anything else might be a saddle that the flow
            # is about to leave.
            over = lost | spent | verdict.minimum
            self.ends.outcome[index[over]] = verdict.outcome[over]
            sound = over & ~lost  # of a failed start nothing but the name
            self._enter(index[sound], f.y[sound], f.loss[sound], f.speed[sound])
            self.ends.smallest_eigenvalue[index[sound]] = verdict.smallest[sound]
            isolated = sound & _isolated(f, verdict)
            self._learn(f.y[isolated])
            # All that are at one minimum shall say the same of it, whoever was there first.
            self._of_the_catalogue(index[isolated], f.y[isolated])
        return over

    def _enter(self, at: np.ndarray, y: np.ndarray, loss, speed) -> None:
        self.ends.loss[at] = np.maximum(loss, 0)  # below 0 by rounding only
        self.ends.gradient_norm[at] = speed
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
            order = Order(*(x[number >= 0] for x in order))
            states = self.catalogue.put_back(np.stack([one.y for one in known]), order)
            loss, speed = [one.loss for one in known], [one.gradient_norm for one in known]
            self._enter(index[belongs], states, loss, speed)
            self.ends.outcome[index[belongs]] = [one.outcome for one in known]
            smallest = [one.smallest_eigenvalue for one in known]
            self.ends.smallest_eigenvalue[index[belongs]] = smallest
        return belongs

    def _on_the_rays(self, index: np.ndarray, y: np.ndarray) -> np.ndarray:
        belongs = np.zeros(len(y), bool)
        near = np.flatnonzero(self.catalogue.near_rays(y, _REACH))
        for part in np.split(near, range(_TOGETHER, len(near), _TOGETHER)):
            if not len(part):
                continue
            points = self.catalogue.on_rays(y[part])
            filled = points[_filled(np.arange(len(part)), _TOGETHER)]
            speed, loss = (np.asarray(x)[: len(part)] for x in self._checked(filled))
            good = (speed <= GRADIENT_TOLERANCE) & (loss <= ZERO_LOSS * self.power)
            part, points = part[good], points[good]
            belongs[part] = True
            at = index[part]
            self._enter(at, points, loss[good], speed[good])
            self.ends.outcome[at] = results.GLOBAL_MINIMUM
            # Positive semidefinite, as the loss is 0, and singular: what one of two students on a ray gains
            # the other may lose.
            self.ends.smallest_eigenvalue[at] = 0.0
        return belongs

    def _checked(self, y: np.ndarray):
        return _speed_and_loss(self.flow, self.problem, jnp.asarray(y))

    def _finished(self, y: np.ndarray) -> Finish:
        """Newton finishes in NumPy: plain ones if they are likely to do, careful ones where they don't."""
        if not self._plain:
            return self._carefully(y)
        n = len(y)
        filled = jnp.asarray(y[_filled(np.arange(n), self.few)])
        f = jax.tree.map(
            lambda x: np.array(x[:n]), _finish(plain_finish, self.flow, self.problem, filled)
        )
        poor = ~(f.definite & _converged(f))
        self._plain = bool(poor.mean() <= 0.5)
        if poor.any():
            for whole, part in zip(f, self._carefully(y[poor]), strict=True):
                whole[poor] = part
        return f

    def _carefully(self, y: np.ndarray) -> Finish:
        # One by one: each takes as long as it takes.
        each = [_finish(careful_finish, self.flow, self.problem, y[i : i + 1]) for i in range(len(y))]
        return jax.tree.map(lambda *x: np.concatenate(x), *each)

    def _judge(self, f: Finish, lost: np.ndarray) -> _Verdict:
        pairs = zip(f.curvature, lost, strict=True)
        smallest = np.array([np.inf if bad else np.linalg.eigvalsh(H)[0] for H, bad in pairs])
        zero, converged = f.loss <= ZERO_LOSS * self.power, _converged(f)
        stable = (smallest >= -STABILITY_BAND) & (f.leaving <= LEAVING)
        outcome = np.select(
            [lost, ~converged, zero, stable],
            [results.FAILED, results.NOT_CONVERGED, results.GLOBAL_MINIMUM, results.LOCAL_MINIMUM],
            results.SADDLE,
        )
        return _Verdict(outcome, smallest, converged & (zero | (stable & f.definite)))

    def _learn(self, y: np.ndarray) -> None:
        """Enter isolated minima into the catalogue, each solved again from its first digits in its own order."""
        catalogue = self.catalogue
        if not (catalogue.open and len(y)):
            return
        new = catalogue.put(y, catalogue.order(y))
        while len(new := new[catalogue.nearest(new) < 0]):
            short = np.concatenate([np.round(new[:1, :, :-1], DIGITS), new[:1, :, -1:]], axis=2)
            f = self._finished(short)
            verdict = self._judge(f, _lost(f))
            if _isolated(f, verdict)[0]:
                loss, speed = max(float(f.loss[0]), 0.0), float(f.speed[0])
                smallest = float(verdict.smallest[0])
                catalogue.add(Known(f.y[0], str(verdict.outcome[0]), loss, speed, smallest))
            new = new[1:]
