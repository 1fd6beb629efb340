"""Vector fields Ẇ = −X W − Y W*; a new flow is one file here."""

BY_NAME = {
    "gd": "odelandscape.flows.gradient:GradientFlow",
    "ngd": "odelandscape.flows.normalised:NormalisedFlow",
    "ongd": "odelandscape.flows.orthonormal:OrthonormalFlow",
    "2l-gd": "odelandscape.flows.two_layer:TwoLayerFlow",
    "sgd": "odelandscape.flows.online_sgd:OnlineSGD",
}
"""Where the flows are that the command line offers, by their names there."""
