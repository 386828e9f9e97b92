"""Learning as optimisation on a manifold: losses, the fixed-point cost, rules, and training."""

from riemannrnn.learning.aggregated import AggregatedMetric, Descent, aggregated_metric, check_descent
from riemannrnn.learning.comparison import Comparison, compare
from riemannrnn.learning.contenders import Contender, all_contenders
from riemannrnn.learning.cost import FixedPointCost
from riemannrnn.learning.counts import Evaluations
from riemannrnn.learning.evaluation import Evaluation
from riemannrnn.learning.guard import StabilityGuard, UnstableStartError, stable_start
from riemannrnn.learning.history import History, accuracy
from riemannrnn.learning.kronecker import KroneckerResponse
from riemannrnn.learning.losses import AutogradLoss, CrossEntropy, Loss, SquaredError
from riemannrnn.learning.metrics import ResponseMetric, response_metric
from riemannrnn.learning.optimizers import Adam, MetricRule, ParallelTransport, Rule
from riemannrnn.learning.outcome import LossNotFallenWarning
from riemannrnn.learning.range_test import RangeTest, Trial
from riemannrnn.learning.rules import DeltaW3, DeltaW4, make_rule
from riemannrnn.learning.same_dtype import SameDtypeConjugateGradient, SameDtypeTrustRegions
from riemannrnn.learning.task import Task
from riemannrnn.learning.training import train

__all__ = [
    "Adam",
    "AggregatedMetric",
    "AutogradLoss",
    "Comparison",
    "Contender",
    "CrossEntropy",
    "DeltaW3",
    "DeltaW4",
    "Descent",
    "Evaluation",
    "Evaluations",
    "FixedPointCost",
    "History",
    "KroneckerResponse",
    "Loss",
    "LossNotFallenWarning",
    "MetricRule",
    "ParallelTransport",
    "RangeTest",
    "ResponseMetric",
    "Rule",
    "SameDtypeConjugateGradient",
    "SameDtypeTrustRegions",
    "SquaredError",
    "StabilityGuard",
    "Task",
    "Trial",
    "UnstableStartError",
    "accuracy",
    "aggregated_metric",
    "all_contenders",
    "check_descent",
    "compare",
    "make_rule",
    "response_metric",
    "stable_start",
    "train",
]
