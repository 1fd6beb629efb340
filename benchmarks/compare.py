"""Two versions of odelandscape, or one in two environments, timed by turns.

    python -m benchmarks.compare OLD NEW [--repeats 5] [--quick] [--json]

OLD and NEW are each the folder of a checkout, the Python of an environment in which odelandscape is
installed, or PYTHON:FOLDER for both. A process for each stays through the whole run: what a task compiles
isn't counted, and then old and new take turns, so that other programs on the machine disturb both alike.
Reported are the medians, the median of the ratios new / old and the least and the largest of them, and the
largest difference of the numbers computed (relative to the largest; sorted, as the starts are the same).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_COLUMNS = {
    "task": "task|s",
    "old_ms": "old, ms|.2f",
    "new_ms": "new, ms|.2f",
    "ratio": "new / old|.2f",
    "least": "least|.2f",
    "largest": "largest|.2f",
    "difference": "difference|.0e",
}
_SWEEPS = {"sweep K = M = 10": (10, 2048), "sweep K = M = 17": (17, 512), "sweep 12, 11": (12, 512)}


# --- in the process of a version: public names only, which all versions have -------------------------


def _tasks() -> dict[str, Callable]:
    """Return for each task a function that returns numbers."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import odelandscape as ol

    square = ol.Problem(10, 10)
    point = ol.fixed_point(square, ol.family(square, 2))

    def sweep(width: int, seeds: int):
        problem = ol.Problem(width, 11 if width == 12 else width)
        return lambda: ol.sweep(problem, ol.GradientFlow(), seeds, progress=False).loss.tolist()

    tasks: dict[str, Callable] = {name: sweep(*size) for name, size in _SWEEPS.items()}
    tasks["fixed point"] = lambda: [float(ol.fixed_point(square, point).loss)]
    tasks["spectrum"] = lambda: ol.spectrum(square, point).eigenvalues.tolist()
    tasks["branch"] = lambda: [p.loss for p in ol.continue_family(square, point, stop=6.0)][-1:]
    return tasks


def _serve() -> None:
    """Run tasks named on standard input, and write seconds and numbers of each on standard output."""
    tasks = _tasks()
    for line in sys.stdin:
        began = time.perf_counter()
        numbers = tasks[line.strip()]()
        print(json.dumps([time.perf_counter() - began, sorted(numbers)]), flush=True)


# --- in this process ---------------------------------------------------------------------------------


class _Version:
    """The process of a version."""

    def __init__(self, place: str):
        python, _, folder = place.rpartition(":")
        if not python and not Path(place).is_dir():
            python, folder = place, ""
        environment = dict(os.environ)
        environment.pop("PYTHONPATH", None)
        if folder:
            environment["PYTHONPATH"] = str(Path(folder).resolve())
        self._process = subprocess.Popen(
            [python or sys.executable, "-P", __file__, "--serve", ".", "."],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, task: str) -> tuple[float, list[float]]:
        """Return the seconds that a task took, and its numbers."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a version must have been started with pipes")
        process.stdin.write(f"{task}\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"a version has stopped in the task {task!r}; its message is above")
        seconds, numbers = json.loads(line)
        return seconds, numbers


def _difference(one: list[float], other: list[float]) -> float:
    if len(one) != len(other):
        return float("inf")
    size = max(map(abs, one), default=0.0) or 1.0
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0) / size


def _paired(task: str, old: _Version, new: _Version, repeats: int) -> dict:
    """Time a task by turns, which of the two begins alternating."""
    numbers = [version.run(task)[1] for version in (old, new)]  # compiles
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats):
        for which in (0, 1) if repeat % 2 == 0 else (1, 0):
            seconds[which].append((old, new)[which].run(task)[0])
    ratios = [b / a for a, b in zip(*seconds, strict=True)]
    return {
        "task": task,
        "old_ms": 1e3 * statistics.median(seconds[0]),
        "new_ms": 1e3 * statistics.median(seconds[1]),
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "largest": max(ratios),
        "difference": _difference(*numbers),
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", help="checkout, Python or PYTHON:FOLDER")
    parser.add_argument("new", help="likewise")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each task (5)")
    parser.add_argument("--quick", action="store_true", help="without sweeps")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        _serve()
        return
    from ._report import emit, machine, table

    here = machine()
    old, new = _Version(args.old), _Version(args.new)
    tasks = [*({} if args.quick else _SWEEPS), "fixed point", "spectrum", "branch"]
    rows = [_paired(task, old, new, args.repeats) for task in tasks]
    emit(args.json, {"machine": here, "rows": rows}, table(_COLUMNS, rows))


if __name__ == "__main__":
    main()
