"""ReLU and leaky ReLU as one kind of activation, with a slope."""

from ..activations.base import AbstractActivation
from ..activations.relu import LeakyReLU, ReLU


def as_leaky_relu(activation: AbstractActivation) -> LeakyReLU | None:
    """Return the same function as a LeakyReLU, of slope 0 for ReLU; None if it is none."""
    if isinstance(activation, ReLU):
        return LeakyReLU(slope=0.0)
    return activation if isinstance(activation, LeakyReLU) else None
