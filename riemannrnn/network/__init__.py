"""The parts of a network: activation functions, and connectivity, which binds parameters to an operator."""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from riemannrnn.network.activations import ACTIVATIONS, Activation, power_law, register_activation
    from riemannrnn.network.connectivity import Connectivity
    from riemannrnn.network.convolution import Convolution
    from riemannrnn.network.dense import Dense
    from riemannrnn.network.low_rank import LowRank
    from riemannrnn.network.operator import Operator
    from riemannrnn.network.read_in import ConvolutionalReadIn, MeanPooling
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Connectivity",
    "Convolution",
    "ConvolutionalReadIn",
    "Dense",
    "LowRank",
    "MeanPooling",
    "Operator",
    "power_law",
    "register_activation",
]
