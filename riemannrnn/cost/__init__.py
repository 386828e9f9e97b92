"""Costs of weights: losses, evaluations, and J(W), the mean loss at the fixed points."""

from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.counts import Evaluations
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.cost.losses import AutogradLoss, CrossEntropy, Loss, SquaredError
from riemannrnn.cost.partitioned import PartitionedCost
from riemannrnn.cost.task import Examples, Task

__all__ = [
    "AutogradLoss",
    "CrossEntropy",
    "Evaluation",
    "Evaluations",
    "Examples",
    "FixedPointCost",
    "Loss",
    "PartitionedCost",
    "SquaredError",
    "Task",
]
