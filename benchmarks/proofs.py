"""Certificates of every family at K = M, against the same spectra in floating point.

    python -m benchmarks.proofs [--widths 6 30] [--workers 2] [--quick] [--json]

For each width all families that `ol.families` finds are taken (that search is not counted), their spectra
computed by autodiff in float64 (`ol.spectrum`, compiled and warm, one process), and proved in ball arithmetic
(`ol.prove`, 128 bits) in --workers processes. Reported are whether the proofs and the floating-point verdicts
agree for each family, and the ratio of the times per family on one core.
"""

import argparse
import collections
import multiprocessing
import pickle
import statistics
import sys
import time

import jax
from tqdm import tqdm

import odelandscape as ol

from ._report import emit, machine, table

_COLUMNS = {
    "K": "K = M|d",
    "families": "families|d",
    "minima": "minima|d",
    "saddles": "saddles|d",
    "undecided": "undecided|d",
    "disagree": "disagree|d",
    "spectrum_ms": "spectrum, ms|.2f",
    "proof_ms": "proof, ms|.2f",
    "ratio": "proof / spectrum|.2f",
}
_WANTED = {"stable": ("local minimum", "global minimum"), "unstable": ("saddle",)}


def prove(job: bytes) -> tuple[int, str, float]:
    """In a worker: the number of a point, its proved verdict and the seconds."""
    jax.config.update("jax_enable_x64", True)
    number, point = pickle.loads(job)
    start = time.perf_counter()
    verdict = ol.prove(point).verdict
    return number, verdict, time.perf_counter() - start


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs=2, default=(6, 30), metavar="K", help="6 30")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--quick", action="store_true", help="K = M = 6 and 7 only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    first, last = (6, 7) if args.quick else args.widths
    record: dict = {"benchmark": "proofs", "machine": machine(), "rows": []}
    known: list[tuple[int, ol.FixedPoint, str, float]] = []
    for K in tqdm(range(first, last + 1), unit="width", desc="searching", file=sys.stderr):
        problem = ol.Problem(K, K)
        for point in ol.families(problem):
            ol.spectrum(problem, point)  # compiles
            start = time.perf_counter()
            verdict = ol.spectrum(problem, point).verdict
            known.append((K, point, verdict, time.perf_counter() - start))
    jobs = [pickle.dumps((i, point)) for i, (_, point, _, _) in enumerate(known)]
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        pool.map(prove, jobs[: 4 * args.workers], chunksize=1)  # imports
        start = time.perf_counter()
        bar = tqdm(total=len(jobs), unit="family", desc="proving", file=sys.stderr)
        proved = []
        for row in pool.imap_unordered(prove, jobs, chunksize=8):
            proved.append(row)
            bar.update()
        record["seconds"] = time.perf_counter() - start
        bar.close()
    verdicts, seconds = {i: v for i, v, _ in proved}, {i: s for i, _, s in proved}
    by_width = collections.defaultdict(list)
    for i, (K, _, verdict, spent) in enumerate(known):
        by_width[K].append((verdict, verdicts[i], spent, seconds[i]))
    for K, found in by_width.items():
        spectrum_ms, proof_ms = (1e3 * statistics.median(x[k] for x in found) for k in (2, 3))
        record["rows"].append(
            {
                "K": K,
                "families": len(found),
                "minima": sum(x[1] == "local minimum" for x in found),
                "saddles": sum(x[1] == "saddle" for x in found),
                "undecided": sum("marginal" in x[0] or x[1] == "undecided" for x in found),
                "disagree": sum(
                    x[0] != "marginal" and x[1] not in (*_WANTED.get(x[0], ()), "undecided")
                    for x in found
                ),
                "spectrum_ms": spectrum_ms,
                "proof_ms": proof_ms,
                "ratio": proof_ms / spectrum_ms,
            }
        )
    text = table(_COLUMNS, record["rows"])
    text += (
        f"\n\n{len(known)} families proved in {record['seconds']:.1f} s by {args.workers} processes"
    )
    emit(args.json, record, text)


if __name__ == "__main__":
    main()
