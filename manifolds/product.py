"""Products of manifolds: named factors with one flat sequence of arrays."""

import sys
from collections import Counter
from collections.abc import Mapping
from math import fsum, hypot, inf, sqrt
from typing import Any

from array_api_compat import array_namespace

from manifolds.deferred import Manifold
from manifolds.errors import InvalidArrayError
from manifolds.parameterization import Parameterization, parameterization_of
from manifolds.points import Point, Schema, arrays_of, joined, vector_of

SMALLEST_SQUARE = sys.float_info.min / sys.float_info.epsilon
"""In a sum of squares larger than this, squares that underflow are below the rounding error."""


def array_count(manifold: Any) -> int:
    """Return how many arrays a point of a manifold has."""
    layout = manifold.point_layout
    return layout if isinstance(layout, int) else sum(layout)


class ProductManifold(Parameterization, Manifold):
    """The product of named manifolds, with the metric g_x(U, V) = Σ g_i(U_i, V_i).

    Points and tangent vectors are flat sequences of arrays: first the arrays of the first factor, and so on. A factor is any
    manifold of this package or of pymanopt, including a product. If there is only one array, the point is this array. Every
    scalar is a Python float, so each optimiser of pymanopt keeps the dtype of the point.

    Parameters
    ----------
    factors
        The manifolds by name.

    Attributes
    ----------
    factors
        As passed.
    schema
        The position of the arrays of each factor in a point.
    weights_schema
        The position of the arrays of each factor in the weights. A factor may have fewer arrays of weights than of a point.

    Raises
    ------
    ValueError
        Without factors.
    InvalidArrayError
        From every method, for a point or a vector with another number of arrays than the product has.

    Examples
    --------
    >>> import numpy as np
    >>> from manifolds import Identity, MonotoneManifold, ProductManifold, PullbackManifold
    >>> m = ProductManifold({"recurrent": MonotoneManifold(3), "bias": PullbackManifold(Identity(), (3,))})
    >>> point = (np.zeros((3, 3), np.float32), np.ones(3, np.float32))
    >>> vector = np.float64(0.5) * m.to_tangent_space(point, point)
    >>> [str(part.dtype) for part in m.exp(point, vector)]
    ['float32', 'float32']
    >>> m.named(point)["bias"].shape
    (3,)
    """

    def __init__(self, factors: Mapping[str, Manifold]) -> None:
        if not factors:
            raise ValueError("a product needs at least one factor; pass {name: manifold}")
        self.factors = dict(factors)
        self._maps = [parameterization_of(factor) for factor in self.factors.values()]
        self.schema = Schema({name: array_count(factor) for name, factor in self.factors.items()})
        self.weights_schema = Schema(
            {
                name: each.weights_layout or count
                for (name, count), each in zip(self.schema.counts.items(), self._maps, strict=True)
            }
        )
        self.weights_layout, self.separate = len(self.weights_schema), True
        self.has_frame = all(each.has_frame for each in self._maps)
        self.stable_by_construction = all(each.stable_by_construction for each in self._maps)
        if any(each.retraction_kind == "additive" for each in self._maps):
            self.retraction_kind = "additive"
        kinds = Counter(type(factor).__name__ for factor in self.factors.values())
        names = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        dimension = sum(int(factor.dim) for factor in self.factors.values())
        super().__init__(f"Product manifold of {names}", dimension, point_layout=len(self.schema))

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        factors = ", ".join(f"{name}: {type(factor).__name__}" for name, factor in self.factors.items())
        return {"factors": factors, "dimension": self.dim}

    def named(self, point: Point) -> dict[str, Point]:
        """Return the points of the factors by name."""
        return self.schema.named(point)

    def promises(self, names: tuple[str, ...]) -> bool:
        """Tell whether the factors with these names are stable by construction. Without names nothing is promised."""
        maps = dict(zip(self.factors, self._maps, strict=True))
        return bool(names) and all(name in maps and maps[name].promises(()) for name in names)

    @property
    def typical_dist(self) -> float:
        """Return √Σ d_i², with d_i the typical distance on each factor."""
        return sqrt(fsum(float(factor.typical_dist) ** 2 for factor in self.factors.values()))

    def inner_product(self, point: Point, tangent_vector_a: Point, tangent_vector_b: Point) -> float:
        """Return g_x(U, V) = Σ g_i(U_i, V_i)."""
        return float(sum(map(float, self._each("inner_product", point, tangent_vector_a, tangent_vector_b))))

    def norm(self, point: Point, tangent_vector: Point) -> float:
        """Return √g_x(V, V); if the square overflows or underflows, it is computed from the norms of the factors."""
        squared = self.inner_product(point, tangent_vector, tangent_vector)
        return sqrt(squared) if SMALLEST_SQUARE < squared < inf else hypot(*self.norms(point, tangent_vector))

    def norms(self, point: Point, tangent_vector: Point) -> list[float]:
        """Return √g_i(V_i, V_i) for each factor."""
        return [float(each) for each in self._each("norm", point, tangent_vector)]

    def shortened(self, point: Point, tangent_vector: Point, longest: float) -> Point:
        """Return the tangent vector with the part of each factor shortened to the length `longest`, if it is longer."""
        shares = [longest / norm if norm > longest else 1.0 for norm in self.norms(point, tangent_vector)]
        parts = zip(shares, map(arrays_of, self.schema.parts(tangent_vector)), strict=True)
        return vector_of(array if share == 1 else share * array for share, part in parts for array in part)

    def dist(self, point_a: Point, point_b: Point) -> float:
        """Return √Σ d_i², with d_i the distance on each factor."""
        return hypot(*(float(each) for each in self._each("dist", point_a, point_b)))

    def exp(self, point: Point, tangent_vector: Point) -> Point:
        """Return the exponential maps of the factors."""
        return self._point("exp", point, tangent_vector)

    def retraction(self, point: Point, tangent_vector: Point) -> Point:
        """Return the retractions of the factors."""
        return self._point("retraction", point, tangent_vector)

    def pair_mean(self, point_a: Point, point_b: Point) -> Point:
        """Return the midpoints of the geodesics of the factors."""
        return self._point("pair_mean", point_a, point_b)

    def random_point(self) -> Point:
        """Return random points of the factors."""
        return joined(array for factor in self.factors.values() for array in arrays_of(factor.random_point()))

    def log(self, point_a: Point, point_b: Point) -> Point:
        """Return the logarithms of the factors."""
        return self._vector("log", point_a, point_b)

    def projection(self, point: Point, vector: Point) -> Point:
        """Return the projections of the factors."""
        return self._vector("projection", point, vector)

    def to_tangent_space(self, point: Point, vector: Point) -> Point:
        """Return the parts of a vector as tangent vectors of the factors."""
        return self._vector("to_tangent_space", point, vector)

    def zero_vector(self, point: Point) -> Point:
        """Return the zero tangent vector, in the dtype of each array of the point."""
        return _in_dtype_of(point, self._vector("zero_vector", point))

    def random_tangent_vector(self, point: Point) -> Point:
        """Return a random tangent vector of unit norm, in the dtype of each array of the point."""
        vector = len(self.factors) ** -0.5 * self._vector("random_tangent_vector", point)
        return _in_dtype_of(point, vector)

    def transport(self, point_a: Point, point_b: Point, tangent_vector_a: Point) -> Point:
        """Return the transports of the factors."""
        return self._vector("transport", point_a, point_b, tangent_vector_a)

    def parallel_transport(self, point: Point, tangent_vector: Point, carried: Point) -> Point:
        """Return the parallel transports of the factors along the geodesics of `tangent_vector`."""
        return self._vector("parallel_transport", point, tangent_vector, carried)

    def euclidean_to_riemannian_gradient(self, point: Point, euclidean_gradient: Point) -> Point:
        """Return the Riemannian gradients of the factors."""
        return self._vector("euclidean_to_riemannian_gradient", point, euclidean_gradient)

    def euclidean_to_riemannian_hessian(
        self, point: Point, euclidean_gradient: Point, euclidean_hessian: Point, tangent_vector: Point
    ) -> Point:
        """Return the Riemannian Hessians of the factors along a vector, given the Euclidean Hessian of the cost along it."""
        return self._vector("euclidean_to_riemannian_hessian", point, euclidean_gradient, euclidean_hessian, tangent_vector)

    def to_frame(self, point: Point, tangent_vector: Point) -> Point:
        """Return the coordinates of the factors, in which the metric is Euclidean."""
        return self._vector("to_frame", point, tangent_vector)

    def from_frame(self, point: Point, coordinates: Point) -> Point:
        """Return the tangent vector with these coordinates."""
        return self._vector("from_frame", point, coordinates)

    def frame_gradient(self, point: Point, gradient: Point) -> Point:
        """Return `to_frame` of the Riemannian gradient, given the Euclidean gradient."""
        return self._vector("frame_gradient", point, gradient)

    def point_at(self, weights: Point) -> Point:
        """Return the points of the factors that represent weights."""
        parts = zip(self._maps, self.weights_schema.parts(weights), strict=True)
        return joined(array for each, part in parts for array in arrays_of(each.point_at(part)))

    def weights(self, point: Point) -> Point:
        """Return the weights of the factors, flat."""
        return joined(self._mapped("weights", point))

    def moved(self, point: Point, tangent_vector: Point) -> Point:
        """Return the ends of the steps on the factors."""
        return joined(self._mapped("moved", point, tangent_vector))

    def carried(self, point: Point, tangent_vector: Point, vector: Point) -> Point:
        """Return the tangent vectors of the factors carried along the steps."""
        return vector_of(self._mapped("carried", point, tangent_vector, vector))

    def velocity(self, point: Point, tangent_vector: Point) -> Point:
        """Return the changes of the weights of the factors, flat."""
        return joined(self._mapped("velocity", point, tangent_vector))

    def pull_back(self, point: Point, gradient: Point) -> Point:
        """Return the Euclidean gradient with respect to the point, given the gradient with respect to the weights."""
        parts = zip(self._maps, self.schema.parts(point), self.weights_schema.parts(gradient), strict=True)
        return vector_of(array for each, at, part in parts for array in arrays_of(each.pull_back(at, part)))

    def pull_back_hessian(self, point: Point, gradient: Point, hessian: Point, tangent_vector: Point) -> Point:
        """Return the change of `pull_back` along a tangent vector, given the gradient in the weights and its change."""
        of_points = (self.schema.parts(each) for each in (point, tangent_vector))
        of_weights = (self.weights_schema.parts(each) for each in (gradient, hessian))
        parts = zip(self._maps, *of_points, *of_weights, strict=True)
        return vector_of(
            array
            for each, at, along, slope, bend in parts
            for array in arrays_of(each.pull_back_hessian(at, slope, bend, along))
        )

    def _each(self, method: str, *arguments: Point) -> list[Any]:
        """Call a method of each factor with its parts of points and vectors; return the results."""
        for argument in arguments:
            if len(arrays_of(argument)) != len(self.schema):
                raise InvalidArrayError(
                    f"a point or vector of {len(arrays_of(argument))} arrays",
                    f"the points of the product have {len(self.schema)}",
                    "Pass a sequence of that length",
                )
        parts = zip(self.factors.values(), *map(self.schema.parts, arguments), strict=True)
        return [getattr(factor, method)(*part) for factor, *part in parts]

    def _mapped(self, method: str, *arguments: Point) -> list[Any]:
        """Call a method of each factor's parameterization with its parts; return the arrays of the results."""
        parts = zip(self._maps, *map(self.schema.parts, arguments), strict=True)
        return [array for each, *part in parts for array in arrays_of(getattr(each, method)(*part))]

    def _point(self, method: str, *arguments: Point) -> Point:
        return joined(array for part in self._each(method, *arguments) for array in arrays_of(part))

    def _vector(self, method: str, *arguments: Point) -> Point:
        return vector_of(array for part in self._each(method, *arguments) for array in arrays_of(part))


def _in_dtype_of(point: Point, vector: Point) -> Point:
    """Return a vector in the dtype of a point; some manifolds of pymanopt always return float64."""
    arrays = zip(arrays_of(point), arrays_of(vector), strict=True)
    return vector_of(array_namespace(part).astype(part, at.dtype, copy=False) for at, part in arrays)
