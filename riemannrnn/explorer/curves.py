"""Curves in weight space: geodesics, balls, and paths of learning rules, as lists of weights with the reason of their end."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import hypot, inf, nan, pi

import numpy as np

from manifolds import Array, ManifoldError, SubspaceManifold, WeightManifold, gain
from manifolds.arrays import frobenius_norm
from riemannrnn.analysis.landscape import weights_at
from riemannrnn.analysis.path_geometry import FAILURES
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.explorer.planes import Setting
from riemannrnn.metrics.aggregated import aggregated_metric
from riemannrnn.metrics.catalogue import CATALOGUE, DAMPING
from riemannrnn.metrics.response import response_metric
from riemannrnn.rules import Rule, make_rule
from riemannrnn.rules.named import OWN_METRIC, RULES_WITH_MANIFOLD

OWN = "own"
"""The name of the user's manifold."""

MEASURED = ("gain", "response", "aggregated")
"""Manifolds of the catalogue with a metric that depends on the network."""

MANIFOLDS = (*(name for name, entry in CATALOGUE.items() if entry.make is not None), *MEASURED)
"""Manifolds of the catalogue with all weights, or an open set of them, as points. Only these are drawn on the planes."""

RULES = ("dW1", "dW2", *OWN_METRIC)
"""Rules with their own metric."""

FAR = 1e6
"""Weights beyond this are not drawn."""

FAILED = (*FAILURES, FixedPointError, ValueError)
"""Errors that end a curve with a reason."""


@dataclass(frozen=True)
class Curve:
    """Weights along a curve, each of shape (n, n), and why it ended early, if it did."""

    points: list[Array]
    reason: str = ""


@dataclass(frozen=True)
class RulePath:
    """Steps of a learning rule.

    Attributes
    ----------
    rule
        Its name: "dW1", or "adam/resolvent".
    points
        W after each step, beginning with the start.
    losses
        J at each point.
    reason
        Why it ended early.
    memory
        The memory of the rule at the last point.
    """

    rule: str
    points: list[Array]
    losses: list[float]
    reason: str = ""
    memory: object = field(default=None, repr=False)


def manifold_of(name: str, setting: Setting, own: WeightManifold | None = None) -> WeightManifold:
    """Return a manifold of the catalogue, or the user's manifold, for the weights of a network.

    Raises
    ------
    ValueError
        For an unknown name, or for the user's manifold if there is none.
    """
    n = setting.network.n_units
    if name == OWN and own is not None:
        return own
    if name not in MANIFOLDS:
        raise ValueError(f"manifold {name!r} is not offered here; choose one of {', '.join(MANIFOLDS)}")
    make = CATALOGUE[name].make
    if make is not None:
        return make(n, "geodesic")
    if name == "response":
        metric: WeightManifold = response_metric(setting.cost, DAMPING * 0.01)
    elif name == "aggregated":
        metric = aggregated_metric(setting.cost)
    else:
        metric = gain(setting.cost.at(setting.plane.weights(0.0, 0.0)).gains.mean(axis=0), "geodesic")
    return metric


@dataclass(frozen=True, eq=False)
class Shown:
    """A manifold in a picture.

    Attributes
    ----------
    manifold
        The manifold.
    followed, joined
        Whether its geodesics from a point, and between two points, are computed fast enough to be drawn.
    """

    manifold: WeightManifold
    followed: bool
    joined: bool


def shown(name: str, setting: Setting, own: WeightManifold | None = None) -> Shown:
    """Return a manifold, and which of its geodesics are drawn; raises as `manifold_of` does.

    Logarithms found by shooting are drawn only for two units. Numerically integrated geodesics are not drawn.
    """
    manifold = manifold_of(name, setting, own)
    closed = bool(manifold.closed_logarithm)
    followed = closed or (name in CATALOGUE and name not in MEASURED)
    return Shown(manifold, followed, closed or (followed and setting.small))


def learning(manifold: WeightManifold, setting: Setting) -> WeightManifold:
    """Return the manifold of the trained weights, with the induced metric."""
    return manifold if setting.subspace is None else SubspaceManifold(manifold, setting.subspace)


def geodesic(metric: Shown, start: Array, end: Array, count: int) -> Curve:
    """Return the shortest geodesic between two points, as far as it can be followed."""
    if not metric.joined:
        return Curve([], "its geodesic has no closed form, and is not drawn")
    manifold = metric.manifold
    try:
        velocity = manifold.log(start, end)
        path = manifold.geodesic(start, velocity)
    except FAILED as error:
        return Curve([], str(error))
    points = []
    for time in np.linspace(0, 1, count):
        try:
            points.append(path(time))
        except FAILED as error:
            return Curve(points, str(error))
    return Curve(points)


def through_coordinates(setting: Setting, start: Array, velocity: Array, times: Array) -> list[Array]:
    """Return φ⁻¹(φ(W) + t Dφ[V]) in the resolvent chart, also beyond the edge, where W passes through infinity.

    Parameters
    ----------
    setting
        The network; its resolvent plane contains the chart.
    start, velocity
        W and V.
    times
        t, shape (count,).
    """
    chart = setting.resolvent_plane.chart
    try:
        coordinates, change = chart.value(start), chart.differential(start, velocity)
    except FAILED:
        return []
    return [weights_at(chart, coordinates + time * change) for time in times]


def ball(metric: Shown, setting: Setting, centre: Array, radius: float, count: int) -> Curve:
    """Return the ends of geodesics of one length that start in the plane, or of tangent vectors if geodesics are not known.

    The directions are a circle of the metric on the plane, by the Cholesky factor of its Gram matrix.
    """
    basis, manifold = (setting.plane.first, setting.plane.second), metric.manifold
    try:
        gram = np.array([[manifold.inner_product(centre, u, v) for v in basis] for u in basis])
        factor = np.linalg.cholesky(gram)
        angles = np.linspace(0, 2 * pi, count)
        circle = np.linalg.solve(factor.T, radius * np.array([np.cos(angles), np.sin(angles)])).T
        vectors = [u * basis[0] + v * basis[1] for u, v in circle]
    except FAILED as error:
        return Curve([], str(error))
    return Curve([_end(metric, centre, vector) for vector in vectors])


def _end(metric: Shown, centre: Array, vector: Array) -> Array:
    """Return the end of a geodesic, NaN beyond the edge, or W + V if geodesics are not drawn."""
    if not metric.followed:
        return centre + vector
    try:
        end: Array = metric.manifold.exp(centre, vector)
    except ManifoldError:
        return np.full_like(centre, nan)
    return end if frobenius_norm(end) < FAR else np.full_like(centre, nan)


def begin(rule: str, setting: Setting, start: Array) -> RulePath:
    """Return the path of a rule before its first step."""
    try:
        return RulePath(rule, [start], [setting.cost(start)])
    except FAILED as error:
        return RulePath(rule, [start], [inf], str(error))


def advance(path: RulePath, setting: Setting, rate: float, steps: int, own: WeightManifold | None = None) -> RulePath:
    """Return a path with more steps of its rule.

    A rule with a metric on all weights, such as ΔW3, takes the projection of its step onto the trained weights.

    Parameters
    ----------
    path
        The path so far.
    setting
        The network.
    rate
        η.
    steps
        Number of further steps.
    own
        The user's manifold, for rules on it.
    """
    if path.reason:
        return path
    try:
        rule = _rule(path.rule, setting, own)
    except FAILED as error:
        return replace(path, reason=str(error))
    points, losses, memory, reason = list(path.points), list(path.losses), path.memory, ""
    for _ in range(steps):
        try:
            evaluation = setting.cost.at(points[-1])
            velocity, remembered = rule.velocity(points[-1], evaluation, rate, memory)
            if setting.subspace is not None:
                velocity = setting.subspace.project(velocity)
            following = rule.move(points[-1], velocity)
            memory = rule.carry(points[-1], velocity, remembered)
            loss = setting.cost(following) if frobenius_norm(following) < FAR else inf
        except FAILED as error:
            reason = str(error)
            break
        points.append(following)
        losses.append(loss)
        if not np.isfinite(loss):
            reason = "no fixed point is found for some stimulus after this step"
            break
    return RulePath(path.rule, points, losses, reason, memory)


def _rule(name: str, setting: Setting, own: WeightManifold | None) -> Rule:
    """Return a rule for the trained weights."""
    n = setting.network.n_units
    kind, _, manifold = name.partition("/")
    if kind in RULES_WITH_MANIFOLD:
        return make_rule(kind, n, learning(manifold_of(manifold or "resolvent", setting, own), setting))
    if kind in ("dW1", "dW2"):
        of = {"dW1": "euclidean", "dW2": "resolvent"}[kind]
        return make_rule("descent", n, learning(manifold_of(of, setting), setting))
    return make_rule(kind, n)


def refused_step(setting: Setting, point: Array, rate: float, times: Array) -> list[Array]:
    """Return W + t (step) by the formula of ΔW2, also beyond the edge at which the geodesic ends.

    Parameters
    ----------
    setting
        The network.
    point
        W.
    rate
        η.
    times
        t, shape (count,).
    """
    rule = _rule("dW2", setting, None)
    try:
        velocity, _ = rule.velocity(point, setting.cost.at(point), rate)
    except FAILED:
        return []
    return through_coordinates(setting, point, velocity, times)


def rule_names(own: bool = False) -> list[str]:
    """Return the rules of the playground by name; a rule that needs a manifold has one entry for each manifold."""
    return [*RULES, *(f"{rule}/{name}" for rule in RULES_WITH_MANIFOLD for name in [*MANIFOLDS, *([OWN] if own else [])])]


def distances(setting: Setting, points: Sequence[Array]) -> list[float]:
    """Return the length of each step in the picture."""
    places = [setting.place(point) for point in points]
    return [hypot(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(places)]
