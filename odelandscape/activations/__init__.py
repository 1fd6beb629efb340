"""Gaussian integrals of the activations."""

from .base import AbstractActivation
from .erf import Erf
from .quadrature import Quadrature
from .relu import LeakyReLU, ReLU

__all__ = ["AbstractActivation", "Erf", "LeakyReLU", "Quadrature", "ReLU"]
