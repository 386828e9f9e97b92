"""Riemannian geometry of weight space: charts, pullback metrics, and checks of both; knows nothing of networks."""

from manifolds.arrays import Array, PointCache
from manifolds.autograd_chart import AutogradChart
from manifolds.base import WeightManifold
from manifolds.charts import Chart, Composition, Identity, Retraction
from manifolds.checks import CheckReport, CheckResult, check_chart, check_manifold
from manifolds.errors import InvalidArrayError, ManifoldError, OutsideManifoldError, SingularPointError
from manifolds.pullback import PullbackManifold
from manifolds.resolvent import Resolvent

__all__ = [
    "Array",
    "AutogradChart",
    "Chart",
    "CheckReport",
    "CheckResult",
    "Composition",
    "Identity",
    "InvalidArrayError",
    "ManifoldError",
    "OutsideManifoldError",
    "PointCache",
    "PullbackManifold",
    "Resolvent",
    "Retraction",
    "SingularPointError",
    "WeightManifold",
    "check_chart",
    "check_manifold",
]
