"""The parts of a network: activation functions, connectivity as operators of parameters, and the maps between layers."""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from riemannrnn.network.activations import ACTIVATIONS, Activation, power_law, register_activation
    from riemannrnn.network.connectivity import Connectivity
    from riemannrnn.network.convolution import Convolution
    from riemannrnn.network.dense import Dense
    from riemannrnn.network.linear_map import DenseMap, LinearMap, PooledMap
    from riemannrnn.network.low_rank import LowRank
    from riemannrnn.network.operator import Operator
    from riemannrnn.network.pooling import MeanPooling
    from riemannrnn.network.read_in import ConvolutionalReadIn
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Connectivity",
    "Convolution",
    "ConvolutionalReadIn",
    "Dense",
    "DenseMap",
    "LinearMap",
    "LowRank",
    "MeanPooling",
    "Operator",
    "PooledMap",
    "power_law",
    "register_activation",
]
