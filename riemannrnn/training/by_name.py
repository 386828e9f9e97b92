"""The manifolds and rules that names stand for, and the manifold of `train` without a rule."""

from manifolds import ScaledMonotoneManifold
from riemannrnn.cost.task import Task
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.rate_network import RateNetwork
from riemannrnn.rules.named import make_rule
from riemannrnn.rules.rule import Rule
from riemannrnn.training.reproducible import reproducible

GROWTH = 3.0
"""Growth of the scales on the manifold of `train` without a rule."""


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
    retraction = CATALOGUE[manifold].retractions[0]
    made, _, task = CATALOGUE[manifold].start(task, retraction)
    if isinstance(made, ScaledMonotoneManifold):
        made = usual_manifold(task.network)
    return task, make_rule(rule, task.network.n_units, made)


def usual_manifold(network: RateNetwork) -> ScaledMonotoneManifold:
    """Return the manifold of `train` without a rule."""
    return ScaledMonotoneManifold(network.n_units, GROWTH)
