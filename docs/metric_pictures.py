"""A picture of each metric by name: its unit ellipses, a geodesic and its edge, on planes of networks of two units.

`write` makes a picture for every name of the catalogue that is a metric on weights, and the text of the page on metrics.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from writing import GENERATED, write_page

from manifolds import (
    ManifoldError,
    PullbackManifold,
    Resolvent,
    ScaledMonotoneManifold,
    SignedLog,
    SubspaceManifold,
    WeightManifold,
    gain,
    mask,
)
from riemannrnn import FixedPointCost, RateNetwork, SquaredError
from riemannrnn.metrics.aggregated import aggregated_metric
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.metrics.entry import ManifoldEntry
from riemannrnn.metrics.response import response_metric
from riemannrnn.plots.saving import save_figure

ELLIPSE, GEODESIC, SINGULAR = "#0072B2", "#D55E00", "#882255"
COUNT, SIDE = 7, 40
"""Ellipses, and points of the shading, along each side of a panel."""

FILLED = 0.45
"""Half of the long axis of a typical ellipse, in distances between ellipses."""


@dataclass(frozen=True)
class Plane:
    """Weights that depend on two numbers, with the window of the picture and the ends of a geodesic.

    Attributes
    ----------
    entries
        Row and column of W, for each of the two numbers the places where it stands.
    rest
        W where both numbers are zero.
    window
        Left, right, bottom, top.
    start, end
        The ends of the geodesic.
    label
        W, for the title.
    opposite
        Places where minus the second number stands.
    """

    entries: tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]
    rest: tuple[tuple[float, float], tuple[float, float]]
    window: tuple[float, float, float, float]
    start: tuple[float, float]
    end: tuple[float, float]
    label: str
    opposite: tuple[tuple[int, int], ...] = ()

    def basis(self) -> np.ndarray:
        """Return the two directions, shape (2, 2, 2)."""
        directions = np.zeros((2, 2, 2))
        for direction, places in zip(directions, self.entries, strict=True):
            for row, column in places:
                direction[row, column] = 1.0
        for row, column in self.opposite:
            directions[1, row, column] = -1.0
        return directions

    def weights(self, x: float, y: float) -> np.ndarray:
        """Return W at a place."""
        return np.array(self.rest) + np.tensordot([x, y], self.basis(), 1)

    def place(self, weights: np.ndarray) -> tuple[float, float]:
        """Return the place of W, or of its projection onto the plane."""
        x, y = (float(weights[places[0]]) for places in self.entries)
        return x, y

    def grid(self, count: int) -> Iterator[tuple[float, float]]:
        """Yield the centres of count × count squares."""
        left, right, bottom, top = self.window
        middles = (np.arange(count) + 0.5) / count
        for y in bottom + (top - bottom) * middles:
            for x in left + (right - left) * middles:
                yield x, y


NOTHING = ((0.0, 0.0), (0.0, 0.0))
TALL = (-2, 1.5, -2.4, 2.4)
CHAIN = Plane((((0, 0),), ((0, 1),)), NOTHING, TALL, (0.5, -1.1), (-1.3, 1.6), "W = [[x, y], [0, 0]]")
LOOP = Plane((((0, 0), (1, 1)), ((0, 1),)), NOTHING, TALL, (-0.6, -0.9), (-0.2, 1.3), "W = [[x, y], [−y, x]]", ((1, 0),))
PAIR = Plane((((0, 0), (1, 1)), ((0, 1), (1, 0))), NOTHING, TALL, (0.2, -0.5), (-1.5, 1.2), "W = [[x, y], [y, x]]")
HOLLOW = Plane((((0, 1),), ((1, 0),)), NOTHING, (-2.4, 2.4, -2.4, 2.4), (-1.2, -1.2), (1.5, -1.5), "W = [[0, x], [y, 0]]")
SIGNED = Plane(
    (((0, 0),), ((0, 1),)), ((0, 0), (0.5, -0.5)), (-0.5, 2, -2, 0.5), (0.2, -1.5), (1.6, -0.2), "W = [[x, y], [½, −½]]"
)
PLANES = {"symmetric": (PAIR,), "circulant": (PAIR,), "hollow": (HOLLOW,), "dale": (SIGNED,), "sparse": (CHAIN,)}
"""The planes of manifolds of constrained weights; all others are drawn on `CHAIN` and on `LOOP`."""

BOUNDED = ("monotone", "scaled-monotone", "dale", "symmetric", "circulant")
"""Names of manifolds whose points are a part of the planes. The rest of the plane is shaded."""

MEASURED = ("response", "aggregated")
"""Metrics that depend on stimuli. They have no geodesics in closed form."""

EDGES = {
    "euclidean": "The metric does not know where I − W loses rank: the ellipses are the same everywhere.",
    "resolvent": "The ellipses shrink towards the singular set, which is infinitely far away. Far from it they grow: W → ∞ is "
    "an edge at a finite distance, where a long step ends.",
    "gain": "The resolvent metric of units with the gains 1 and ½. The singular set of these gains is elsewhere.",
    "left-invariant": "The singular set is infinitely far away, and so is W → ∞. The metric has no edge.",
    "right-invariant": "As left-invariant, with the factors on the right. It has no edge either. On the second plane "
    "matrices commute, and the two are the same.",
    "monotone": "White: monotone weights. Their edge is infinitely far away. On the second "
    "plane geodesics are half-circles, as in the hyperbolic plane.",
    "scaled-monotone": "White: the points. With scales of the units more weights are points: the first plane has no parabola. "
    "The ellipses show the metric of [M, ε] in W, at the weights that need no scales.",
    "response": "For tanh units and twelve stimuli. Each ellipse is the set of changes that move the rates equally far. "
    "Geodesics have no closed form.",
    "aggregated": "For the same units and stimuli. The gradient is the mean of the gradients that ΔW3 takes for each stimulus. "
    "Geodesics have no closed form.",
    "dale": "One excitatory and one inhibitory unit. Zero is infinitely far away, so that no sign changes.",
    "sparse": "The second row of W is absent. The metric is the resolvent metric of the synapses that are present.",
    "hollow": "No unit excites itself. The metric is induced by the resolvent metric. Geodesics have no closed form.",
    "symmetric": "White: symmetric weights that are monotone. Their edge is infinitely far away.",
    "circulant": "A ring of two units, whose circulant weights are symmetric. The picture is therefore the same.",
}
"""What is to be seen in each picture."""


def write(app=None):
    """Draw every metric and write the page; Sphinx calls it before it looks for sources."""
    GENERATED.mkdir(exist_ok=True)
    mpl.use("Agg")
    for name in EDGES:
        path = GENERATED / f"metric-{name}.png"
        if not path.exists():
            save_figure(picture(name), path)
    write_page("metric_pictures.md", "\n".join(section(name, entry) for name, entry in CATALOGUE.items()))


def section(name: str, entry: ManifoldEntry) -> str:
    """Return the text of a metric."""
    lines = [f"### {name}\n", f"`{entry.call}`: {entry.formula}\n", f"{entry.use}\n"]
    if name in EDGES:
        words = f"Ellipses, a geodesic and the edge of the metric {name}"
        lines += [f"```{{image}} generated/metric-{name}.png\n:alt: {words}\n:width: 40em\n```\n", f"{EDGES[name]}\n"]
    return "\n".join(lines)


def example_cost() -> FixedPointCost:
    """Return the cost of two tanh units on twelve stimuli, whose second input is larger than the first."""
    stimuli = np.random.default_rng(0).standard_normal((12, 2)) * [0.5, 1.5]
    return FixedPointCost(RateNetwork(2, activation="tanh"), stimuli, SquaredError(stimuli), on_failure="mask")


def metric(name: str) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    """Return g_W(U, V) of a name of the catalogue, for two units; it raises `ManifoldError` where W is not a point."""
    if name == "scaled-monotone":
        return scaled_metric(ScaledMonotoneManifold(2))
    return manifold(name).inner_product


def manifold(name: str) -> WeightManifold:
    """Return the manifold of a name of the catalogue for two units."""
    if name == "gain":
        return gain(np.array([1.0, 0.5]))
    if name == "dale":
        return PullbackManifold(SignedLog(np.array([1.0, -1.0])), 2)
    if name == "response":
        return response_metric(example_cost(), 0.01)
    if name == "aggregated":
        return aggregated_metric(example_cost())
    if name == "sparse":
        return sparse_pair()
    entry = CATALOGUE[name]
    return entry.placed(np.zeros((2, 2))).manifold


def sparse_pair() -> SubspaceManifold:
    """Return the weights of the chain, of which the second row is absent, under the induced resolvent metric."""
    return SubspaceManifold(PullbackManifold(Resolvent(), 2, "additive"), mask(np.array([[True, True], [False, False]])))


def scaled_metric(scaled: ScaledMonotoneManifold) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    """Return the metric of W that belongs to the metric of the points: the inverse of the cometric that W inherits."""

    def inner_product(W: np.ndarray, U: np.ndarray, V: np.ndarray) -> float:
        point = scaled.point_at(W)
        covectors = np.eye(4).reshape(4, 2, 2)
        raised = [scaled.euclidean_to_riemannian_gradient(point, scaled.pull_back(point, P)) for P in covectors]
        cometric = np.array([scaled.velocity(point, vector).ravel() for vector in raised])
        return float(U.ravel() @ np.linalg.solve(cometric, V.ravel()))

    return inner_product


def picture(name: str) -> Figure:
    """Return the picture of a metric, a panel for each plane."""
    planes, inner_product = PLANES.get(name, (CHAIN, LOOP)), metric(name)
    figure = Figure(figsize=(0.4 + 3.6 * len(planes), 4.6), layout="constrained")
    for axes, plane in zip(figure.subplots(1, len(planes), squeeze=False)[0], planes, strict=True):
        if name in BOUNDED:
            shade_outside(axes, plane, is_point(name, inner_product))
        draw_singular(axes, plane, np.array([1.0, 0.5]) if name == "gain" else np.ones(2))
        draw_ellipses(axes, plane, inner_product)
        if name not in (*MEASURED, "scaled-monotone"):
            draw_geodesic(axes, plane, manifold(name))
        left, right, bottom, top = plane.window
        axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="x", ylabel="y", aspect="equal")
        axes.set_title(plane.label, fontsize=9)
    handles = {label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=2 * len(planes), frameon=False, fontsize=8)
    return figure


def is_point(name: str, inner_product: Callable[..., float]) -> Callable[[np.ndarray], bool]:
    """Return the function that tells whether W is a point of a manifold."""

    def diagonally_stable(W: np.ndarray) -> bool:
        """Tell whether I − W = E (I − M) for a monotone M: two by two, all principal minors are positive."""
        B = np.eye(2) - W
        return bool(B[0, 0] > 0 and B[1, 1] > 0 and np.linalg.det(B) > 0)

    def measurable(W: np.ndarray) -> bool:
        try:
            return bool(np.isfinite(inner_product(W, W, W)))
        except (ManifoldError, ValueError):
            return False

    return diagonally_stable if name == "scaled-monotone" else measurable


def shade_outside(axes: Axes, plane: Plane, inside: Callable[[np.ndarray], bool]) -> None:
    """Shade where W is not a point of the manifold."""
    outside = np.array([not inside(plane.weights(x, y)) for x, y in plane.grid(SIDE)], dtype=float)
    left, right, bottom, top = plane.window
    extent = (left, right, bottom, top)
    axes.imshow(outside.reshape(SIDE, SIDE), cmap="Greys", vmin=0, vmax=3, extent=extent, origin="lower", aspect="auto")


def draw_singular(axes: Axes, plane: Plane, gains: np.ndarray) -> None:
    """Draw where I − G W loses rank: a curve, or a single point."""
    left, right, bottom, top = plane.window
    x, y = np.linspace(left, right, 211), np.linspace(bottom, top, 211)
    determinants = np.array([[np.linalg.det(np.eye(2) - gains[:, None] * plane.weights(a, b)) for a in x] for b in y])
    if determinants.min() < -1e-9:
        axes.contour(x, y, determinants, levels=[0], colors=SINGULAR, linestyles="--", linewidths=1.2)
        axes.plot([], [], "--", color=SINGULAR, lw=1.2, label="I − G W loses rank")
    else:
        row, column = np.unravel_index(determinants.argmin(), determinants.shape)
        axes.plot(x[column], y[row], "X", color=SINGULAR, ms=8, label="here I − W loses rank")


def draw_ellipses(axes: Axes, plane: Plane, inner_product: Callable[..., float]) -> None:
    """Draw the changes of one length at many places; the length is such that a typical ellipse fills its square."""
    outlines = [
        (x, y, outline) for x, y in plane.grid(COUNT) if (outline := unit_ellipse(plane, inner_product, x, y)) is not None
    ]
    left, right, *_ = plane.window
    axis = np.median([np.linalg.norm(outline, axis=0).max() for _, _, outline in outlines])
    length = FILLED * (right - left) / COUNT / axis
    for x, y, outline in outlines:
        axes.plot(x + length * outline[0], y + length * outline[1], color=ELLIPSE, lw=1, label="changes of one length")


def unit_ellipse(plane: Plane, inner_product: Callable[..., float], x: float, y: float) -> np.ndarray | None:
    """Return the changes of length one at a place, shape (2, points); None where W is not a point of the manifold."""
    basis = plane.basis()
    try:
        W = plane.weights(x, y)
        gram = np.array([[inner_product(W, U, V) for V in basis] for U in basis])
        values, vectors = np.linalg.eigh(gram)
    except (ManifoldError, ValueError):
        return None
    angles = np.linspace(0, 2 * np.pi, 61)
    return (vectors / np.sqrt(values)) @ np.stack([np.cos(angles), np.sin(angles)])


def draw_geodesic(axes: Axes, plane: Plane, space: WeightManifold) -> None:
    """Draw the geodesic between two places, as far as the manifold knows it."""
    start, end = plane.weights(*plane.start), plane.weights(*plane.end)
    try:
        path = space.geodesic(start, space.log(start, end))
        places = np.array([plane.place(path(time)) for time in np.linspace(0, 1, 61)])
    except ManifoldError:
        return
    axes.plot(*places.T, color=GEODESIC, lw=2, label="a geodesic")
    axes.plot(*places[[0, -1]].T, "o", color=GEODESIC, ms=5)
