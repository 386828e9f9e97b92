"""Options: allowed values, records of options, and errors that name the option, its value and the nearest valid name."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from numbers import Integral, Real
from textwrap import fill, indent
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

KINDS: dict[type, tuple[type, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a text in quotes"),
    bool: (bool, "true or false"),
}
"""The types of each kind of value, including NumPy's, and the words for it in errors."""

PLACEHOLDER = "{options}"
"""The placeholder in a docstring that `documented` replaces by the help of the options."""

Function = TypeVar("Function", bound=Callable[..., Any])
Record = TypeVar("Record", bound="Options")


class SettingError(ValueError):
    """An option has an invalid value."""


def option(
    default: Any,
    help: str,
    *,
    least: float | None = None,
    below: float | None = None,
    choices: Iterable[str] | Callable[[], Iterable[str]] = (),
    resumed: bool = True,
    flag: bool | str = False,
    describe: Callable[[Any], Any] = repr,
) -> Any:
    """Return the field of an option in a record.

    Parameters
    ----------
    default
        The default; None if it depends on other options.
    help
        The meaning of the option, in a few sentences.
    least, below, choices
        Bounds and allowed names: see `checked`. A function returns the names when a value is checked; the modules that know
        them are not imported before.
    resumed
        Whether a run can be resumed only with the same value.
    flag
        Whether it is an option of the command line as well as a key of a file; or its name on the command line, if different.
    describe
        Returns a plain value for an object; different objects give different values.
    """
    bounds = {"least": least, "below": below, "choices": choices if callable(choices) else tuple(choices)}
    return field(default=default, metadata=bounds | {"help": help, "resumed": resumed, "flag": flag, "describe": describe})


def again(record: "type[Options]", name: str, default: Any, **changes: Any) -> Any:
    """Return a field for an option of another record, with another default or narrower bounds."""
    declared = next(each for each in fields(record) if each.name == name)
    return field(default=default, metadata={**declared.metadata, **changes})


@dataclass(frozen=True)
class Options:
    """A record of options: a frozen dataclass with fields made by `option`, and with checked values.

    Attributes
    ----------
    by_name
        Whether values can only be plain numbers, texts and truth values, as in a file. Otherwise an option may also hold
        objects of the other types in its annotation. Types in quotes are imported when a value is not plain.
    shorthand
        The option that a plain value stands for in a list of tables. None: a plain value is refused.

    Raises
    ------
    SettingError
        For an invalid value.
    """

    by_name: ClassVar[bool] = False
    shorthand: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, self.checked(each.name, getattr(self, each.name)))

    @classmethod
    def checked(cls, name: str, value: Any, prefix: str = "") -> Any:
        """Return the value of one option as the record stores it; errors name it with a prefix."""
        record: Any = cls  # mypy does not accept the class of a dataclass as hashable
        declared, (kind, optional) = _declared(record)[name], _plain_kinds(record)[name]
        if value is None and optional:
            return value
        others = () if cls.by_name or (kind in KINDS and _is_of(value, kind)) else _others(record)[name]
        if isinstance(value, others):
            return value
        bounds = {each: declared.metadata[each] for each in ("least", "below", "choices")}
        if callable(bounds["choices"]):
            bounds["choices"] = bounds["choices"]()
        return checked(f"{prefix}{name}", value, kind, **bounds, others=others)

    @classmethod
    def plain_kind(cls, name: str) -> Any:
        """Return the kind of plain values of an option: int, float, str or bool, or a tuple of one of them."""
        record: Any = cls
        return _plain_kinds(record)[name][0]

    def part(self, record: "type[Options]") -> dict[str, Any]:
        """Return the options that another record declares, by name."""
        return {each.name: getattr(self, each.name) for each in fields(record)}

    def described(self) -> dict[str, Any]:
        """Return the options that a resumed run must share with its start, as plain values by name."""
        kept = [each for each in fields(self) if each.metadata["resumed"]]
        return {each.name: _plain(getattr(self, each.name), each.metadata["describe"]) for each in kept}


def documented(*records: type[Options]) -> Callable[[Function], Function]:
    """Return a decorator that inserts the help of options into the docstring of a function."""

    def decorate(function: Function) -> Function:
        names = inspect.signature(function).parameters
        helps = {each.name: each.metadata["help"] for record in records for each in fields(record) if each.name in names}
        entries = "\n".join(
            f"{name}\n{indent(fill(text, 120, break_on_hyphens=False), '    ')}" for name, text in helps.items()
        )
        if function.__doc__:  # Python may remove docstrings
            function.__doc__ = function.__doc__.replace(PLACEHOLDER, indent(entries, "    ").lstrip())
        return function

    return decorate


def checked(
    name: str,
    value: Any,
    kind: type,
    least: float | None = None,
    below: float | None = None,
    choices: Iterable[str] = (),
    others: tuple[Any, ...] = (),
) -> Any:
    """Return the value of an option as a plain number, text or truth value.

    Parameters
    ----------
    name, value
        Name of the option in errors, and its value.
    kind
        int, float, str or bool, or a tuple of one of them, such as tuple[int, ...]. A whole number is also a number.
    least, below
        Bounds: `least` is allowed, `below` is not.
    choices
        The allowed texts, if not all are allowed.
    others
        Further types that the option may have; errors name them.

    Raises
    ------
    SettingError
        For any other value.
    """
    if get_origin(kind) is tuple:
        return _checked_list(name, value, get_args(kind)[0], least=least, below=below, choices=choices)
    if not _is_of(value, kind):
        expected = [KINDS[kind][1], *(each.__name__ for each in others)]
        raise SettingError(f"{name} = {value!r}: expected {' or '.join(expected)}")
    try:
        value = kind(value)
    except OverflowError:
        raise SettingError(f"{name}: a whole number of {len(str(abs(value)))} digits is too large") from None
    if choices and value not in choices:
        raise unknown(f"{name} = {value!r}", value, choices)
    if least is not None and not value >= least:
        raise SettingError(f"{name} = {value!r}: it has to be {least} or more")
    if below is not None and not value < below:
        raise SettingError(f"{name} = {value!r}: it has to be below {below}")
    return value


def _is_of(value: Any, kind: type) -> bool:
    """Tell whether a value is a plain one of a kind."""
    return isinstance(value, KINDS[kind][0]) and (kind is bool or not isinstance(value, bool))  # a truth value is an int, too


def _checked_list(name: str, value: Any, kind: Any, **bounds: Any) -> tuple[Any, ...]:
    """Return the values of an option that is a list."""
    entry = _entry(kind)
    if not isinstance(value, list | tuple):
        raise SettingError(f"{name} = {value!r}: expected a list, each entry {entry}")
    if issubclass(kind, Options):
        short = kind.shorthand
        tables = (each if short is None or isinstance(each, Mapping | kind) else {short: each} for each in value)
        return tuple(record_of(kind, each, f"{name}[{place}]") for place, each in enumerate(tables))
    return tuple(checked(f"{name}[{place}]", each, kind, **bounds) for place, each in enumerate(value))


def _entry(kind: Any) -> str:
    """Return how errors call an entry of a list."""
    if not issubclass(kind, Options):
        return KINDS[kind][1]
    return "a table" if kind.shorthand is None else f"a table or {KINDS[kind.plain_kind(kind.shorthand)][1]}"


def record_of(record: type[Record], table: Any, name: str, elsewhere: Iterable[str] = ()) -> Record:
    """Return the record with the options of a table, or the record itself.

    Raises
    ------
    SettingError
        For the first unknown option or invalid value, with the name of the table before it.
    """
    if isinstance(table, record):
        return table
    if not isinstance(table, Mapping):
        raise SettingError(f"{name} = {table!r}: expected a table; write [{name}], and its keys below")
    keys = [each.name for each in fields(record)]
    for key in table:
        if key not in keys:
            raise unknown(f"{name}.{key}", key, [f"{name}.{each}" for each in keys], elsewhere)
    return record(**{key: record.checked(key, value, f"{name}.") for key, value in table.items()})


def unknown(what: str, wrong: str, right: Iterable[str], elsewhere: Iterable[str] = ()) -> SettingError:
    """Return the error for an unknown name, with the nearest valid name, or all valid names if none is near.

    Valid names may be dotted; only the last part is compared. Names in `elsewhere` may be suggested but are not listed.
    """
    right = list(right)
    names = {path.rpartition(".")[2]: path for path in [*elsewhere, *right]}
    near = get_close_matches(wrong, names, 1)
    return SettingError(
        f"{what}: unknown; " + (f"did you mean {names[near[0]]}?" if near else f"choose one of {', '.join(right)}")
    )


@cache
def _declared(record: Any) -> dict[str, Field[Any]]:
    return {each.name: each for each in fields(record)}


@cache
def _plain_kinds(record: Any) -> dict[str, tuple[Any, bool]]:
    """Return for each option the kind of its plain values, and whether it may be None; types in quotes are not imported."""
    types = {each.name: _alternatives(each.type) for each in fields(record)}
    return {name: (next(filter(_is_plain, known)), NoneType in known) for name, known in types.items()}


@cache
def _others(record: Any) -> dict[str, tuple[Any, ...]]:
    """Return for each option its other allowed types, besides its plain kind and None."""
    types = {name: _alternatives(hint) for name, hint in get_type_hints(record).items()}
    return {name: tuple(one for one in known if one is not NoneType and not _is_plain(one)) for name, known in types.items()}


def _is_plain(kind: Any) -> bool:
    return kind in KINDS or get_origin(kind) is tuple


def _alternatives(hint: Any) -> list[Any]:
    """Return the types of a union, or the type alone. Names in a `Literal` are texts, and a generic type is its origin."""
    types = get_args(hint) if isinstance(hint, UnionType) or get_origin(hint) is Union else (hint,)
    origins = [one if get_origin(one) is tuple else get_origin(one) or one for one in types]
    return [str if one is Literal else one for one in origins]


def _plain(value: Any, describe: Callable[[Any], Any]) -> Any:
    """Return a value for JSON: the value itself, or the result of `describe` for an object."""
    if isinstance(value, tuple):
        return [_plain(each, describe) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else describe(value)
