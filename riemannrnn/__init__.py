"""Training the fixed points of recurrent networks as Riemannian optimisation."""

from riemannrnn.backend import BackendError, to_backend
from riemannrnn.equilibrium import (
    Anderson,
    Automatic,
    FixedPointError,
    FixedPoints,
    Neumann,
    Newton,
    PeacemanRachford,
    Picard,
    differentiable_fixed_points,
    solve_fixed_points,
)
from riemannrnn.estimators import FixedPointClassifier, FixedPointRegressor
from riemannrnn.learning import (
    AutogradLoss,
    CrossEntropy,
    FixedPointCost,
    History,
    Loss,
    SquaredError,
    Task,
    compare,
    rules,
    train,
)
from riemannrnn.network import Activation, LowRank, power_law, register_activation
from riemannrnn.rate_network import RateNetwork

__all__ = [
    "Activation",
    "Anderson",
    "AutogradLoss",
    "Automatic",
    "BackendError",
    "CrossEntropy",
    "FixedPointClassifier",
    "FixedPointCost",
    "FixedPointError",
    "FixedPointRegressor",
    "FixedPoints",
    "History",
    "Loss",
    "LowRank",
    "Neumann",
    "Newton",
    "PeacemanRachford",
    "Picard",
    "RateNetwork",
    "SquaredError",
    "Task",
    "compare",
    "differentiable_fixed_points",
    "power_law",
    "register_activation",
    "rules",
    "solve_fixed_points",
    "to_backend",
    "train",
]
