"""The rule of a name on the manifold of a name, and where training starts there."""

from dataclasses import replace
from typing import Any

from manifolds import Identity, ProductManifold, PullbackManifold, Retraction, Weighted
from manifolds.points import Point, several
from riemannrnn.cost.task import Task
from riemannrnn.metrics.catalogue import BY_NAME
from riemannrnn.models import Model
from riemannrnn.rules.named import make_rule, rule_with_manifold
from riemannrnn.rules.rule import Rule
from riemannrnn.training.reproducible import reproducible


@reproducible
def rule_on(task: Task, rule: str, manifold: str | None) -> tuple[Task, Rule]:
    """Return a task as it starts on a manifold known by name, and the rule of that name there.

    If a network trains more than one matrix of recurrent weights, the name stands for the manifold of all of them.

    Raises
    ------
    ValueError
        For a rule that does not go with the manifold, or an unknown one. For signs of units that the manifold does not keep.
    ManifoldError
        For a task whose weights are no point of the manifold.
    """
    if not task.network.one_matrix:
        with_manifold = rule_with_manifold(rule)
        product, weights = product_of(task.network, task.weights, str(manifold))
        return replace(task, weights=weights), make_rule(with_manifold, 0, product)
    if manifold is None:
        return task, make_rule(rule, task.network.units[0])
    entry = BY_NAME[manifold]
    made, _, task = entry.start(task, entry.retractions[0])
    return task, make_rule(rule, task.network.units[0], made)


def matched(model: Model, parameters: Point, manifold: Any) -> ProductManifold:
    """Return the manifold of all trained parameters of a model, with its factors in their order.

    Raises
    ------
    ValueError
        For a manifold that is no product, or whose factors have other names than the trained parameters.
    """
    names = list(model.named(parameters))
    factors = manifold.factors if isinstance(manifold, ProductManifold) else {}
    if set(factors) != set(names):
        missing, unknown = set(names) - set(factors), set(factors) - set(names)
        found = [f"no factor for {', '.join(sorted(missing))}"] * bool(missing) + [
            f"factors of unknown names, {', '.join(sorted(unknown))}"
        ] * bool(unknown)
        raise ValueError(
            f"{manifold} has {' and '.join(found)}; pass ProductManifold({{name: manifold}}) with a factor for each of "
            f"{', '.join(names)}"
        )
    return ProductManifold({name: factors[name] for name in names})


def product_of(
    model: Model, parameters: Point, manifold: str, retraction: Retraction | None = None
) -> tuple[ProductManifold, Point]:
    """Return the manifold of all trained parameters of a model, and the parameters where training starts on it.

    Parameters
    ----------
    model
        The network.
    parameters
        Its trained parameters, flat.
    manifold
        The manifold of all recurrent weights, by its name in `BY_NAME`. All other parameters live in Euclidean spaces, with the
        scales of the model.
    retraction
        The retraction of that manifold. Default: the first retraction of the entry.

    Raises
    ------
    ValueError
        For a manifold that depends on stimuli or does not keep the signs of units, or recurrent weights that are not a matrix.
    """
    connectivities = dict(zip(model.recurrent, model.connectivities, strict=False))
    BY_NAME[manifold].check_signs(model, parameters)
    factors: dict[str, Any] = {}
    starts: dict[str, Point] = {}
    for name, value in model.named(parameters).items():
        if several(value):
            raise ValueError(f"the parameter {name!r} has {len(value)} arrays; pass a ProductManifold with a factor for it")
        if name in model.recurrent:
            try:
                factors[name], starts[name] = BY_NAME[manifold].placed(value, retraction, connectivities[name])
            except ValueError as error:
                raise ValueError(f"the parameter {name!r}: {error}") from error
        else:
            space, scale = PullbackManifold(Identity(), tuple(value.shape), "additive"), model.scale(name)
            factors[name], starts[name] = space if scale == 1 else Weighted(space, scale), value
    return ProductManifold(factors), model.flat(starts)
