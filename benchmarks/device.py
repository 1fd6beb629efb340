"""What sweeps cost on the device that JAX has: a processor, or one command for any accelerator.

    python -m benchmarks.device [--widths 10,17] [--seeds N] [--json]

For each K = M, ReLU, gradient flow, with transients in float64 and in float32:

- field: the rates alone, in nanoseconds for one start of a full batch, in a compiled loop.
- round: an evaluation in a round of the solver, likewise.
- relax: seeds a second of a second call, which compiles nothing; what the first one took longer; the share
  of the second that the host worked while the device waited; and how many seeds end alike in both precisions.

Compared with: float32 with float64, from the same starts. Some minutes; less with fewer `--seeds`.
"""

import argparse
import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import odelandscape as ol
from odelandscape.relaxation import pool
from odelandscape.relaxation.batched_rkc import Tolerances
from odelandscape.relaxation.catalogue import KnownPoints
from odelandscape.relaxation.lanes import EVALUATIONS, Inputs, Rules, Spent, begin_lanes
from odelandscape.relaxation.pool import in_float32
from odelandscape.runtime.compiler import compiler_options

from ._fates import starts
from ._report import emit, machine, table

REPEATS = 5
ROUNDS = 4


def _lanes() -> int:
    """Of a full batch."""
    return 64 if jax.default_backend() == "cpu" else 8192


def _median_seconds(call) -> float:
    jax.block_until_ready(call())
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def time_field(problem: ol.Problem, single: bool) -> float:
    """Nanoseconds of the rates of one start."""
    n = _lanes()
    weights = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), starts(problem, n))
    given = jax.tree.map(jnp.asarray, (problem, ol.GradientFlow(), weights))
    problem, flow, weights = in_float32(given) if single else given

    @partial(jax.jit, compiler_options=compiler_options())
    def loop(weights):
        def euler(_, w):
            rates = flow.batched_rates(w, problem)
            return jax.tree.map(lambda x, rate: x + 1e-6 * rate, w, rates)

        with jax.default_matmul_precision("highest"):
            return jax.lax.fori_loop(0, EVALUATIONS, euler, weights)

    return _median_seconds(lambda: loop(weights)) / EVALUATIONS / n * 1e9


def time_round(problem: ol.Problem, single: bool) -> float:
    """Nanoseconds of an evaluation of one start in a round."""
    n, K = _lanes(), problem.students
    flow, tolerances = ol.GradientFlow(), Tolerances(2e-4, 2e-5, 2e4)
    none = np.zeros(n, np.int32)
    given = (tolerances, flow, problem, starts(problem, n))
    given = jax.tree.map(jnp.asarray, (*given, Spent(np.zeros(n), none, np.full(n, np.inf), none)))
    tolerances, flow, problem, begin, spent = in_float32(given) if single else given
    lanes = begin_lanes(tolerances, flow, problem, begin, np.asarray(n), spent)
    lanes = lanes._replace(target=jnp.zeros_like(lanes.target))  # none stops
    known = jax.tree.map(jnp.asarray, KnownPoints.of([], K, K + 1))
    inputs = Inputs(tolerances, flow, problem, known, (flow, problem), jnp.asarray(0.0))
    rules = Rules(n, False, False)

    def rounds():
        nonlocal lanes
        lanes, phase, _ = pool.advance_lanes(rules, inputs, np.int32(ROUNDS), lanes)
        return phase

    return _median_seconds(rounds) / ROUNDS / (EVALUATIONS + 1) / n * 1e9


def time_relax(problem: ol.Problem, seeds: int, transient: str) -> tuple[dict, ol.EndStates]:
    """Seeds a second, and the host's share of the time."""
    begin = starts(problem, seeds)
    plain, busy = pool.advance_lanes, []

    def timed(*args):
        began = time.perf_counter()
        result = jax.block_until_ready(plain(*args))
        busy.append(time.perf_counter() - began)
        return result

    seconds = []
    pool.advance_lanes = timed
    try:
        for _ in ("first call", "second call"):
            busy.clear()
            began = time.perf_counter()
            ends = ol.relax(problem, ol.GradientFlow(), begin, transient=transient)
            seconds.append(time.perf_counter() - began)
    finally:
        pool.advance_lanes = plain
    pools = len(jax.local_devices()) if jax.default_backend() != "cpu" else machine()["cores"]
    return {
        "rate": seeds / seconds[1],
        "first": seconds[0] - seconds[1],
        "host": 1 - sum(busy) / min(pools, max(1, seeds // (2 * _lanes()))) / seconds[1],
    }, ends


def measure(width: int, seeds: int) -> list[dict]:
    problem = ol.Problem(width, width)
    rows, ends = [], []
    for transient in ("float64", "float32"):
        single = transient == "float32"
        row = {"width": width, "transient": transient}
        row |= {"field": time_field(problem, single), "round": time_round(problem, single)}
        relaxed, end = time_relax(problem, seeds, transient)
        ends.append(end)
        rows.append(row | relaxed)
    alike = np.abs(ends[0].loss - ends[1].loss) < 1e-9
    return [row | {"alike": float(np.mean(alike))} for row in rows]


COLUMNS = {
    "width": "K = M|",
    "transient": "transient|",
    "field": "field, ns|.2f",
    "round": "in a round, ns|.2f",
    "rate": "seeds/s|.0f",
    "first": "first call longer by, s|.1f",
    "host": "host|.1%",
    "alike": "end alike|.2%",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", default="10,17", help="K = M, with commas (default 10,17)")
    parser.add_argument("--seeds", type=int, help="of each sweep (default 4096 a core, or 262144)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    here = machine()
    cpu = jax.default_backend() == "cpu"
    seeds = args.seeds or (4096 * here["cores"] if cpu else 262_144)
    rows = [row for width in args.widths.split(",") for row in measure(int(width), seeds)]
    record = {"benchmark": "device", "machine": here, "seeds": seeds, "rows": rows}
    emit(args.json, record, table(COLUMNS, rows) + f"\n\n{seeds:,} seeds each.")


if __name__ == "__main__":
    main()
