"""A user's flow at a few fixed states: whether its methods agree, and which code it is.

A flow says the same thing in several ways: by its mixing, its rates of weights and of many lanes, and its
properties. Solvers use one or the other. What a user's class overrides is therefore compared before anything
is computed with it; the flows of this package are compared by its tests.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..activations import regularity
from ..activations.consistency import check_moments
from ..model.problem import PROBLEM, Problem, is_concrete
from ..model.state import Weights, overlaps
from ..runtime.arguments import check_instance, shown
from ..runtime.code import forget_changed
from ..runtime.compiler import known_numbers
from ..runtime.errors import UserError
from ..runtime.registry import is_from_this_package
from .base import AbstractFlow, Mixing

_STATES = 6
_LATER = (0.3, 1.0, 2.9, 31.7, 1009.3, 20_000.0)  # a time for each state
_STATES_WITH_NOISE = 2  # whose fourth moments may take seconds
_NOISE = 0.01  # of the noise: the error that is allowed


class FlowValues(NamedTuple):
    """What a flow gives at n fixed states of students of several lengths, n in front."""

    start: Weights  # on the flow's constraint
    start_again: Weights  # of the start
    retracted: Weights
    rates: Weights | None  # None of a stochastic flow, as all that follows but the last
    permuted_rates: Weights | None  # of units in another order, and put back
    later_rates: Weights | None  # at `_LATER`
    batched_rates: Weights | None  # None too where it is the default
    neutral_directions: Array | None  # None too where the flow has none
    mixing: Mixing | None  # of a stochastic flow


def _fixed_states(problem: Problem, count: int) -> Weights:
    """Return weights (n, K, M + K) with readouts of both signs, from short students to long ones."""
    K, d = problem.students, problem.teachers + problem.students
    rng = np.random.RandomState(0)  # whose numbers never change
    W = rng.standard_normal((count, K, d)) * np.geomspace(0.1, 2, count)[:, None, None]
    v = np.where(np.arange(count)[:, None] % 2, rng.standard_normal((count, K)), 1.0)
    return jax.vmap(Weights)(jnp.asarray(W / np.sqrt(d), float), jnp.asarray(v, float))


@eqx.filter_jit
def _values(flow: AbstractFlow, problem: Problem, states: Weights) -> FlowValues:
    start = jax.vmap(flow.project_initial)(states)
    again, retracted = jax.vmap(flow.project_initial)(start), jax.vmap(flow.retract)(start)
    if flow.stochastic:
        mixing = jax.vmap(lambda w: flow.mixing(overlaps(problem, w), problem))(start)
        return FlowValues(start, again, retracted, None, None, None, None, None, mixing)
    equal_teachers = problem.teacher_overlaps is None and problem.teacher_readout is None
    M = problem.teachers if equal_teachers else 0

    def roll(weights, by):
        W = jnp.roll(weights.W, by, axis=1)
        W = jnp.concatenate([jnp.roll(W[..., :M], by, axis=2), W[..., M:]], axis=2)
        return jax.vmap(Weights)(W, jnp.roll(weights.v, by, axis=1))

    # All in one batch, which is one program.
    n = len(start.W)
    times = jnp.concatenate([jnp.zeros(2 * n), jnp.array(_LATER)])
    states = jax.tree.map(lambda *x: jnp.concatenate(x), start, roll(start, 1), start)
    rates = jax.vmap(lambda t, w: flow(t, w, problem))(times, states)
    now, permuted, later = (jax.tree.map(lambda x, i=i: x[i : i + n], rates) for i in (0, n, 2 * n))
    batched = None
    if type(flow).batched_rates is not AbstractFlow.batched_rates:
        lanes = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), start)
        batched = flow.batched_rates(lanes, problem)
        batched = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), batched)
    try:
        directions = jax.vmap(lambda w: flow.neutral_directions(w, problem))(start)
    except NotImplementedError:  # by a flow of which only paths are followed
        directions = None
    permuted = roll(permuted, -1)
    return FlowValues(start, again, retracted, now, permuted, later, batched, directions, None)


def flow_values(flow: AbstractFlow, problem: Problem) -> FlowValues:
    """Return what a flow gives at fixed states of the problem's size. Raises what its methods raise."""
    problem, flow = jax.tree.map(jnp.asarray, (problem, flow))
    count = _STATES_WITH_NOISE if flow.stochastic else _STATES
    return _values(flow, problem, _fixed_states(problem, count))


def check_flow(problem: Problem, flow: AbstractFlow, end_states: bool = False) -> AbstractFlow:
    """Return `flow`.

    A class of this package is not evaluated; of a stochastic flow, and where numbers are traced, only the
    form of the mixing is checked.

    - `end_states`: whether these are sought, for which rates may not depend on the time, and directions in
      which stability is not judged must be known.

    Raises UserError, naming the flow, if it is no flow, and if what a user's class overrides contradicts what
    it inherits or declares; naming the activation, if moments of a user's class contradict its values.
    """
    check_instance("problem", problem, Problem, PROBLEM)
    check_instance("flow", flow, AbstractFlow, "a flow such as ol.GradientFlow()")
    check_moments(problem.activation)
    if is_from_this_package(flow):
        return flow
    forget_changed(flow)
    wrong = _lost_attribute(flow) or _traced_choice(flow, problem) or _wrong_form(flow, problem)
    if wrong is None and not flow.stochastic:
        wrong = _contradiction(flow, problem, end_states)
    if wrong is not None:
        raise UserError(f"flow {type(flow).__name__} contradicts itself: {wrong}")
    if end_states and not flow.stochastic:
        _check_judged(flow, problem)
    return flow


def check_projection(flow: AbstractFlow, weights: Weights, name: str) -> None:
    """Raise UserError, naming the argument, for finite weights that the flow has no start for: those that it
    projects to undefined numbers."""
    if not is_concrete((flow, weights)):
        return
    with known_numbers():
        start = flow.project_initial(weights)
    if not all(np.isfinite(x).all() for x in map(np.asarray, (start.W, start.v))):
        raise UserError(
            f"{name} must have a projection onto the constraint of {shown(flow)} (of orthonormal students, "
            "linearly independent weights); its own is undefined"
        )


def noise_is_accurate(problem: Problem, flow: AbstractFlow, length: float) -> bool:
    """Return whether a flow has no noise, or fourth moments of units of this length are accurate to a
    hundredth."""
    return not (flow.stochastic and length) or problem.activation.I4_error(length) <= _NOISE


def check_noise(problem: Problem, flow: AbstractFlow, name: str, longest: float) -> None:
    """Raise UserError, naming the argument, if a flow has noise and units of this length or the teacher's are
    too long for it (`noise_is_accurate`)."""
    if not flow.stochastic or not is_concrete(problem):
        return
    # In NumPy: under `jit` what JAX computes has no number.
    T = problem.teacher_overlaps
    teachers = 1.0 if T is None else float(np.sqrt(np.diagonal(np.asarray(T)).max()))
    for what, length in {"teacher_overlaps": teachers, name: longest}.items():
        if noise_is_accurate(problem, flow, length):
            continue
        error = problem.activation.I4_error(length)
        raise UserError(
            f"{what} must have shorter units for a flow with noise: at the length {length:.3g} the error of "
            f"fourth moments is {100 * error:.2g} %, and {100 * _NOISE:g} % is allowed; got "
            f"{shown(problem.activation)} (an activation of your own may have I4 in closed form)"
        )


def _check_judged(flow: AbstractFlow, problem: Problem) -> None:
    """Raise UserError if a flow says that it has no `neutral_directions`."""
    weights = jax.tree.map(lambda x: x[0], _fixed_states(problem, 1))
    try:
        jax.eval_shape(lambda w: flow.neutral_directions(w, problem), weights)
    except NotImplementedError as error:
        raise UserError(
            "flow must have neutral_directions for its end states to be judged; "
            f"{type(flow).__name__} has none: {error}. ol.trajectory follows its paths"
        ) from None


def _lost_attribute(flow: AbstractFlow) -> str | None:
    """Name an attribute of an instance that solvers would not see: no field, or no number."""
    names = {field.name for field in dataclasses.fields(flow)}
    for name in vars(flow).keys() - names:
        return f"{name} is set on an instance and is no field of the class, so that solvers lose it"
    return regularity.wrong_field(flow)


def _traced_choice(flow: AbstractFlow, problem: Problem) -> str | None:
    """Name a property or method that decides by a field's number, which a compiled program does not know."""
    weights = jax.tree.map(lambda x: x[0], _fixed_states(problem, 1))
    asked: dict[str, Callable] = {
        "stochastic": lambda flow: jnp.asarray(bool(flow.stochastic)),
        "trains_readout": lambda flow: jnp.asarray(bool(flow.trains_readout)),
        "mixing": lambda flow: flow.mixing(overlaps(problem, weights), problem),
    }
    for name, ask in asked.items():
        try:
            jax.eval_shape(ask, jax.tree.map(jnp.asarray, flow))
        except jax.errors.ConcretizationTypeError:
            return (
                f"its {name} must not depend on the number of a field that is not static: declare what it "
                "decides by, such as True or False, with eqx.field(static=True)"
            )
    return None


def _wrong_form(flow: AbstractFlow, problem: Problem) -> str | None:
    """Say which of a flow's results has another form than solvers expect."""
    K, M = problem.students, problem.teachers
    weights = jax.tree.map(lambda x: x[0], _fixed_states(problem, 1))
    mixing = jax.eval_shape(lambda w: flow.mixing(overlaps(problem, w), problem), weights)
    if not isinstance(mixing, Mixing):
        return f"mixing must return ol.Mixing, and returns {shown(mixing)}"
    wanted = {"X": (K, K), "Y": (K, M), "dv": (K,), "noise": (K, K) if flow.stochastic else None}
    for name, shape in wanted.items():
        found = getattr(mixing, name)
        if found is not None if shape is None else not regularity.is_real_array(found, shape):
            return (
                f"{name} of its mixing must be {'None' if shape is None else f'real, of shape {shape}'} "
                f"where stochastic is {flow.stochastic}; got {shown(found)}"
            )
    if flow.stochastic:
        # Solvers follow coordinates and overlaps, of which only the mixing gives the rates.
        for name in ("__call__", "retract"):
            if getattr(type(flow), name) is not getattr(AbstractFlow, name):
                return f"{name} must not be overridden where stochastic is True, only its mixing"
        return _wrong_weights("project_initial", flow.project_initial, weights)
    return (
        _wrong_weights("__call__", lambda w: flow(0.0, w, problem), weights)
        or _wrong_weights("project_initial", flow.project_initial, weights)
        or _wrong_weights("retract", flow.retract, weights)
        or _wrong_weights(
            "batched_rates", lambda w: flow.batched_rates(w, problem), _lanes(weights)
        )
        or _wrong_directions(flow, problem, weights)
    )


def _lanes(weights: Weights) -> Weights:
    """Return two copies of a state as lanes, which `batched_rates` takes behind."""
    return jax.tree.map(lambda x: jnp.stack([x, x], axis=-1), weights)


def _wrong_weights(name: str, method: Callable, weights: Weights) -> str | None:
    """Say so if a method does not return weights of the form that it is given."""
    found = jax.eval_shape(method, weights)
    if isinstance(found, Weights):
        pairs = (found.W, weights.W), (found.v, weights.v)
        if all(regularity.is_real_array(one, given.shape) for one, given in pairs):
            return None
    return f"{name} must return ol.Weights, real and of the shapes that it is given; got {shown(found)}"


def _wrong_directions(flow: AbstractFlow, problem: Problem, weights: Weights) -> str | None:
    """Say so if neutral directions are not vectors of all coordinates."""
    try:
        found = jax.eval_shape(lambda w: flow.neutral_directions(w, problem), weights)
    except NotImplementedError:  # by a flow of which only paths are followed
        return None
    K, d = weights.W.shape
    n = found.shape[0] if getattr(found, "shape", ()) else 0
    if regularity.is_real_array(found, (n, K, d + 1)):
        return None
    return f"neutral_directions must be real, of shape (n, {K}, {d + 1}); got {shown(found)}"


def _contradiction(flow: AbstractFlow, problem: Problem, end_states: bool) -> str | None:
    """Say which of a flow's methods or properties differ in what they say."""
    if not is_concrete((problem, flow)):
        return None
    with jax.ensure_compile_time_eval():
        values = flow_values(flow, problem)
        start, rates = values.start, values.rates
        if rates is None:
            return None
        along = jnp.sum(start.W * rates.W, axis=2)
        size = jnp.linalg.norm(start.W, axis=2) * jnp.linalg.norm(rates.W, axis=2)
        contradictions = {
            "project_initial must leave what it has returned as it is": _differ(
                values.start_again, start
            ),
            "retract must leave what project_initial returns as it is": _differ(
                values.retracted, start
            ),
            "trains_readout must be True, as its rates move the readout": (
                not flow.trains_readout and bool(jnp.any(rates.v != 0))
            ),
            "batched_rates must be the rates of each lane": (
                values.batched_rates is not None and _differ(values.batched_rates, rates)
            ),
            "its rates must not depend on the time where end states are sought": (
                end_states and _differ(values.later_rates, rates)
            ),
            "permutation_equivariant must be False, as its rates depend on the index of a unit": (
                flow.permutation_equivariant and _differ(values.permuted_rates, rates)
            ),
            "preserves_norms must be False, as its rates lengthen students": (
                flow.preserves_norms and _differ(size + along, size)
            ),
        }
    return next((what for what, found in contradictions.items() if found), None)


def _differ(a, b) -> bool:
    """Return whether two trees of numbers differ by more than rounding. Where one is NaN nothing is said."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return any(
        bool(jnp.max(jnp.abs(x - y)) > 100 * jnp.finfo(y.dtype).eps ** 0.5 * jnp.max(jnp.abs(y)))
        for x, y in pairs
    )
