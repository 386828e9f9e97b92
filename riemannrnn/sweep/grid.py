"""The grid of a sweep: its training runs, as defined by its TOML file."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np

from manifolds.summary import Summarised
from riemannrnn.cli.config import PATHS, parse_config
from riemannrnn.settings import SettingError, checked, unknown

TABLES = ("base", "grid", "exclude", "replicates", "seed", "versions")
"""The allowed tables of a grid's file; the last is in the copy that a sweep keeps, and has no options."""

SEEDS = tuple(path for path in PATHS if path.endswith(".seed"))
"""The options that a replicate sets, unless the file does."""

Tables = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One training run of a sweep.

    Attributes
    ----------
    place
        The value of each axis, by the path of its option.
    replicate
        The number of the replicate, from 0.
    tables
        The configuration, in the form of `riemannrnn train --config`.
    """

    place: Mapping[str, Any]
    replicate: int
    tables: Tables

    @property
    def name(self) -> str:
        """The name of the run in tables, for instance "train.manifold = dale, replicate 0"."""
        return ", ".join([*(f"{path} = {value}" for path, value in self.place.items()), f"replicate {self.replicate}"])


@dataclass(frozen=True, repr=False)
class Grid(Summarised):
    """A base configuration, the axes along which it varies, and the number of repetitions of each point with other seeds.

    The seeds of replicate k come from `SeedSequence(seed, spawn_key=(k,))`. They are the same at all points of the grid, so the
    points are compared on the same data and from the same start. A seed in the base or in an axis is not changed.

    Attributes
    ----------
    base
        Tables of a training configuration.
    axes
        The values of each axis, by the path of its option, such as "train.manifold".
    exclude
        Points to leave out: each gives a value, or a list of values, for some of the axes.
    replicates
        The number of runs at each point.
    seed
        The root of all seeds.

    Raises
    ------
    SettingError
        For an axis without values, a repeated value, an excluded axis that is not in the grid, or an invalid number.
    """

    base: Tables = field(default_factory=dict)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    exclude: Sequence[Mapping[str, Any]] = ()
    replicates: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        checked("replicates", self.replicates, int, least=1)
        checked("seed", self.seed, int, least=0)
        for path, values in self.axes.items():
            if not isinstance(values, list | tuple) or not values:
                raise SettingError(f"grid.{path} = {values!r}: an axis is a list with at least one value")
            if any(value in values[:place] for place, value in enumerate(values)):
                raise SettingError(f"grid.{path} = {values!r}: a value occurs twice; each run would be there twice")
        for point in self.exclude:
            for path in point:
                if path not in self.axes:
                    raise unknown(f"exclude.{path}", path, self.axes)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the grid in a TOML file; raises the errors of `parse`, and an error if the file cannot be read."""
        try:
            return cls.parse(tomllib.loads(path.read_text(encoding="utf-8-sig")))
        except OSError as error:
            raise SettingError(f"{path} cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingError(f"{path} is not TOML: {error}") from error

    @classmethod
    def parse(cls, tables: Mapping[str, Any]) -> Self:
        """Return the grid in the tables of a file.

        Raises
        ------
        SettingError
            For a table that a grid does not have, or an invalid value.
        """
        for name in tables:
            if name not in TABLES:
                raise unknown(name, name, TABLES)
        for name, kind in (("base", Mapping), ("grid", Mapping), ("exclude", list)):
            if not isinstance(tables.get(name, kind()) if kind is list else tables.get(name, {}), kind):
                raise SettingError(f"{name} = {tables[name]!r}: write it as a table; see the documentation of sweeps")
        points = tables.get("exclude", [])
        if not all(isinstance(point, Mapping) for point in points):
            raise SettingError(f"exclude = {points!r}: write [[exclude]], and the axes with their values below")
        return cls(
            base=deepcopy(dict(tables.get("base", {}))),
            axes=_paths(tables.get("grid", {})),
            exclude=tuple(map(_paths, points)),
            replicates=tables.get("replicates", 1),
            seed=tables.get("seed", 0),
        )

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {path: f"{len(values)} values" for path, values in self.axes.items()} | {"replicates": self.replicates}

    def as_tables(self) -> Tables:
        """Return the tables that `parse` takes."""
        points = [dict(point) for point in self.exclude]
        tables = {"replicates": self.replicates, "seed": self.seed, "base": self.base, "grid": dict(self.axes)}
        return tables | ({"exclude": points} if points else {})

    def cells(self) -> list[Cell]:
        """Return all training runs, replicates last.

        Raises
        ------
        SettingError
            For a configuration that is invalid for `riemannrnn train`, or if all points are excluded.
        """
        found = [self._cell(place, replicate) for place in self.points() for replicate in range(self.replicates)]
        if not found:
            raise SettingError("the grid has no run: every point is excluded; remove an [[exclude]]")
        return found

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the points that are not excluded."""
        for values in product(*self.axes.values()):
            place = dict(zip(self.axes, values, strict=True))
            if not any(all(_matches(place[path], wanted) for path, wanted in point.items()) for point in self.exclude):
                yield place

    def seeds(self, replicate: int) -> dict[str, int]:
        """Return the seed of each option of a replicate, by its path."""
        drawn = np.random.SeedSequence(self.seed, spawn_key=(replicate,)).generate_state(len(SEEDS))
        return {path: int(seed) for path, seed in zip(SEEDS, drawn, strict=True)}

    def _cell(self, place: Mapping[str, Any], replicate: int) -> Cell:
        tables, given = deepcopy(self.base), _paths(self.base)
        seeds = {path: seed for path, seed in self.seeds(replicate).items() if path not in given}
        for path, value in (seeds | dict(place)).items():
            _set(tables, path, value)
        parse_config(tables)  # raises for an invalid configuration before anything runs
        return Cell(place, replicate, tables)


def _paths(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of nested tables by their dotted paths."""
    found: dict[str, Any] = {}
    for name, value in tables.items():
        inner = _paths(value) if isinstance(value, Mapping) else None
        found |= {name: value} if inner is None else {f"{name}.{path}": each for path, each in inner.items()}
    return found


def _set(tables: Tables, path: str, value: Any) -> None:
    """Set the value at a dotted path in nested tables; a number in the path is an index of a list."""
    first, _, rest = path.partition(".")
    where: Any = tables
    while rest:
        try:
            where = where[int(first)] if isinstance(where, list) else where.setdefault(first, {})
        except (ValueError, IndexError):
            raise SettingError(f"{path}: the list of the base has no entry {first!r}; correct the path") from None
        first, _, rest = rest.partition(".")
    if not isinstance(where, dict):
        raise SettingError(f"{path}: {first!r} has no place in the base, which has {where!r} there; correct the path")
    where[first] = value


def _matches(value: Any, wanted: Any) -> bool:
    return value == wanted or (isinstance(wanted, list) and value in wanted)
