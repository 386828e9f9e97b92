"""Who takes part in a comparison: every metric × retraction × solver, and the per-stimulus rules."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from pymanopt.optimizers import SteepestDescent

from manifolds import Retraction
from riemannrnn.comparison.line_search import BoundedLineSearcher
from riemannrnn.comparison.same_dtype import SameDtypeConjugateGradient, SameDtypeTrustRegions
from riemannrnn.cost.task import Task
from riemannrnn.metrics.catalogue import CATALOGUE, Start
from riemannrnn.rules.descent import Descent
from riemannrnn.rules.momentum import Momentum
from riemannrnn.rules.paper import DeltaW3, DeltaW4
from riemannrnn.rules.rule import Rule
from riemannrnn.settings import SettingError, unknown

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "steepest-descent": partial(SteepestDescent, line_searcher=BoundedLineSearcher()),
    "conjugate-gradient": partial(SameDtypeConjugateGradient, line_searcher=BoundedLineSearcher()),
    "trust-regions": SameDtypeTrustRegions,
}
"""The solvers of pymanopt, by name; each run copies the line searcher, which remembers its last step."""

PER_STIMULUS = ("dW3", "dW4")
FIXED_STEP = ("descent", "momentum", *PER_STIMULUS)
"""The rules whose steps have a learning rate, among them those with a metric for each stimulus."""

PAPER = ("euclidean", "resolvent")
"""The metrics of the paper."""


@dataclass(frozen=True)
class Contender:
    """One way to learn: a metric, a retraction and a solver.

    Attributes
    ----------
    metric
        A name in `CATALOGUE`, or "per-stimulus" for the rules that have a metric for each stimulus.
    retraction
        "geodesic" or "additive".
    solver
        A name in `OPTIMIZERS`, or one of the fixed-step rules "descent", "momentum", "dW3", "dW4".

    Raises
    ------
    SettingError
        For unknown names, or those that do not go together.
    """

    metric: str
    retraction: Retraction
    solver: str

    def __post_init__(self) -> None:
        known = {
            "metric": (*CATALOGUE, "per-stimulus"),
            "retraction": get_args(Retraction),
            "solver": (*OPTIMIZERS, *FIXED_STEP),
        }
        for field, names in known.items():
            if getattr(self, field) not in names:
                raise unknown(f"{field} = {getattr(self, field)!r}", getattr(self, field), names)
        if (self.metric == "per-stimulus") != (self.solver in PER_STIMULUS):
            raise SettingError(
                f"{self.name}: the rules {' and '.join(PER_STIMULUS)}, and no others, have a metric per-stimulus"
            )

    @property
    def name(self) -> str:
        """What it is called in tables, for instance "resolvent/geodesic/trust-regions"."""
        return f"{self.metric}/{self.retraction}/{self.solver}"

    def begin(self, task: Task) -> Start:
        """Return the manifold under this metric and retraction, and where the task starts on it."""
        known = CATALOGUE.get(self.metric, CATALOGUE["euclidean"])  # the rules of a stimulus each take straight steps
        return known.start(task, self.retraction)

    def optimizer(self, **options: Any) -> Any:
        """Return the pymanopt solver, or None for a fixed-step rule."""
        return OPTIMIZERS[self.solver](**options) if self.solver in OPTIMIZERS else None

    def rule(self, manifold: Any) -> Rule:
        """Return the fixed-step rule on a manifold."""
        if self.solver == "dW3":
            return DeltaW3()
        if self.solver == "dW4":
            return DeltaW4()
        if self.solver == "momentum":
            return Momentum(manifold)
        return Descent(manifold)


def contenders_on(names: Iterable[str]) -> tuple[Contender, ...]:
    """Return every solver on each of these manifolds, with every retraction that is worth comparing.

    Raises
    ------
    ValueError
        For an unknown name, listing those known.
    """
    found: list[Contender] = []
    for name in names:
        if name not in CATALOGUE:
            raise ValueError(f"manifold {name!r} is unknown; choose among {', '.join(CATALOGUE)}")
        geometry = CATALOGUE[name]
        optimizers = [solver for solver in OPTIMIZERS if geometry.second_order or solver != "trust-regions"]
        found += [Contender(name, retraction, s) for retraction in geometry.retractions for s in ("descent", *optimizers)]
    return tuple(found)


def all_contenders() -> tuple[Contender, ...]:
    """Return the metrics of the paper with every solver, its rules, momentum, and one solver on every other manifold."""
    momentum = [Contender("euclidean", "geodesic", "momentum"), Contender("resolvent", "geodesic", "momentum")]
    stimulus = [Contender("per-stimulus", "additive", "dW3"), Contender("per-stimulus", "additive", "dW4")]
    others = [each for each in contenders_on(CATALOGUE) if each.metric not in PAPER and each.solver == "conjugate-gradient"]
    return (*contenders_on(PAPER), *momentum, *stimulus, *others)


def choose_contenders(patterns: Sequence[str], manifolds: Sequence[str] = ()) -> tuple[Contender, ...]:
    """Return the contenders on these manifolds, or else all, whose name contains one of the patterns, if there are any.

    Raises
    ------
    ValueError
        For an unknown manifold, or a pattern that no name contains, listing the names.
    """
    everyone = contenders_on(dict.fromkeys(manifolds)) if manifolds else all_contenders()
    for pattern in patterns:
        if not any(pattern in contender.name for contender in everyone):
            names = ", ".join(contender.name for contender in everyone)
            raise ValueError(f"no contender's name contains {pattern!r}; the names are {names}")
    return tuple(c for c in everyone if not patterns or any(pattern in c.name for pattern in patterns))
