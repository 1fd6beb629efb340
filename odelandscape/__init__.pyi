from .activations.base import AbstractActivation as AbstractActivation
from .activations.erf import Erf as Erf
from .activations.quadrature import Quadrature as Quadrature
from .activations.relu import LeakyReLU as LeakyReLU
from .activations.relu import ReLU as ReLU
from .ansatz.ansatz_point import AnsatzPoint as AnsatzPoint
from .ansatz.block_ansatz import BlockAnsatz as BlockAnsatz
from .ansatz.detection import describe as describe
from .ansatz.overlap_ansatz import OverlapAnsatz as OverlapAnsatz
from .branches.continuation import (
    Branch as Branch,
)
from .branches.continuation import (
    BranchPoint as BranchPoint,
)
from .branches.continuation import (
    continue_family as continue_family,
)
from .branches.continuation import (
    walk_branch as walk_branch,
)
from .branches.critical import (
    critical_value as critical_value,
)
from .branches.critical import (
    event_value as event_value,
)
from .dynamics.networks import train_network as train_network
from .dynamics.runge_kutta_chebyshev import RungeKuttaChebyshev as RungeKuttaChebyshev
from .dynamics.trajectory import Trajectory as Trajectory
from .dynamics.trajectory import trajectory as trajectory
from .flows.base import AbstractFlow as AbstractFlow
from .flows.base import Mixing as Mixing
from .flows.gradient import GradientFlow as GradientFlow
from .flows.learning_rate import largest_learning_rate as largest_learning_rate
from .flows.normalised import NormalisedFlow as NormalisedFlow
from .flows.online_sgd import OnlineSGD as OnlineSGD
from .flows.orthonormal import OrthonormalFlow as OrthonormalFlow
from .flows.speed import RatesSpeed as RatesSpeed
from .flows.speed import check_speed as check_speed
from .flows.two_layer import TwoLayerFlow as TwoLayerFlow
from .landscape.fixed_points import FixedPoint as FixedPoint
from .landscape.local_geometry import hessian as hessian
from .landscape.named_families import block_structure as block_structure
from .landscape.named_families import family as family
from .landscape.named_families import fixed_point as fixed_point
from .landscape.search import explore as explore
from .landscape.search import families as families
from .landscape.spectrum import Spectrum as Spectrum
from .landscape.spectrum import spectrum as spectrum
from .model.loss import population_loss as population_loss
from .model.problem import Problem as Problem
from .model.random_teacher import random_teacher as random_teacher
from .model.state import (
    OrderParameters as OrderParameters,
)
from .model.state import (
    Weights as Weights,
)
from .model.state import (
    overlaps as overlaps,
)
from .model.state import (
    pack as pack,
)
from .model.state import (
    random_weights as random_weights,
)
from .model.state import (
    realisability as realisability,
)
from .model.state import (
    unpack as unpack,
)
from .model.state import (
    weights_of as weights_of,
)
from .proofs.certificate import Certificate as Certificate
from .proofs.check import check_certificate as check_certificate
from .proofs.prove import prove as prove
from .proofs.prove_branch import prove_between as prove_between
from .relaxation.outcomes import EndStates as EndStates
from .relaxation.perturb import Perturbation as Perturbation
from .relaxation.perturb import perturb as perturb
from .relaxation.relax import relax as relax
from .runtime.errors import NoSuchFamilyError as NoSuchFamilyError
from .runtime.errors import OperationError as OperationError
from .runtime.errors import StoreError as StoreError
from .runtime.errors import UserError as UserError
from .runtime.self_test import (
    WrongNumbersError as WrongNumbersError,
)
from .runtime.self_test import (
    check_numbers as check_numbers,
)
from .runtime.self_test import (
    ensure_numbers as ensure_numbers,
)
from .runtime.version import __version__ as __version__
from .sweeps.executors import Workers as Workers
from .sweeps.executors import WorkersLostError as WorkersLostError
from .sweeps.read import open_sweep as open_sweep
from .sweeps.result import Sweep as Sweep
from .sweeps.result import read_sweep as read_sweep
from .sweeps.summary import Summary as Summary
from .sweeps.sweep import sweep as sweep
from .sweeps.sweep import sweep_share as sweep_share
