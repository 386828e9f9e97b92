"""What every module needs of arrays, whichever array-API library they come from."""

from collections.abc import Callable
from math import inf
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array

from manifolds.summary import Summarised

Array: TypeAlias = Any
"""An array of any namespace of the Python array API standard (NumPy, CuPy, array-api-strict, ...)."""

Point: TypeAlias = Any
"""A point or a vector: an array, or several of them, with the arithmetic of pymanopt, where a manifold takes several."""

Work = TypeVar("Work")


def inner(a: Array, b: Array) -> float:
    """Return the Frobenius inner product ⟨a, b⟩ = tr(aᵀ b) as a Python float.

    Products that overflow or underflow in the dtype of the arrays are taken again, of the arrays over their largest entries.
    """
    xp = array_namespace(a, b)
    a, b = xp.reshape(a, (-1,)), xp.reshape(b, (-1,))
    with np.errstate(over="ignore", invalid="ignore"):
        result = float(xp.vecdot(a, b))
    if least_square(a) < abs(result) < inf:
        return result
    size_a, size_b = largest(a), largest(b)
    if not (0 < size_a < inf and 0 < size_b < inf):
        return result
    return size_a * (size_b * float(xp.vecdot(a / size_a, b / size_b)))


def frobenius_norm(a: Array) -> float:
    """Return the Frobenius norm ‖a‖ as a Python float; it neither overflows nor underflows in the dtype of the array."""
    norm = array_namespace(a).linalg.vector_norm
    with np.errstate(over="ignore", invalid="ignore"):
        result = float(norm(a))
    if least_square(a) ** 0.5 < result < inf:
        return result
    size = largest(a)
    return size * float(norm(a / size)) if 0 < size < inf else result


def largest(a: Array) -> float:
    """Return the largest absolute value of the entries as a Python float, 0 if there are none."""
    xp = array_namespace(a)
    return float(xp.max(xp.abs(a))) if 0 not in a.shape else 0.0


def least_square(a: Array) -> float:
    """Return a sum of squares that is so large that those that underflow are below its rounding."""
    limits = array_namespace(a).finfo(a.dtype)
    return float(limits.smallest_normal) / float(limits.eps)


def identity_like(matrix: Array) -> Array:
    """Return the identity of the shape, dtype and device of a square matrix."""
    xp = array_namespace(matrix)
    return xp.eye(matrix.shape[0], dtype=matrix.dtype, device=device(matrix))


def add_to_diagonal(matrix: Array, number: float) -> Array:
    """Add a number to every entry of the diagonal of a square matrix, in place; return the matrix."""
    if is_numpy_array(matrix):
        np.einsum("ii->i", matrix)[...] += number  # a view, in whatever order the entries lie; no pass over all of them
    else:
        matrix += number * identity_like(matrix)
    return matrix


def arrays_of(point: Point) -> tuple[Array, ...]:
    """Return the arrays of a point: those of a tuple, or the one that it is."""
    return tuple(point) if isinstance(point, tuple) else (point,)


def map_arrays(function: Callable[..., Any], *points: Point) -> Point:
    """Return what a function makes of the arrays of points: of each in turn where they are tuples, or of the one."""
    return tuple(map(function, *points)) if isinstance(points[0], tuple) else function(*points)


def all_finite(point: Point) -> bool:
    """Tell whether no entry is NaN or infinite."""
    return all(bool(array_namespace(a).all(array_namespace(a).isfinite(a))) for a in arrays_of(point))


def symmetric_part(matrix: Array) -> Array:
    """Return (M + Mᵀ) / 2."""
    return (matrix + matrix.T) / 2


def skew_part(matrix: Array) -> Array:
    """Return (M − Mᵀ) / 2."""
    return (matrix - matrix.T) / 2


def machine_epsilon(a: Array) -> float:
    """Return the relative spacing of the floating-point numbers of the dtype of `a`."""
    return float(array_namespace(a).finfo(a.dtype).eps)


def to_numpy(a: Array) -> Array:
    """Return `a` as a NumPy array, off its device if need be; for diagnostics and results, never inside an iteration."""
    return a.get() if hasattr(a, "get") else np.asarray(a)  # CuPy's arrays have it, and refuse to be converted in silence


class PointCache(Summarised, Generic[Work]):
    """Work that is done once per point, however often and from wherever it is asked for.

    Points are compared entry by entry with a private copy, so a caller who changes an array in place gets fresh work. The
    comparison costs O(n²) where the work costs O(n³).

    Parameters
    ----------
    prepare
        Function of a point that does the work.
    size
        Number of points remembered. Two suffice for whatever relates a point to another (distance, transport).
    """

    def __init__(self, prepare: Callable[[Point], Work], size: int = 2) -> None:
        self._prepare = prepare
        self._size = size
        self._entries: list[tuple[Point, Work]] = []

    def __call__(self, point: Point) -> Work:
        """Return the work for `point`, remembered or done now."""
        entries = self._entries  # replaced and never changed, so that threads may share a manifold
        for index, (known, work) in enumerate(entries):
            if isinstance(known, tuple) == isinstance(point, tuple) and all(map(_same, arrays_of(known), arrays_of(point))):
                self._entries = [entries[index], *entries[:index], *entries[index + 1 :]]
                return work
        copy = copied(point)
        work = self._prepare(copy)  # the copy, so that the work, too, is out of reach of changes in place
        self._entries = [(copy, work), *self._entries[: self._size - 1]]
        return work

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is remembered, which can be computed again: a copy starts empty."""
        return vars(self) | {"_entries": []}

    def remember(self, point: Point, work: Work) -> None:
        """Take over work that was done elsewhere."""
        self._entries = [(copied(point), work), *self._entries[: self._size - 1]]


def is_single_or_double(array: Array) -> bool:
    """Tell whether an array is of one of the dtypes that LAPACK knows, float32 and float64."""
    xp = array_namespace(array)
    return array.dtype in (xp.float32, xp.float64)


def copied(point: Point) -> Point:
    """Return a copy of an array, or of each of several."""
    return map_arrays(lambda array: array_namespace(array).asarray(array, copy=True), point)


def _same(a: Array, b: Array) -> bool:
    if type(a) is not type(b) or a.shape != b.shape or a.dtype != b.dtype or device(a) != device(b):
        return False
    return bool(array_namespace(a).all(a == b))
