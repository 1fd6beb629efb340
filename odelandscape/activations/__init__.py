"""Gaussian moments of activations, in closed form or by quadrature; a new activation is one file here."""

BY_NAME = {
    "relu": "odelandscape.activations.relu:ReLU",
    "leaky-relu": "odelandscape.activations.relu:LeakyReLU",
    "erf": "odelandscape.activations.erf:Erf",
}
"""Where the activations are that the command line offers, by their names there."""
