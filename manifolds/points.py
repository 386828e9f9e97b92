"""Points and vectors as flat sequences of arrays: named parts, arithmetic, and a cache of work per point.

A point of most manifolds is one array. A point of a product, and parameters of several arrays, are a flat tuple or list.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeAlias, TypeVar

from array_api_compat import array_namespace, device, is_array_api_obj

from manifolds.arrays import Array
from manifolds.deferred import pymanopt
from manifolds.summary import Summarised

Point: TypeAlias = Any
"""A point or a vector: an array, or a flat sequence of arrays. Vectors of several arrays are of the class `Vector`."""

Work = TypeVar("Work")


class Vector(pymanopt.manifolds.product._ProductTangentVector):
    """A tangent vector of several arrays, as a flat list with arithmetic. Scalars are converted to Python floats.

    Python floats never change the dtype of an array, but NumPy's scalars do: `np.float64(2) * array` has dtype float64 for an
    array of dtype float32.
    """

    def __mul__(self, scalar: float) -> "Vector":
        return Vector([float(scalar) * part for part in self])

    __rmul__ = __mul__

    def __truediv__(self, scalar: float) -> "Vector":
        return Vector([part / float(scalar) for part in self])

    def __neg__(self) -> "Vector":
        return Vector([-part for part in self])

    def __add__(self, other: Any) -> "Vector":
        return Vector([a + b for a, b in zip(self, other, strict=True)])

    def __sub__(self, other: Any) -> "Vector":
        return Vector([a - b for a, b in zip(self, other, strict=True)])


def several(point: Any) -> bool:
    """Tell whether a point is a sequence of arrays. An array and a nested list of numbers each count as one array."""
    return isinstance(point, tuple | list) and all(map(is_array_api_obj, point))


def arrays_of(point: Point) -> tuple[Array, ...]:
    """Return the arrays of a point: the arrays of a sequence, or the point itself if it is one array."""
    return tuple(point) if several(point) else (point,)


def joined(arrays: Any) -> Point:
    """Return the point with these arrays: the array itself if there is only one, otherwise a tuple."""
    arrays = tuple(arrays)
    return arrays[0] if len(arrays) == 1 else arrays


def map_arrays(function: Callable[..., Any], *points: Point) -> Point:
    """Apply a function to the arrays of points; return a tuple of the results if there are several arrays."""
    return tuple(map(function, *points)) if several(points[0]) else function(*points)


def vector_of(arrays: Any) -> Point:
    """Return the tangent vector with these arrays: the array itself if there is only one, otherwise a `Vector`."""
    arrays = list(arrays)
    return arrays[0] if len(arrays) == 1 else Vector(arrays)


def all_finite(point: Point) -> bool:
    """Tell whether no entry is NaN or infinite."""
    return all(bool(array_namespace(a).all(array_namespace(a).isfinite(a))) for a in arrays_of(point))


def copied(point: Point) -> Point:
    """Return a copy of an array, or of each array of a sequence."""
    return map_arrays(lambda array: array_namespace(array).asarray(array, copy=True), point)


@dataclass(frozen=True)
class Schema:
    """The names of the parts of a flat point, and the number of arrays of each part.

    Parameters
    ----------
    counts
        The number of arrays of each part, by name, in the order of the flat point.

    Examples
    --------
    >>> import numpy as np
    >>> schema = Schema({"weights": 1, "scaled": 2})
    >>> point = schema.flat({"weights": np.zeros(2), "scaled": (np.ones(3), np.ones(1))})
    >>> len(point), schema["scaled"]
    (3, slice(1, 3, None))
    >>> schema.named(point)["weights"]
    array([0., 0.])
    """

    counts: Mapping[str, int]

    def __iter__(self) -> Iterator[str]:
        return iter(self.counts)

    def __len__(self) -> int:
        """Return the number of arrays of a flat point."""
        return sum(self.counts.values())

    def __getitem__(self, name: str) -> slice:
        """Return the slice of a part in a flat point."""
        names = list(self.counts)
        first = sum(self.counts[before] for before in names[: names.index(name)])
        return slice(first, first + self.counts[name])

    def part(self, point: Point, name: str) -> Point:
        """Return a part of a flat point: an array, or a tuple of several arrays."""
        return joined(arrays_of(point)[self[name]])

    def parts(self, point: Point) -> list[Point]:
        """Return all parts of a flat point, in order."""
        arrays, parts, first = arrays_of(point), [], 0
        for count in self.counts.values():
            parts.append(joined(arrays[first : first + count]))
            first += count
        return parts

    def named(self, point: Point) -> dict[str, Point]:
        """Return the parts of a flat point by name."""
        return dict(zip(self.counts, self.parts(point), strict=True))

    def flat(self, named: Mapping[str, Point]) -> Point:
        """Return the flat point with these parts.

        Raises
        ------
        ValueError
            If a part is missing, unknown, or has another number of arrays.
        """
        for name in named:
            if name not in self.counts:
                near = get_close_matches(name, self.counts, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(f"the parameter {name!r} is unknown; {hint}The parameters are {', '.join(self.counts)}")
        missing = [name for name in self.counts if name not in named]
        if missing:
            raise ValueError(f"the parameters {', '.join(missing)} are missing; pass all of {', '.join(self.counts)}")
        arrays: list[Array] = []
        for name, count in self.counts.items():
            part = named[name] if count > 1 else (named[name],)
            if len(part) != count:
                raise ValueError(f"the parameter {name!r} has {len(part)} arrays, but {count} were expected")
            arrays.extend(part)
        return joined(arrays)


class PointMemory(Summarised, Generic[Work]):
    """Work that was done at the last points.

    Points are compared entry by entry with a private copy, so a change of an array in place leads to new work. The comparison
    costs O(n²); the work costs O(n³).

    Parameters
    ----------
    size
        Number of points remembered. Two suffice for functions of two points (distance, transport).
    """

    def __init__(self, size: int = 2) -> None:
        self._size = size
        self._entries: list[tuple[Point, Work]] = []

    def recall(self, point: Point, prepare: Callable[[Point], Work]) -> Work:
        """Return the work for a point, remembered or done now by a function of the point."""
        entries = self._entries  # replaced and never changed, so that threads may share a manifold
        arrays = arrays_of(point)
        for index, (known, work) in enumerate(entries):
            there = arrays_of(known)
            if len(there) == len(arrays) and all(map(_same, there, arrays)):
                self._entries = [entries[index], *entries[:index], *entries[index + 1 :]]
                return work
        copy = copied(point)
        work = prepare(copy)  # the copy, so that the work, too, is out of reach of changes in place
        self._entries = [(copy, work), *self._entries[: self._size - 1]]
        return work

    def forget(self) -> None:
        """Free the memory of what is remembered."""
        self._entries = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the cache: a copy starts with an empty one."""
        return vars(self) | {"_entries": []}

    def remember(self, point: Point, work: Work) -> None:
        """Store work that was done elsewhere."""
        self._entries = [(copied(point), work), *self._entries[: self._size - 1]]


class PointCache(PointMemory[Work]):
    """Work that is done once per point, however often and from wherever it is asked for.

    Parameters
    ----------
    prepare
        Function of a point that does the work.
    size
        As for `PointMemory`.
    """

    def __init__(self, prepare: Callable[[Point], Work], size: int = 2) -> None:
        super().__init__(size)
        self._prepare = prepare

    def __call__(self, point: Point) -> Work:
        """Return the work for a point, remembered or done now."""
        return self.recall(point, self._prepare)


def _same(a: Array, b: Array) -> bool:
    if type(a) is not type(b) or a.shape != b.shape or a.dtype != b.dtype or device(a) != device(b):
        return False
    return bool(array_namespace(a).all(a == b))
