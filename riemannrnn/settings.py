"""Settings by name: what their values may be, and errors that name the setting, the value and the nearest right one."""

from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

KINDS: dict[type, tuple[type, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a text in quotes"),
    bool: (bool, "true or false"),
}
"""What a value of each kind is an instance of, those of NumPy among them, and how errors say it."""


class SettingError(ValueError):
    """A setting holds what means nothing."""


def checked(
    name: str, value: Any, kind: type, least: float | None = None, below: float | None = None, choices: Iterable[str] = ()
) -> Any:
    """Return the value of a setting as a plain number, text or truth value.

    Parameters
    ----------
    name, value
        The setting, as errors call it, and what it holds.
    kind
        int, float, str or bool; a whole number is a number, too.
    least, below
        Bounds; the lower one is allowed, the upper one is not.
    choices
        The texts that are known, if not all are.

    Raises
    ------
    SettingError
        For any other value.
    """
    known, description = KINDS[kind]
    if not isinstance(value, known) or (isinstance(value, bool) and kind is not bool):  # a truth value is an int to isinstance
        raise SettingError(f"{name} = {value!r}: expected {description}")
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


def unknown(what: str, wrong: str, right: Iterable[str], elsewhere: Iterable[str] = ()) -> SettingError:
    """Return the error of a wrong name, with the nearest right one, or all in its place where none is near.

    Right names may be dotted; the last part is compared. Those elsewhere are near, but are not listed.
    """
    right = list(right)
    names = {path.rpartition(".")[2]: path for path in [*elsewhere, *right]}
    near = get_close_matches(wrong, names, 1)
    return SettingError(
        f"{what}: unknown; " + (f"did you mean {names[near[0]]}?" if near else f"choose one of {', '.join(right)}")
    )
