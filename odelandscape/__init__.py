"""The loss landscape of a two-layer teacher-student network, known instead of guessed."""

from .activations import AbstractActivation, Erf, LeakyReLU, Quadrature, ReLU
from .flows import AbstractFlow, GradientFlow, NormalisedFlow, OrthonormalFlow, TwoLayerFlow
from .integrate import Trajectory, trajectory
from .problem import (
    OrderParameters,
    Problem,
    Weights,
    overlaps,
    population_loss,
    random_weights,
    realisability,
    weights_of,
)
from .relax import EndStates, relax
from .selfcheck import WrongNumbersError, check_numbers, ensure_numbers
from .stability import hessian
from .sweep import Summary, Sweep, sweep

__all__ = [
    "AbstractActivation",
    "AbstractFlow",
    "EndStates",
    "Erf",
    "GradientFlow",
    "LeakyReLU",
    "NormalisedFlow",
    "OrderParameters",
    "OrthonormalFlow",
    "Problem",
    "Quadrature",
    "ReLU",
    "Summary",
    "Sweep",
    "Trajectory",
    "TwoLayerFlow",
    "Weights",
    "WrongNumbersError",
    "check_numbers",
    "ensure_numbers",
    "hessian",
    "overlaps",
    "population_loss",
    "random_weights",
    "realisability",
    "relax",
    "sweep",
    "trajectory",
    "weights_of",
]
