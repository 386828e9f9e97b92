"""Each learning rule by name."""

from typing import Any

from manifolds import Identity, PullbackManifold, Resolvent, WeightManifold
from riemannrnn.rules.adam import Adam
from riemannrnn.rules.descent import MetricRule
from riemannrnn.rules.momentum import ParallelTransport
from riemannrnn.rules.per_stimulus import DeltaW3, DeltaW4
from riemannrnn.rules.rule import Rule


def _euclidean(n: int) -> WeightManifold:
    return PullbackManifold(Identity(), n)


def _resolvent(n: int) -> WeightManifold:
    return PullbackManifold(Resolvent(), n)


RULES_WITH_MANIFOLD = ("geodesic_flow", "parallel_transport", "adam")
"""The rules known by name that take a manifold."""

RULES: tuple[str, ...] = ("dW1", "dW2", "dW3", "dW4", *RULES_WITH_MANIFOLD)
"""The rules known by name."""


def make_rule(name: "str | Rule", n: int, manifold: Any = None) -> Rule:
    """Return the rule of that name for a network of n units.

    Parameters
    ----------
    name
        One of `RULES`, or a rule, which is returned.
    n
        Number of units.
    manifold
        The metric of "geodesic_flow", "parallel_transport" and "adam"; default: the resolvent metric. No other rule takes
        one.

    Raises
    ------
    ValueError
        For an unknown name, a manifold given to a rule that has its own, or one given by name.
    """
    if isinstance(manifold, str):
        raise ValueError(f"manifold = {manifold!r} is a name; pass a manifold, such as PullbackManifold(Resolvent(), {n})")
    if isinstance(name, Rule):
        if manifold is not None:
            raise ValueError(f"the rule {name.name} is made already; give the manifold to the rule")
        return name
    if name not in RULES:
        raise ValueError(f"rule {name!r} is unknown; choose one of {', '.join(RULES)}")
    if name.startswith("dW") and manifold is not None:
        raise ValueError(f"rule {name!r} has a metric of its own; use 'geodesic_flow' to choose the manifold")
    if name == "dW1":
        return MetricRule(_euclidean(n))
    if name == "dW2":
        return MetricRule(_resolvent(n))
    if name == "dW3":
        return DeltaW3()
    if name == "dW4":
        return DeltaW4()
    chosen = manifold or _resolvent(n)
    return {"geodesic_flow": MetricRule, "parallel_transport": ParallelTransport, "adam": Adam}[name](chosen)
