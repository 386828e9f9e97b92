"""The networks of the playground, each with a cost and a plane of weight space."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from manifolds import Array, Identity, Resolvent, Subspace, circulant, mask
from riemannrnn.analysis.landscape import Plane
from riemannrnn.cost import FixedPointCost, SquaredError
from riemannrnn.models import RateNetwork
from riemannrnn.network import Activation

NETWORKS = {
    "chain": "two units: one excites itself and listens to the other",
    "pair": "two units alike, coupled both ways",
    "large": "many units, on a plane through three points of weight space",
}
"""The networks by name."""

ACTIVATIONS = ("identity", "tanh", "relu", "softplus")
"""Activations in the playground."""

STIMULI, LARGE_STIMULI = 20, 12
"""Number of stimuli of the two-unit networks, and of the large network."""

MOST_ITERATIONS = 200
"""Most fixed-point iterations."""

REMEMBERED = 8
"""Number of networks in the cache."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A network, its cost, and the plane on which both are shown.

    Attributes
    ----------
    network, cost
        The network, and the cost of its weights.
    plane
        The plane in W.
    resolvent_plane
        The plane in A = (I − W)⁻¹ on which the same weights are drawn; for the large network it is the plane through the same
        three points.
    unit
        Length on the plane of a unit step along an axis of the picture: √2 if a weight occurs at two places of W.
    subspace
        The trained weights; None: all of them, and the plane shows their projection.
    labels
        Names of the axes of the picture, in W and then in A.
    window, resolvent_window
        Limits of both axes of each picture: (left, right, bottom, top).
    target
        The position of the smallest loss, on the axes of the picture.
    """

    network: RateNetwork
    cost: FixedPointCost
    plane: Plane
    resolvent_plane: Plane
    unit: float
    subspace: Subspace | None
    labels: tuple[str, str, str, str]
    window: tuple[float, float, float, float]
    resolvent_window: tuple[float, float, float, float]
    target: tuple[float, float]

    @property
    def small(self) -> bool:
        """Whether the network has two units, all of whose work is quick."""
        return self.network.n_units == 2

    def weights(self, place: tuple[float, float]) -> Array:
        """Return W at a position in the picture, shape (n, n)."""
        return self.plane.weights(self.unit * place[0], self.unit * place[1])

    def place(self, weights: Array | None) -> tuple[float, float]:
        """Return the position of W in the picture, or of its projection; NaN for None."""
        u, v = self.plane.project(weights)
        return u / self.unit, v / self.unit

    def resolvent_place(self, weights: Array | None) -> tuple[float, float]:
        """Return the position of A in its own picture; NaN if it does not exist."""
        u, v = self.resolvent_plane.project(weights)
        return u / self.unit, v / self.unit


def stimuli_with(covariance: Array, count: int, seed: int) -> Array:
    """Return stimuli as rows, with exactly this second moment, which is the same after a cyclic exchange of the units."""
    orthonormal, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((count // 2, len(covariance))))
    rows = (count // 2) ** 0.5 * orthonormal @ np.linalg.cholesky(covariance).T
    return np.concatenate([rows, rows[:, ::-1]])


@lru_cache(REMEMBERED)
def setting(
    network: str, activation: "str | Activation", correlation: float, units: int, seed: int, target: tuple[float, float]
) -> Setting:
    """Return a network of the playground.

    Parameters
    ----------
    network
        One of `NETWORKS`.
    activation
        A name, or an activation.
    correlation
        Correlation of the stimuli of the two units.
    units
        Number of units of the large network.
    seed
        Seed of the stimuli, and of the large network's weights.
    target
        The weights with the target fixed points, on the axes of the picture.

    Raises
    ------
    ValueError
        For an unknown network.
    """
    if network == "large":
        return _large(activation, units, seed)
    if network not in NETWORKS:
        raise ValueError(f"network {network!r} is unknown; choose one of {', '.join(NETWORKS)}")
    chain = network == "chain"
    covariance = np.array([[1.0, correlation], [correlation, 1.0]])
    made = RateNetwork(2, activation=activation)
    stimuli = stimuli_with(covariance, STIMULI, seed)
    own, cross = np.array([[1.0, 0.0], [0.0, 0.0 if chain else 1.0]]), np.array([[0.0, 1.0], [0.0 if chain else 1.0, 0.0]])
    unit = 1.0 if chain else 2**0.5
    plane = Plane(Identity(), np.zeros((2, 2)), own / unit, cross / unit)
    origin = np.array([[0.0, 0.0], [0.0, 1.0]]) if chain else np.zeros((2, 2))
    best = target[0] * own + target[1] * cross
    cost = _cost(made, stimuli, best)
    subspace = mask([[True, True], [False, False]]) if chain else circulant(2)
    names = ("self-excitation w", "weight c from the other unit" if chain else "coupling c of the two units")
    return Setting(
        made, cost, plane, Plane(Resolvent(), origin, own / unit, cross / unit), unit, subspace,
        (*names, "a = A₁₁, answer to its own input", "b = A₁₂, answer to the other's input"),
        (-2.5, 2.0, -2.0, 2.0), (-3.0, 4.5, -3.5, 3.5), target,
    )  # fmt: skip


def _cost(network: RateNetwork, stimuli: Array, best: Array) -> FixedPointCost:
    """Return the squared error between the rates and the fixed points at the best weights."""
    rates = network.fixed_points(best, stimuli, max_iterations=MOST_ITERATIONS).rates
    return FixedPointCost(network, stimuli, SquaredError(rates), max_iterations=MOST_ITERATIONS)


def _large(activation: "str | Activation", units: int, seed: int) -> Setting:
    """Return a network of many units, on the plane through zero weights, its start, and the weights that it should learn."""
    made = RateNetwork(units, activation=activation, seed=seed)
    generator = np.random.default_rng(seed)
    stimuli = generator.standard_normal((LARGE_STIMULI, units))
    start = generator.standard_normal((units, units)) / units**0.5
    pattern = generator.standard_normal(units)
    best = 0.3 * start + 0.8 * np.outer(pattern, pattern) / (pattern @ pattern)
    none = np.zeros_like(start)
    plane, other = (Plane.through(chart, [none, 0.6 * start, best]) for chart in (Identity(), Resolvent()))
    target, edge = plane.project(best), float(np.linalg.norm(start))
    unit = edge  # one unit is the random matrix of spectral radius one
    return Setting(
        made, _cost(made, stimuli, best), plane, other, unit, None,
        ("strength of random weights", "weights to be learned, beside them", "first axis in A", "second axis in A"),
        (-1.6, 1.6, -0.16, 0.16), (-2.0, 2.0, -0.6, 0.6), (target[0] / unit, target[1] / unit),
    )  # fmt: skip
