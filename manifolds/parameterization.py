"""How the points of a manifold stand for recurrent weights; on most manifolds a point is the weights themselves."""

from typing import Any

from manifolds.arrays import Array
from manifolds.charts import Retraction
from manifolds.points import Point
from manifolds.summary import Summarised


class Parameterization(Summarised):
    """The map from points to weights W, with its derivatives; here the identity, for subclasses to override.

    Costs and rules see points and vectors of the manifold, solvers of fixed points see W.

    Attributes
    ----------
    stable_by_construction
        Whether at every point each stimulus has exactly one fixed point, a stable one, if all slopes are in [0, 1].
    retraction_kind
        What its retraction is: "geodesic", the exponential map, or "additive", the straight line.
    has_frame
        Whether there are `to_frame`, `from_frame` and `frame_gradient`: orthonormal coordinates of tangent vectors that keep
        their meaning from point to point.
    weights_layout
        The number of arrays of W. None: as many as a point has.
    separate
        Whether a point has independent parts, whose steps are limited one by one: there is `shortened`.
    """

    stable_by_construction = False
    retraction_kind: Retraction = "geodesic"
    has_frame = False
    weights_layout: int | None = None
    separate = False

    def promises(self, names: tuple[str, ...]) -> bool:
        """Tell whether the parts of W with these names are stable by construction; a manifold without parts looks at W."""
        return self.stable_by_construction

    def point_at(self, weights: Array) -> Point:
        """Return a point that stands for W, refusing weights for which there is none."""
        return weights

    def weights(self, point: Point) -> Array:
        """Return W."""
        return point

    def moved(self, point: Point, tangent_vector: Point) -> Point:
        """Return the end of a step along the path of the retraction; by default of the straight line.

        Where the path meets an edge of a manifold an error says so. `retraction` shortens the step instead.
        """
        return point + tangent_vector

    def carried(self, point: Point, tangent_vector: Point, vector: Point) -> Point:
        """Return a tangent vector carried along the path of `moved` to its end, as momentum is; by default itself."""
        return vector

    def velocity(self, point: Point, tangent_vector: Point) -> Array:
        """Return the change of W along a tangent vector, with the shape of W."""
        return tangent_vector

    def pull_back(self, point: Point, gradient: Array) -> Point:
        """Return the Euclidean gradient with respect to the point, given the gradient with respect to W."""
        return gradient

    def pull_back_hessian(self, point: Point, gradient: Array, hessian: Array, tangent_vector: Point) -> Point:
        """Return the change of `pull_back` along a tangent vector, given those of W.

        Parameters
        ----------
        point, tangent_vector
            Where, and in which direction.
        gradient, hessian
            The Euclidean gradient with respect to W, and its change along `velocity`, with the shape of W.
        """
        return hessian


class Embedded(Parameterization):
    """The points of a manifold of pymanopt, which are the weights. Its retraction stands for geodesics.

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
    """Return how the points of a manifold stand for weights: the manifold itself, or `Embedded` for one of pymanopt."""
    return manifold if isinstance(manifold, Parameterization) else Embedded(manifold)
