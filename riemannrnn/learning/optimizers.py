"""Steps on a manifold: gradient descent, momentum and Adam, each independent of the metric."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias, final, get_args

from array_api_compat import array_namespace

from manifolds import Array, Parameterization, Point, Retraction
from manifolds.arrays import frobenius_norm
from manifolds.summary import Summarised
from riemannrnn.learning.evaluation import Evaluation
from riemannrnn.runtime import held

Memory: TypeAlias = Any
"""What a rule carries from step to step; None before the first."""


class Rule(Summarised, ABC):
    """Where to go from a point: a tangent vector, a path along it, and what is remembered on the way.

    The three are apart so that a step can be shortened between them.

    Attributes
    ----------
    parameterization
        How the rule's points stand for weights.
    """

    parameterization = Parameterization()

    @abstractmethod
    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Point, Memory]:
        """Return the tangent vector of the next step, and what to remember.

        Parameters
        ----------
        point
            Where the rule is, for most rules W.
        evaluation
            The cost at the weights of the point.
        learning_rate
            η.
        memory
            What `carry` returned after the step before; None at the first.
        """

    def move(self, point: Point, velocity: Point) -> Point:
        """Return the end of the path along a tangent vector; by default of the straight line."""
        return point + velocity

    def carry(self, point: Point, velocity: Point, memory: Memory) -> Memory:
        """Return what is remembered, carried along the step that was taken."""
        return memory

    def zero(self, point: Point) -> Point:
        """Return the tangent vector of no step."""
        return array_namespace(point).zeros_like(point)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return type(self).__name__

    @property
    def options(self) -> str:
        """The numbers and names that it was made with, but for its manifold, which its name tells."""
        plain = {name: value for name, value in vars(self).items() if isinstance(value, int | float | str | tuple)}
        return ", ".join(f"{name} = {value}" for name, value in plain.items())

    def length(self, point: Point, velocity: Point) -> float:
        """Return the length of a step in the metric of the rule; by default the Frobenius norm."""
        return frobenius_norm(velocity)

    @final
    def step(self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None) -> tuple[Point, Memory]:
        """Take a whole step: return the next point and what to remember."""
        with held(evaluation.drive):
            velocity, memory = self.velocity(point, evaluation, learning_rate, memory)
            return self.move(point, velocity), self.carry(point, velocity, memory)


@dataclass(frozen=True)
class MetricRule(Rule):
    """Gradient descent under a metric: W ← exp_W(−η grad J), or W ← W − η grad J.

    Parameters
    ----------
    manifold
        The metric: a `WeightManifold`, `ScaledMonotoneManifold`, or any manifold of pymanopt, whose retraction then stands
        for geodesics.
    retraction
        "geodesic", or "additive" where points are weights.

    Raises
    ------
    ValueError
        For an unknown retraction, or additive steps where points are not weights.
    """

    manifold: Any
    retraction: Retraction = "geodesic"

    def __post_init__(self) -> None:
        if self.retraction not in get_args(Retraction):
            raise ValueError(f"retraction = {self.retraction!r} is unknown; choose one of {get_args(Retraction)}")
        if self.retraction == "additive" and self.manifold.point_layout != 1:
            raise ValueError(
                f"points of {self.manifold} are several arrays, which are not weights; choose retraction='geodesic'"
            )

    @property
    def name(self) -> str:
        return f"{type(self).__name__} on the {self.manifold}"

    @property
    def parameterization(self) -> Parameterization:  # type: ignore[override]  # a read-only attribute of the base
        return self.manifold if isinstance(self.manifold, Parameterization) else _Embedded(self.manifold)

    def gradient(self, point: Point, evaluation: Evaluation) -> Point:
        """Return grad J, the Riemannian gradient."""
        pulled = self.parameterization.pull_back(point, evaluation.gradient)
        return self.manifold.euclidean_to_riemannian_gradient(point, pulled)

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Point, Memory]:
        return -learning_rate * self.gradient(point, evaluation), None

    def move(self, point: Point, velocity: Point) -> Point:
        if self.retraction == "additive":
            return point + velocity
        # Manifolds of pymanopt need not have an exponential map; all have a retraction.
        exponential = "exp" if isinstance(self.manifold, Parameterization) else "retraction"
        return getattr(self.manifold, exponential)(point, velocity)

    def zero(self, point: Point) -> Point:
        return self.manifold.zero_vector(point)

    def length(self, point: Point, velocity: Point) -> float:
        return float(self.manifold.norm(point, velocity))


@final
@dataclass(frozen=True)
class ParallelTransport(MetricRule):
    """Momentum on a manifold: V ← β P(V) − η grad J, W ← exp_W(V), with P the parallel transport along the step before.

    After a straight step, and on manifolds without parallel transport, P is the manifold's vector transport. On a
    `MetricManifold` parallel transport is integrated, and takes much longer than a step itself.

    Parameters
    ----------
    manifold, retraction
        As for `MetricRule`.
    momentum
        β, from 0 to below 1.

    Raises
    ------
    ValueError
        For a momentum outside that range.
    """

    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum = {self.momentum} is not in [0, 1); 0.9 is usual")
        object.__setattr__(self, "momentum", float(self.momentum))  # a number of NumPy would widen float32

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Point, Memory]:
        descent = -learning_rate * self.gradient(point, evaluation)
        if memory is None:
            return descent, None
        return descent + self.momentum * self.manifold.to_tangent_space(point, memory), None

    def carry(self, point: Point, velocity: Point, memory: Memory) -> Memory:
        if self.retraction == "geodesic" and hasattr(self.manifold, "parallel_transport"):
            return self.manifold.parallel_transport(point, velocity, velocity)
        return self.manifold.transport(point, self.move(point, velocity), velocity)


@final
@dataclass(frozen=True)
class Adam(MetricRule):
    """Adam with its moments in a frame that moves with the point, in which the metric is Euclidean: W ← exp_W(V).

    With Z the frame coordinates of grad J: m ← β₁ m + (1 − β₁) Z, v ← β₂ v + (1 − β₂) Z², and V has the coordinates
    −η m̂ / (√v̂ + ε), where m̂ and v̂ are divided by 1 − β₁ᵗ and 1 − β₂ᵗ. On a flat manifold these are coordinates of the chart.

    Parameters
    ----------
    manifold, retraction
        As for `MetricRule`; the manifold has `frame_gradient` and `from_frame`.
    decays
        β₁ and β₂.
    epsilon
        ε, relative to gradients of the loss: below it a coordinate learns more slowly.

    Raises
    ------
    ValueError
        For decays outside [0, 1), an epsilon that is not positive, or a manifold without frame.

    References
    ----------
    Kingma and Ba, *Adam: a method for stochastic optimization*, ICLR 2015; Bécigneul and Ganea, *Riemannian adaptive
    optimization methods*, ICLR 2019.
    """

    decays: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 <= decay < 1 for decay in self.decays) or not self.epsilon > 0:
            raise ValueError(
                f"decays = {self.decays}, epsilon = {self.epsilon}: choose decays in [0, 1) and a positive epsilon"
            )
        if not hasattr(self.manifold, "frame_gradient"):
            raise ValueError(
                f"{self.manifold} has no frame in which moments of gradients keep their meaning from point to point; choose a "
                "pullback, invariant or monotone manifold, or another optimiser"
            )
        object.__setattr__(self, "decays", tuple(map(float, self.decays)))
        object.__setattr__(self, "epsilon", float(self.epsilon))

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Point, Memory]:
        pulled = self.parameterization.pull_back(point, evaluation.gradient)
        coordinates = _parts(self.manifold.frame_gradient(point, pulled))
        count, means, squares = memory or (0, [0.0] * len(coordinates), [0.0] * len(coordinates))
        first, second = self.decays
        count += 1
        means = [first * mean + (1 - first) * z for mean, z in zip(means, coordinates, strict=True)]
        squares = [second * square + (1 - second) * z * z for square, z in zip(squares, coordinates, strict=True)]
        rate, root = learning_rate / (1 - first**count), (1 - second**count) ** 0.5
        steps = [
            -rate * mean / (array_namespace(mean).sqrt(square) / root + self.epsilon)
            for mean, square in zip(means, squares, strict=True)
        ]
        velocity = self.manifold.from_frame(point, steps if self.manifold.point_layout != 1 else steps[0])
        return velocity, (count, means, squares)


class _Embedded(Parameterization):
    """The points of a manifold of pymanopt, which are the parameters of the connectivity."""

    def __init__(self, manifold: Any) -> None:
        self._manifold = manifold

    def velocity(self, point: Point, tangent_vector: Point) -> Point:
        return self._manifold.embedding(point, tangent_vector)


def _parts(vector: Point) -> list[Array]:
    return list(vector) if isinstance(vector, list | tuple) else [vector]
