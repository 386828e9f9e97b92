"""Checks of the arrays that users pass: type, shape, dtype and, on request, finite entries."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj

from manifolds.arrays import Array, is_single_or_double
from manifolds.errors import InvalidArrayError
from manifolds.points import all_finite


def check_kind(name: str, array: Any) -> None:
    """Check that an argument is a plain array: not a list, a masked array or a `numpy.matrix`.

    Raises
    ------
    InvalidArrayError
        Naming the argument and its type.
    """
    if isinstance(array, np.ma.MaskedArray | np.matrix) or not is_array_api_obj(array):
        raise InvalidArrayError(
            f"{name} of type {type(array).__name__}",
            "manifolds compute with plain arrays, and the mask of a masked array would be lost",
            "Fill in missing entries, then convert it, for instance with numpy.asarray",
        )


def check_array(name: str, array: Any, shape: tuple[int, ...], owner: object, like: Array | None = None) -> None:
    """Check the type, shape and dtype of an argument.

    Parameters
    ----------
    name
        Name of the argument in error messages.
    array
        The argument.
    shape
        The shape that it must have.
    owner
        The object that expects the shape; its name is in the message.
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
    """Check that no entry of an array is NaN or infinite.

    Raises
    ------
    InvalidArrayError
        If an entry is.
    """
    if not all_finite(array):
        raise InvalidArrayError(f"{name} holds NaN or infinity", reason, "Find the step that produced it")
