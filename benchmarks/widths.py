"""How the cost of a seed grows with the width, and how far from the machine's limits it is.

    python -m benchmarks.widths [--widths 6,10,17,20,40] [--json]

For each K = M, ReLU, gradient flow:

- field: one evaluation of the rates as `relax` makes it, on one core, over the same in C (`field.c`, built
  here if there is a compiler), which keeps eight starts in the processor's registers.
- relax: the second call for a number of seeds on all cores, with evaluations a seed, what one costs a core
  in a round of the solver, lane use (evaluations that starts needed until they were near their ends over all
  that were made), the share of the time that goes to rounds, and the peak memory of the process.
- over C: the time of a seed on all cores over that of its evaluations in C on all cores. This says what all
  of a sweep costs beside its arithmetic: rounds, recognising, lanes that wait, and Python.
- LSODA on all cores, and a plain vmap of diffrax, as in `batched_integration`.

Each part runs in a process of its own. At last, the exponents of the growth.
"""

import argparse
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import odelandscape as ol
from odelandscape.activations import angles
from odelandscape.relaxation import lanes, pool, relax
from odelandscape.runtime.compiler import compiler_options

from ._fates import starts
from ._report import emit, machine, table
from .batched_integration import VMAP_RTOL, run_lsoda, run_relax, run_vmap

# Seeds of relax, LSODA and the vmap: what takes about as long at each width.
SEEDS = {
    6: (8192, 8, 64),
    10: (8192, 8, 64),
    17: (4096, 8, 64),
    20: (4096, 6, 64),
    40: (1024, 1, 8),
}
LANES = 64
STEPS = 64


def _one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def time_c(width: int) -> dict:
    """Microseconds per evaluation of `field.c`, or nothing where it can't be built."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return {"c": math.nan, "c_error": math.nan}
    series = ",".join(map(repr, angles._P))
    flags = ["-O3", "-march=native", "-ffast-math", "-mprefer-vector-width=512"]
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "field")
        source = str(Path(__file__).with_name("field.c"))
        build = [
            compiler,
            *flags,
            f"-DK={width}",
            f"-DARCSINE={series}",
            source,
            "-o",
            program,
            "-lm",
        ]
        if subprocess.run(build, capture_output=True).returncode:
            return {"c": math.nan, "c_error": math.nan}
        _one_core()
        out = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    error, microseconds = map(float, out.split())
    return {"c": microseconds, "c_error": error}


def time_field(width: int) -> dict:
    """Microseconds per evaluation of the rates in a compiled loop, laid out as `relax` does it."""
    _one_core()
    problem, flow = jax.tree.map(jnp.asarray, (ol.Problem(width, width), ol.GradientFlow()))
    side_by_side = lanes.block_width(8 * width * (width + 1), LANES)
    W = starts(problem, LANES).W.reshape(-1, side_by_side, width, width)
    W, v = jnp.moveaxis(W, 1, -1), jnp.ones((LANES // side_by_side, width, side_by_side))

    def euler(_, W):
        return W + 1e-6 * jax.vmap(lambda W, v: flow.batched_rates(ol.Weights(W, v), problem).W)(
            W, v
        )

    loop = jax.jit(
        lambda W: jax.lax.fori_loop(0, STEPS, euler, W), compiler_options=compiler_options()
    )
    jax.block_until_ready(loop(W))
    seconds = []
    for _ in range(41):
        began = time.perf_counter()
        jax.block_until_ready(loop(W))
        seconds.append(time.perf_counter() - began)
    return {"field": statistics.median(seconds) / STEPS / LANES * 1e6} | time_c(width)


def time_relax(width: int) -> dict:
    """Seconds of the second call, and what became of its evaluations."""
    plain, calls = pool.advance_lanes, []

    def counted(rules, *inputs):
        began = time.perf_counter()
        *result, made = jax.block_until_ready(plain(rules, *inputs))
        evaluations = int(made) * rules.batch * (lanes.EVALUATIONS + 1)
        calls.append((began, evaluations, time.perf_counter() - began))
        return *result, made

    pool.advance_lanes = counted
    seeds = SEEDS[width][0]
    runs, ours = run_relax(width, seeds)
    second = time.perf_counter() - ours["seconds"]
    needed = int(runs.evaluations.sum())
    made, spent = np.sum([call[1:] for call in calls if call[0] >= second], axis=0)
    return {
        "seeds": seeds,
        "per_seed": ours["seconds"] / seeds,
        "compiling": ours["seconds_compiling"],
        "evaluations": needed / seeds,
        "lane_use": needed / made,
        "round_us": 1e6 * spent / made,
        "in_rounds": spent / len(relax._pool_devices()) / ours["seconds"],
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "losses": runs.loss[: max(SEEDS[width][1:])].tolist(),
    }


def time_others(width: int, losses: list[float]) -> dict:
    """LSODA and the vmap, from the same starts."""
    _, few, batch = SEEDS[width]
    W = starts(ol.Problem(width, width), max(few, batch)).W
    loss = np.array(losses)
    lsoda = run_lsoda(np.asarray(W[:few]), loss[:few])
    vmap = run_vmap(W[:batch], loss[:batch], VMAP_RTOL)
    return {"lsoda": lsoda["median_seconds"], "vmap": vmap["seconds_per_seed"]}


def _in_a_process(part: str, width: int, losses: list[float] | None = None) -> dict:
    print(f"K = {width}: {part} ...", file=sys.stderr, flush=True)
    call = [sys.executable, "-m", "benchmarks.widths", "--part", part, "--widths", str(width)]
    given = json.dumps(losses)
    done = subprocess.run(call, input=given, text=True, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def measure(width: int, cores: int) -> dict:
    row = {"width": width} | _in_a_process("field", width) | _in_a_process("relax", width)
    row |= _in_a_process("others", width, row["losses"])
    return row | {
        "field_over_c": row["field"] / row["c"],
        "lsoda_over_relax": row["lsoda"] / cores / row["per_seed"],
        "vmap_over_relax": row["vmap"] / row["per_seed"],
        "rate": 1 / row["per_seed"],
        "truth": row["per_seed"] * cores / (row["evaluations"] * row["c"] * 1e-6),
        "ms": 1e3 * row["per_seed"],
    }


def growth(rows: list[dict]) -> str:
    """Exponents between the narrowest width from 10 up and the widest one."""
    wide = [row for row in rows if row["width"] >= 10]
    if len(wide) < 2:
        return ""
    a, b = wide[0], wide[-1]

    def exponent(name: str) -> float:
        return math.log(b[name] / a[name]) / math.log(b["width"] / a["width"])

    return (
        f"From K = {a['width']} to {b['width']} the cost of a seed grows like K^{exponent('per_seed'):.2f}: "
        f"evaluations a seed like K^{exponent('evaluations'):.2f}, an evaluation in\na round like "
        f"K^{exponent('round_us'):.2f}, the rates alone like K^{exponent('field'):.2f} (in C "
        f"K^{exponent('c'):.2f}; products of matrices are K³, integrals of pairs K²). What is not in\n"
        "rounds is mostly the certificates of minima that aren't known yet: a number that does not grow with "
        "the seeds,\neach with a Hessian of K² rows."
    )


def describe(record: dict) -> str:
    columns = {
        "width": "K = M|",
        "field": "field µs|.3f",
        "c": "C µs|.3f",
        "field_over_c": "field/C|.2f",
        "rate": "seeds/s|.0f",
        "ms": "ms/seed|.3f",
        "truth": "over C|.1f",
        "lsoda_over_relax": "LSODA on all cores/relax|.0f",
        "vmap_over_relax": "vmap/relax|.0f",
        "evaluations": "evaluations|.0f",
        "round_us": "µs each|.2f",
        "lane_use": "lane use|.2f",
        "in_rounds": "in rounds|.0%",
        "peak_gib": "peak GiB|.2f",
    }
    return table(columns, record["widths"]) + "\n\n" + growth(record["widths"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--widths",
        type=lambda text: [int(width) for width in text.split(",")],
        default=list(SEEDS),
        help=f"K = M, with commas, out of {', '.join(map(str, SEEDS))}",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--part", choices=("field", "relax", "others"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not set(args.widths) <= set(SEEDS):
        parser.error(f"argument --widths: got {args.widths}; allowed: {list(SEEDS)}")
    jax.config.update("jax_enable_x64", True)
    if args.part is not None:
        width, losses = args.widths[0], json.loads(sys.stdin.read())
        parts = {
            "field": lambda: time_field(width),
            "relax": lambda: time_relax(width),
            "others": lambda: time_others(width, losses),
        }
        print(json.dumps(parts[args.part]()))
        return
    here = machine()
    rows = [measure(width, here["cores"]) for width in args.widths]
    record = {"benchmark": "widths", "machine": here, "widths": rows}
    emit(args.json, record, describe(record))


if __name__ == "__main__":
    main()
