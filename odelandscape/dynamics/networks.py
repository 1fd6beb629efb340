r"""Networks of finite dimension, trained on inputs: what the order-parameter ODEs are held against.

Nothing here knows of Gaussian integrals: inputs $x \sim N(0, I_d)$ are drawn, passed through student and
teacher, and the students are moved by the gradient of $\frac12\Delta^2$.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ..flows.base import AbstractFlow
from ..flows.online_sgd import OnlineSGD
from ..model.loss import population_loss
from ..model.problem import Problem
from ..model.state import Weights, check_weights, overlaps
from ..runtime.errors import UserError
from .trajectory import Trajectory, check_times

_BLOCK = 64  # inputs that are drawn at once


def _sgd_steps(problem: Problem, flow: OnlineSGD, start: Weights, counts, key) -> Weights:
    """Weights after so many steps, for increasing counts. Input number i is drawn from (key, i // 64)."""
    d = start.W.shape[1]
    act, readout, teacher = problem.activation, problem.readout, problem.teacher_weights(d)
    slope = jnp.vectorize(jax.grad(lambda x: act(x)))
    rate = flow.learning_rate / d

    def step(weights: Weights, x) -> Weights:
        W, v = weights.W, weights.v
        field = W @ x
        error = v @ act(field) - readout @ act(teacher @ x)
        pull = rate * error * v * slope(field)
        v = v - rate * error * act(field) if flow.train_readout else v
        return Weights(W - pull[:, None] * x[None, :], v)

    def block(weights: Weights, number, first, last):
        # Most of the time goes into drawing inputs: 24 bits of chance are enough for each number.
        inputs = jax.random.normal(jax.random.fold_in(key, number), (_BLOCK, d), jnp.float32)
        inputs = inputs.astype(start.W.dtype)
        return jax.lax.fori_loop(first, last, lambda i, w: step(w, inputs[i]), weights)

    def until(carry, count):
        weights, done = carry

        def one(number, weights):
            first = jnp.clip(done - number * _BLOCK, 0, _BLOCK)
            last = jnp.clip(count - number * _BLOCK, 0, _BLOCK)
            return block(weights, number, first, last)

        weights = jax.lax.fori_loop(done // _BLOCK, -(-count // _BLOCK), one, weights)
        return (weights, count), weights

    return jax.lax.scan(until, (start, jnp.zeros_like(counts[0])), counts)[1]


def _gradient_steps(problem: Problem, flow: AbstractFlow, start: Weights, counts, step) -> Weights:
    def one(_, weights: Weights) -> Weights:
        rates = flow(0.0, weights, problem)
        return flow.retract(jax.tree.map(lambda w, rate: w + step * rate, weights, rates))

    def until(carry, count):
        weights, done = carry
        weights = jax.lax.fori_loop(done, count, one, weights)
        return (weights, count), weights

    return jax.lax.scan(until, (flow.project_initial(start), jnp.zeros_like(counts[0])), counts)[1]


@eqx.filter_jit
def _train(problem, flow, weights, counts, key, step) -> tuple:
    if isinstance(flow, OnlineSGD):
        found = _sgd_steps(problem, flow, weights, counts, key)
    else:
        found = _gradient_steps(problem, flow, weights, counts, step)
    states = jax.vmap(lambda w: overlaps(problem, w))(found)
    return states, jax.vmap(lambda state: population_loss(problem, state))(states)


def train_network(
    problem: Problem,
    flow: AbstractFlow,
    weights: Weights,
    times,
    *,
    key: PRNGKeyArray | None = None,
    step: float = 0.01,
) -> Trajectory:
    """Train one network of dimension d = `weights.W.shape[1]` and tell its order parameters at `times`.

    - `flow`: `OnlineSGD(η)` takes steps of η/d on one fresh input each, time being steps · η/d; its limit
      d → ∞ is `trajectory` with the same arguments. Any other flow takes steps of length `step` along it:
      gradient descent on the population loss, with the flow's constraint restored after each step.
    - `weights`: the start, in the problem's basis (teacher W* = [L 0], T = L Lᵀ).
    - `key`: of the inputs; needed for OnlineSGD. Many runs at once: `jax.vmap` over keys, weights or both.

    The times of the result are those of whole steps nearest to `times`; a network that grows without bounds
    has order parameters of inf or nan from there on. Its loss is the exact population loss.

    Raises ValueError for weights of another shape than the problem's, times out of order, a step that
    isn't positive, and OnlineSGD without a key.
    """
    check_weights(problem, weights)
    times = check_times(times)
    online = isinstance(flow, OnlineSGD)
    if online and key is None:
        raise UserError("key must be given: online SGD draws its inputs from it")
    if not 0 < step < np.inf:
        raise UserError(f"step must be a finite number above 0; got {step!r}")
    length = flow.learning_rate / weights.W.shape[1] if online else step
    counts = jnp.round(jnp.asarray(times) / length).astype(int)
    problem, flow = jax.tree.map(jnp.asarray, (problem, flow))
    states, loss = _train(problem, flow, weights, counts, key, step)
    return Trajectory(counts.astype(float) * length, states, loss, diffrax.RESULTS.successful)
