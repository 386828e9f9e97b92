"""What a network is made of: activation functions and connectivity."""

from riemannrnn.network.activations import ACTIVATIONS, Activation, power_law, register_activation
from riemannrnn.network.connectivity import Connectivity, Dense

__all__ = ["ACTIVATIONS", "Activation", "Connectivity", "Dense", "power_law", "register_activation"]
