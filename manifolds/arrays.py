"""Functions of arrays that every module needs, for any library of the array API standard."""

from math import inf
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array

Array: TypeAlias = Any
"""An array of any namespace of the Python array API standard (NumPy, CuPy, array-api-strict, ...)."""


def inner(a: Array, b: Array) -> float:
    """Return the Frobenius inner product ⟨a, b⟩ = tr(aᵀ b) as a Python float.

    Where the result overflows or underflows in the dtype, it is computed again with both arrays divided by their largest entry.
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
    """Return a lower limit for sums of squares: in a larger sum, squares that underflow are below the rounding error."""
    limits = array_namespace(a).finfo(a.dtype)
    return float(limits.smallest_normal) / float(limits.eps)


def identity_like(matrix: Array) -> Array:
    """Return the identity of the shape, dtype and device of a square matrix."""
    xp = array_namespace(matrix)
    return xp.eye(matrix.shape[0], dtype=matrix.dtype, device=device(matrix))


def add_to_diagonal(matrix: Array, number: float) -> Array:
    """Add a number to every entry of the diagonal of a square matrix, in place; return the matrix."""
    if is_numpy_array(matrix):
        np.einsum("ii->i", matrix)[...] += number  # a view of the diagonal: no pass over the whole matrix
    else:
        matrix += number * identity_like(matrix)
    return matrix


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
    """Return `a` as a NumPy array, copied from its device if needed; for diagnostics and results, not inside an iteration."""
    return a.get() if hasattr(a, "get") else np.asarray(a)  # CuPy's arrays have `get`, and do not convert implicitly


def is_single_or_double(array: Array) -> bool:
    """Tell whether an array is of float32 or float64, the real dtypes of LAPACK."""
    xp = array_namespace(array)
    return array.dtype in (xp.float32, xp.float64)
