"""Products of manifolds whose points and vectors keep the dtype of their arrays."""

import sys
from collections.abc import Callable
from math import fsum, hypot, inf, sqrt
from typing import Any

import pymanopt.manifolds
from array_api_compat import array_namespace
from pymanopt.manifolds.product import _ProductTangentVector

from manifolds.arrays import Point
from manifolds.errors import InvalidArrayError
from manifolds.summary import Summarised

SMALLEST_SQUARE = sys.float_info.min / sys.float_info.epsilon
"""Squares that underflow are below the rounding of a sum of squares that is larger than this."""


class ProductVector(_ProductTangentVector):
    """A tangent vector, a list of arrays; scalars act on it as Python floats, which never widen the dtype of an array.

    NumPy's scalars do: `np.float64(2) * array` has dtype float64 for an array of dtype float32.
    """

    def __mul__(self, scalar: float) -> "ProductVector":
        return ProductVector([float(scalar) * part for part in self])

    __rmul__ = __mul__

    def __truediv__(self, scalar: float) -> "ProductVector":
        return ProductVector([part / float(scalar) for part in self])


class Product(Summarised, pymanopt.manifolds.Product):
    """The product of manifolds, ours or those of pymanopt, with the metric g_x(U, V) = Σ g_i(U_i, V_i).

    Points and tangent vectors are lists, with an array for each factor. The product of pymanopt 2.2.1 returns NumPy's
    float64 as inner products, which makes float64 of the float32 vectors that conjugate gradients and trust regions compute.
    Here every scalar is a Python float, so that each optimiser of pymanopt runs in the dtype of the point.

    Parameters
    ----------
    manifolds
        The factors, none of them a product itself.

    Raises
    ------
    ValueError
        For a factor that is a product.
    InvalidArrayError
        From every method, for a point or a vector with another number of arrays than there are factors.

    Examples
    --------
    >>> import numpy as np
    >>> from manifolds import MonotoneManifold, Product
    >>> from pymanopt.manifolds import Euclidean
    >>> m = Product([MonotoneManifold(3, seed=0, like=np.empty(0, np.float32)), Euclidean(3)])
    >>> point = [np.zeros((3, 3), np.float32), np.ones(3, np.float32)]
    >>> vector = np.float64(0.5) * m.to_tangent_space(point, point)
    >>> [str(part.dtype) for part in m.exp(point, vector)]
    ['float32', 'float32']
    """

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"factors": " × ".join(type(manifold).__name__ for manifold in self.manifolds), "dimension": self.dim}

    @property
    def typical_dist(self) -> float:
        """Return √Σ d_i², with d_i the typical distance on each factor."""
        return sqrt(fsum(float(manifold.typical_dist) ** 2 for manifold in self.manifolds))

    def inner_product(self, point: Point, tangent_vector_a: Point, tangent_vector_b: Point) -> float:
        """Return g_x(U, V) = Σ g_i(U_i, V_i)."""
        return float(super().inner_product(point, tangent_vector_a, tangent_vector_b))

    def norm(self, point: Point, tangent_vector: Point) -> float:
        """Return √g_x(V, V); where the square overflows or underflows, from the norms of the factors."""
        squared = self.inner_product(point, tangent_vector, tangent_vector)
        if SMALLEST_SQUARE < squared < inf:
            return sqrt(squared)
        return hypot(*(float(m.norm(*parts)) for m, *parts in zip(self.manifolds, point, tangent_vector, strict=True)))

    def dist(self, point_a: Point, point_b: Point) -> float:
        """Return √Σ d_i², with d_i the distance on each factor."""
        return hypot(*(float(m.dist(*parts)) for m, *parts in zip(self.manifolds, point_a, point_b, strict=True)))

    def zero_vector(self, point: Point) -> ProductVector:
        """Return the zero tangent vector, in the dtype of each array of the point."""
        return _in_dtype_of(point, super().zero_vector(point))

    def random_tangent_vector(self, point: Point) -> ProductVector:
        """Return a random tangent vector of unit norm, in the dtype of each array of the point."""
        return _in_dtype_of(point, super().random_tangent_vector(point))

    def _dispatch(self, method_name: str, **options: Any) -> Callable[..., Any]:
        """Return the method of all factors, checked for one array a factor, and with vectors that keep their dtype."""
        if options.get("reduction") is _ProductTangentVector:
            options["reduction"] = ProductVector
        method = super()._dispatch(method_name, **options)

        def checked(*arguments: Point) -> Any:
            for argument in arguments:
                if not isinstance(argument, list | tuple) or len(argument) != len(self.manifolds):
                    found = f"{len(argument)} arrays" if isinstance(argument, list | tuple) else type(argument).__name__
                    raise InvalidArrayError(
                        f"a point or vector of {found}",
                        f"the product has {len(self.manifolds)} factors, and an array for each",
                        "Pass a list of that length",
                    )
            return method(*arguments)

        return checked


def _in_dtype_of(point: Point, vector: Point) -> ProductVector:
    """Return a vector in the dtype of a point; some manifolds of pymanopt make float64 whatever the point."""
    return ProductVector(
        [array_namespace(part).astype(part, at.dtype, copy=False) for at, part in zip(point, vector, strict=True)]
    )
