"""The contenders of a comparison: every manifold × retraction × optimiser, and the per-stimulus rules."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, get_args

from manifolds import Retraction
from manifolds.deferred import pymanopt
from riemannrnn.comparison.line_search import BoundedLineSearcher
from riemannrnn.comparison.same_dtype import SameDtypeConjugateGradient, SameDtypeTrustRegions
from riemannrnn.cost.task import Task
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.metrics.entry import Start
from riemannrnn.models import Model
from riemannrnn.rules.descent import Descent
from riemannrnn.rules.momentum import Momentum
from riemannrnn.rules.paper import DeltaW3, DeltaW4
from riemannrnn.rules.rule import Rule
from riemannrnn.settings import SettingError, unknown
from riemannrnn.training.by_name import product_of

OPTIMISERS: dict[str, Callable[..., Any]] = {
    "steepest-descent": partial(pymanopt.optimizers.SteepestDescent, line_searcher=BoundedLineSearcher()),
    "conjugate-gradient": partial(SameDtypeConjugateGradient, line_searcher=BoundedLineSearcher()),
    "trust-regions": SameDtypeTrustRegions,
}
"""pymanopt's optimisers by name; each run copies the line searcher, which remembers its last step."""

PER_STIMULUS = ("dW3", "dW4")
FIXED_STEP = ("descent", "momentum", *PER_STIMULUS)
"""The rules with a learning rate, including the rules with one metric for each stimulus."""

PAPER = ("euclidean", "resolvent")
"""The manifolds of the paper."""


@dataclass(frozen=True)
class Contender:
    """One way to learn: a manifold, a retraction and an optimiser or a rule.

    Attributes
    ----------
    manifold
        A name in `CATALOGUE`, or "per-stimulus" for the rules with one metric for each stimulus.
    retraction
        "geodesic" or "additive".
    optimiser
        A name in `OPTIMISERS`, or one of the rules "descent", "momentum", "dW3", "dW4".

    Raises
    ------
    SettingError
        For unknown names, or names that do not go together.
    """

    manifold: str
    retraction: Retraction
    optimiser: str

    def __post_init__(self) -> None:
        known = {
            "manifold": (*CATALOGUE, "per-stimulus"),
            "retraction": get_args(Retraction),
            "optimiser": (*OPTIMISERS, *FIXED_STEP),
        }
        for field, names in known.items():
            if getattr(self, field) not in names:
                raise unknown(f"{field} = {getattr(self, field)!r}", getattr(self, field), names)
        if (self.manifold == "per-stimulus") != (self.optimiser in PER_STIMULUS):
            raise SettingError(
                f"{self.name}: the rules {' and '.join(PER_STIMULUS)}, and no others, go with the manifold per-stimulus"
            )

    @property
    def name(self) -> str:
        """Name in tables, for instance "resolvent/geodesic/trust-regions"."""
        return f"{self.manifold}/{self.retraction}/{self.optimiser}"

    def suits(self, network: Model) -> bool:
        """Tell whether the contender can train a network.

        Any contender trains the recurrent weights of a single layer. If more is trained, each matrix of recurrent weights has
        its own manifold. Rules and manifolds with formulas for the stimuli of one layer are then left out.
        """
        return network.one_matrix or (self.manifold in CATALOGUE and CATALOGUE[self.manifold].begin is None)

    def begin(self, task: Task) -> Start:
        """Return the manifold with this retraction, and the start of the task on it.

        If the network trains more than one matrix of recurrent weights, the result is a product: this manifold for all
        recurrent weights, and Euclidean spaces for the other parameters.
        """
        if not task.network.one_matrix:
            product, weights = product_of(task.network, task.weights, self.manifold, self.retraction)
            return Start(product, product.point_at(weights), replace(task, weights=weights))
        known = CATALOGUE.get(self.manifold, CATALOGUE["euclidean"])  # the per-stimulus rules take straight steps
        return known.start(task, self.retraction)

    def make_optimiser(self, **options: Any) -> Any:
        """Return the optimiser of pymanopt, or None for a rule."""
        return OPTIMISERS[self.optimiser](**options) if self.optimiser in OPTIMISERS else None

    def make_rule(self, manifold: Any) -> Rule:
        """Return the rule on a manifold."""
        if self.optimiser == "dW3":
            return DeltaW3()
        if self.optimiser == "dW4":
            return DeltaW4()
        if self.optimiser == "momentum":
            return Momentum(manifold)
        return Descent(manifold)


PARTS = tuple(each.name for each in fields(Contender))
"""The parts of a contender, in the order of its name."""


def contenders_on(names: Iterable[str]) -> tuple[Contender, ...]:
    """Return every optimiser on each of these manifolds, with every retraction in the catalogue's comparison.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known names.
    """
    found: list[Contender] = []
    for name in names:
        if name not in CATALOGUE:
            raise ValueError(f"manifold {name!r} is unknown; choose among {', '.join(CATALOGUE)}")
        geometry = CATALOGUE[name]
        optimisers = [each for each in OPTIMISERS if geometry.second_order or each != "trust-regions"]
        found += [Contender(name, retraction, each) for retraction in geometry.retractions for each in ("descent", *optimisers)]
    return tuple(found)


def all_contenders() -> tuple[Contender, ...]:
    """Return every optimiser on the manifolds of the paper, the rules, and one optimiser on every other manifold."""
    momentum = [Contender("euclidean", "geodesic", "momentum"), Contender("resolvent", "geodesic", "momentum")]
    stimulus = [Contender("per-stimulus", "additive", "dW3"), Contender("per-stimulus", "additive", "dW4")]
    elsewhere = contenders_on(name for name in CATALOGUE if name not in PAPER)
    others = [each for each in elsewhere if each.optimiser == "conjugate-gradient"]
    return (*contenders_on(PAPER), *momentum, *stimulus, *others)


def choose_contenders(patterns: Sequence[str], manifolds: Sequence[str] = ()) -> tuple[Contender, ...]:
    """Return the contenders on these manifolds, or all, with a name that contains one of the patterns, if there are any.

    Raises
    ------
    ValueError
        For an unknown manifold, or a pattern that no name contains; the message lists the names.
    """
    everyone = contenders_on(dict.fromkeys(manifolds)) if manifolds else all_contenders()
    for pattern in patterns:
        if not any(pattern in contender.name for contender in everyone):
            names = ", ".join(contender.name for contender in everyone)
            raise ValueError(f"no contender's name contains {pattern!r}; the names are {names}")
    return tuple(c for c in everyone if not patterns or any(pattern in c.name for pattern in patterns))


def suiting(contenders: Iterable[Contender], network: Model) -> tuple[tuple[Contender, ...], str]:
    """Return the contenders that can train a network, and a sentence that names the others; empty if there are none.

    Raises
    ------
    ValueError
        If no contender can train it.
    """
    everyone = tuple(contenders)
    kept = tuple(each for each in everyone if each.suits(network))
    others = [each.name for each in everyone if not each.suits(network)]
    if not others:
        return kept, ""
    sentence = (
        f"Left out, because they are made for the recurrent weights of a single layer and this network trains more: "
        f"{', '.join(others)}."
    )
    if not kept:
        raise ValueError(f"{sentence} No contender is left; choose other manifolds, such as monotone or resolvent")
    return kept, sentence
