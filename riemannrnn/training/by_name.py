"""The rule of a name on the manifold of a name, and where training starts there."""

from riemannrnn.cost.task import Task
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.rules.named import make_rule
from riemannrnn.rules.rule import Rule
from riemannrnn.training.reproducible import reproducible


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
    entry = CATALOGUE[manifold]
    made, _, task = entry.start(task, entry.retractions[0])
    return task, make_rule(rule, task.network.n_units, made)
