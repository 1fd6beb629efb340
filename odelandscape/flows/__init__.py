"""Vector fields Ẇ = −X W − Y W*; a new flow is one file here, and one line in `BY_NAME`."""

import lazy_loader

BY_NAME = {
    "gd": "odelandscape.flows.gradient:GradientFlow",
    "ngd": "odelandscape.flows.normalised:NormalisedFlow",
    "ongd": "odelandscape.flows.orthonormal:OrthonormalFlow",
    "2l-gd": "odelandscape.flows.two_layer:TwoLayerFlow",
    "sgd": "odelandscape.flows.online_sgd:OnlineSGD",
}
"""The place `module:Class` of each flow by its short name (`runtime.registry`)."""

# The public classes, each imported when it is first used: reading the names above imports no JAX.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
