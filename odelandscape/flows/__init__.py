"""Flows on the population loss."""

from .base import AbstractFlow, Mixing
from .gradient import GradientFlow
from .normalised import NormalisedFlow
from .online_sgd import OnlineSGD, largest_learning_rate
from .orthonormal import OrthonormalFlow
from .two_layer import TwoLayerFlow

__all__ = [
    "AbstractFlow",
    "GradientFlow",
    "Mixing",
    "NormalisedFlow",
    "OnlineSGD",
    "OrthonormalFlow",
    "TwoLayerFlow",
    "largest_learning_rate",
]
