"""Mixtures of Gaussians in one dimension, fitted by expectation maximisation."""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

_STARTS, _ROUNDS = 10, 200


class Mixture(NamedTuple):
    """Components (n,) in the order of their means, and how likely N numbers are under them."""

    weight: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    log_likelihood: float
    numbers: int

    @property
    def bic(self) -> float:
        """Bayesian information criterion: of two mixtures the one with the lower is preferred."""
        free = 3 * len(self.weight) - 1
        return free * float(np.log(self.numbers)) - 2 * self.log_likelihood


def _ascend(x: np.ndarray, mean: np.ndarray) -> Mixture:
    weight = np.full(len(mean), 1 / len(mean))
    deviation = np.full(len(mean), x.std())
    # One number alone would be infinitely likely under a component of no width.
    least = 1e-3 * x.std()
    value = -np.inf
    for _ in range(_ROUNDS):
        each = np.log(weight) + norm.logpdf(x[:, None], mean, deviation)
        total = np.logaddexp.reduce(each, axis=1)
        value = float(total.sum())
        part = np.exp(each - total[:, None])
        size = np.maximum(part.sum(axis=0), 1e-12)
        weight, mean = size / size.sum(), (x @ part) / size
        square = ((x[:, None] - mean) ** 2 * part).sum(axis=0) / size
        deviation = np.maximum(np.sqrt(square), least)
    by = np.argsort(mean)
    return Mixture(weight[by], mean[by], deviation[by], value, len(x))


def fit(x: np.ndarray, components: int) -> Mixture:
    """The likeliest of some mixtures, each found from means that are drawn from the numbers."""
    rng = np.random.default_rng(0)
    starts = [rng.choice(x, components, replace=False) for _ in range(_STARTS)]
    return max((_ascend(x, mean) for mean in starts), key=lambda found: found.log_likelihood)
