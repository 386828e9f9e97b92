"""Riemannian geometry of weight space: charts, pullback metrics, and checks of both; knows nothing of networks."""

from manifolds.arrays import Array, PointCache
from manifolds.autograd_chart import AutogradChart
from manifolds.base import WeightManifold
from manifolds.charts import Chart, Composition, Identity, Retraction
from manifolds.checks import CheckReport, CheckResult, check_chart, check_manifold
from manifolds.errors import InvalidArrayError, ManifoldError, OutsideManifoldError, SingularPointError
from manifolds.monotone import MonotoneManifold
from manifolds.pullback import PullbackManifold
from manifolds.resolvent import Resolvent
from manifolds.signed_log import SignedLog

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
    "MonotoneManifold",
    "OutsideManifoldError",
    "PointCache",
    "PullbackManifold",
    "Resolvent",
    "Retraction",
    "SignedLog",
    "SingularPointError",
    "WeightManifold",
    "check_chart",
    "check_manifold",
]
