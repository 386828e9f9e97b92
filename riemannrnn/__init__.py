"""Training the fixed points of recurrent networks as Riemannian optimisation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from riemannrnn.models import Layer, RateNetwork, Stack, TrainedModel, load_model
from riemannrnn.network import Activation, Convolution, LowRank, power_law, register_activation
from riemannrnn.training import History, train

if TYPE_CHECKING:
    from riemannrnn.estimators import FixedPointClassifier, FixedPointRegressor

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


def __getattr__(name: str) -> Any:
    """Import the estimators on first use: importing scikit-learn takes as long as importing everything else."""
    if name not in ("estimators", "FixedPointClassifier", "FixedPointRegressor"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    estimators = import_module("riemannrnn.estimators")
    return estimators if name == "estimators" else getattr(estimators, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "estimators"})
