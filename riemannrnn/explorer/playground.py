"""The playground: its state, and its picture as panels, figures and sentences, without widgets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from manifolds import Array, WeightManifold
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.explorer.curves import (
    MANIFOLDS,
    OWN,
    Curve,
    RulePath,
    advance,
    ball,
    begin,
    geodesic,
    refused_step,
    rule_names,
    shown,
    through_coordinates,
)
from riemannrnn.explorer.planes import ACTIVATIONS, NETWORKS, Setting, setting
from riemannrnn.explorer.state import State, bounded
from riemannrnn.explorer.surveys import Ground
from riemannrnn.explorer.verdicts import RuleRow, colour_of, manifold_label, rule_label, rule_row, told
from riemannrnn.plots.panels import Dots, Line, Mark, Panel

CURVE_POINTS, BALL_POINTS, COARSER = 61, 49, 3
"""Points of a geodesic and of the outline of a ball; a third of them while the start is dragged."""

BALLS = 4
"""Balls along each side of a picture."""

HURRY = 3
"""Steps of each rule that are computed while the start is dragged."""

MOST_DOTS = 41
"""Longest path of a rule with marked points; for a longer path only the line is drawn."""

KINDS = {"descent": "solid", "momentum": "dashed", "adam": "dotted"}
"""Line styles of the rules that need a manifold."""


@dataclass(frozen=True)
class Playground(State):
    """The state of the playground.

    Attributes
    ----------
    lesson
        The lesson with the visible text.
    network, activation, correlation, units, seed, target
        As for `planes.setting`.
    start, end
        Positions in the picture, (horizontal, vertical).
    rate, steps
        η, and the number of visible steps of each rule.
    radius
        Radius of the balls.
    rules, manifolds
        The visible rules and manifolds.
    in_resolvent
        Whether the picture in A is shown.
    """

    lesson: str = "cliff"
    network: str = bounded("chain", choices=tuple(NETWORKS))
    activation: str = bounded("identity", choices=ACTIVATIONS)
    correlation: float = bounded(0.0, -0.95, 0.95)
    units: int = bounded(100, 3, 400)
    seed: int = bounded(0, 0, 10**6)
    target: tuple[float, float] = (0.5, 0.6)
    start: tuple[float, float] = (0.8, -1.0)
    end: tuple[float, float] = (-1.0, 0.5)
    rate: float = bounded(0.2, 1e-6, 1e4)
    steps: int = bounded(30, 0, 2000)
    radius: float = bounded(0.2, 0.001, 10.0)
    rules: tuple[str, ...] = bounded(("dW1", "dW2"), choices=tuple(rule_names(own=True)))
    manifolds: tuple[str, ...] = bounded(("euclidean", "resolvent"), choices=(*MANIFOLDS, OWN))
    in_resolvent: bool = True

    def setting(self) -> Setting:
        """Return the network and its plane."""
        target = (0.0, 0.0) if self.network == "large" else self.target
        units = self.units if self.network == "large" else 2
        return setting(self.network, self.activation, self.correlation, units, self.seed, target)


@dataclass(frozen=True)
class PlaygroundScene:
    """A picture of the playground.

    Attributes
    ----------
    panels
        In W, the losses, in A if requested, and one for each manifold.
    rows
        The table of rules.
    sentences
        What the picture shows, and what failed.
    """

    panels: tuple[Panel, ...]
    rows: tuple[RuleRow, ...]
    sentences: tuple[str, ...]


class Paths:
    """The paths of rules, cached while only the number of steps grows."""

    def __init__(self) -> None:
        self._key: object = None
        self._paths: dict[str, RulePath] = {}

    def __call__(self, state: Playground, own: WeightManifold | None, most: int | None) -> list[RulePath]:
        """Return the paths of the rules of a state, at most `most` steps of each."""
        made, steps = state.setting(), state.steps if most is None else min(state.steps, most)
        key = (made, state.start, state.rate, own)
        if key != self._key:
            self._key, self._paths = key, {}
        paths = []
        for rule in state.rules:
            path = self._paths.get(rule) or begin(rule, made, made.weights(state.start))
            path = advance(path, made, state.rate, steps - len(path.points) + 1, own)
            self._paths[rule] = path
            paths.append(RulePath(rule, path.points[: steps + 1], path.losses[: steps + 1], path.reason))
        return paths


def scene(
    state: Playground, ground: Ground | None, paths: Paths, own: WeightManifold | None = None, hurry: bool = False
) -> PlaygroundScene:
    """Return the picture of a state.

    Parameters
    ----------
    state
        The state.
    ground
        The loss and the singular sets; None: not known yet.
    paths
        The paths so far.
    own
        The user's manifold, which the state calls "own".
    hurry
        Leave out slow parts: steps beyond the first few, and geodesics without closed form.
    """
    made = state.setting()
    large = not made.small
    followed = paths(state, own, (1 if large else HURRY) if hurry else None)
    coarser = (2 if large else 1) * COARSER if hurry else 1
    start, end = made.weights(state.start), made.weights(state.end)
    problems: list[str] = []
    handles = (Dots(*_column(state.end), "#f0e442", "square", 11, "end (drag it)"),
               Dots(*_column(state.start), "#ffffff", "circle", 12, "start (drag it)"))  # fmt: skip
    minimum = Dots(*_column(made.target), "#000000", "star", 11, "least loss")
    flights = [_flight(path, made.place) for path in followed]
    refused = _refused(made, followed, state.rate, made.place)
    x_label, y_label = made.labels[:2]
    left, right, bottom, top = made.window
    frame = partial(Panel, xlabel=x_label, ylabel=y_label, x_range=(left, right), y_range=(bottom, top))
    under, plain = ((), ()) if ground is None else (ground.weights, ground.plain)
    panels = [frame("In the weights W: steps of the rules", under=under, marks=(minimum, *_flat(flights), *refused, *handles))]
    if state.in_resolvent:
        panels.append(_in_resolvent(made, followed, ground, start, state.rate))
    panels.append(_losses(followed))
    for name in state.manifolds:
        marks, problem = _of_manifold(name, made, state, own, (start, end), coarser)
        problems += [f"{name}: {problem}"] if problem else []
        title = f"{manifold_label(name)}: balls of radius {state.radius:g}, geodesic"
        panels.append(frame(title, under=plain, marks=(minimum, *marks, *handles)))
    rows = tuple(rule_row(made, path, hurry) for path in followed)
    said = [] if hurry else told(made, state.start, followed)
    return PlaygroundScene(tuple(panels), rows, (*said, *problems))


def _column(place: tuple[float, float]) -> tuple[Array, Array]:
    return np.array([place[0]]), np.array([place[1]])


def _flat(groups: Sequence[Sequence[Mark]]) -> list[Mark]:
    return [mark for group in groups for mark in group]


def _flight(path: RulePath, place: Callable[[Array], tuple[float, float]]) -> list[Mark]:
    """Return the line along the steps of a rule, with a dot at each step and a larger dot at the last."""
    x, y = np.array([place(point) for point in path.points]).T
    colour, dash = colour_of(path.rule), KINDS.get(path.rule.partition("/")[0], "solid")
    marks: list[Mark] = [Line(x, y, colour, dash, 2.2, rule_label(path.rule))]
    if len(x) > 1:
        each = slice(1, -1) if len(x) <= MOST_DOTS else slice(0)
        marks += [Dots(x[each], y[each], colour, "circle", 4), Dots(x[-1:], y[-1:], colour, "triangle", 9)]
    return marks


def _in_resolvent(made: Setting, paths: list[RulePath], ground: Ground | None, start: Array, rate: float) -> Panel:
    """Return the same steps in A. Descent by ΔW2 is a straight line there, which may pass the edge where W is infinite."""
    left, right, bottom, top = made.resolvent_window
    under = () if ground is None else ground.resolvent
    marks: list[Mark] = []
    target = made.resolvent_place(made.weights(made.target))
    marks.append(Dots(*_column(target), "#000000", "star", 11, "least loss"))
    for path in paths:
        marks += _flight(path, made.resolvent_place)
    marks += _refused(made, paths, rate, made.resolvent_place)
    marks.append(Dots(*_column(made.resolvent_place(start)), "#ffffff", "circle", 12))
    return Panel("The same in A = (I − W)⁻¹", *made.labels[2:], tuple(marks), (left, right), (bottom, top), under=under)


def _losses(paths: list[RulePath]) -> Panel:
    marks: list[Mark] = []
    for path in paths:
        losses = np.array(path.losses, float)
        losses[~(np.isfinite(losses) & (losses > 0))] = np.nan
        dash = KINDS.get(path.rule.partition("/")[0], "solid")
        marks.append(Line(np.arange(len(losses)), losses, colour_of(path.rule), dash, 2.0))
        marks.append(Dots(np.arange(len(losses))[-1:], losses[-1:], colour_of(path.rule), "triangle", 8))
    return Panel("The loss after each step", "step", "loss J", tuple(marks), logarithmic=True)


def _of_manifold(
    name: str,
    made: Setting,
    state: Playground,
    own: WeightManifold | None,
    ends: tuple[Array, Array],
    coarser: int,
) -> tuple[list[Mark], str]:
    """Return balls, the geodesic and the straight line between the ends, and a sentence about failures."""
    colour = colour_of(name)
    try:
        metric = shown(name, made, own)
    except (ValueError, FixedPointError) as error:
        return [], str(error)
    straight = np.array([made.place(end) for end in ends]).T
    marks: list[Mark] = [Line(straight[0], straight[1], "#555555", "dotted", 1.5, "straight line in W")]
    marks += _balls(made, name, own, state.radius)
    around = ball(metric, made, ends[0], state.radius, BALL_POINTS // coarser)
    marks += _outline(made, around, colour, 2.2)
    curve = geodesic(metric, *ends, CURVE_POINTS // coarser)
    if curve.points:
        x, y = np.array([made.place(point) for point in curve.points]).T
        marks.append(Line(x, y, colour, "solid", 2.4, f"geodesic, {manifold_label(name)}"))
    marks += _past_the_edge(made, metric.manifold, ends, curve, colour)
    return marks, around.reason or (curve.reason and f"no whole geodesic from the start to the end; {curve.reason}")


def _refused(made: Setting, paths: list[RulePath], rate: float, place: Callable[[Array], tuple[float, float]]) -> list[Mark]:
    """Return the formula of a refused ΔW2: in A it goes straight on, beyond the edge where W is infinite."""
    marks: list[Mark] = []
    for path in paths:
        if path.rule == "dW2" and "exit time" in path.reason:
            points = refused_step(made, path.points[-1], rate, np.linspace(0, 1, 8 * CURVE_POINTS))
            x, y = _torn(np.array([place(point) for point in points]).reshape(-1, 2))
            marks.append(Line(x, y, colour_of("dW2"), "dotted", 2.4, "ΔW2 refused: its formula passes W = ∞"))
            marks.append(Dots(x[-1:], y[-1:], colour_of("dW2"), "cross", 11, "where the formula would land"))
    return marks


def _torn(places: Array) -> tuple[Array, Array]:
    """Return the positions of a curve, with a gap where it returns from infinity: where it reverses between two points."""
    x, y = places.T.copy()
    change = np.diff(places, axis=0)
    size = np.hypot(*change.T)
    turned = (change[1:] * change[:-1]).sum(axis=1) < 0
    jumps = np.flatnonzero(turned & (size[1:] > size[:-1])) + 1
    x[jumps], y[jumps] = np.nan, np.nan
    return x, y


def _past_the_edge(made: Setting, manifold: WeightManifold, ends: tuple[Array, Array], curve: Curve, colour: str) -> list[Mark]:
    """Return the straight line in A if no geodesic connects the ends: it passes through infinity and comes back."""
    if not manifold.flat or not curve.reason or not isinstance(manifold.chart, type(made.resolvent_plane.chart)):
        return []
    try:
        chart = manifold.chart
        velocity = chart.inverse_differential(ends[0], chart.value(ends[1]) - chart.value(ends[0]))
    except (ValueError, AttributeError):
        return []
    points = through_coordinates(made, ends[0], velocity, np.linspace(0, 1, 4 * CURVE_POINTS))
    x, y = _torn(np.array([made.place(point) for point in points]).reshape(-1, 2))
    return [Line(x, y, colour, "dashed", 2.0, "straight in A, through W = ∞")]


@lru_cache(32)
def _balls(made: Setting, name: str, own: WeightManifold | None, radius: float) -> tuple[Mark, ...]:
    """Return balls all over the picture, which do not depend on the start."""
    metric = shown(name, made, own)
    curves = [ball(metric, made, made.weights(centre), radius, 25) for centre in _centres(made)]
    return tuple(mark for curve in curves for mark in _outline(made, curve, colour_of(name), 0.9))


def _centres(made: Setting) -> list[tuple[float, float]]:
    left, right, bottom, top = made.window
    if not made.small:
        return []
    across, up = ((low + (high - low) * (np.arange(BALLS) + 0.5) / BALLS) for low, high in ((left, right), (bottom, top)))
    return [(float(x), float(y)) for x in across for y in up]


def _outline(made: Setting, curve: Curve, colour: str, width: float) -> list[Mark]:
    if not curve.points:
        return []
    x, y = np.array([made.place(point) for point in curve.points]).T
    return [Line(x, y, colour, "solid", width)]


def grid_step(window: tuple[float, float, float, float]) -> tuple[float, float]:
    """Return the distance by which an arrow key moves a point: a fiftieth of the window."""
    left, right, bottom, top = window
    return (right - left) / 50, (top - bottom) / 50
