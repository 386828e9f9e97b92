"""The metrics that a path is measured under, by name."""

from collections.abc import Callable, Mapping

from manifolds import (
    Identity,
    MonotoneManifold,
    PullbackManifold,
    Resolvent,
    WeightManifold,
    left_invariant,
    right_invariant,
)

METRICS: Mapping[str, Callable[[int], WeightManifold]] = {
    "euclidean": lambda n: PullbackManifold(Identity(), n),
    "resolvent": lambda n: PullbackManifold(Resolvent(), n),
    "monotone": MonotoneManifold,
    "left-invariant": left_invariant,
    "right-invariant": right_invariant,
}
"""From the number of units. The first two are the default: ΔW1's own metric, and the paper's."""

DEFAULT_METRICS = ("euclidean", "resolvent")


def make_metric(name: str, n: int) -> WeightManifold:
    """Return the metric of that name on weights of n units.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in METRICS:
        raise ValueError(f"metric {name!r} is unknown; choose one of {', '.join(METRICS)}")
    return METRICS[name](n)
