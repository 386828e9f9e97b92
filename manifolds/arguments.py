"""The one check of the arrays that users pass: their kind, shape, dtype and, if wanted, entries."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj

from manifolds.arrays import Array, is_single_or_double
from manifolds.errors import InvalidArrayError
from manifolds.points import all_finite


def check_kind(name: str, array: Any) -> None:
    """Refuse what is no array, and arrays with another arithmetic: masked arrays, whose mask would be lost, and matrices.

    Raises
    ------
    InvalidArrayError
        Naming the argument and its type.
    """
    if isinstance(array, np.ma.MaskedArray | np.matrix) or not is_array_api_obj(array):
        raise InvalidArrayError(
            f"{name} of type {type(array).__name__}",
            "manifolds compute with plain arrays, and would lose a mask",
            "Convert it, for instance with numpy.asarray, after missing entries are filled in",
        )


def check_array(name: str, array: Any, shape: tuple[int, ...], owner: object, like: Array | None = None) -> None:
    """Refuse an argument of another kind, shape or dtype than expected.

    Parameters
    ----------
    name
        What the argument is called in messages.
    array
        The argument.
    shape
        The shape that it must have.
    owner
        What expects that shape; named in messages.
    like
        An array whose namespace and dtype it must have. Default: float32 or float64 of any namespace.

    Raises
    ------
    InvalidArrayError
        Naming the argument's type, shape or dtype, and what was expected.
    """
    check_kind(name, array)
    if tuple(array.shape) != shape:
        raise InvalidArrayError(
            f"{name} of shape {tuple(array.shape)}", f"{owner} has shape {shape}", "Pass one array of that shape"
        )
    like = array if like is None else like
    if array is not like and array_namespace(array) is not array_namespace(like):
        raise InvalidArrayError(
            f"{name} of type {type(array).__name__}",
            f"points and vectors are arrays of one library (the point's: {type(like).__name__})",
            "Convert one of them",
        )
    if not is_single_or_double(array) or array.dtype != like.dtype:
        raise InvalidArrayError(
            f"{name} of dtype {array.dtype}",
            f"points and vectors are float32 or float64, and of one dtype (the point's: {like.dtype})",
            "Convert it with astype",
        )


def check_finite(name: str, array: Array, reason: str = "no metric is defined there") -> None:
    """Refuse an array that holds NaN or infinity.

    Raises
    ------
    InvalidArrayError
        If it does.
    """
    if not all_finite(array):
        raise InvalidArrayError(f"{name} holds NaN or infinity", reason, "Find the step that produced it")
