from .base import AbstractFlow as AbstractFlow
from .base import Mixing as Mixing
from .gradient import GradientFlow as GradientFlow
from .learning_rate import largest_learning_rate as largest_learning_rate
from .normalised import NormalisedFlow as NormalisedFlow
from .online_sgd import OnlineSGD as OnlineSGD
from .orthonormal import OrthonormalFlow as OrthonormalFlow
from .two_layer import TwoLayerFlow as TwoLayerFlow

BY_NAME: dict[str, str]
