"""Networks as models: parameters and a batch of stimuli give a response with all its derivatives."""

from riemannrnn.models.model import PARTS, Model
from riemannrnn.models.parameters import LayerParameters, NetworkParameters
from riemannrnn.models.rate_network import RateNetwork
from riemannrnn.models.response import Response
from riemannrnn.models.stack import Layer, Stack

__all__ = ["PARTS", "Layer", "LayerParameters", "Model", "NetworkParameters", "RateNetwork", "Response", "Stack"]
