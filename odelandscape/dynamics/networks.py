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
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ..flows.base import AbstractFlow
from ..flows.consistency import check_flow, check_projection
from ..model.loss import population_loss
from ..model.problem import Problem, is_concrete
from ..model.state import Weights, check_weights, overlaps
from ..runtime.arguments import check_callback, check_instance, check_key, check_positive_number
from ..runtime.errors import UserError
from .trajectory import Trajectory, check_times

_BLOCK = 64  # inputs that are drawn at once
MAX_STEPS = 10**9
"""Most steps of a network: hours."""
MAX_NUMBERS = 10**12
"""Most random numbers of a network's inputs, steps times dimension: hours."""
_REPORTS = 200  # of the progress


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


def _reports(progress: Callable[[int], object] | None, steps) -> Callable[[Array], None]:
    """Return what is called with the number of each block: it reports inputs some `_REPORTS` times."""
    if progress is None:
        return lambda number: None
    between = jnp.maximum(steps // (_BLOCK * _REPORTS), 1)  # blocks, from one report to the next

    def call(inputs) -> None:
        progress(int(inputs))

    return lambda number: jax.lax.cond(
        number % between == between - 1,
        lambda: jax.debug.callback(call, between * _BLOCK),
        lambda: None,
    )


def _train_on_samples(
    problem: Problem,
    optimiser: optax.GradientTransformation,
    start: Weights,
    counts,
    key: PRNGKeyArray,
    train_readout: bool,
    progress: Callable[[int], object] | None,
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

    report = _reports(progress, counts[-1])

    def until(carry, count):
        (weights, memory), done = carry

        def one(number, carry):
            report(number)
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
    # `retract` undoes a small error, and a step may be long. `project_initial` of a flow that keeps no norms
    # may choose a start, and not only restore a constraint.
    restored = flow.project_initial if flow.preserves_norms else flow.retract

    def one(number, weights: Weights) -> Weights:
        rates = flow(number.astype(weights.W.dtype) * step, weights, problem)
        return restored(jax.tree.map(lambda w, rate: w + step * rate, weights, rates))

    def until(carry, count):
        weights, done = carry
        weights = jax.lax.fori_loop(done, count, one, weights)
        return (weights, count), weights

    return jax.lax.scan(until, (flow.project_initial(start), jnp.zeros_like(counts[0])), counts)[1]


@eqx.filter_jit
def _train(problem, flow, weights, counts, key, step, train_readout: bool, progress) -> tuple:
    if isinstance(flow, optax.GradientTransformation):
        found = _train_on_samples(problem, flow, weights, counts, key, train_readout, progress)
    elif flow.stochastic:
        optimiser = optax.sgd(flow.sample_step(weights.W.shape[1]))
        start, readout = flow.project_initial(weights), flow.trains_readout
        found = _train_on_samples(problem, optimiser, start, counts, key, readout, progress)
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
    progress: Callable[[int], object] | None = None,
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
    - `progress`: called, some 200 times, with the number of inputs since the last call, in blocks of 64, for
      the first two kinds.

    Derivatives pass through it in forward mode (`jax.jvp`, `jax.jacfwd`) alone.

    The times of the result are those of whole steps nearest to `times`; a network that grows without bounds
    has order parameters of inf or nan from there on. Its loss is the exact population loss.

    Raises UserError for weights of another shape than the problem's, times out of order, more than 10⁹ steps
    or 10¹² random numbers for their inputs, a step that isn't positive, no key where inputs are drawn, and a
    `flow` that is neither a flow nor an optimiser, or does not say how its samples make steps
    (`AbstractFlow.sample_step`).
    """
    if not isinstance(flow, optax.GradientTransformation):
        allowed = "a flow such as ol.GradientFlow() or an optax.GradientTransformation"
        check_flow(problem, check_instance("flow", flow, AbstractFlow, allowed))
    weights = check_weights(problem, weights, "weights")
    if isinstance(flow, AbstractFlow):
        check_projection(flow, weights, "weights")
    times = check_times(times)
    check_positive_number("step", step)
    check_callback("progress", progress)
    samples = isinstance(flow, optax.GradientTransformation) or flow.stochastic
    length = step_length(flow, weights.W.shape[1], step)
    check_cost(times[-1], length, weights.W.shape[1] if samples else 1)
    if samples and key is None:
        raise UserError("key must be given where inputs are drawn from it; got None")
    if key is not None:
        check_key("key", key)
    check_instance("train_readout", train_readout, bool, "True or False")
    if train_readout and isinstance(flow, AbstractFlow) and not flow.trains_readout:
        raise UserError(
            f"train_readout must be False with {type(flow).__name__}, whose readout is fixed; got True"
        )
    if isinstance(flow, optax.GradientTransformation):
        _check_optimiser(flow, (weights.W, weights.v) if train_readout else (weights.W,))
    counts = jnp.round(jnp.asarray(times) / length).astype(int)
    problem = jax.tree.map(jnp.asarray, problem)
    if isinstance(flow, AbstractFlow):
        flow = jax.tree.map(jnp.asarray, flow)
    states, loss = _train(problem, flow, weights, counts, key, step, train_readout, progress)
    return Trajectory(counts.astype(float) * length, states, loss, diffrax.RESULTS.successful)


def _check_optimiser(optimiser: optax.GradientTransformation, trained: tuple[Array, ...]) -> None:
    """Raise UserError for an optimiser that needs more than gradients, such as the loss at other weights."""
    try:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            jax.eval_shape(lambda x: optimiser.update(x, optimiser.init(x), x), trained)
    except TypeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"flow must be an optimiser that needs gradients alone; this one raises TypeError: {reason}"
        ) from None


def step_length(
    flow: AbstractFlow | optax.GradientTransformation, dimension: int, step: float
) -> float | Float[Array, ""]:
    """Return the time that one step of a network takes. Raises UserError unless it is a finite number."""
    if isinstance(flow, optax.GradientTransformation):
        return 1 / dimension
    if not flow.stochastic:
        return step
    length = flow.sample_step(dimension)
    if is_concrete(length) and float(length) != 0:  # 0 is a tiny number over the dimension
        check_positive_number(f"sample_step of {type(flow).__name__}", length)
    return length


def check_cost(
    end: float, length: float | Float[Array, ""], dimension: int, name: str = "times"
) -> None:
    """Raise UserError, naming the argument, if networks would take more steps than `MAX_STEPS` to a time, or
    draw more than `MAX_NUMBERS` random numbers."""
    if not is_concrete(length):
        return
    steps = float(end) / float(length) if float(length) else np.inf
    allowed = min(MAX_STEPS, MAX_NUMBERS / dimension)
    if not steps <= allowed:
        raise UserError(
            f"{name} must end by {allowed * float(length):.3g}, after {allowed:.1e} steps of "
            f"{float(length):.3g}, which take hours; got {end:.6g}, {steps:.1e} steps. Larger steps go "
            "further: a larger learning rate or step, or a smaller dimension"
        )
