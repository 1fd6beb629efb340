r"""Networks of finite dimension, trained on inputs: the independent truth for the order-parameter ODEs.

No Gaussian integral enters here: inputs $x \sim N(0, I_d)$ are drawn and passed through student and teacher,
and an optax optimiser moves the students by the gradient of $\frac12\Delta^2$ on one fresh input a step.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ..flows.base import AbstractFlow
from ..model.loss import population_loss
from ..model.problem import Problem
from ..model.state import Weights, check_weights, overlaps
from ..runtime.arguments import check_positive_number
from ..runtime.errors import UserError
from .trajectory import Trajectory, check_times

_BLOCK = 64  # inputs that are drawn at once


def _sample_gradient(problem: Problem, dimension: int) -> Callable:
    """Return the function (weights, x) → gradient of ½Δ² in W and v, for one input x (d,)."""
    act, readout = problem.activation, problem.readout
    teacher = problem.teacher_weights(dimension)
    slope = jnp.vectorize(jax.grad(lambda x: act(x)))

    def gradient(weights: Weights, x: Float[Array, " d"]) -> Weights:
        W, v = weights.W, weights.v
        field = W @ x
        error = v @ act(field) - readout @ act(teacher @ x)
        return Weights((error * v * slope(field))[:, None] * x[None, :], error * act(field))

    return gradient


def _train_on_samples(
    problem: Problem,
    optimiser: optax.GradientTransformation,
    start: Weights,
    counts,
    key: PRNGKeyArray,
    train_readout: bool,
) -> Weights:
    """Return the weights after each number of steps of `counts`, which increase.

    Input number i is drawn from (key, i // 64), so that it does not depend on the counts. The optimiser's
    state is carried from one count to the next.
    """
    d = start.W.shape[1]
    gradient = _sample_gradient(problem, d)

    def trained(weights: Weights) -> tuple[Array, ...]:
        return (weights.W, weights.v) if train_readout else (weights.W,)

    def step(weights: Weights, memory, x) -> tuple[Weights, optax.OptState]:
        # Optimisers mix dtypes and ranks (adam's count of steps is an integer), which a strict setting of
        # JAX would refuse.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            updates, memory = optimiser.update(
                trained(gradient(weights, x)), memory, trained(weights)
            )
            moved: Any = optax.apply_updates(trained(weights), updates)
        return Weights(moved[0], moved[1] if train_readout else weights.v), memory

    def block(carry, number, first, last):
        # Drawing inputs takes most of the time: 24 random bits are enough for each number.
        inputs = jax.random.normal(jax.random.fold_in(key, number), (_BLOCK, d), jnp.float32)
        inputs = inputs.astype(start.W.dtype)
        return jax.lax.fori_loop(first, last, lambda i, c: step(c[0], c[1], inputs[i]), carry)

    def until(carry, count):
        (weights, memory), done = carry

        def one(number, carry):
            first = jnp.clip(done - number * _BLOCK, 0, _BLOCK)
            last = jnp.clip(count - number * _BLOCK, 0, _BLOCK)
            return block(carry, number, first, last)

        weights, memory = jax.lax.fori_loop(
            done // _BLOCK, -(-count // _BLOCK), one, (weights, memory)
        )
        return ((weights, memory), count), weights

    memory = optimiser.init(trained(start))
    return jax.lax.scan(until, ((start, memory), jnp.zeros_like(counts[0])), counts)[1]


def _descend(problem: Problem, flow: AbstractFlow, start: Weights, counts, step) -> Weights:
    """Return the weights after each number of steps of gradient descent on the population loss."""

    def one(_, weights: Weights) -> Weights:
        rates = flow(0.0, weights, problem)
        return flow.retract(jax.tree.map(lambda w, rate: w + step * rate, weights, rates))

    def until(carry, count):
        weights, done = carry
        weights = jax.lax.fori_loop(done, count, one, weights)
        return (weights, count), weights

    return jax.lax.scan(until, (flow.project_initial(start), jnp.zeros_like(counts[0])), counts)[1]


@eqx.filter_jit
def _train(problem, flow, weights, counts, key, step, train_readout: bool) -> tuple:
    if isinstance(flow, optax.GradientTransformation):
        found = _train_on_samples(problem, flow, weights, counts, key, train_readout)
    elif flow.stochastic:
        optimiser = optax.sgd(flow.sample_step(weights.W.shape[1]))
        found = _train_on_samples(problem, optimiser, weights, counts, key, flow.trains_readout)
    else:
        found = _descend(problem, flow, weights, counts, step)
    states = jax.vmap(lambda w: overlaps(problem, w))(found)
    return states, jax.vmap(lambda state: population_loss(problem, state))(states)


def train_network(
    problem: Problem,
    flow: AbstractFlow | optax.GradientTransformation,
    weights: Weights,
    times,
    *,
    key: PRNGKeyArray | None = None,
    step: float = 0.01,
    train_readout: bool = False,
) -> Trajectory:
    r"""Train one network of dimension d = `weights.W.shape[1]` and return its order parameters at `times`.

    - `flow`: one of three kinds.
      An *optax optimiser*, such as `optax.adam(1e-3)`, takes steps by the gradient of $\frac12\Delta^2$ on
      one fresh input each. Time is the number of inputs over d, the load α: a step takes 1/d. The optimiser
      is a part of the program: another one compiles anew (of `optax.MultiSteps` give its
      `.gradient_transformation()`).
      `OnlineSGD(η)` is plain SGD on the same inputs, `optax.sgd(η/d)`, in the time of its ODE: a step takes
      η/d, so that its time is η α; its limit d → ∞ is `trajectory` with the same arguments.
      Any *other flow* takes steps of length `step` along it: gradient descent on the population loss, with
      the flow's constraint restored after each step.
    - `weights` (K, d): the initial weights, in the problem's basis (teacher W* = [L 0], T = L Lᵀ).
    - `key`: of the inputs, for the first two kinds. Many runs at once: `jax.vmap` over keys, weights or both.
    - `train_readout`: whether an optimiser trains the readout v too; a flow has `trains_readout` instead.

    Derivatives pass through it in forward mode (`jax.jvp`, `jax.jacfwd`) alone.

    The times of the result are those of whole steps nearest to `times`; a network that grows without bounds
    has order parameters of inf or nan from there on. Its loss is the exact population loss.

    Raises UserError for weights of another shape than the problem's, times out of order, a step that isn't
    positive, no key where inputs are drawn, and a `flow` that is neither a flow nor an optimiser.
    """
    check_weights(problem, weights)
    times = check_times(times)
    check_positive_number("step", step)
    length = _step_length(flow, weights.W.shape[1], step)
    samples = isinstance(flow, optax.GradientTransformation) or flow.stochastic
    if samples and key is None:
        raise UserError("key must be given where inputs are drawn from it; got None")
    if train_readout and isinstance(flow, AbstractFlow) and not flow.trains_readout:
        raise UserError(
            f"train_readout must be False with {type(flow).__name__}, whose readout is fixed; got True"
        )
    counts = jnp.round(jnp.asarray(times) / length).astype(int)
    problem = jax.tree.map(jnp.asarray, problem)
    if isinstance(flow, AbstractFlow):
        flow = jax.tree.map(jnp.asarray, flow)
    states, loss = _train(problem, flow, weights, counts, key, step, train_readout)
    return Trajectory(counts.astype(float) * length, states, loss, diffrax.RESULTS.successful)


def _step_length(flow, dimension: int, step: float) -> float | Float[Array, ""]:
    """Return the time that one step takes."""
    if isinstance(flow, optax.GradientTransformation):
        return 1 / dimension
    if not isinstance(flow, AbstractFlow):
        raise UserError(
            "flow must be a flow such as ol.GradientFlow() or an optax.GradientTransformation; "
            f"got {flow!r}"
        )
    return flow.sample_step(dimension) if flow.stochastic else step
