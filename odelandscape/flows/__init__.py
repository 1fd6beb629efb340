"""Vector fields Ẇ = −X W − Y W*; a new flow is one file here, and one line in `BY_NAME`."""

BY_NAME = {
    "gd": "odelandscape.flows.gradient:GradientFlow",
    "ngd": "odelandscape.flows.normalised:NormalisedFlow",
    "ongd": "odelandscape.flows.orthonormal:OrthonormalFlow",
    "2l-gd": "odelandscape.flows.two_layer:TwoLayerFlow",
    "sgd": "odelandscape.flows.online_sgd:OnlineSGD",
}
"""The place `module:Class` of each flow by its short name (`runtime.registry`)."""
