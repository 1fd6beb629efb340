r"""A stabilised explicit Runge–Kutta method.

The spectrum of a gradient flow is real; its solutions end in a long decay along slow directions, while the
fast ones (rate about K/4) limit the step of an explicit method. The Runge–Kutta–Chebyshev method of order 2
(Sommeijer, Shampine and Verwer 1997) with s stages is stable up to a step of about $0.65\,s^2/\rho$, $\rho$
the spectral radius, so a step that is s² times longer costs s evaluations. `RungeKuttaChebyshev` is the method as a solver
for `diffrax.diffeqsolve`; `coefficients`, `plan` and `next_step` serve a solver of many states at once
(`relaxation.batched_rkc`).
"""

from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

MAX_STAGES = 40
"""Of a step in the batched solver: a step that would need more is shortened."""
_SAFETY = 1.15  # a power iteration approaches the spectral radius from below
_DAMPING = 2 / 13


def _chebyshev_points(s, numeric: ModuleType):
    """Return w0, a little above 1 for damping, and w1 = T'_s / T''_s there, from T_s(cosh x) = cosh(s x)."""
    w0 = 1 + _DAMPING / s**2
    root = (w0**2 - 1) ** 0.5
    x = s * numeric.log(w0 + root)
    w1 = numeric.sinh(x) * root**2 / (numeric.cosh(x) * s * root - w0 * numeric.sinh(x))
    return w0, w1


def _first_polynomials(w0):
    """Return the Chebyshev polynomials of degree 0 and 1 with two derivatives each, and b of these stages."""
    return (1.0, 0.0, 0.0), (w0, 1.0, 0.0), 1 / (4 * w0**2), 1 / w0


def _next_polynomial(w0, w1, T_older, T_newer, b_older, b_newer):
    """Return polynomial and b of the next stage, its coefficients (μ, ν, μ̃, γ̃), and its time in the step."""
    T = (
        2 * w0 * T_newer[0] - T_older[0],
        2 * T_newer[0] + 2 * w0 * T_newer[1] - T_older[1],
        4 * T_newer[1] + 2 * w0 * T_newer[2] - T_older[2],
    )
    b = T[2] / T[1] ** 2
    mu_t = 2 * b * w1 / b_newer
    own = (2 * b * w0 / b_newer, -b / b_older, mu_t, (b_newer * T_newer[0] - 1) * mu_t)
    return T, b, own, w1 * T[2] / T[1]


@lru_cache(maxsize=1)
def _tableau() -> np.ndarray:
    """Return coefficients (4, stages, stage): μ, ν, μ̃, γ̃ of each stage (at stage 1 only μ̃)."""
    n = MAX_STAGES + 1
    table = np.zeros((4, n, n))
    for s in range(2, n):
        w0, w1 = _chebyshev_points(s, np)
        T_older, T_newer, b_older, b_newer = _first_polynomials(w0)
        table[2, s, 1] = b_newer * w1
        for j in range(2, s + 1):
            T, b, table[:, s, j], _ = _next_polynomial(w0, w1, T_older, T_newer, b_older, b_newer)
            T_older, T_newer, b_older, b_newer = T_newer, T, b_newer, b
    return table


def coefficients(
    stages: Int[Array, "*lanes"], stage: Int[Array, "*lanes"], dtype
) -> Float[Array, "4 *lanes"]:
    """Return μ, ν, μ̃, γ̃ of stage number `stage` of a step of `stages` stages."""
    return jnp.asarray(_tableau(), dtype)[:, stages, stage]


def _stages_needed(step, radius):
    return jnp.ceil(jnp.sqrt(1 + 1.54 * _SAFETY * radius * step)).astype(jnp.int32)


def plan(step: Float[Array, "*lanes"], radius: Float[Array, "*lanes"]):
    """Return the step, shortened to the stability limit of MAX_STAGES, and the number of stages for it."""
    step = jnp.minimum(step, (MAX_STAGES**2 - 1) / (1.54 * _SAFETY * radius))
    return step, jnp.clip(_stages_needed(step, radius), 2, MAX_STAGES)


def next_step(error: Float[Array, "*lanes"]) -> Float[Array, "*lanes"]:
    """Return the factor for the next step, from the error of the last in units of the tolerance."""
    factor = jnp.clip(0.8 * jnp.maximum(error, 1e-12) ** (-1 / 3), 0.1, 4.0)
    return jnp.where(jnp.isfinite(error), factor, 0.1)


class RungeKuttaChebyshev(diffrax.AbstractAdaptiveSolver):
    r"""The Runge–Kutta–Chebyshev method of order 2, for rates whose Jacobian has a real, negative spectrum.

    Gradient flows are of that kind, and so are diffusions. Each step takes as many evaluations as
    stability requires, about $\sqrt{1.8\,\rho h}$ for a step h, where an ordinary explicit method takes steps
    of about $2/\rho$. The spectral radius ρ is estimated by one power iteration a step, at the cost of one
    evaluation. Use it with a step size controller, for solutions of a few digits:

        diffrax.diffeqsolve(
            diffrax.ODETerm(flow), ol.RungeKuttaChebyshev(), 0.0, 1000.0, None, weights, args=problem,
            stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-6),
        )

    Any pytree of floats of one dtype is a state. The number of stages depends on the state, so that only
    forward-mode derivatives are defined (`adjoint=diffrax.ForwardMode()`). Ordinary differential equations
    only: a single `diffrax.ODETerm`.

    Reference: B. P. Sommeijer, L. F. Shampine and J. G. Verwer, RKC: an explicit solver for parabolic PDEs,
    J. Comput. Appl. Math. 88 (1998) 315-326.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.ThirdOrderHermitePolynomialInterpolation]] = (
        diffrax.ThirdOrderHermitePolynomialInterpolation
    )

    def order(self, terms):
        return 2

    def error_order(self, terms):
        return 3

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def init(self, terms, t0, t1, y0, args):
        """Return the rates at the start, and a direction for the power iteration."""
        y, unravel = ravel_pytree(y0)
        rates, _ = ravel_pytree(terms.vf(t0, y0, args))
        direction = jnp.cos(jnp.arange(1, y.size + 1, dtype=y.dtype) ** 2)

        def probe(_, direction):
            return self._power_iteration(terms, t0, y, rates, args, unravel, direction)[0]

        return rates, jax.lax.fori_loop(0, 6, probe, direction / jnp.linalg.norm(direction))

    def _power_iteration(self, terms, t, y, rates, args, unravel, direction):
        reach = jnp.finfo(y.dtype).eps ** 0.5 * (1 + jnp.linalg.norm(y))
        moved, _ = ravel_pytree(terms.vf(t, unravel(y + reach * direction), args))
        stretched = (moved - rates) / reach
        radius = jnp.linalg.norm(stretched)
        some = radius > 0
        return jnp.where(some, stretched / jnp.where(some, radius, 1), direction), radius

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        y, unravel = ravel_pytree(y0)
        rates, direction = solver_state
        rates = jnp.where(made_jump, ravel_pytree(terms.vf(t0, y0, args))[0], rates)
        direction, radius = self._power_iteration(terms, t0, y, rates, args, unravel, direction)
        h = t1 - t0
        stages = jnp.maximum(_stages_needed(h, radius), 2)
        w0, w1 = map(jnp.asarray, _chebyshev_points(stages.astype(y.dtype), jnp))
        T_older, T_newer, b_older, b_newer = _first_polynomials(w0)
        polynomials = jax.tree.map(
            lambda x: jnp.asarray(x, y.dtype), (T_older, T_newer, b_older, b_newer)
        )

        def stage(_, carry):
            polynomials, time, older, newer = carry
            T, b, (mu, nu, mu_t, gamma_t), next_time = _next_polynomial(w0, w1, *polynomials)
            f, _ = ravel_pytree(terms.vf(t0 + time * h, unravel(newer), args))
            following = (
                (1 - mu - nu) * y + mu * newer + nu * older + h * (mu_t * f + gamma_t * rates)
            )
            _, T_newer, _, b_newer = polynomials
            return (T_newer, T, b_newer, b), next_time, newer, following

        first = y + (b_newer * w1 * h) * rates
        time = b_newer * w1
        _, _, _, y1 = jax.lax.fori_loop(2, stages + 1, stage, (polynomials, time, y, first))
        at_end, _ = ravel_pytree(terms.vf(t1, unravel(y1), args))
        error = 0.8 * (y - y1) + 0.4 * h * (rates + at_end)
        y1 = unravel(y1)
        k0, k1 = (unravel(jnp.asarray(h * f)) for f in (rates, at_end))
        dense_info = dict(y0=y0, y1=y1, k0=k0, k1=k1)
        return y1, unravel(error), dense_info, (at_end, direction), diffrax.RESULTS.successful
