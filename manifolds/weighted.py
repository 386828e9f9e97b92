"""A manifold with a scaled metric, which sets how fast it learns beside other factors of a product."""

from math import inf
from typing import Any

from manifolds.deferred import Manifold
from manifolds.parameterization import Parameterization, parameterization_of
from manifolds.points import Point, arrays_of, vector_of


def _of_manifold(name: str) -> Any:
    """Return a method that calls the method with this name of `self.manifold`: the weight does not change the result."""
    return lambda self, *arguments: getattr(self.manifold, name)(*arguments)


def _of_map(name: str) -> Any:
    """Return a method that calls the method with this name of the parameterization of `self.manifold`."""
    return lambda self, *arguments: getattr(parameterization_of(self.manifold), name)(*arguments)


class Weighted(Parameterization, Manifold):
    """A manifold with the metric g / s²: its gradient is s² times as long, and its frame gradient s times as long.

    As a factor of a product it learns faster for s > 1. Relative to the other factors its learning rate is s under Adam, and
    s² under gradient rules and pymanopt's optimisers. Geodesics, logarithms and transports are those in the original metric.

    Parameters
    ----------
    manifold
        The manifold.
    scale
        s, positive.

    Raises
    ------
    ValueError
        For a scale that is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from manifolds import Identity, PullbackManifold, Weighted
    >>> m = Weighted(PullbackManifold(Identity(), 2), 3.0)
    >>> float(m.euclidean_to_riemannian_gradient(np.zeros((2, 2)), np.ones((2, 2)))[0, 0])
    9.0
    """

    def __init__(self, manifold: Manifold, scale: float) -> None:
        if not 0 < scale < inf:
            raise ValueError(f"scale = {scale} is not a positive number; pass 1 for the metric of the manifold itself")
        self.manifold, self.scale = manifold, float(scale)
        self._map = parameterization_of(manifold)
        self.stable_by_construction = self._map.stable_by_construction
        self.retraction_kind = self._map.retraction_kind
        self.has_frame, self.weights_layout = self._map.has_frame, self._map.weights_layout
        super().__init__(f"{manifold}, weighted by {self.scale:g}", int(manifold.dim), manifold.point_layout)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"manifold": self.manifold, "scale": self.scale, "dimension": self.dim}

    @property
    def typical_dist(self) -> float:
        """Return the typical distance of the manifold divided by s."""
        return float(self.manifold.typical_dist) / self.scale

    def inner_product(self, point: Point, tangent_vector_a: Point, tangent_vector_b: Point) -> float:
        """Return g(U, V) / s²."""
        return float(self.manifold.inner_product(point, tangent_vector_a, tangent_vector_b)) / self.scale**2

    def norm(self, point: Point, tangent_vector: Point) -> float:
        """Return √g(V, V) / s."""
        return float(self.manifold.norm(point, tangent_vector)) / self.scale

    def dist(self, point_a: Point, point_b: Point) -> float:
        """Return the distance on the manifold divided by s."""
        return float(self.manifold.dist(point_a, point_b)) / self.scale

    def random_tangent_vector(self, point: Point) -> Point:
        """Return a tangent vector of unit norm in a random direction."""
        return self.scale * self.manifold.random_tangent_vector(point)

    def euclidean_to_riemannian_gradient(self, point: Point, euclidean_gradient: Point) -> Point:
        """Return s² times the gradient on the manifold."""
        return self.scale**2 * self.manifold.euclidean_to_riemannian_gradient(point, euclidean_gradient)

    def euclidean_to_riemannian_hessian(
        self, point: Point, euclidean_gradient: Point, euclidean_hessian: Point, tangent_vector: Point
    ) -> Point:
        """Return s² times the Hessian on the manifold."""
        hessian = self.manifold.euclidean_to_riemannian_hessian
        return self.scale**2 * hessian(point, euclidean_gradient, euclidean_hessian, tangent_vector)

    def to_frame(self, point: Point, tangent_vector: Point) -> Point:
        """Return the coordinates in the frame of the manifold divided by s."""
        return self._of_vector(1 / self.scale, self.manifold.to_frame(point, tangent_vector))

    def from_frame(self, point: Point, coordinates: Point) -> Point:
        """Return the tangent vector with these coordinates."""
        return self.manifold.from_frame(point, self._of_vector(self.scale, coordinates))

    def frame_gradient(self, point: Point, gradient: Point) -> Point:
        """Return s times the frame gradient of the manifold."""
        return self._of_vector(self.scale, self.manifold.frame_gradient(point, gradient))

    def promises(self, names: tuple[str, ...]) -> bool:
        return self._map.promises(names)

    exp = _of_manifold("exp")
    log = _of_manifold("log")
    retraction = _of_manifold("retraction")
    transport = _of_manifold("transport")
    parallel_transport = _of_manifold("parallel_transport")
    pair_mean = _of_manifold("pair_mean")
    projection = _of_manifold("projection")
    to_tangent_space = _of_manifold("to_tangent_space")
    zero_vector = _of_manifold("zero_vector")
    random_point = _of_manifold("random_point")

    weights = _of_map("weights")
    point_at = _of_map("point_at")
    moved = _of_map("moved")
    carried = _of_map("carried")
    velocity = _of_map("velocity")
    pull_back = _of_map("pull_back")
    pull_back_hessian = _of_map("pull_back_hessian")

    @staticmethod
    def _of_vector(factor: float, vector: Point) -> Point:
        return vector_of(factor * array for array in arrays_of(vector))
