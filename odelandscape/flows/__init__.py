"""Flows on the population loss."""

from .base import AbstractFlow, Mixing
from .gradient import GradientFlow
from .normalised import NormalisedFlow
from .orthonormal import OrthonormalFlow
from .two_layer import TwoLayerFlow

__all__ = [
    "AbstractFlow",
    "GradientFlow",
    "Mixing",
    "NormalisedFlow",
    "OrthonormalFlow",
    "TwoLayerFlow",
]
