from .base import AbstractActivation as AbstractActivation
from .erf import Erf as Erf
from .quadrature import Quadrature as Quadrature
from .relu import LeakyReLU as LeakyReLU
from .relu import ReLU as ReLU

BY_NAME: dict[str, str]
