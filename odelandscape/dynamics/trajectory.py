"""The trajectory of one initial state along a flow: order parameters and loss at given times."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..flows.base import AbstractFlow
from ..flows.consistency import check_flow, check_noise, check_projection
from ..model.loss import population_loss
from ..model.problem import Problem, is_concrete
from ..model.state import (
    OrderParameters,
    State,
    Weights,
    check_numbers,
    check_weights,
    overlaps,
    weights_of,
)
from ..runtime.arguments import (
    check_positive_number,
    check_real_numbers,
    check_whole_number,
    shown,
)
from ..runtime.errors import UserError
from .projected_state import ProjectedState, diverged, stochastic_rates


class Trajectory(eqx.Module):
    """Order parameters and loss along a flow.

    `times` (T,); `states`: OrderParameters with T in front, .Q (T, K, K), .R (T, K, M), .v (T, K);
    `loss` (T,); `result`: diffrax's report on the integration. Times that were not reached hold inf, such as
    those after the divergence threshold: noise of a too large learning rate makes students 100 times as long
    as teachers.
    """

    times: Float[Array, " T"]
    states: OrderParameters
    loss: Float[Array, " T"]
    result: diffrax.RESULTS


def constrained_rates(t, weights: Weights, args) -> Weights:
    """Return the rates of a flow; `args` are flow and problem.

    The constraint of nGD and onGD is invariant under the flow but unstable against rounding errors: the rates
    are evaluated on it, and the difference decays at rate 1. Nothing is added for GD.
    """
    flow, problem = args
    kept = flow.retract(weights)
    rates = flow(t, kept, problem)
    return jax.tree.map(lambda rate, on, off: rate + (on - off), rates, kept, weights)


def _smallest_size(problem: Problem, flow: AbstractFlow, start: Weights) -> Float[Array, ""]:
    """Return the smallest length of a unit, or readout if those are trained, to a power of 4."""
    sizes = [jnp.linalg.norm(start.W, axis=1), jnp.sqrt(jnp.diagonal(problem.T))]
    if flow.trains_readout:
        sizes += [jnp.abs(start.v), jnp.abs(problem.readout)]
    sizes = jnp.concatenate(jax.tree.map(jax.lax.stop_gradient, sizes))
    smallest = jnp.min(jnp.where(sizes > 0, sizes, jnp.inf))
    return 4.0 ** jnp.round(jnp.log2(smallest) / 2)


@eqx.filter_jit
def _solve(problem, flow, weights, times, rtol, atol, max_steps, meter) -> Trajectory:
    start = flow.project_initial(weights)
    size = _smallest_size(problem, flow, start)
    atol = atol * (jnp.minimum(size, size**2) if flow.stochastic else size)  # overlaps, or weights
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(stochastic_rates if flow.stochastic else constrained_rates),
        diffrax.Tsit5(),
        t0=jnp.zeros_like(times[0]),
        t1=times[-1],
        dt0=None,
        y0=ProjectedState.of(problem, start) if flow.stochastic else start,
        args=(flow, problem),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=max_steps,
        event=diffrax.Event(diverged) if flow.stochastic else None,
        throw=False,
        progress_meter=meter,
    )
    if solution.ys is None:
        raise RuntimeError("diffrax returned no states, though SaveAt has times")
    reached = jnp.isfinite(jax.vmap(lambda y: sum(map(jnp.sum, jax.tree.leaves(y))))(solution.ys))
    # Infinite rows would turn into NaN in the overlaps: those are computed from zeros, then set to inf.
    found = jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, 0), solution.ys)
    if flow.stochastic:
        states = jax.vmap(lambda y: y.realisable().overlaps(problem))(found)
    else:
        states = jax.vmap(lambda w: overlaps(problem, w))(found)
    loss = jax.vmap(lambda state: population_loss(problem, state))(states)

    def mark(x):
        return jnp.where(reached.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.inf)

    return Trajectory(times, jax.tree.map(mark, states), mark(loss), solution.result)


def check_times(times) -> np.ndarray:
    """Return the times as an array. Raises UserError unless they are finite, not negative and increase."""
    ts = check_real_numbers("times", times, "a list of finite numbers")
    if ts.ndim != 1 or len(ts) == 0 or not np.isfinite(ts).all():
        raise UserError(f"times must be a list of finite numbers; got {shown(times)}")
    if ts[0] < 0 or (np.diff(ts) <= 0).any():
        raise UserError(f"times must start at 0 or later and increase; got {shown(times)}")
    return ts


_LOOSEST = 0.1  # tolerance: above it a step may be accepted that is no step of a gradient flow


def _check_tolerances(rtol: float, atol: float, max_steps: int, dtype) -> None:
    for name, tolerance in {"rtol": rtol, "atol": atol}.items():
        check_positive_number(name, tolerance)
        if tolerance > _LOOSEST:
            raise UserError(
                f"{name} must be at most {_LOOSEST:g}, above which steps are not stable; got {tolerance!r}"
            )
    check_whole_number("max_steps", max_steps, 1, 2**31 - 1)
    least = 10 * float(jnp.finfo(dtype).eps)
    if not rtol >= least:
        raise UserError(
            f"rtol must be at least {least:.1g} in {dtype}; got {rtol!r}"
            + (
                ""
                if dtype == jnp.float64
                else '; jax.config.update("jax_enable_x64", True) gives more'
            )
        )


def trajectory(
    problem: Problem,
    flow: AbstractFlow,
    state: State,
    times,
    *,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    max_steps: int = 1_000_000,
    progress: bool = False,
) -> Trajectory:
    """Integrate `flow` from `state` at time 0; return the order parameters and the loss at `times`.

    - `state`: Weights, or OrderParameters, from which weights are computed. The weights are integrated (order
      parameters would drift away from those that weights can have), projected to the flow's constraint
      first; for a flow with noise their coordinates in the teacher's span, and the overlaps outside it.
    - `times` (T,): in increasing order, not negative.
    - `rtol`, `atol`: error per step of the weights (Tsit5); `atol` is in units of the shortest student or
      teacher.
    - `max_steps`: after that many steps the remaining times hold inf, and `result` reports it.

    - `progress`: a bar on standard error.

    Derivatives pass through it in reverse mode (`jax.grad`, `jax.jacrev`) alone.

    Raises UserError for a state of another shape than the problem's or with infinite numbers, for order
    parameters that no weights have, for units too long for the activation or the noise, for times that are
    traced or out of order, for an `rtol` below what the dtype allows, for tolerances above 0.1, for weights
    that have no projection onto the flow's constraint, and for a user's flow that contradicts itself.
    """
    check_flow(problem, flow)
    if isinstance(state, OrderParameters):
        state = weights_of(problem, state)
    state, ts = check_weights(problem, state), check_times(times)
    check_numbers(problem, state, "state")
    check_projection(flow, state, "state")
    with np.errstate(over="ignore"):
        longest = np.linalg.norm(np.asarray(state.W), axis=1).max() if is_concrete(state) else 0
    check_noise(problem, flow, "state", float(longest))
    dtype = state.W.dtype
    _check_tolerances(rtol, atol, max_steps, dtype)
    problem, flow = jax.tree.map(jnp.asarray, (problem, flow))
    ts, rtol_, atol_ = (jnp.asarray(x, dtype) for x in (ts, rtol, atol))
    meter = diffrax.TqdmProgressMeter(refresh_steps=1000) if progress else diffrax.NoProgressMeter()
    return _solve(problem, flow, state, ts, rtol_, atol_, max_steps, meter)
