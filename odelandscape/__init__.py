"""The loss landscape of a two-layer teacher-student network, known instead of guessed."""

from .activations import AbstractActivation, Erf, LeakyReLU, Quadrature, ReLU
from .ansatz import BlockAnsatz
from .certify import EndStates
from .classify import block_structure, describe
from .continuation import BranchPoint, continue_family, critical_value
from .families import explore, families, family
from .fixed_points import FixedPoint, fixed_point
from .flows import AbstractFlow, GradientFlow, NormalisedFlow, OrthonormalFlow, TwoLayerFlow
from .integrate import Trajectory, trajectory
from .overlap_ansatz import OverlapAnsatz
from .perturb import Perturbation, perturb
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
from .relax import relax
from .selfcheck import WrongNumbersError, check_numbers, ensure_numbers
from .solvers import RungeKuttaChebyshev
from .stability import Spectrum, hessian, spectrum
from .sweep import Summary, Sweep, sweep

__all__ = [
    "AbstractActivation",
    "AbstractFlow",
    "BlockAnsatz",
    "BranchPoint",
    "EndStates",
    "Erf",
    "FixedPoint",
    "GradientFlow",
    "LeakyReLU",
    "NormalisedFlow",
    "OrderParameters",
    "OrthonormalFlow",
    "OverlapAnsatz",
    "Perturbation",
    "Problem",
    "Quadrature",
    "ReLU",
    "RungeKuttaChebyshev",
    "Spectrum",
    "Summary",
    "Sweep",
    "Trajectory",
    "TwoLayerFlow",
    "Weights",
    "WrongNumbersError",
    "block_structure",
    "check_numbers",
    "continue_family",
    "critical_value",
    "describe",
    "ensure_numbers",
    "explore",
    "families",
    "family",
    "fixed_point",
    "hessian",
    "overlaps",
    "perturb",
    "population_loss",
    "random_weights",
    "realisability",
    "relax",
    "spectrum",
    "sweep",
    "trajectory",
    "weights_of",
]
