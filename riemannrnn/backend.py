"""Where arrays live: NumPy's in memory, CuPy's on a GPU. The only file that names CuPy."""

from typing import Any, TypeAlias, cast

import array_api_compat.numpy
import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_numpy_array

from manifolds import Array
from manifolds.arrays import to_numpy

Namespace: TypeAlias = Any
"""A namespace of the Python array API standard; a module, mostly."""

BACKENDS = ("numpy", "cupy")
"""The backends known by name."""


class BackendError(ValueError):
    """A backend is not there, or arrays of two backends meet.

    Parameters
    ----------
    value
        What was met.
    reason
        Why that is wrong.
    remedy
        What the caller can do about it.
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
        "numpy", "cupy", or a namespace of the array API standard, which is returned.

    Raises
    ------
    BackendError
        For an unknown name, or where CuPy is not installed or finds no GPU.
    """
    if not isinstance(backend, str):
        return backend
    if backend not in BACKENDS:
        raise BackendError(f"backend = {backend!r}", "there is none of that name", f"Choose one of {', '.join(BACKENDS)}")
    return _cupy_namespace() if backend == "cupy" else array_api_compat.numpy


def namespace_of(array: Array) -> Namespace:
    """Return the namespace of an array, as array-api-compat does in ten times the time: small networks ask often."""
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
        raise BackendError("backend = 'cupy'", f"there is no GPU that CUDA can use ({error})", remedy) from error
    if count == 0:
        raise BackendError("backend = 'cupy'", "there is no GPU that CUDA can use", remedy)
    return wrapped


def to_backend(array: Array, backend: str | Namespace) -> Array:
    """Return an array of any backend as one of this backend, dtype unchanged; an array that is there already is not copied.

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
    """Return what a caller passed as an array: the array itself, or that of a list or a table.

    Arrays of the array API are returned as they are, so that float64 stays float64. Integers, truth values and lists have no
    floating dtype of their own, and take `dtype`. What has `to_numpy` or `__array__`, such as a table of pandas, becomes a
    NumPy array.

    Parameters
    ----------
    name
        What it is called in messages, a plural such as "stimuli".
    values
        An array, a list, or an object with `to_numpy` or `__array__`.
    dtype
        The floating dtype that integers and lists take. None: integers stay integers.
    backend
        Where an array made from a list is put.

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
    """Return an array of integers or truth values in a floating dtype, and any other as it is."""
    xp = namespace_of(array)
    if dtype is None or not xp.isdtype(array.dtype, ("bool", "integral")):
        return array
    return xp.astype(array, getattr(xp, str(np.dtype(dtype))))


def check_unmasked(name: str, values: Any) -> None:
    """Check that an array is not masked, since nothing here looks at a mask.

    Raises
    ------
    ValueError
        For a masked array of NumPy.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(
            f"the {name} are a masked array, and the mask would be ignored; pass {name}.filled(number), or leave out the rows"
        )


def check_backend(name: str, array: Array, xp: Namespace) -> None:
    """Refuse an array of another namespace than `xp`: moving arrays is slow, so that it is never done in silence.

    Raises
    ------
    BackendError
        Naming the array and both namespaces.
    """
    found = array_namespace(array)
    if found is not xp:
        raise BackendError(
            f"{name} of {_library(found)}",
            f"{_library(xp)} is at work here, and arrays are never moved in silence",
            f"Move them once: riemannrnn.to_backend(array, {_library(xp)!r}), Dataset.to({_library(xp)!r})",
        )


def check_numpy(name: str, array: Array) -> None:
    """Refuse an array that autograd does not know, and does not say so clearly.

    Raises
    ------
    BackendError
        Naming the function that is differentiated, and the namespace.
    """
    if is_array_api_obj(array) and not is_numpy_array(array):  # autograd's own boxes are no arrays
        raise BackendError(
            f"{name} on arrays of {_library(array_namespace(array))}",
            "it is differentiated by autograd, which knows NumPy's arrays only",
            "Give its derivatives yourself, as an Activation or a subclass of Loss, or choose backend='numpy'",
        )


def _library(xp: Namespace) -> str:
    return cast(str, xp.__name__).rsplit(".", maxsplit=1)[-1]
