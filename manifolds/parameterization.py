"""The map from points of a manifold to recurrent weights; on most manifolds a point is the weights themselves."""

from typing import Any

from manifolds.arrays import Array
from manifolds.charts import Retraction
from manifolds.points import Point
from manifolds.summary import Summarised


class Parameterization(Summarised):
    """The map from points to weights W, with its derivatives. This class is the identity map; subclasses override it.

    Costs and rules work with points and vectors of the manifold; solvers of fixed points work with W.

    Attributes
    ----------
    stable_by_construction
        Whether each stimulus has exactly one fixed point, and a stable one, at every point if all slopes are in [0, 1].
    retraction_kind
        The kind of the retraction: "geodesic" (the exponential map) or "additive" (the straight line).
    has_frame
        Whether `to_frame`, `from_frame` and `frame_gradient` exist: orthonormal coordinates of tangent vectors, with the same
        meaning at every point.
    weights_layout
        The number of arrays of W. None: the number of arrays of a point.
    separate
        Whether a point has independent parts with separate limits for their steps; `shortened` then exists.
    """

    stable_by_construction = False
    retraction_kind: Retraction = "geodesic"
    has_frame = False
    weights_layout: int | None = None
    separate = False

    def promises(self, names: tuple[str, ...]) -> bool:
        """Tell whether the parts of W with these names are stable by construction; a manifold without parts ignores names."""
        return self.stable_by_construction

    def point_at(self, weights: Array) -> Point:
        """Return a point that represents W; raise an error if there is none."""
        return weights

    def weights(self, point: Point) -> Array:
        """Return W."""
        return point

    def moved(self, point: Point, tangent_vector: Point) -> Point:
        """Return the end of a step along the path of the retraction. Default: the straight line.

        If the path meets an edge of the manifold, an error is raised. `retraction` shortens the step instead.
        """
        return point + tangent_vector

    def carried(self, point: Point, tangent_vector: Point, vector: Point) -> Point:
        """Return a tangent vector, such as a momentum, carried along the path of `moved` to its end. Default: unchanged."""
        return vector

    def velocity(self, point: Point, tangent_vector: Point) -> Array:
        """Return the change of W along a tangent vector, with the shape of W."""
        return tangent_vector

    def pull_back(self, point: Point, gradient: Array) -> Point:
        """Return the Euclidean gradient with respect to the point, given the gradient with respect to W."""
        return gradient

    def pull_back_hessian(self, point: Point, gradient: Array, hessian: Array, tangent_vector: Point) -> Point:
        """Return the change of `pull_back` along a tangent vector, given the gradient with respect to W and its change.

        Parameters
        ----------
        point, tangent_vector
            The point and the direction.
        gradient, hessian
            The Euclidean gradient with respect to W, and its change along `velocity`, with the shape of W.
        """
        return hessian


class Embedded(Parameterization):
    """The points of a pymanopt manifold, which are the weights. Its retraction is used in place of geodesics.

    Parameters
    ----------
    manifold
        A manifold of pymanopt.
    """

    def __init__(self, manifold: Any) -> None:
        self.manifold = manifold

    def moved(self, point: Point, tangent_vector: Point) -> Point:
        return self.manifold.retraction(point, tangent_vector)

    def carried(self, point: Point, tangent_vector: Point, vector: Point) -> Point:
        return self.manifold.transport(point, self.moved(point, tangent_vector), vector)

    def velocity(self, point: Point, tangent_vector: Point) -> Point:
        return self.manifold.embedding(point, tangent_vector)


def parameterization_of(manifold: Any) -> Parameterization:
    """Return the map from points to weights: the manifold itself, or `Embedded` for a manifold of pymanopt."""
    return manifold if isinstance(manifold, Parameterization) else Embedded(manifold)
