"""Many starts to their end states, against SciPy's LSODA and a plain vmap of diffrax; and their fates.

    python -m benchmarks.batched_integration [--widths 6,10,17] [--seeds 1000] [--lsoda-seeds 8]
        [--vmap-seeds 64] [--vmap-rtol 1e-7]
        [--reference-seeds 1000] [--reference-width 10] [--json]

Every program has the same job: from w_i ~ N(0, I/M), seed i from fold_in(key(0), i), find where
gradient flow of ReLU students (K = M) ends. Everything is timed one after the other in one process.

- `relax` of this package: all seeds, second call. It also does what the others don't: Newton to a
  gradient of 1e-10 and the Hessian's smallest eigenvalue.
- LSODA: one seed at a time, NumPy, in the order parameters (Q, R), as the literature integrates them.
- vmap: jax.vmap(diffrax.diffeqsolve) with Tsit5 on the weights, the kernel written with jnp.arccos.
- Fates: what each seed becomes, against a tight integration that shares with `relax` only the rates.
"""

import argparse
import statistics
import sys
import time

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import odelandscape as ol
from odelandscape.relaxation import outcomes

from ._fates import END, REFERENCE, SAME, SETTLED, progress, run_fates, starts
from ._report import emit, machine, table

LSODA = {"rtol": 1e-6, "atol": 1e-8}
# Of 1e-3, 1e-5, 1e-6, 1e-7 and 1e-8 the fastest. With looser ones Tsit5 rings at its stability limit:
# rates that stay above 1e-6 for that reason hold the whole batch until its steps are used up.
VMAP_RTOL = 1e-7
VMAP_STEPS = 20_000


# --- odelandscape ------------------------------------------------------------------------------


def run_relax(width: int, seeds: int) -> tuple[ol.EndStates, dict]:
    """A first call, which compiles, and a second one, which counts. The shapes of the compiled
    programs depend on the number of starts, so the first call has to be the same as the second."""
    problem, flow = ol.Problem(width, width), ol.GradientFlow()
    begin = starts(problem, seeds)
    seconds = []
    for call in ("first call", "second call"):
        with progress(seeds, f"K = {width}: relax, {call}") as bar:
            t = time.perf_counter()
            runs = ol.relax(problem, flow, begin, progress=bar.update)
            seconds.append(time.perf_counter() - t)
    return runs, {
        "seconds": seconds[1],
        "seconds_compiling": max(seconds[0] - seconds[1], 0.0),
        "seeds_per_second": seeds / seconds[1],
        "not_converged": int(
            np.isin(runs.outcome, (outcomes.NOT_CONVERGED, outcomes.FAILED)).sum()
        ),
    }


# --- SciPy -------------------------------------------------------------------------------------


class OrderParameterODE:
    """dQ/dt and dR/dt in NumPy, for K = M, an orthonormal teacher and readouts 1.

    Written as one would write it with some care: the two scalars p and s of Stein's lemma and matrix
    products, not K²M integrals I3, and of the symmetric Q only the upper triangle is integrated.
    """

    def __init__(self, width: int):
        self.K = width
        self.upper = np.triu_indices(width)
        self.a = np.concatenate([np.ones(width), -np.ones(width)])

    def pack(self, Q, R):
        return np.concatenate([Q[self.upper], R.ravel()])

    def unpack(self, y):
        K = self.K
        Q = np.empty((K, K))
        Q[self.upper] = y[: -K * K]
        Q.T[self.upper] = y[: -K * K]
        return Q, y[-K * K :].reshape(K, K)

    def rates(self, t, y):
        K = self.K
        Q, R = self.unpack(y)
        n = np.sqrt(np.maximum(np.diag(Q), 1e-30))
        m = np.concatenate([n, np.ones(K)])
        c = np.clip(np.hstack([Q, R]) / (n[:, None] * m), -1, 1)
        s = self.a * (np.pi - np.arccos(c)) / (2 * np.pi)
        p = np.sqrt(1 - c * c) * m / n[:, None] / (2 * np.pi) @ self.a
        X, Y = s[:, :K] + np.diag(p), s[:, K:]
        half = X @ Q + Y @ R.T
        return self.pack(-(half + half.T), -(X @ R + Y))

    def loss(self, y):
        Q, R = self.unpack(y)
        C = np.block([[Q, R], [R.T, np.eye(self.K)]])
        n = np.sqrt(np.diag(C))
        theta = np.arccos(np.clip(C / np.outer(n, n), -1, 1))
        I2 = np.outer(n, n) * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
        return self.a @ I2 @ self.a / 2

    def settled(self, t, y):
        return np.linalg.norm(self.rates(t, y)) - SETTLED

    settled.terminal = True


def run_lsoda(W: np.ndarray, loss: np.ndarray) -> dict:
    """Each of `W` (seeds, K, K) on its own; `loss` is what `relax` made of them."""
    system = OrderParameterODE(W.shape[1])
    seconds, final, time_over = [], [], 0
    with progress(len(W), f"K = {W.shape[1]}: LSODA") as bar:
        for w in W:
            t = time.perf_counter()
            solution = solve_ivp(
                system.rates,
                (0, END),
                system.pack(w @ w.T, w),
                method="LSODA",
                events=system.settled,
                **LSODA,
            )
            seconds.append(time.perf_counter() - t)
            time_over += solution.status != 1
            final.append(system.loss(solution.y[:, -1]))
            bar.update()
    gap = np.abs(np.array(final) - loss)
    return {
        "seeds": len(W),
        "median_seconds": statistics.median(seconds),
        "mean_seconds": statistics.mean(seconds),
        "not_settled": int(time_over),
        "same_loss": int((gap <= SAME).sum()),
        "losses": [
            {"seed": i, "lsoda": float(theirs), "relax": float(ours)}
            for i, (theirs, ours) in enumerate(zip(final, loss, strict=True))
        ],
    }


# --- plain vmap of diffrax ---------------------------------------------------------------------


def plain_rates(t, W, args):
    """−∂L/∂W for K = M, written down plainly."""
    K = W.shape[0]
    units = jnp.concatenate([W, jnp.eye(K)])
    a = jnp.concatenate([jnp.ones(K), -jnp.ones(K)])
    n = jnp.sqrt(jnp.sum(units**2, axis=1))
    c = jnp.clip(W @ units.T / (n[:K, None] * n), -1, 1)
    s = (jnp.pi - jnp.arccos(c)) / (2 * jnp.pi)
    p = n / n[:K, None] * jnp.sqrt(1 - c**2) / (2 * jnp.pi)
    return -((a * s) @ units + (p @ a)[:, None] * W)


def plain_solve(W, rtol):
    # The default norm is a root mean square and would fire early: here it is the one of the others.
    steady = diffrax.steady_state_event(rtol=0, atol=SETTLED, norm=jnp.linalg.norm)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(plain_rates),
        diffrax.Tsit5(),
        0.0,
        END,
        None,
        W,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol / 100),
        event=diffrax.Event(steady),
        max_steps=VMAP_STEPS,
        throw=False,
    )
    return (
        solution.ys[-1],
        solution.result == diffrax.RESULTS.event_occurred,
        solution.stats["num_steps"],
    )


def run_vmap(W: jax.Array, loss: np.ndarray, rtol: float) -> dict:
    width = W.shape[1]
    t = time.perf_counter()
    solve = jax.jit(jax.vmap(lambda w: plain_solve(w, rtol))).lower(W).compile()
    compiling = time.perf_counter() - t
    print(f"K = {width}: vmap of diffrax, {len(W)} seeds ...", file=sys.stderr, flush=True)
    t = time.perf_counter()
    final, settled, steps = jax.block_until_ready(solve(W))
    seconds = time.perf_counter() - t
    problem = ol.Problem(width, width)
    level = np.asarray(
        jax.vmap(lambda w: ol.population_loss(problem, ol.Weights(w, jnp.ones(width))))(final)
    )
    bad = ~np.isfinite(np.asarray(final)).all(axis=(1, 2))
    return {
        "seeds": len(W),
        "seconds": seconds,
        "seconds_per_seed": seconds / len(W),
        "seconds_compiling": compiling,
        "nan": int(bad.sum()),
        "not_settled": int((~np.asarray(settled)).sum()),
        "most_steps": int(np.max(steps)),
        "same_loss": int((np.abs(level - loss) <= SAME).sum()),
    }


# --- the whole ---------------------------------------------------------------------------------


def compare(args: argparse.Namespace, width: int, cores: int) -> dict:
    seeds, lsoda_seeds, vmap_seeds = args.seeds, args.lsoda_seeds, args.vmap_seeds
    W = starts(ol.Problem(width, width), seeds).W
    runs, ours = run_relax(width, seeds)
    few = min(lsoda_seeds, seeds)
    lsoda = run_lsoda(np.asarray(W[:few]), runs.loss[:few])
    batch = min(vmap_seeds, seeds)
    plain = run_vmap(W[:batch], runs.loss[:batch], args.vmap_rtol)
    per_seed = ours["seconds"] / seeds
    return {
        "width": width,
        "seeds": seeds,
        "relax": ours,
        "lsoda": lsoda,
        "vmap": plain,
        "ratio_lsoda": lsoda["median_seconds"] / per_seed,
        "ratio_lsoda_mean": lsoda["mean_seconds"] / per_seed,
        "ratio_lsoda_all_cores": lsoda["median_seconds"] / per_seed / cores,
        "ratio_vmap": plain["seconds_per_seed"] / per_seed,
    }


def describe(record: dict) -> str:
    vmap = record["vmap"]
    lines = [
        f"ReLU, gradient flow, K = M = d; until the rates' norm is {SETTLED:g} or t = {END:,.0f}. Against",
        "LSODA: scipy.integrate.solve_ivp in (Q, R), NumPy, one seed at a time, rtol "
        f"{LSODA['rtol']:g}, atol {LSODA['atol']:g};",
        f"vmap:  jax.vmap(diffrax.diffeqsolve), Tsit5, rtol {vmap['rtol']:g}, atol {vmap['atol']:g}, "
        f"at most {VMAP_STEPS:,} steps, jnp.arccos.",
        "Times are seconds per seed, without compiling. LSODA: median.",
        "",
    ]
    rows = [
        {
            "width": row["width"],
            "rate": row["relax"]["seeds_per_second"],
            "ours": row["relax"]["seconds"] / row["seeds"],
            "compiling": row["relax"]["seconds_compiling"],
            "lsoda": row["lsoda"]["median_seconds"],
            "ratio_lsoda": row["ratio_lsoda"],
            "all_cores": row["ratio_lsoda_all_cores"],
            "vmap": row["vmap"]["seconds_per_seed"],
            "vmap_compiling": row["vmap"]["seconds_compiling"],
            "ratio_vmap": row["ratio_vmap"],
        }
        for row in record["widths"]
    ]
    columns = {
        "width": "K = M|",
        "rate": "relax seeds/s|.1f",
        "ours": "relax s|.4f",
        "compiling": "(compiling)|.1f",
        "lsoda": "LSODA s|.3f",
        "ratio_lsoda": "LSODA/relax|.1f",
        "all_cores": "(on all cores)|.1f",
        "vmap": "vmap s|.4f",
        "vmap_compiling": "(compiling)|.1f",
        "ratio_vmap": "vmap/relax|.1f",
    }
    lines += [table(columns, rows), ""]
    for row in record["widths"]:
        lsoda, plain, ours = row["lsoda"], row["vmap"], row["relax"]
        lines += [
            f"K = M = {row['width']}",
            f"  relax: {row['seeds']} seeds in {ours['seconds']:.2f} s, "
            f"{ours['not_converged']} not converged or failed",
            f"  LSODA: {lsoda['seeds']} seeds, mean {lsoda['mean_seconds']:.3f} s "
            f"({row['ratio_lsoda_mean']:.1f} times relax), {lsoda['not_settled']} not settled, "
            f"{lsoda['same_loss']} end on relax's level to {SAME:g}",
            *(
                f"    seed {i['seed']}: LSODA {i['lsoda']:.9f}, relax {i['relax']:.9f}"
                for i in lsoda["losses"]
            ),
            f"  vmap: {plain['seeds']} seeds in {plain['seconds']:.2f} s, {plain['nan']} with NaN or inf, "
            f"{plain['not_settled']} not settled, at most {plain['most_steps']:,} steps, "
            f"{plain['same_loss']} end on relax's level to {SAME:g}",
        ]
    fates = record["fates"]
    if fates:
        lines += [
            "",
            f"Fates at K = M = {fates['width']}, against Dopri8 at rtol {REFERENCE['rtol']:g}, atol "
            f"{REFERENCE['atol']:g} with the same rates",
            "(outcome, anti-aligned students, loss to "
            f"{SAME:g}): {fates['agree']} of {fates['seeds']} agree, {fates['percent']:.2f} %",
            f"  reference: {fates['reference_seconds']:.0f} s, "
            f"{fates['reference_not_converged']} not converged",
        ]
        for seed in fates["disagree"]:
            parts = (
                f"{who} {seed[who][0]} {seed[who][1]} {seed[who][2]:.9f}" for who in list(seed)[1:]
            )
            lines.append(f"  seed {seed['seed']}: " + ", ".join(parts))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--widths",
        type=lambda text: [int(width) for width in text.split(",")],
        default=[6, 10, 17],
        help="K = M, with commas",
    )
    parser.add_argument("--seeds", type=int, default=1000, help="for relax")
    parser.add_argument("--lsoda-seeds", type=int, default=8, help="the first of these seeds")
    parser.add_argument("--vmap-seeds", type=int, default=64, help="one batch of the first seeds")
    parser.add_argument(
        "--vmap-rtol", type=float, default=VMAP_RTOL, help="atol is a hundredth of it"
    )
    parser.add_argument("--reference-seeds", type=int, default=1000, help="0 leaves the fates out")
    parser.add_argument("--reference-width", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    here = machine()
    record = {
        "benchmark": "batched_integration",
        "machine": here,
        "end": END,
        "settled": SETTLED,
        "lsoda": LSODA,
        "vmap": {
            "rtol": args.vmap_rtol,
            "atol": args.vmap_rtol / 100,
            "solver": "Tsit5",
            "max_steps": VMAP_STEPS,
        },
        "reference": REFERENCE | {"solver": "Dopri8"},
        "widths": [compare(args, width, here["cores"]) for width in args.widths],
        "fates": None,
    }
    if args.reference_seeds:
        record["fates"] = run_fates(args.reference_width, args.reference_seeds)
    emit(args.json, record, describe(record))


if __name__ == "__main__":
    main()
