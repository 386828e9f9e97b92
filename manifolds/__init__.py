"""Riemannian geometry of weight space: charts, metrics, subspaces, products, and numerical checks; independent of networks.

`riemannrnn.metrics.catalogue` is the table of all manifolds by name.
"""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from manifolds.arrays import Array
    from manifolds.autograd_chart import AutogradChart
    from manifolds.base import WeightManifold
    from manifolds.charts import Chart, Composition, Identity, Retraction
    from manifolds.checks import check_chart, check_manifold
    from manifolds.convolutional import ConvolutionalMonotone
    from manifolds.errors import (
        ConvergenceError,
        InvalidArrayError,
        ManifoldError,
        NoGeodesicError,
        OutsideManifoldError,
        SingularPointError,
    )
    from manifolds.fixed_rank import FixedRank
    from manifolds.invariant import InvariantManifold, gain, left_invariant, right_invariant
    from manifolds.metric import MetricManifold
    from manifolds.monotone import MonotoneManifold
    from manifolds.parameterization import Parameterization
    from manifolds.points import Point, PointCache
    from manifolds.product import ProductManifold
    from manifolds.pullback import PullbackManifold
    from manifolds.resolvent import Resolvent
    from manifolds.scaled_monotone import ScaledMonotoneManifold
    from manifolds.signed_log import SignedLog
    from manifolds.slopes import CheckReport, CheckResult
    from manifolds.spectral_monotone import SpectralMonotone
    from manifolds.spectral_resolvent import SpectralResolvent
    from manifolds.subspace import SubspaceManifold
    from manifolds.subspaces import Subspace, circulant, equivariant, mask, symmetric, tied, toeplitz, zero_diagonal
    from manifolds.weighted import Weighted
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = [
    "Array",
    "AutogradChart",
    "Chart",
    "CheckReport",
    "CheckResult",
    "Composition",
    "ConvergenceError",
    "ConvolutionalMonotone",
    "FixedRank",
    "Identity",
    "InvalidArrayError",
    "InvariantManifold",
    "ManifoldError",
    "MetricManifold",
    "MonotoneManifold",
    "NoGeodesicError",
    "OutsideManifoldError",
    "Parameterization",
    "Point",
    "PointCache",
    "ProductManifold",
    "PullbackManifold",
    "Resolvent",
    "Retraction",
    "ScaledMonotoneManifold",
    "SignedLog",
    "SingularPointError",
    "SpectralMonotone",
    "SpectralResolvent",
    "Subspace",
    "SubspaceManifold",
    "WeightManifold",
    "Weighted",
    "check_chart",
    "check_manifold",
    "circulant",
    "equivariant",
    "gain",
    "left_invariant",
    "mask",
    "right_invariant",
    "symmetric",
    "tied",
    "toeplitz",
    "zero_diagonal",
]
