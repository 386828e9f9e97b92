"""The maps with one factor for all rows; each is formed once, on first use, for all threads."""

from collections.abc import Callable
from math import inf
from threading import RLock
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from manifolds import Array
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation
from riemannrnn.equilibrium.probe import Probe
from riemannrnn.network.operator import to_single

MapName: TypeAlias = Literal["chord", "single", "splitting"]
"""The chord map, the chord map in float32, and Peaceman–Rachford splitting."""


class Factors:
    """The maps of one equation.

    Parameters
    ----------
    equation
        The equation s = φ(T s + d).
    gain
        ḡ, the shared gain of the rows, shape (n,).
    blocks
        Number of blocks of units in a sweep of the chord map.
    known
        Maps of another equation with the same T or its transpose; they are reused.
    """

    def __init__(self, equation: FixedPointEquation, gain: Array, blocks: int, known: "Factors | None" = None) -> None:
        self._equation, self._gain, self._blocks, self._lock = equation, gain, blocks, RLock()
        self._order: list[MapName] | None = None
        formed = known._maps if known else {}
        self._maps: dict[MapName, ChordMap | None] = {name: each and each.at(equation) for name, each in formed.items()}

    @property
    def formed(self) -> bool:
        """Whether a map was requested before."""
        return bool(self._maps)

    def has(self, name: MapName) -> bool:
        """Tell whether a map is formed already."""
        return self._maps.get(name) is not None

    def get(self, name: MapName) -> ChordMap | None:
        """Return a map. None if its factor is singular, or for "single" if the equation is in float32 already."""
        with self._lock:
            if name not in self._maps:
                try:
                    self._maps[name] = self._build(name)
                except np.linalg.LinAlgError:
                    self._maps[name] = None
            return self._maps[name]

    def ranked(self, progress: Callable[[ChordMap], float]) -> list[MapName]:
        """Return the names of the chord map and the splitting map, the map with less `progress` first; it is measured once."""

        def key(name: MapName) -> float:
            fixed_point_map = self.get(name)
            return inf if fixed_point_map is None else progress(fixed_point_map)

        names: tuple[MapName, ...] = ("chord", "splitting")
        with self._lock:
            if self._order is None:
                self._order = sorted(names, key=key)
            return self._order

    def _build(self, name: MapName) -> ChordMap | None:
        if name == "splitting":
            return ChordMap.splitting(self._equation)
        if name == "chord":
            return ChordMap.build(self._equation, self._gain, self._blocks)
        single = self._equation.single()
        return ChordMap.build(single, to_single(self._gain), self._blocks) if single else None


class Knowledge(NamedTuple):
    """Results of the automatic solver about T from one equation, for other equations with T or its transpose.

    Attributes
    ----------
    probe
        The measurements on a sample.
    factors
        The maps formed.
    """

    probe: Probe
    factors: Factors
