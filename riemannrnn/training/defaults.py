"""What `train` does where a rule, a manifold or a schedule is not given."""

from collections.abc import Callable
from math import cos, inf, pi
from typing import Any, NamedTuple

from manifolds import ScaledMonotoneManifold
from riemannrnn.cost.task import Task
from riemannrnn.metrics.catalogue import GEOMETRIES
from riemannrnn.rate_network import RateNetwork
from riemannrnn.rules.named import RULES_WITH_MANIFOLD, make_rule
from riemannrnn.rules.rule import Rule
from riemannrnn.training.reproducible import reproducible

ADAM_RATE = 0.05
"""Learning rate without a rule: of Adam on `ScaledMonotoneManifold`."""

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + cos(pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "tail": lambda done: min(1.0, 10 * (1 - done)),
}
"""What the learning rate is multiplied by, as a function of the share of the run that is done.

"tail" falls in the last tenth, so that a run does not end with one long step.
"""

GROWTH = 3.0
"""Of the scales on the default manifold."""

LONGEST_STEP = 0.35
"""In the metric, under the default rule."""


class Defaults(NamedTuple):
    """What `train` does where these are not given.

    The manifold is given by name, and is None for rules that take none. The learning rate is None where a range test finds it.
    """

    rule: str | Rule
    manifold: str | None
    learning_rate: float | None
    schedule: str
    longest_step: float


def defaults(rule: str | Rule | None = None, manifold: Any = None, learning_rate: float | None = None) -> Defaults:
    """Return what `train` chooses for a rule, a manifold and a learning rate, any of which may be None."""
    plain = rule is None and manifold is None
    name = rule or ("adam" if plain else "geodesic_flow")
    if plain:
        return Defaults(name, "scaled-monotone", ADAM_RATE, "cosine", LONGEST_STEP)
    return Defaults(
        name, "resolvent" if name in RULES_WITH_MANIFOLD else None, None, "constant" if learning_rate else "tail", inf
    )


@reproducible
def rule_on(task: Task, rule: str, manifold: str | None) -> tuple[Task, Rule]:
    """Return a task as it starts on a manifold known by name, and the rule of that name there.

    Raises
    ------
    ValueError
        For a rule that does not go with the manifold, or an unknown one.
    ManifoldError
        For a task whose weights are no point of the manifold.
    """
    if manifold is None:
        return task, make_rule(rule, task.network.n_units)
    retraction = GEOMETRIES[manifold].retractions[0]
    made, _, task = GEOMETRIES[manifold].start(task, retraction)
    if isinstance(made, ScaledMonotoneManifold):
        made = usual_manifold(task.network)
    return task, make_rule(rule, task.network.n_units, made)


def usual_manifold(network: RateNetwork) -> ScaledMonotoneManifold:
    """Return the manifold of `train` without a rule."""
    return ScaledMonotoneManifold(network.n_units, GROWTH)
