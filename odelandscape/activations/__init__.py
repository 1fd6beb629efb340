"""Gaussian moments of activations, in closed form or by quadrature.

A new activation is one file here, and one line in `BY_NAME`.
"""

BY_NAME = {
    "relu": "odelandscape.activations.relu:ReLU",
    "leaky-relu": "odelandscape.activations.relu:LeakyReLU",
    "erf": "odelandscape.activations.erf:Erf",
}
"""The place `module:Class` of each activation by its short name (`runtime.registry`)."""
