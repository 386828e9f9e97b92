"""Counting the multiplications of matrix products, by any caller on any thread.

NumPy has no hook for `@` on its own arrays. A `CountedArray` sees every operation on it, and its results have the same type.
`np.matmul` and the functions that create arrays are replaced while counting. A product of two arrays that escape both ways is
not counted, so a limit computed from the count is never too high.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from array_api_compat import numpy as compatible

from manifolds import Array

MAKERS = ("empty", "zeros", "ones", "eye", "full", "asarray", "ascontiguousarray", "array")
FACTORISATIONS = (np.linalg.inv, np.linalg.solve)
"""Functions that count as one product of n × n × n."""

_numpy_matmul = np.matmul
_counts: list[float] = []  # appending is atomic, so threads need no lock


class CountedArray(np.ndarray):
    """An array that counts the multiplications of its products."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is _numpy_matmul and method == "__call__":
            _counts.append(_multiplications(*(np.shape(each) for each in inputs)))
        out = options.get("out", ())
        if out:
            options["out"] = tuple(_plain(each) for each in out)
        result = getattr(ufunc, method)(*(_plain(each) for each in inputs), **options)
        return out[0] if len(out) == 1 else _counted(result)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        if function in FACTORISATIONS:
            _counts.append(float(np.shape(arguments[0])[-1]) ** 3)
        elif function is np.dot:
            _counts.append(_multiplications(*(np.shape(each) for each in arguments[:2])))
        return _counted(super().__array_function__(function, types, arguments, options))


@contextmanager
def counting() -> Iterator[list[float]]:
    """Count within a `with` block; the sum of the list is the number of multiplications. Not reentrant."""
    _counts.clear()
    replaced = {"matmul": _matmul} | {name: _maker(getattr(np, name)) for name in MAKERS}
    with patch.multiple(np, **replaced), patch.multiple(compatible, **_those_of(compatible, replaced)):
        yield _counts


def count_products(run: Callable[..., object], arrays: Sequence[Array], size: float) -> float:
    """Return the multiplications of `run(*arrays)` in units of `size`, such as batch × n × n."""
    with counting() as counts:
        run(*(_counted(array) for array in arrays))
        return sum(counts) / size


def _multiplications(left: tuple[int, ...], right: tuple[int, ...]) -> float:
    """Return rows × inner × columns, times the matrices of a stack; a vector is one row or one column."""
    columns = right[-1] if len(right) > 1 else 1
    stack = np.prod(right[:-2], dtype=float) if len(right) > len(left) else 1.0
    return float(np.prod(left, dtype=float)) * columns * float(stack)


def _matmul(left: Any, right: Any, out: Any = None, **options: Any) -> Any:
    """Multiply as `np.matmul` does, and count for arrays of any type."""
    _counts.append(_multiplications(np.shape(left), np.shape(right)))
    result = _numpy_matmul(_plain(left), _plain(right), out=_plain(out), **options)
    return _counted(result) if out is None else out


def _maker(make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **options: _counted(make(*arguments, **options))


def _those_of(module: Any, replaced: dict[str, Any]) -> dict[str, Any]:
    """Return replacements for NumPy functions that a module has imported by name, with the module's own functions wrapped."""
    own = {name: _maker(getattr(module, name)) for name in MAKERS if getattr(module, name, None) is not getattr(np, name)}
    return {name: function for name, function in (replaced | own).items() if hasattr(module, name)}


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, CountedArray) else value


def _counted(value: Any) -> Any:
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_counted(each) for each in value)
    return value.view(CountedArray) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
