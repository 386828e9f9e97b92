"""The learning rules by name."""

from collections.abc import Callable
from typing import Any

from manifolds import Identity, PullbackManifold, Resolvent, WeightManifold
from riemannrnn.rules.adam import Adam
from riemannrnn.rules.descent import Descent
from riemannrnn.rules.kfac import KFAC
from riemannrnn.rules.momentum import Momentum
from riemannrnn.rules.paper import DeltaW3, DeltaW4
from riemannrnn.rules.rule import Rule


def _euclidean(n: int) -> WeightManifold:
    return PullbackManifold(Identity(), n)


def _resolvent(n: int) -> WeightManifold:
    return PullbackManifold(Resolvent(), n)


OWN_METRIC: dict[str, Callable[[], Rule]] = {"dW3": DeltaW3, "dW4": DeltaW4, "kfac": KFAC}
"""The named rules with their own metric."""

RULES_WITH_MANIFOLD = ("descent", "momentum", "adam")
"""The named rules that use a given manifold."""

RULES: tuple[str, ...] = ("dW1", "dW2", *OWN_METRIC, *RULES_WITH_MANIFOLD)
"""The names of all rules."""


def rule_with_manifold(name: str) -> str:
    """Return the name of a rule that uses a given manifold, and can therefore train any number of parameters.

    Raises
    ------
    ValueError
        For a rule that is a formula for the recurrent weights of a single dense layer.
    """
    if name not in RULES_WITH_MANIFOLD:
        raise ValueError(
            f"rule {name!r} is a formula for the recurrent weights of a single dense layer, and this network trains more; "
            f"choose one of {', '.join(RULES_WITH_MANIFOLD)}"
        )
    return name


def make_rule(name: "str | Rule", n: int, manifold: Any = None) -> Rule:
    """Return the rule of that name for a network of n units.

    Parameters
    ----------
    name
        One of `RULES`, or a rule, which is returned.
    n
        Number of units.
    manifold
        The metric of "descent", "momentum" and "adam". Default: the resolvent metric. Other rules have their own metric.

    Raises
    ------
    ValueError
        For an unknown name, a manifold for a rule with its own metric, or a manifold given by name.
    """
    if isinstance(manifold, str):
        raise ValueError(f"manifold = {manifold!r} is a name; pass a manifold, such as PullbackManifold(Resolvent(), {n})")
    if isinstance(name, Rule):
        if manifold is not None:
            raise ValueError(f"the rule {name.name} is made already; give the manifold to the rule")
        return name
    if name not in RULES:
        raise ValueError(f"rule {name!r} is unknown; choose one of {', '.join(RULES)}")
    if name not in RULES_WITH_MANIFOLD and manifold is not None:
        raise ValueError(f"rule {name!r} has a metric of its own; use 'descent' to choose the manifold")
    if name in OWN_METRIC:
        return OWN_METRIC[name]()
    if name == "dW1":
        return Descent(_euclidean(n))
    chosen = manifold or _resolvent(n)
    return {"dW2": Descent, "descent": Descent, "momentum": Momentum, "adam": Adam}[name](chosen)
