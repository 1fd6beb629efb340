"""What becomes of each start, by `relax` and by a tight integration that shares with it only the rates,
the loss and the count of anti-aligned students: Dopri8 at rtol 1e-9, until the rates are 1e-6 at a
stable point. A start that is stationary at a saddle is integrated to the end of its time."""

import sys
import time

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import odelandscape as ol
from odelandscape.model.alignment import count_anti_aligned
from odelandscape.relaxation import outcomes

END = 20_000.0  # flow time after which a start is given up
SETTLED = 1e-6  # norm of the rates at which LSODA, vmap and the reference stop
SAME = 1e-6  # two losses closer than this are one level
REFERENCE = {"rtol": 1e-9, "atol": 1e-11}
REFERENCE_STAGES = (300.0, 1_000.0, 3_000.0, 10_000.0, END)
REFERENCE_BATCH = 50
UNSTABLE = -1e-4  # a Hessian eigenvalue below this, where the rates are 1e-6, is a way out


def starts(problem: ol.Problem, seeds: int) -> ol.Weights:
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(seeds))
    return jax.block_until_ready(jax.vmap(lambda key: ol.random_weights(key, problem))(keys))


def progress(total: int, what: str) -> tqdm:
    return tqdm(total=total, desc=what, file=sys.stderr)


def reference_stage(W, t0, t1, target, problem):
    """Dopri8 from t0 until t1, or until the norm of the rates is at most `target`."""
    flow = ol.GradientFlow()
    K = W.shape[0]

    def rates(t, w, args):
        return flow(t, ol.Weights(w, jnp.ones(K)), problem).W

    def settled(t, y, args, **kwargs):
        return jnp.linalg.norm(rates(t, y, args)) <= target

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(rates),
        diffrax.Dopri8(),
        t0,
        t1,
        None,
        W,
        stepsize_controller=diffrax.PIDController(**REFERENCE),
        event=diffrax.Event(settled),
        max_steps=1_000_000,
        throw=False,
    )
    W = solution.ys[-1]
    # The Hessian in the weights, by differentiating the rates forward.
    J = jax.jacfwd(lambda flat: rates(0.0, flat.reshape(W.shape), None).ravel())(W.ravel())
    smallest = jnp.linalg.eigvalsh(-(J + J.T) / 2)[0]
    return (
        W,
        jnp.linalg.norm(rates(0.0, W, None)),
        smallest,
        ol.population_loss(problem, ol.Weights(W, jnp.ones(K))),
    )


def reference_fates(width: int, W: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, anti-aligned students and loss of each start, by stages of flow time: starts that are
    stationary at a stable point leave, those that are so at a saddle are integrated to the end."""
    problem = ol.Problem(width, width)
    stage = jax.jit(jax.vmap(reference_stage, in_axes=(0, None, None, 0, None)))
    N = len(W)
    W = W.copy()
    open_, target = np.ones(N, bool), np.full(N, SETTLED)
    outcome = np.full(N, outcomes.NOT_CONVERGED, dtype="<U14")
    loss = np.full(N, np.inf)
    with progress(N, f"K = {width}: reference") as bar:
        t0 = 0.0
        for t1 in REFERENCE_STAGES:
            index = np.flatnonzero(open_)
            for chosen in np.split(index, range(REFERENCE_BATCH, len(index), REFERENCE_BATCH)):
                if not len(chosen):
                    continue
                # Always one shape, so that it compiles once: filled up with copies of the first.
                filled = np.resize(chosen, REFERENCE_BATCH)
                filled[len(chosen) :] = chosen[0]
                ended = stage(W[filled], t0, t1, target[filled], problem)
                w, speed, smallest, level = (np.asarray(x)[: len(chosen)] for x in ended)
                W[chosen], loss[chosen] = w, level
                calm, stable = speed <= SETTLED, smallest >= UNSTABLE
                zero = level <= SAME
                outcome[chosen] = np.select(
                    [~np.isfinite(level), ~calm, zero, stable],
                    [
                        outcomes.FAILED,
                        outcomes.NOT_CONVERGED,
                        outcomes.GLOBAL_MINIMUM,
                        outcomes.LOCAL_MINIMUM,
                    ],
                    outcomes.SADDLE,
                )
                ends = ~np.isfinite(level) | (calm & (zero | stable))
                open_[chosen[ends]] = False
                target[chosen[calm & ~ends]] = 0.0
                bar.update(int(ends.sum()))
            t0 = t1
    # For an orthonormal teacher and d = M the overlaps with it are the weights themselves.
    return outcome, count_anti_aligned(W, np.linalg.norm(W, axis=2)), loss


def run_fates(width: int, seeds: int) -> dict:
    problem, flow = ol.Problem(width, width), ol.GradientFlow()
    begin = starts(problem, seeds)
    with progress(seeds, f"K = {width}: relax") as bar:
        runs = ol.relax(problem, flow, begin, progress=bar.update)
    anti = count_anti_aligned(runs.weights, np.linalg.norm(runs.weights, axis=2))
    t = time.perf_counter()
    outcome, anti_reference, loss = reference_fates(width, np.asarray(begin.W))
    seconds = time.perf_counter() - t
    close = np.abs(runs.loss - loss) <= SAME
    agree = (runs.outcome == outcome) & (anti == anti_reference) & close
    return {
        "width": width,
        "seeds": seeds,
        "agree": int(agree.sum()),
        "percent": 100 * float(agree.mean()),
        "reference_seconds": seconds,
        "reference_not_converged": int((outcome == outcomes.NOT_CONVERGED).sum()),
        "disagree": [
            {
                "seed": int(i),
                "relax": [str(runs.outcome[i]), int(anti[i]), float(runs.loss[i])],
                "reference": [str(outcome[i]), int(anti_reference[i]), float(loss[i])],
            }
            for i in np.flatnonzero(~agree)
        ],
    }
