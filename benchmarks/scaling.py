"""What more workers gain, and what more seeds cost the process that hands them out.

    python -m benchmarks.scaling [--workers 1,2] [--widths 6,10,17] [--memory 10000,100000,1000000] [--json]

- workers: `ol.Workers(n)`, one core each, on the second sweep they are given (the first compiles), with a
  store; throughput is compared with that of the first number, in one run, by turns.
- memory: the peak of the process that calls `sweep` at K = 3 with a store, its workers not counted, each in
  a process of its own, with summary and without figure.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax

import odelandscape as ol
from odelandscape.sweeps.tasks import CHUNK

from ._report import emit, machine, table

SEEDS = {6: 80_000, 10: 20_000, 17: 10_000}
REPEATS = 3


def run(width: int, seeds: int, seed: int, executor, folder: Path) -> ol.Sweep:
    problem = ol.Problem(width, width)
    try:
        return ol.sweep(
            problem, ol.GradientFlow(), seeds, seed, executor=executor, store=folder, progress=False
        )
    finally:
        shutil.rmtree(folder)


def throughput(width: int, counts: list[int], folder: Path) -> list[dict]:
    """Seeds a second with each number of workers; medians of runs by turns."""
    seeds = SEEDS.get(width, 10_000)
    seconds = {count: [] for count in counts}
    for repeat in range(REPEATS):
        for count in counts:
            with ol.Workers(count) as executor:
                run(width, 4 * CHUNK * count, 1, executor, folder)  # as large chunks
                began = time.perf_counter()
                run(width, seeds, 2 + repeat, executor, folder)
                seconds[count].append(time.perf_counter() - began)
    rates = {count: seeds / statistics.median(seconds[count]) for count in counts}
    return [
        {
            "width": width,
            "seeds": seeds,
            "workers": count,
            "rate": rates[count],
            "gain": rates[count] / rates[counts[0]],
            "least": min(a / b for a, b in zip(seconds[counts[0]], seconds[count], strict=True)),
        }
        for count in counts
    ]


def memory(seeds: int) -> dict:
    """Peak memory of a process that sweeps so many seeds."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling", "--one-memory", str(seeds)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def one_memory(seeds: int, folder: Path) -> dict:
    import resource

    problem = ol.Problem(3, 3)
    began = time.perf_counter()
    with ol.Workers(2) as executor:
        runs = ol.sweep(
            problem, ol.GradientFlow(), seeds, executor=executor, store=folder, progress=False
        )
    runs.summary()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"seeds": seeds, "peak": peak, "seconds": time.perf_counter() - began}


def whole_numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=whole_numbers, default=[1, 2])
    parser.add_argument("--widths", type=whole_numbers, default=[6, 10, 17])
    parser.add_argument("--memory", type=whole_numbers, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--one-memory", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    with tempfile.TemporaryDirectory() as folder:
        if args.one_memory:
            print(json.dumps(one_memory(args.one_memory, Path(folder) / "store")))
            return
        record = {
            "machine": machine(),
            "throughput": [
                row
                for width in args.widths
                for row in throughput(width, args.workers, Path(folder) / "s")
            ],
            "memory": [memory(seeds) for seeds in args.memory],
        }
    rates = table(
        {
            "width": "K = M|d",
            "seeds": "seeds|,",
            "workers": "workers|d",
            "rate": "seeds a second|.0f",
            "gain": "gain|.2f",
            "least": "least of the repeats|.2f",
        },
        record["throughput"],
    )
    peaks = table(
        {"seeds": "seeds (K = M = 3)|,", "peak": "peak memory, MiB|.0f", "seconds": "seconds|.0f"},
        record["memory"],
    )
    emit(args.json, record, f"{rates}\n\n{peaks}")


if __name__ == "__main__":
    main()
