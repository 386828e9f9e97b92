"""Training the fixed points of recurrent networks as Riemannian optimisation."""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from riemannrnn import rules
    from riemannrnn.backend import BackendError, to_backend
    from riemannrnn.comparison import compare
    from riemannrnn.cost import AutogradLoss, CrossEntropy, FixedPointCost, Loss, SquaredError, Task
    from riemannrnn.equilibrium import (
        Anderson,
        Automatic,
        FixedPointError,
        FixedPoints,
        Flow,
        Neumann,
        Newton,
        PeacemanRachford,
        Picard,
        differentiable_fixed_points,
        solve_fixed_points,
    )
    from riemannrnn.estimators import FixedPointClassifier, FixedPointRegressor
    from riemannrnn.models import Layer, RateNetwork, Stack, TrainedModel, load_model
    from riemannrnn.network import Activation, Convolution, LowRank, power_law, register_activation
    from riemannrnn.training import History, train
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = [
    "Activation",
    "Anderson",
    "AutogradLoss",
    "Automatic",
    "BackendError",
    "Convolution",
    "CrossEntropy",
    "FixedPointClassifier",
    "FixedPointCost",
    "FixedPointError",
    "FixedPointRegressor",
    "FixedPoints",
    "Flow",
    "History",
    "Layer",
    "Loss",
    "LowRank",
    "Neumann",
    "Newton",
    "PeacemanRachford",
    "Picard",
    "RateNetwork",
    "SquaredError",
    "Stack",
    "Task",
    "TrainedModel",
    "compare",
    "differentiable_fixed_points",
    "load_model",
    "power_law",
    "register_activation",
    "rules",
    "solve_fixed_points",
    "to_backend",
    "train",
]
