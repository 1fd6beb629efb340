"""Branches of fixed points: one at a time and many at once, warm and with what compiling takes.

    python -m benchmarks.branches [--slopes 64] [--repeats 20] [--json]

The branch of α = 1 from K = M = 10 down to 5: as a user gets it from `ol.continue_family`, with and without
spectra; as one call of `ol.walk_branch`, compiled by `jax.jit`; and at many slopes of leaky ReLU at once, by
`jax.vmap`. Each end point is compared with the one that Newton's method finds there on its own: the largest
difference of the parameters is reported.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

import odelandscape as ol

from ._report import emit, machine, table

_COLUMNS = {
    "what": "what|s",
    "points": "points|d",
    "first_s": "first call, s|.2f",
    "warm_ms": "warm, ms|.2f",
    "difference": "largest difference at the end|.1e",
}
_STOP = 5.0


def _problem(slope) -> ol.Problem:
    return ol.Problem(10, 10, ol.LeakyReLU(slope=slope))


def _timed(call: Callable, repeats: int) -> tuple[object, float, float]:
    """Return what a call returns, its first time in seconds, and the median of later ones in milliseconds."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        found = jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return found, times[0], 1e3 * statistics.median(times[1:])


def _difference(ends: list[ol.FixedPoint]) -> float:
    """Return how far ends are from what Newton's method finds from there, a little aside."""
    found = 0.0
    for end in ends:
        slope = end.ansatz.activation.slope
        again = ol.fixed_point(
            ol.Problem(5, 5, ol.LeakyReLU(slope=slope)), end.ansatz, end.z + 1e-6
        )
        found = max(found, float(jnp.max(jnp.abs(again.z - end.z))))
    return found


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slopes", type=int, default=64, metavar="N", help="at once (64)")
    parser.add_argument("--repeats", type=int, default=20, metavar="N", help="warm calls (20)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    here = machine()
    problem = _problem(0.0)
    near = ol.fixed_point(problem, ol.family(problem, 1))
    slopes = jnp.linspace(0.0, 0.2, args.slopes)
    points = jax.jit(jax.vmap(lambda slope: ol.fixed_point(_problem(slope), near)))(slopes)

    def walk(slope, point) -> ol.Branch:
        return ol.walk_branch(_problem(slope), point, stop=_STOP, most=40)

    def branch(spectra: bool) -> list[ol.BranchPoint]:
        return list(ol.continue_family(problem, near, stop=_STOP, spectra=spectra))

    one, many = jax.jit(walk), jax.jit(jax.vmap(walk))
    rows = []

    def add(what: str, call: Callable, ends: Callable) -> None:
        found, first, warm = _timed(call, args.repeats)
        branches = ends(found)
        rows.append(
            {
                "what": what,
                "points": sum(len(points) for points in branches),
                "first_s": first,
                "warm_ms": warm,
                "difference": _difference([points[-1].point for points in branches]),
            }
        )

    def unstacked(branches: ol.Branch) -> list[list[ol.BranchPoint]]:
        parts = (jax.tree.map(lambda x, i=i: x[i], branches) for i in range(args.slopes))
        return [part.points(spectra=False) for part in parts]

    add("continue_family", lambda: branch(True), lambda found: [found])
    add("continue_family, no spectra", lambda: branch(False), lambda found: [found])
    add("walk_branch, compiled", lambda: one(0.0, near), lambda b: [b.points(spectra=False)])
    add(f"walk_branch, {args.slopes} slopes at once", lambda: many(slopes, points), unstacked)
    emit(args.json, {"machine": here, "rows": rows}, table(_COLUMNS, rows))


if __name__ == "__main__":
    main()
