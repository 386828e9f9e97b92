"""What every module needs of arrays, whichever array-API library they come from."""

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_cupy_array

Array: TypeAlias = Any
"""An array of any namespace of the Python array API standard (NumPy, CuPy, array-api-strict, ...)."""

Work = TypeVar("Work")


def inner(a: Array, b: Array) -> float:
    """Return the Frobenius inner product ⟨a, b⟩ = tr(aᵀ b) as a Python float."""
    xp = array_namespace(a, b)
    return float(xp.vecdot(xp.reshape(a, (-1,)), xp.reshape(b, (-1,))))


def frobenius_norm(a: Array) -> float:
    """Return the Frobenius norm ‖a‖ as a Python float."""
    return float(array_namespace(a).linalg.vector_norm(a))


def identity_like(matrix: Array) -> Array:
    """Return the identity of the shape, dtype and device of a square matrix."""
    xp = array_namespace(matrix)
    return xp.eye(matrix.shape[0], dtype=matrix.dtype, device=device(matrix))


def all_finite(a: Array) -> bool:
    """Tell whether no entry is NaN or infinite."""
    xp = array_namespace(a)
    return bool(xp.all(xp.isfinite(a)))


def machine_epsilon(a: Array) -> float:
    """Return the relative spacing of the floating-point numbers of the dtype of `a`."""
    return float(array_namespace(a).finfo(a.dtype).eps)


def to_numpy(a: Array) -> Array:
    """Return `a` as a NumPy array; for diagnostics that the array API has no routine for, such as eigenvalues."""
    return a.get() if is_cupy_array(a) else np.asarray(a)


class PointCache(Generic[Work]):
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

    def __init__(self, prepare: Callable[[Array], Work], size: int = 2) -> None:
        self._prepare = prepare
        self._size = size
        self._entries: list[tuple[Array, Work]] = []

    def __call__(self, point: Array) -> Work:
        """Return the work for `point`, remembered or done now."""
        for index, (known, work) in enumerate(self._entries):
            if _same(known, point):
                self._entries.insert(0, self._entries.pop(index))
                return work
        copy = array_namespace(point).asarray(point, copy=True)
        work = self._prepare(copy)  # the copy, so that the work, too, is out of reach of changes in place
        self._entries = [(copy, work), *self._entries[: self._size - 1]]
        return work


def _same(a: Array, b: Array) -> bool:
    if type(a) is not type(b) or a.shape != b.shape or a.dtype != b.dtype or device(a) != device(b):
        return False
    return bool(array_namespace(a).all(a == b))
