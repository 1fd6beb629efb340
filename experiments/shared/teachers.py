"""Random teachers of finite dimension, T = I + O(d^(−1/2)), and where gradient flow ends for each."""

import jax

import odelandscape as ol

from .draw import weights_of


def teacher(width: int, d: int, number: int) -> ol.Problem:
    """A random teacher in d dimensions, and as many students."""
    return ol.random_teacher(jax.random.fold_in(jax.random.key(d), number), width, d)


def ends(problem: ol.Problem, d: int, number: int, seeds: int) -> ol.Sweep:
    """Where that many random students of d dimensions end, others for each number."""
    return ol.sweep(problem, ol.GradientFlow(), seeds, number, d, progress=False)


def state(runs: ol.Sweep, at: int) -> ol.OrderParameters:
    """The order parameters of one end state."""
    return ol.overlaps(runs.problem, weights_of(runs, runs.seeds[at]))
