"""The state of a view as a record of plain values, and its form as the query of an address."""

from dataclasses import MISSING, dataclass, field, fields
from math import isfinite
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import parse_qsl, urlencode

Value = TypeVar("Value")


@dataclass(frozen=True)
class Bounds:
    """The allowed values of a field.

    Attributes
    ----------
    least, most
        Bounds of numbers.
    choices
        Allowed names; empty: any.
    """

    least: float = -1e6
    most: float = 1e6
    choices: tuple[str, ...] = ()


def bounded(default: Value, least: float = -1e6, most: float = 1e6, choices: tuple[str, ...] = ()) -> Value:
    """Return a field of a state with its default and its allowed values."""
    made: Value = field(default=default, metadata={"bounds": Bounds(least, most, choices)})
    return made


@dataclass(frozen=True)
class State:
    """The state of a view: numbers, names, and tuples of either. The address of a page holds values other than the default."""

    LONGEST: ClassVar[int] = 40
    """Most entries of a tuple."""

    def query(self) -> str:
        """Return the query of the address."""
        changed = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) != each.default}
        return urlencode({name: _written(value) for name, value in changed.items()}, safe=",/")

    @classmethod
    def from_query(cls, query: str) -> tuple[Self, list[str]]:
        """Return the state of a query, and a sentence for each invalid part, which is ignored."""
        known = {each.name: each for each in fields(cls)}
        values: dict[str, Any] = {}
        problems = []
        for name, text in parse_qsl(query.lstrip("?"), keep_blank_values=True, max_num_fields=100):
            if name not in known:
                problems.append(f"The address has a part {name[:40]!r} that this view does not know; it is ignored.")
                continue
            try:
                values[name] = _read(text, known[name].default, known[name].metadata.get("bounds", Bounds()), cls.LONGEST)
            except ValueError as error:
                problems.append(f"The address has {name} = {text[:40]!r}, but {error}; the default is used.")
        return cls(**values), problems


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _read(text: str, default: Any, bounds: Bounds, longest: int) -> Any:
    if default is MISSING:
        raise TypeError("every field of a state has a default")
    if isinstance(default, tuple):
        numbers = bool(default) and isinstance(default[0], float)
        parts = [part for part in text.split(",") if part]
        if numbers and len(parts) != len(default):
            raise ValueError(f"it takes {len(default)} numbers with commas between them")
        if len(parts) > longest:
            raise ValueError(f"it takes at most {longest} names")
        return tuple(_read(part, 0.0 if numbers else "", bounds, longest) for part in parts)
    if isinstance(default, str):
        if bounds.choices and text not in bounds.choices:
            raise ValueError(f"it is one of {', '.join(bounds.choices)}")
        return text
    try:
        value = type(default)(float(text))
    except (ValueError, OverflowError):
        raise ValueError("it is a number") from None
    if not isfinite(value) or not bounds.least <= value <= bounds.most:
        raise ValueError(f"it is a number from {bounds.least:g} to {bounds.most:g}")
    return value
