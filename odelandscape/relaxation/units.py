r"""Units of length, readout and time in which a problem has the scale that all tolerances are made for.

Starts are relaxed, and their end states certified, with tolerances for teachers and students of length 1 with
readouts of 1. Another problem is written in units of its own. With $w = \ell w'$, $v = r v'$,
$w^* = \tau w^{*\prime}$, $v^* = \varrho v^{*\prime}$ and outputs in units of a the loss is $L = a^2 L'$,
and time in units of $\ell^2/a^2$ leaves $\dot w' = -\partial L'/\partial w'$. For a positively homogeneous σ,
a is ℓ r = τ ϱ; for another, σ itself is rescaled where students have to be short to have a small output. The
flow is not assumed to be equivariant: `RescaledFlow` is the given flow, in other coordinates.
"""

from typing import NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..activations.base import AbstractActivation
from ..flows.base import AbstractFlow, Mixing
from ..model.loss import unit_powers
from ..model.problem import Problem
from ..model.state import OrderParameters, State, Weights
from .batched_rkc import SHORTEST
from .outcomes import LEVEL_WIDTH, EndStates

_IDENTITY_TOLERANCE = 1e-14  # within which a rescaled teacher is the orthonormal one


_Number = float | Float[Array, ""]


class Units(NamedTuple):
    """Sizes of one unit. All are 1 for a teacher of unit vectors and unit readouts."""

    length: _Number  # ℓ of students
    readout: _Number  # r of students
    teacher_length: _Number  # τ
    teacher_readout: _Number  # ϱ
    output: _Number  # a

    @property
    def rate(self) -> _Number:
        """a²/ℓ², one over the unit of time, and the unit of the Hessian."""
        return (self.output / self.length) ** 2

    @property
    def trivial(self) -> bool:
        """Whether nothing changes."""
        return all(unit == 1 for unit in self)


def natural_units(problem: Problem, flow: AbstractFlow, readout: float) -> Units:
    """Return the units for starts with this unit of readout (`readout_units`).

    - A positively homogeneous σ: outputs in units of the teachers', lengths so that students of unit
      readout have it; where the readout is trained, lengths and readouts alike.
    - Students of fixed length: readouts in units of their own.
    - Another σ: readouts in units of the students' or, if that is less, lengths in units that
      a student's output needs.
    """
    output = _output(problem)
    if flow.preserves_norms:
        return Units(1.0, readout, 1.0, readout, readout)
    if problem.activation.positively_homogeneous:
        if flow.trains_readout:
            readout = np.sqrt(output)
        scaled = problem.teacher_overlaps is not None and problem.teacher_readout is None
        teacher = (output, 1.0) if scaled else (1.0, output)
        if problem.teacher_overlaps is not None and problem.teacher_readout is not None:
            length = float(np.sqrt(np.mean(np.diagonal(problem.T))))
            teacher = length, output / length
        return Units(output / readout, readout, *teacher, output)
    if flow.trains_readout:  # length and readout are not interchangeable
        return Units(1.0, 1.0, 1.0, 1.0, 1.0)
    if output >= readout:
        readout = np.sqrt(output * readout)
        return Units(1.0, readout, 1.0, readout, readout)
    length = output / readout
    return Units(length, readout, length, readout, output)


def readout_units(v: Float[np.ndarray, "N K"]) -> Float[np.ndarray, " N"]:
    """Return the unit of readout of each start, which depends on no other start: the size that all of its
    readouts have, or the power of 4 next to their root mean square."""
    size = np.abs(v)
    with np.errstate(all="ignore"):
        mean = np.sqrt(np.mean(v**2, axis=1))
        power = 4.0 ** np.round(np.log2(mean) / 2)
    equal = (size == size[:, :1]).all(axis=1)
    unit = np.where(equal, size[:, 0], power)
    return np.where(np.isfinite(unit) & (unit > 0), unit, 1.0)


def level_width(problem: Problem) -> float:
    """Return the distance of losses up to which they are one level."""
    return LEVEL_WIDTH * _output(problem) ** 2


def _output(problem: Problem) -> float:
    """Root mean square of the teachers' readouts, each times the size of σ at its length over that at 1."""
    q = np.append(np.diagonal(problem.T), 1.0)
    with np.errstate(all="ignore"):
        *sizes, unit = np.sqrt(unit_powers(problem.activation, q))
        output = float(np.sqrt(np.mean((np.asarray(problem.readout) * sizes / unit) ** 2)))
    return output if np.isfinite(output) and output > 0 else 1.0


def rescaled_problem(problem: Problem, units: Units) -> Problem:
    """Return the problem in these units."""
    T, v = problem.teacher_overlaps, problem.teacher_readout
    if units.teacher_length != 1:
        T = problem.T / units.teacher_length**2
    if units.teacher_readout != 1:
        v = problem.readout / units.teacher_readout
    if T is not None and np.abs(T - np.eye(problem.teachers)).max() <= _IDENTITY_TOLERANCE:
        T = None
    if v is not None and np.abs(v - 1).max() <= _IDENTITY_TOLERANCE:
        v = None
    activation = problem.activation
    if not activation.positively_homogeneous and units.length != 1:
        activation = RescaledActivation(activation, units.length, units.output / units.readout)
    return Problem(problem.students, problem.teachers, activation, T, v)


def rescaled_starts(starts: Weights, units: Units) -> Weights:
    """Return weights in these units."""
    W, v = starts.W / units.length, starts.v / units.readout
    return jax.tree.unflatten(jax.tree.structure(starts), (W, v))


def lengthened_starts(starts: Weights) -> Weights:
    """Return starts whose students are no shorter than `SHORTEST`, unless of length 0."""
    W = np.asarray(starts.W)
    largest = np.abs(W).max(axis=2, keepdims=True)
    short = (largest > 0) & (largest < SHORTEST)
    if not short.any():
        return starts
    W = np.where(short, SHORTEST * (W / np.where(short, largest, 1)), W)
    return jax.tree.unflatten(jax.tree.structure(starts), (W, starts.v))


def original_ends(ends: EndStates, units: Units) -> EndStates:
    """Return end states that are given in these units in those of the problem."""
    return ends._replace(
        loss=ends.loss * units.output**2,
        gradient_norm=ends.gradient_norm * units.rate * units.length,
        smallest_eigenvalue=ends.smallest_eigenvalue * units.rate,
        time=ends.time / units.rate,
        weights=ends.weights * units.length,
        readout=ends.readout * units.readout,
    )


class RescaledActivation(AbstractActivation):
    """σ'(x) = σ(ℓ x)/h: the activation of students in units of length ℓ, with outputs in units of h."""

    activation: AbstractActivation
    length: _Number
    height: _Number

    def __call__(self, x):
        return self.activation(self.length * x) / self.height

    @property
    def even(self) -> bool:
        return self.activation.even

    @property
    def odd(self) -> bool:
        return self.activation.odd

    @property
    def smooth(self) -> bool:
        return self.activation.smooth

    @property
    def continuous(self) -> bool:
        return self.activation.continuous

    @property
    def smooth_at_zero(self) -> bool:
        return self.activation.smooth_at_zero

    @property
    def nodes(self) -> int:
        return self.activation.nodes

    def second_moment(self, c11, c12, c22):
        square = self.length**2
        moment = self.activation.second_moment(square * c11, square * c12, square * c22)
        return moment / self.height**2

    def mixing_scalars(self, c11, c12, c22):
        square = self.length**2
        p, s = self.activation.mixing_scalars(square * c11, square * c12, square * c22)
        return p * square / self.height**2, s * square / self.height**2


class RescaledFlow(AbstractFlow):
    """A flow in other units: of the weights w' = w/ℓ and v' = v/r, and in time t' = t a²/ℓ².

    - `flow`, `problem`: what it is the same as, in units of 1.
    - `units`: as arrays, so that other units run the same program.
    """

    flow: AbstractFlow
    problem: Problem
    units: Units

    @property
    def stochastic(self) -> bool:
        return self.flow.stochastic

    @property
    def trains_readout(self) -> bool:
        return self.flow.trains_readout

    @property
    def preserves_norms(self) -> bool:
        return self.flow.preserves_norms

    @property
    def permutation_equivariant(self) -> bool:
        return self.flow.permutation_equivariant

    def _original(self, weights: Weights) -> Weights:
        return Weights(weights.W * self.units.length, weights.v * self.units.readout)

    def _rescaled(self, weights: Weights) -> Weights:
        return Weights(weights.W / self.units.length, weights.v / self.units.readout)

    def _rates(self, rates: Weights) -> Weights:
        rescaled = self._rescaled(rates)
        return Weights(rescaled.W / self.units.rate, rescaled.v / self.units.rate)

    def _original_overlaps(self, state: OrderParameters) -> OrderParameters:
        length, readout, teacher_length, *_ = self.units
        return OrderParameters(
            state.Q * length**2, state.R * (length * teacher_length), state.v * readout
        )

    def mixing(self, state: OrderParameters, problem: Problem) -> Mixing:
        length, readout, teacher_length, *_ = self.units
        rate = self.units.rate
        X, Y, dv, noise = self.flow.mixing(self._original_overlaps(state), self.problem)
        noise = None if noise is None else noise / (rate * length**2)
        return Mixing(
            X / rate, Y * (teacher_length / (length * rate)), dv / (readout * rate), noise
        )

    @overload
    def __call__(self, t, state: Weights, problem: Problem) -> Weights: ...
    @overload
    def __call__(self, t, state: OrderParameters, problem: Problem) -> OrderParameters: ...
    def __call__(self, t, state: State, problem: Problem) -> State:
        if not isinstance(state, Weights):
            return super().__call__(t, state, problem)
        return self._rates(self.flow(t, self._original(state), self.problem))

    def batched_rates(self, weights: Weights, problem: Problem) -> Weights:
        return self._rates(self.flow.batched_rates(self._original(weights), self.problem))

    def project_initial(self, weights: Weights) -> Weights:
        return self._rescaled(self.flow.project_initial(self._original(weights)))

    def retract(self, weights: Weights) -> Weights:
        return self._rescaled(self.flow.retract(self._original(weights)))

    def neutral_directions(self, weights: Weights, problem: Problem) -> Float[Array, "n K D"]:
        directions = self.flow.neutral_directions(self._original(weights), self.problem)
        W, v = directions[..., :-1] / self.units.length, directions[..., -1:] / self.units.readout
        return jnp.concatenate([W, v], axis=-1)


def in_natural_units(
    problem: Problem, flow: AbstractFlow, starts: Weights, units: Units
) -> tuple[Problem, AbstractFlow, Weights]:
    """Return problem, flow and starts in these units: themselves, where these are 1."""
    starts = lengthened_starts(starts)
    if units.trivial:
        return problem, flow, starts
    arrays = Units(*map(jnp.asarray, units))
    return (
        rescaled_problem(problem, units),
        RescaledFlow(flow, problem, arrays),
        rescaled_starts(starts, units),
    )
