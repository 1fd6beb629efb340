"""The loss landscape of a two-layer teacher-student network, known instead of guessed."""

from importlib import import_module
from typing import TYPE_CHECKING

from .activations import AbstractActivation, Erf, LeakyReLU, Quadrature, ReLU
from .ansatz import BlockAnsatz
from .certify import EndStates
from .classify import block_structure, describe
from .continuation import BranchPoint, continue_family, critical_value
from .families import explore, families, family
from .fixed_points import FixedPoint, fixed_point
from .flows import (
    AbstractFlow,
    GradientFlow,
    Mixing,
    NormalisedFlow,
    OnlineSGD,
    OrthonormalFlow,
    TwoLayerFlow,
    largest_learning_rate,
)
from .integrate import Trajectory, trajectory
from .network import random_teacher, train_network
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
from .store import StoreError
from .summary import Summary
from .sweep import Sweep, read_sweep, sweep, sweep_share
from .workers import Workers, WorkersLostError

if TYPE_CHECKING:
    from .certificate import Certificate
    from .dataset import open_sweep
    from .proof import check_certificate, prove, prove_between

# xarray takes longer to import than a small sweep to run; python-flint need not be there.
_LATE = {
    "open_sweep": "dataset",
    "Certificate": "certificate",
    "check_certificate": "proof",
    "prove": "proof",
    "prove_between": "proof",
}


def __getattr__(name: str):
    if name not in _LATE:
        raise AttributeError(f"module 'odelandscape' has no attribute {name!r}")
    return getattr(import_module(f".{_LATE[name]}", __name__), name)


__all__ = [
    "AbstractActivation",
    "AbstractFlow",
    "BlockAnsatz",
    "BranchPoint",
    "Certificate",
    "EndStates",
    "Erf",
    "FixedPoint",
    "GradientFlow",
    "LeakyReLU",
    "Mixing",
    "NormalisedFlow",
    "OnlineSGD",
    "OrderParameters",
    "OrthonormalFlow",
    "OverlapAnsatz",
    "Perturbation",
    "Problem",
    "Quadrature",
    "ReLU",
    "RungeKuttaChebyshev",
    "Spectrum",
    "StoreError",
    "Summary",
    "Sweep",
    "Trajectory",
    "TwoLayerFlow",
    "Weights",
    "Workers",
    "WorkersLostError",
    "WrongNumbersError",
    "block_structure",
    "check_certificate",
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
    "largest_learning_rate",
    "open_sweep",
    "overlaps",
    "perturb",
    "population_loss",
    "prove",
    "prove_between",
    "random_teacher",
    "random_weights",
    "read_sweep",
    "realisability",
    "relax",
    "spectrum",
    "sweep",
    "sweep_share",
    "train_network",
    "trajectory",
    "weights_of",
]
