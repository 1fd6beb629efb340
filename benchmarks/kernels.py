"""The Gaussian integrals against the same formulas written plainly in NumPy.

    python -m benchmarks.kernels [--sizes 1e3,1e4,1e5,1e6] [--repeats 7] [--json]

NumPy's side is the textbook form (np.arccos, np.arcsin) on whole arrays, without treatment of
coincident or silent units. The largest difference is printed beside the times: a fast wrong kernel
would show. Both are called as a user calls them, one call after the other from Python, so at small
sizes the time is that of the call; inside a compiled program there is no such cost.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
from tqdm import tqdm

import odelandscape as ol

from ._report import emit, machine, table

SLOPE = 0.1
ELEMENTS = 200_000  # per repeat, at least: a small batch is called several times


def relu_I2(c11, c12, c22):
    length = np.sqrt(c11 * c22)
    theta = np.arccos(c12 / length)
    return length * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)


def relu_mixing(c11, c12, c22):
    theta = np.arccos(c12 / np.sqrt(c11 * c22))
    return np.sqrt(c22 / c11) * np.sin(theta) / (2 * np.pi), (np.pi - theta) / (2 * np.pi)


def leaky_I2(c11, c12, c22):
    return SLOPE * c12 + (1 - SLOPE) ** 2 * relu_I2(c11, c12, c22)


def leaky_mixing(c11, c12, c22):
    p, s = relu_mixing(c11, c12, c22)
    return (1 - SLOPE) ** 2 * p, SLOPE + (1 - SLOPE) ** 2 * s


def erf_I2(c11, c12, c22):
    return 2 / np.pi * np.arcsin(c12 / np.sqrt((1 + c11) * (1 + c22)))


def erf_mixing(c11, c12, c22):
    s = 2 / np.pi / np.sqrt((1 + c11) * (1 + c22) - c12**2)
    return -c12 / (1 + c11) * s, s


def plain_I3(mixing: Callable) -> Callable:
    def I3(C):
        p, s = mixing(C[:, 0, 0], C[:, 0, 2], C[:, 2, 2])
        return p * C[:, 0, 1] + s * C[:, 1, 2]

    return I3


CASES = [
    ("ReLU", ol.ReLU(), relu_I2, relu_mixing),
    (f"LeakyReLU({SLOPE})", ol.LeakyReLU(SLOPE), leaky_I2, leaky_mixing),
    ("Erf", ol.Erf(), erf_I2, erf_mixing),
]


def covariances(rng: np.random.Generator, size: int, units: int) -> np.ndarray:
    """Of random units in four dimensions, where hardly any two are nearly parallel: there the two
    programs would differ by the rounding of the cosine alone, which the angle magnifies."""
    W = rng.standard_normal((size, units, 4))
    return W @ W.swapaxes(1, 2)


def seconds_per_call(call: Callable, calls: int, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)


def difference(ours, plain) -> float:
    """Largest difference, relative where the value is above 1; NaN if either has one."""
    ours, plain = np.asarray(ours), np.asarray(plain)
    return float(np.max(np.abs(ours - plain) / np.maximum(1, np.abs(plain))))


def measure(size: int, repeats: int, bar: tqdm) -> list[dict]:
    rng = np.random.default_rng(size)
    pairs = covariances(rng, size, 2)
    pairs = tuple(np.ascontiguousarray(pairs[:, i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    triples = (covariances(rng, size, 3),)
    on_device = jax.block_until_ready(jax.device_put((pairs, triples)))
    calls = max(1, ELEMENTS // size)
    rows = []
    for name, act, I2, mixing in CASES:
        for what, kernel, plain, inputs, there in (
            ("I2", act.second_moment, I2, pairs, on_device[0]),
            ("mixing", act.mixing, mixing, pairs, on_device[0]),
            ("I3", jax.vmap(act.I3), plain_I3(mixing), triples, on_device[1]),
        ):
            fast = jax.jit(kernel)
            ours = jax.block_until_ready(fast(*there))  # compiles, and is the result to compare

            def run(fast=fast, there=there):
                jax.block_until_ready(fast(*there))

            def run_plain(plain=plain, inputs=inputs):
                plain(*inputs)

            run(), run_plain()  # warm
            t = seconds_per_call(run, calls, repeats) / size
            t_plain = seconds_per_call(run_plain, calls, repeats) / size
            rows.append(
                {
                    "activation": name,
                    "integral": what,
                    "size": size,
                    "ns": 1e9 * t,
                    "numpy_ns": 1e9 * t_plain,
                    "ratio": t_plain / t,
                    "difference": difference(ours, plain(*inputs)),
                }
            )
            bar.update()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes",
        type=lambda text: [int(float(size)) for size in text.split(",")],
        default=[10**3, 10**4, 10**5, 10**6],
        help="numbers of covariances, with commas",
    )
    parser.add_argument("--repeats", type=int, default=7, help="the median of these is printed")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    record = {"benchmark": "kernels", "machine": machine(), "repeats": args.repeats}
    with tqdm(total=9 * len(args.sizes), desc="kernels", file=sys.stderr) as bar:
        rows = [row for size in args.sizes for row in measure(size, args.repeats, bar)]
    record["rows"] = sorted(rows, key=lambda row: (row["activation"], row["integral"], row["size"]))
    columns = {
        "activation": "activation|",
        "integral": "integral|",
        "size": "covariances|,",
        "ns": "odelandscape ns|.2f",
        "numpy_ns": "NumPy ns|.2f",
        "ratio": "ratio|.2f",
        "difference": "largest difference|.1e",
    }
    text = (
        "Time per covariance, compiled and warm, against the textbook formulas in NumPy (one thread);\n"
        "ratio = NumPy / odelandscape; difference relative where values are above 1.\n\n"
    )
    emit(args.json, record, text + table(columns, record["rows"]))


if __name__ == "__main__":
    main()
