"""Networks as models: parameters and a batch of stimuli give a response with all its derivatives."""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from riemannrnn.models.answers import Answer, Labels, Numbers
    from riemannrnn.models.architecture import ArchitectureError, register_connectivity
    from riemannrnn.models.layer import Layer
    from riemannrnn.models.model import PARTS, Model
    from riemannrnn.models.parameters import LayerParameters, NetworkParameters
    from riemannrnn.models.rate_network import RateNetwork
    from riemannrnn.models.response import Response
    from riemannrnn.models.stack import Stack
    from riemannrnn.models.trained import MODEL_FILE, ModelFileError, TrainedModel, load_model
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = [
    "MODEL_FILE",
    "PARTS",
    "Answer",
    "ArchitectureError",
    "Labels",
    "Layer",
    "LayerParameters",
    "Model",
    "ModelFileError",
    "NetworkParameters",
    "Numbers",
    "RateNetwork",
    "Response",
    "Stack",
    "TrainedModel",
    "load_model",
    "register_connectivity",
]
