"""What more cores gain: threads of one process, and a process a core.

    python -m benchmarks.cores [--cores 1,2] [--widths 10,17] [--json]

For each K = M and number of cores, unless given 1, 2, 4 … and all of them:

- threads: seeds a second of the second call of `relax`, in a process that has so many cores to itself.
- Python: the part of a thread's time that is not spent in compiled programs, by the thread's own clock. It is
  an upper bound of the time for which it holds the interpreter's lock, as linear algebra lets go of it; where
  it is well below one over the number of cores, threads don't wait for each other.
- workers: seeds a second of `sweep` with `ol.Workers(n)`, one core each, with a store (as in `scaling`).

Gains are over the first number of cores, in one run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax

import odelandscape as ol
from odelandscape.relaxation import pool, relax

from ._fates import starts
from ._report import emit, machine, table
from .scaling import throughput, whole_numbers

SEEDS = {10: 16_384, 17: 4_096}  # of each core


def time_threads(width: int, cores: int) -> dict:
    """The second call of `relax` on the first so many cores of this process."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    advance, whole = pool.advance_lanes, relax.relax_pool
    compiled, spent, lock = [], [], threading.Lock()

    def timed(record, function, *arguments):
        began = time.thread_time()
        found = jax.block_until_ready(function(*arguments))
        with lock:
            record.append(time.thread_time() - began)
        return found

    pool.advance_lanes = lambda *arguments: timed(compiled, advance, *arguments)
    relax.relax_pool = lambda *arguments: timed(spent, whole, *arguments)
    seeds = SEEDS.get(width, 4_096) * cores
    problem, flow = ol.Problem(width, width), ol.GradientFlow()
    begin = starts(problem, seeds)
    for call in (1, 2):
        print(f"K = {width}: {cores} cores, threads, call {call} ...", file=sys.stderr, flush=True)
        compiled.clear()
        spent.clear()
        began = time.perf_counter()
        ol.relax(problem, flow, begin)
        seconds = time.perf_counter() - began
    outside = (sum(spent) - sum(compiled)) / cores / seconds
    return {"threads": seeds / seconds, "outside": outside, "seeds": seeds}


def in_a_process(width: int, cores: int) -> dict:
    call = [sys.executable, "-m", "benchmarks.cores", "--threads", f"{width},{cores}"]
    done = subprocess.run(call, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def measure(width: int, counts: list[int], folder: Path) -> list[dict]:
    threads = [in_a_process(width, count) for count in counts]
    workers = throughput(width, counts, folder)
    return [
        {
            "width": width,
            "cores": count,
            **of_threads,
            "threads_gain": of_threads["threads"] / threads[0]["threads"],
            "workers": of_workers["rate"],
            "workers_gain": of_workers["gain"],
        }
        for count, of_threads, of_workers in zip(counts, threads, workers, strict=True)
    ]


def doubled(most: int) -> list[int]:
    """1, 2, 4 … and the most."""
    return sorted({most, *(1 << n for n in range(most.bit_length()) if 1 << n <= most)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    available = len(os.sched_getaffinity(0))
    parser.add_argument("--cores", type=whole_numbers, default=doubled(available))
    parser.add_argument("--widths", type=whole_numbers, default=list(SEEDS))
    parser.add_argument("--threads", type=whole_numbers, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()
    if not args.cores or not all(1 <= count <= available for count in args.cores):
        parser.error(f"argument --cores: got {args.cores}; allowed: from 1 to {available}")
    jax.config.update("jax_enable_x64", True)
    if args.threads:
        print(json.dumps(time_threads(*args.threads)))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for width in args.widths
            for row in measure(width, args.cores, Path(folder) / "store")
        ]
    columns = {
        "width": "K = M|d",
        "cores": "cores|d",
        "threads": "threads, seeds/s|,.0f",
        "threads_gain": "gain|.2f",
        "outside": "of it Python|.1%",
        "workers": "workers, seeds/s|,.0f",
        "workers_gain": "gain|.2f",
    }
    record = {"benchmark": "cores", "machine": machine(), "cores": rows}
    emit(args.json, record, table(columns, rows))


if __name__ == "__main__":
    main()
