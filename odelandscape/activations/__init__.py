"""Gaussian moments of activations, in closed form or by quadrature.

A new activation is one file here, and one line in `BY_NAME`.
"""

import lazy_loader

BY_NAME = {
    "relu": "odelandscape.activations.relu:ReLU",
    "leaky-relu": "odelandscape.activations.relu:LeakyReLU",
    "erf": "odelandscape.activations.erf:Erf",
}
"""The place `module:Class` of each activation by its short name (`runtime.registry`)."""

# The public classes, each imported when it is first used: reading the names above imports no JAX.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
