"""Networks of finite dimension beside their order-parameter ODE."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from scipy import stats

import odelandscape as ol

_AT_ONCE = 16  # networks whose weights fit into a cache


class Comparison(NamedTuple):
    """Theory (T, n) and networks (S, T, n): the loss, then the entries of R and the upper half of Q."""

    times: np.ndarray
    theory: np.ndarray
    networks: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.networks.mean(axis=0)

    @property
    def error(self) -> np.ndarray:
        """Standard error of the mean."""
        return self.networks.std(axis=0, ddof=1) / np.sqrt(len(self.networks))

    @property
    def z(self) -> np.ndarray:
        """Deviation in standard errors, after time 0."""
        return (self.mean - self.theory)[1:] / self.error[1:]


def start(problem: ol.Problem, dimension: int, at: int, seed: int = 0) -> ol.Weights:
    """A random start of dimension `at` ≥ M + K, put into `dimension` with the same order parameters, so
    that networks of all dimensions have one theory."""
    weights = ol.random_weights(jax.random.key(seed), problem, at)
    small = ol.weights_of(problem, ol.overlaps(problem, weights))
    more = dimension - small.W.shape[1]
    return ol.Weights(jnp.pad(small.W, ((0, 0), (0, more))), weights.v)


def _numbers(path: ol.Trajectory) -> np.ndarray:
    i, j = np.triu_indices(path.states.Q.shape[-1])
    R = np.asarray(path.states.R)
    parts = [np.asarray(path.loss)[..., None], R.reshape(*R.shape[:-2], -1)]
    return np.concatenate([*parts, np.asarray(path.states.Q)[..., i, j]], axis=-1)


def compare(
    problem: ol.Problem,
    flow: ol.OnlineSGD,
    weights: ol.Weights,
    times,
    networks: int,
    seed: int = 1,
) -> Comparison:
    """So many networks that begin with these weights and see different inputs, and their ODE."""
    keys = jax.random.split(jax.random.key(seed), networks)
    run = jax.vmap(lambda key: ol.train_network(problem, flow, weights, times, key=key))
    parts = [run(keys[at : at + _AT_ONCE]) for at in range(0, networks, _AT_ONCE)]
    steps = np.asarray(parts[0].times[0])
    theory = ol.trajectory(problem, flow, ol.overlaps(problem, weights), steps)
    return Comparison(steps, _numbers(theory), np.concatenate([_numbers(part) for part in parts]))


def points(axes: Axes, one: Comparison, colour: str, label: str) -> None:
    """Mean losses of the networks with two standard errors, after time 0."""
    y, error = one.mean[1:, 0], 2 * one.error[1:, 0]
    axes.errorbar(one.times[1:], y, error, fmt="o", markersize=3, color=colour, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("time = steps · η / d")
    axes.spines[["top", "right"]].set_visible(False)


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The power with which y falls in x, and the half width of its 95 % interval, from a line through
    the logarithms."""
    fit = stats.linregress(np.log(x), np.log(y))
    return float(fit.slope), float(stats.t.ppf(0.975, len(x) - 2) * fit.stderr)
