"""Riemannian geometry of weight space: charts and metrics, their manifolds, and checks of all; knows nothing of networks."""

from manifolds.arrays import Array, PointCache
from manifolds.autograd_chart import AutogradChart
from manifolds.base import WeightManifold
from manifolds.charts import Chart, Composition, Identity, Retraction
from manifolds.checks import CheckReport, CheckResult, check_chart, check_manifold
from manifolds.errors import ConvergenceError, InvalidArrayError, ManifoldError, OutsideManifoldError, SingularPointError
from manifolds.kronecker import InvariantManifold, gain, left_invariant, right_invariant
from manifolds.metric import MetricManifold
from manifolds.pullback import PullbackManifold
from manifolds.resolvent import Resolvent

__all__ = [
    "Array",
    "AutogradChart",
    "Chart",
    "CheckReport",
    "CheckResult",
    "Composition",
    "ConvergenceError",
    "Identity",
    "InvalidArrayError",
    "InvariantManifold",
    "ManifoldError",
    "MetricManifold",
    "OutsideManifoldError",
    "PointCache",
    "PullbackManifold",
    "Resolvent",
    "Retraction",
    "SingularPointError",
    "WeightManifold",
    "check_chart",
    "check_manifold",
    "gain",
    "left_invariant",
    "right_invariant",
]
