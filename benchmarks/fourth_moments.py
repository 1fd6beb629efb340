"""I4, the integral behind the noise of SGD, against Monte Carlo of equal error.

    python -m benchmarks.fourth_moments [--size 1e5] [--repeats 5] [--quick] [--json]

I4 of many covariances of four random units of length 1 in four dimensions, compiled, vmapped and warm.
Its error is measured: the difference to the same integral with the units in another order, which rounds
differently, and with a tolerance of 1e-15 where it has one. (The tests compare it with mpmath.)

Monte Carlo is plain NumPy: fields = units @ draws, the four factors, their mean. Its normal draws are
made once and shared by all covariances, so only products and factors are paid for. The root mean square
of its standard errors per sample, over the same covariances, gives the number of samples at which it is
as accurate as I4, and at which it has three digits (a standard error of a thousandth of the root mean
square of I4); seconds are extrapolated in proportion to samples. NumPy uses one core here, XLA as many as the
process has.
"""

import argparse
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erf
from tqdm import tqdm

import odelandscape as ol
from odelandscape.activations import homogeneous

from ._report import emit, machine, table

SLOPE = 0.1
DRAWS = 20_000
EXACT = 1e-15
ORDER = np.array([1, 0, 3, 2])  # leaves I4 as it is


def _kinked(low: float) -> tuple:
    value = lambda x: np.maximum(x, low * x)  # noqa: E731
    slope = lambda x: np.where(x > 0, 1.0, low)  # noqa: E731
    exact = lambda C: homogeneous.fourth_moment((1 + low) / 2, (1 - low) / 2, C, EXACT)  # noqa: E731
    return value, slope, exact


CASES = [
    ("ReLU", ol.ReLU(), *_kinked(0.0)),
    (f"LeakyReLU({SLOPE})", ol.LeakyReLU(SLOPE), *_kinked(SLOPE)),
    (
        "Erf",
        ol.Erf(),
        lambda x: erf(x / np.sqrt(2)),
        lambda x: np.sqrt(2 / np.pi) * np.exp(-(x**2) / 2),
        ol.Erf().I4,
    ),
]


def sample(units, draws, value, slope) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and standard deviation of each covariance's samples, and seconds a sample."""
    means, deviations, spent = [], [], 0.0
    for W in units:
        start = time.perf_counter()
        fields = W @ draws
        slopes, values = slope(fields[:2]), value(fields[2:])
        samples = slopes[0] * slopes[1] * values[0] * values[1]
        means.append(np.mean(samples))
        spent += time.perf_counter() - start
        deviations.append(np.std(samples))
    return np.array(means), np.array(deviations), spent / (len(units) * draws.shape[1])


def rms(x) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def measure(size: int, sampled: int, repeats: int, bar: tqdm) -> list[dict]:
    rng = np.random.default_rng(0)
    units = rng.standard_normal((size, 4, 4))
    units /= np.linalg.norm(units, axis=2, keepdims=True)
    C = jnp.asarray(units @ units.swapaxes(1, 2))
    draws = rng.standard_normal((4, DRAWS))
    rows = []
    for name, act, value, slope, exact in CASES:
        fast = jax.jit(jax.vmap(act.I4))
        got = np.asarray(fast(C))  # compiles
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            jax.block_until_ready(fast(C))
            times.append((time.perf_counter() - start) / size)
        seconds = statistics.median(times)
        error = np.abs(got - jax.jit(jax.vmap(exact))(C[:, ORDER][:, :, ORDER]))
        mean, deviation, each = sample(units[:sampled], draws, value, slope)
        off = rms(mean - got[:sampled]) / (rms(deviation) / np.sqrt(DRAWS))
        monte_carlo = [
            each * (rms(deviation) / wanted) ** 2 for wanted in (rms(error), rms(got) / 1000)
        ]
        rows.append(
            {
                "activation": name,
                "covariances": size,
                "per_second": 1 / seconds,
                "us": 1e6 * seconds,
                "error": rms(error),
                "largest_error": float(np.max(error)),
                "standard_error_of_one_sample": rms(deviation),
                "ns_a_sample": 1e9 * each,
                "off_in_standard_errors": off,
                "monte_carlo_equal_error_s": monte_carlo[0],
                "monte_carlo_three_digits_s": monte_carlo[1],
                "ratio_equal_error": monte_carlo[0] / seconds,
                "ratio_three_digits": monte_carlo[1] / seconds,
            }
        )
        bar.update()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=lambda text: int(float(text)), default=10**5, help="number of covariances"
    )
    parser.add_argument("--repeats", type=int, default=5, help="the median of these is printed")
    parser.add_argument("--quick", action="store_true", help="2,000 covariances, in seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    size, sampled = (2_000, 50) if args.quick else (args.size, 500)
    record = {"benchmark": "fourth_moments", "machine": machine(), "repeats": args.repeats}
    with tqdm(total=len(CASES), desc="fourth_moments", file=sys.stderr) as bar:
        record["rows"] = measure(size, min(size, sampled), args.repeats, bar)
    columns = {
        "activation": "activation|",
        "per_second": "I4 a second|,.0f",
        "us": "µs|.2f",
        "error": "rms error|.1e",
        "largest_error": "largest|.1e",
        "ns_a_sample": "MC ns a sample|.1f",
        "off_in_standard_errors": "MC off by (σ)|.2f",
        "monte_carlo_equal_error_s": "MC s, equal error|.1e",
        "ratio_equal_error": "ratio|.1e",
        "monte_carlo_three_digits_s": "MC s, 3 digits|.1e",
        "ratio_three_digits": "ratio|.1e",
    }
    text = (
        f"{size:,} covariances of random units, compiled and warm, against Monte Carlo in NumPy with shared\n"
        "draws; ratio = its seconds / ours for one covariance, extrapolated from its standard error per\n"
        "sample to our measured error, and to three digits. MC off by: rms of its differences to I4 over\n"
        "that of its standard errors, about 1 if both compute the same.\n\n"
    )
    emit(args.json, record, text + table(columns, record["rows"]))


if __name__ == "__main__":
    main()
