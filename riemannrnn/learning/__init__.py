"""Learning as optimisation on a manifold: losses, the fixed-point cost, rules, and training."""

from riemannrnn.learning.comparison import Comparison, compare
from riemannrnn.learning.contenders import Contender, all_contenders
from riemannrnn.learning.cost import Evaluation, Evaluations, FixedPointCost
from riemannrnn.learning.guard import StabilityGuard, UnstableStartError, stable_start
from riemannrnn.learning.history import History
from riemannrnn.learning.losses import AutogradLoss, CrossEntropy, Loss, SquaredError
from riemannrnn.learning.optimizers import Adam, MetricRule, ParallelTransport, Rule
from riemannrnn.learning.rules import DeltaW3, DeltaW4, make_rule
from riemannrnn.learning.run import accuracy
from riemannrnn.learning.task import Task
from riemannrnn.learning.training import train

__all__ = [
    "Adam",
    "AutogradLoss",
    "Comparison",
    "Contender",
    "CrossEntropy",
    "DeltaW3",
    "DeltaW4",
    "Evaluation",
    "Evaluations",
    "FixedPointCost",
    "History",
    "Loss",
    "MetricRule",
    "ParallelTransport",
    "Rule",
    "SquaredError",
    "StabilityGuard",
    "Task",
    "UnstableStartError",
    "accuracy",
    "all_contenders",
    "compare",
    "make_rule",
    "stable_start",
    "train",
]
