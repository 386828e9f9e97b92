"""Who takes part in a comparison: every metric × retraction × solver, and the per-stimulus rules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import Array, Identity, PullbackManifold, Resolvent, Retraction, WeightManifold
from riemannrnn.learning.optimizers import MetricRule, ParallelTransport, Rule
from riemannrnn.learning.rules import DeltaW3, DeltaW4


class SameDtypeTrustRegions(TrustRegions):
    """Trust regions in the dtype of the point: pymanopt's step to the boundary is a NumPy float64, which widens float32."""

    def _truncated_conjugate_gradient(self, problem: Any, x: Array, *args: Any) -> Any:
        eta, hessian_eta, *reasons = super()._truncated_conjugate_gradient(problem, x, *args)
        xp = array_namespace(x)
        return xp.astype(eta, x.dtype, copy=False), xp.astype(hessian_eta, x.dtype, copy=False), *reasons


METRICS: dict[str, Callable[[], Any]] = {"euclidean": Identity, "resolvent": Resolvent}
"""Chart of each metric that is compared, by name."""

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "steepest-descent": SteepestDescent,
    "conjugate-gradient": ConjugateGradient,
    "trust-regions": SameDtypeTrustRegions,
}
"""The solvers of pymanopt, by name."""


@dataclass(frozen=True)
class Contender:
    """One way to learn: a metric, a retraction and a solver.

    Attributes
    ----------
    metric
        "euclidean", "resolvent", or "per-stimulus" for the rules that have a metric for each stimulus.
    retraction
        "geodesic" or "additive".
    solver
        A name in `OPTIMIZERS`, or one of the fixed-step rules "fixed-step", "momentum", "dW3", "dW4".
    """

    metric: str
    retraction: Retraction
    solver: str

    @property
    def name(self) -> str:
        """What it is called in tables, for instance "resolvent/geodesic/trust-regions"."""
        return f"{self.metric}/{self.retraction}/{self.solver}"

    def manifold(self, n: int) -> WeightManifold:
        """Return the manifold of n × n weights under this metric and retraction."""
        return PullbackManifold(METRICS[self.metric](), n, self.retraction)

    def optimizer(self, **options: Any) -> Any:
        """Return the pymanopt solver, or None for a fixed-step rule."""
        return OPTIMIZERS[self.solver](**options) if self.solver in OPTIMIZERS else None

    def rule(self, n: int) -> Rule:
        """Return the fixed-step rule."""
        if self.solver == "dW3":
            return DeltaW3()
        if self.solver == "dW4":
            return DeltaW4()
        if self.solver == "momentum":
            return ParallelTransport(self.manifold(n))
        return MetricRule(self.manifold(n), self.retraction)


def all_contenders() -> tuple[Contender, ...]:
    """Return every combination that differs from the others (Euclidean geodesics are straight: one retraction serves)."""
    geometries: list[tuple[str, Retraction]] = [
        ("euclidean", "additive"),
        ("resolvent", "geodesic"),
        ("resolvent", "additive"),
    ]
    combined = [Contender(*geometry, solver) for geometry in geometries for solver in ("fixed-step", *OPTIMIZERS)]
    momentum = [Contender("euclidean", "geodesic", "momentum"), Contender("resolvent", "geodesic", "momentum")]
    stimulus = [Contender("per-stimulus", "additive", "dW3"), Contender("per-stimulus", "additive", "dW4")]
    return (*combined, *momentum, *stimulus)


def choose_contenders(patterns: list[str]) -> tuple[Contender, ...]:
    """Return the contenders whose name contains one of the patterns; all of them for no pattern.

    Raises
    ------
    ValueError
        For a pattern that no name contains, listing the names.
    """
    everyone = all_contenders()
    for pattern in patterns:
        if not any(pattern in contender.name for contender in everyone):
            names = ", ".join(contender.name for contender in everyone)
            raise ValueError(f"no contender's name contains {pattern!r}; the names are {names}")
    return tuple(c for c in everyone if not patterns or any(pattern in c.name for pattern in patterns))
