"""Arrays that behave like CuPy's in the relevant ways, without a GPU: they refuse NumPy, and count transfers.

They are stored in memory, but a program that passes with them keeps its arrays on the device. NumPy can neither convert them
nor compute with them, and the only way off the device, `get`, is counted. As in CuPy, one number of an array converts to a
Python number, and singular matrices give NaN instead of an error.
"""

import operator
from types import ModuleType
from typing import Any, ClassVar

import array_api_compat.numpy
import numpy as np

SCALARS = (bool, int, float, complex, np.generic)


class Device:
    """The device of all refusing arrays."""

    def __repr__(self) -> str:
        return "<refusing device>"


DEVICE = Device()


class RefusingArray:
    """An array on a device that NumPy cannot access; `uploads` and `downloads` count the transfers of all arrays."""

    uploads: ClassVar[int] = 0
    downloads: ClassVar[int] = 0
    __array_ufunc__ = None  # stricter than CuPy, which provides its own versions of NumPy's functions
    device = DEVICE

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def get(self) -> np.ndarray:
        """Return a copy in memory."""
        RefusingArray.downloads += 1
        return self._values.copy()

    def __array_namespace__(self, api_version: str | None = None) -> "Namespace":
        return namespace

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_function__(self, *args: Any) -> Any:
        return NotImplemented

    shape = property(lambda self: self._values.shape)
    dtype = property(lambda self: self._values.dtype)
    ndim = property(lambda self: self._values.ndim)
    T = property(lambda self: RefusingArray(self._values.T))

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> "RefusingArray":
        return wrapped(self._values[unwrapped(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[unwrapped(index)] = unwrapped(value)

    def __repr__(self) -> str:
        return f"RefusingArray(shape={self.shape}, dtype={self.dtype})"

    __hash__ = None


def _number(convert: type) -> Any:
    def method(self: RefusingArray) -> Any:
        if self._values.size != 1:
            raise TypeError("Only an array of one element converts to a Python number")
        return convert(self._values.item())

    return method


def _unary(function: Any) -> Any:
    return lambda self: wrapped(function(self._values))


def _binary(function: Any) -> Any:
    return lambda self, other: wrapped(function(self._values, unwrapped(other)))


def _reflected(function: Any) -> Any:
    return lambda self, other: wrapped(function(unwrapped(other), self._values))


def _in_place(function: Any) -> Any:
    def method(self: RefusingArray, other: Any) -> RefusingArray:
        self._values = function(self._values, unwrapped(other))
        return self

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor"):
    _plain = _name.rstrip("_")
    setattr(RefusingArray, f"__{_plain}__", _binary(getattr(operator, _name)))
    setattr(RefusingArray, f"__r{_plain}__", _reflected(getattr(operator, _name)))
    setattr(RefusingArray, f"__i{_plain}__", _in_place(getattr(operator, f"i{_plain}")))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(RefusingArray, f"__{_name}__", _binary(getattr(operator, _name)))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(RefusingArray, f"__{_name}__", _unary(getattr(operator, _name)))
for _type in (bool, int, float, complex):
    setattr(RefusingArray, f"__{_type.__name__}__", _number(_type))


def wrapped(value: Any) -> Any:
    """Return NumPy's result as if the device had computed it: arrays and NumPy scalars become refusing, others stay."""
    if isinstance(value, np.ndarray | np.generic):
        return RefusingArray(np.asarray(value))
    if isinstance(value, tuple):  # of functions with several results; without names, which is stricter
        return tuple(map(wrapped, value))
    return list(map(wrapped, value)) if type(value) is list else value


def unwrapped(value: Any) -> Any:
    """Return the argument in a form in which NumPy can compute, or raise for an array that is not on the device."""
    if isinstance(value, RefusingArray):
        return value._values
    if type(value) in (tuple, list):
        return type(value)(map(unwrapped, value))
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value


class Namespace:
    """The functions of array-api-compat's NumPy, on refusing arrays."""

    def __init__(self, functions: ModuleType, name: str) -> None:
        self._functions = functions
        self.__name__ = name

    def __repr__(self) -> str:
        return f"<namespace {self.__name__}>"

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._functions, name)
        if isinstance(value, ModuleType):
            return Namespace(value, f"{self.__name__}.{name}")
        if isinstance(value, type) or not callable(value):  # dtypes, constants, finfo
            return value

        def function(*args: Any, device: Device | None = None, **options: Any) -> Any:
            assert device in (None, DEVICE)
            arguments, keywords = [unwrapped(each) for each in args], {key: unwrapped(each) for key, each in options.items()}
            try:
                return wrapped(value(*arguments, **keywords))
            except np.linalg.LinAlgError:
                return RefusingArray(np.full_like(arguments[-1], np.nan))

        return function

    def asarray(
        self, values: Any, *, dtype: Any = None, device: Device | None = None, copy: bool | None = None
    ) -> RefusingArray:
        """Return an array on the device: the same array, or one made from data in memory, which is counted."""
        assert device in (None, DEVICE)
        if isinstance(values, RefusingArray):
            return RefusingArray(np.array(values._values, dtype, copy=copy))
        RefusingArray.uploads += 1
        return RefusingArray(np.array(values, dtype))


namespace = Namespace(array_api_compat.numpy, "refusing")
