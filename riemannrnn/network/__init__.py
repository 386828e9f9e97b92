"""What a network is made of: activation functions and connectivity."""

from riemannrnn.network.activations import ACTIVATIONS, Activation, power_law, register_activation
from riemannrnn.network.connectivity import Connectivity, Dense, LowRank

__all__ = ["ACTIVATIONS", "Activation", "Connectivity", "Dense", "LowRank", "power_law", "register_activation"]
