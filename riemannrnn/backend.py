"""Backends of arrays: NumPy in memory, CuPy on a GPU. The only module that imports CuPy."""

from typing import Any, TypeAlias, cast

import array_api_compat.numpy
import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_numpy_array

from manifolds import Array
from manifolds.arrays import to_numpy

Namespace: TypeAlias = Any
"""A namespace of the Python array API standard, usually a module."""

BACKENDS = ("numpy", "cupy")
"""The names of the backends."""


class BackendError(ValueError):
    """A backend is not available, or arrays of two backends are mixed.

    Parameters
    ----------
    value
        What was found.
    reason
        Why it is wrong.
    remedy
        What the caller can do.
    """

    def __init__(self, value: str, reason: str, remedy: str) -> None:
        super().__init__(value, reason, remedy)

    def __str__(self) -> str:
        return "{}: {}. {}.".format(*self.args)


def namespace(backend: str | Namespace) -> Namespace:
    """Return the array functions of a backend, as array-api-compat wraps them.

    Parameters
    ----------
    backend
        "numpy", "cupy", or a namespace of the array API standard, which is returned unchanged.

    Raises
    ------
    BackendError
        For an unknown name, or if CuPy is not installed or finds no GPU.
    """
    if not isinstance(backend, str):
        return backend
    if backend not in BACKENDS:
        raise BackendError(f"backend = {backend!r}", "the name is unknown", f"Choose one of {', '.join(BACKENDS)}")
    return _cupy_namespace() if backend == "cupy" else array_api_compat.numpy


def namespace_of(array: Array) -> Namespace:
    """Return the namespace of an array. It takes a tenth of the time of array-api-compat, which matters for small networks."""
    found = _namespaces.get(type(array))
    if found is None:
        found = _namespaces[type(array)] = array_namespace(array)
    return found


_namespaces: dict[type, Namespace] = {}


def _cupy_namespace() -> Namespace:
    remedy = "Run on a machine with an NVIDIA GPU and its driver, or choose backend='numpy'"
    try:
        import cupy  # noqa: PLC0415  # an extra, and slow to import
        from array_api_compat import cupy as wrapped  # noqa: PLC0415
    except ImportError as error:
        raise BackendError(
            "backend = 'cupy'",
            f"CuPy cannot be imported ({str(error).strip().splitlines()[0]})",
            "Install it for your CUDA, pip install 'riemannrnn[cuda12]' or 'riemannrnn[cuda13]', or choose backend='numpy'",
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError("backend = 'cupy'", f"CUDA finds no GPU that it can use ({error})", remedy) from error
    if count == 0:
        raise BackendError("backend = 'cupy'", "CUDA finds no GPU that it can use", remedy)
    return wrapped


def to_backend(array: Array, backend: str | Namespace) -> Array:
    """Return an array of any backend as an array of this backend, dtype unchanged. It is copied only if it has to be moved.

    Raises
    ------
    BackendError
        As `namespace` does.

    Examples
    --------
    >>> import numpy as np
    >>> to_backend(np.arange(3), "numpy")
    array([0, 1, 2])
    """
    xp = namespace(backend)
    return array if array_namespace(array) is xp else xp.asarray(to_numpy(array))


def as_array(name: str, values: Any, dtype: Any = None, backend: str | Namespace = "numpy") -> Array:
    """Return the argument of a caller as an array: the array itself, or an array made from a list or a table.

    Arrays of the array API are returned unchanged, and float64 stays float64. Integers, truth values and lists have no floating
    dtype, and take `dtype`. Objects with `to_numpy` or `__array__`, such as a table of pandas, become NumPy arrays.

    Parameters
    ----------
    name
        Name in messages, a plural such as "stimuli".
    values
        An array, a list, or an object with `to_numpy` or `__array__`.
    dtype
        The floating dtype for integers and lists. None: integers stay integers.
    backend
        The backend of an array made from a list.

    Raises
    ------
    ValueError
        For a masked array, for rows of different lengths, and for values that are not numbers.

    Examples
    --------
    >>> as_array("stimuli", [[0, 1], [1, 0]], "float32").dtype
    dtype('float32')
    """
    check_unmasked(name, values)
    if is_array_api_obj(values) and not is_numpy_array(values):
        return _floating(values, dtype)
    try:
        found = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
        check_unmasked(name, found)
        found = found.astype(np.float64) if found.dtype == object else found
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the {name} cannot be read as an array of numbers ({error}); pass rows of one length that hold numbers only"
        ) from error
    if found.dtype.kind not in "biuf":
        raise ValueError(f"the {name} have dtype {found.dtype}, which holds no real numbers; pass numbers")
    if not isinstance(values, list | tuple):
        return _floating(found, dtype)
    return to_backend(found if dtype is None else found.astype(dtype), backend)


def _floating(array: Array, dtype: Any) -> Array:
    """Return an array of integers or truth values in a floating dtype, and other arrays unchanged."""
    xp = namespace_of(array)
    if dtype is None or not xp.isdtype(array.dtype, ("bool", "integral")):
        return array
    return xp.astype(array, getattr(xp, str(np.dtype(dtype))))


def check_unmasked(name: str, values: Any) -> None:
    """Check that an array is not masked: the mask would be ignored.

    Raises
    ------
    ValueError
        For a masked NumPy array.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(
            f"the {name} are a masked array, and the mask would be ignored; pass {name}.filled(number), or leave out the rows"
        )


def check_backend(name: str, array: Array, xp: Namespace) -> None:
    """Check that an array is of the namespace `xp`. Moving arrays is slow, so it is never done implicitly.

    Raises
    ------
    BackendError
        Naming the array and both namespaces.
    """
    found = array_namespace(array)
    if found is not xp:
        raise BackendError(
            f"{name} of {_library(found)}",
            f"the computation uses {_library(xp)}, and arrays are never moved implicitly",
            f"Move them once: riemannrnn.to_backend(array, {_library(xp)!r}), Dataset.to({_library(xp)!r})",
        )


def check_numpy(name: str, array: Array) -> None:
    """Check that an array is a NumPy array, because autograd fails for others without a clear message.

    Raises
    ------
    BackendError
        Naming the differentiated function and the namespace.
    """
    if is_array_api_obj(array) and not is_numpy_array(array):  # the box types of autograd are not array API objects
        raise BackendError(
            f"{name} on arrays of {_library(array_namespace(array))}",
            "autograd differentiates it, and works for NumPy arrays only",
            "Provide its derivatives, in an Activation or a subclass of Loss, or choose backend='numpy'",
        )


def _library(xp: Namespace) -> str:
    return cast(str, xp.__name__).rsplit(".", maxsplit=1)[-1]
