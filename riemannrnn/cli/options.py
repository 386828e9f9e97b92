"""Options of the command line that are keys of the configuration: each is declared by its record alone."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from riemannrnn.cli.config import TABLES

KEYS = {
    "data": "file",
    "target": "target",
    "missing": "missing",
    "units": "units",
    "epochs": "epochs",
    "manifold": "manifold",
    "rule": "rule",
    "learning_rate": "learning_rate",
    "seed": "seed",
}
"""The keys that are options, by the name of the option. An option sets the key in every table that has it."""

Command = Callable[..., None]


def with_keys(command: Command) -> Command:
    """Return a command with the options of `KEYS`, which are passed to it as tables of the configuration, `given`."""

    @wraps(command)
    def with_options(**options: Any) -> None:
        values = {name: options.pop(name) for name in KEYS}
        command(**options, given=_tables({name: value for name, value in values.items() if value not in (None, [])}))

    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters.values()
    named = inspect.Parameter.KEYWORD_ONLY
    own = [each.replace(annotation=hints[each.name], kind=named) for each in parameters if each.name != "given"]
    added = [_parameter(name, key) for name, key in KEYS.items()]
    with_options.__signature__ = inspect.Signature([*added, *own])  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in [*added, *own]}
    return with_options


def _parameter(name: str, key: str) -> inspect.Parameter:
    """Return an option of the command line, with the kind and the help of its key."""
    declared = [each for record in TABLES.values() for each in fields(record) if each.name == key]
    helps = dict.fromkeys(each.metadata["help"].replace("`", "") for each in declared)
    record = next(record for record in TABLES.values() if key in {each.name for each in fields(record)})
    kind = record.plain_kind(key)
    several = kind not in (int, float, str)
    help_text = " ".join(helps) + (" Repeatable." if several else "")
    taken: Any = list[str] if several else kind
    annotation: Any = Annotated[taken | None, typer.Option(help=help_text, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _tables(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tables with the values of options."""
    keys = {KEYS[name]: value for name, value in values.items()}
    return {
        table: {key: value for key, value in keys.items() if key in {each.name for each in fields(record)}}
        for table, record in TABLES.items()
    }
