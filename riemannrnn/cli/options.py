"""Options of the command line that are keys of the configuration; only their record declares them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from riemannrnn.cli.config import TABLES
from riemannrnn.settings import Options


def _flags() -> dict[str, list[tuple[str, type[Options], Field[Any]]]]:
    """Return the keys that are options of the command line, with their tables and records, by the name of the option."""
    found: dict[str, list[tuple[str, type[Options], Field[Any]]]] = {}
    for table, record in TABLES.items():
        for each in fields(record):
            flag = each.metadata["flag"]
            if flag:
                found.setdefault(each.name if flag is True else flag, []).append((table, record, each))
    return found


FLAGS = _flags()
"""The options of the command line that are keys; an option sets all keys with its name."""

Command = Callable[..., None]


def with_keys(command: Command) -> Command:
    """Return a command with the options of `FLAGS`, which it receives as tables of the configuration, `given`."""
    return with_these_keys(*FLAGS)(command)


def with_these_keys(*names: str) -> Callable[[Command], Command]:
    """Return a decorator as `with_keys` for some of the options of `FLAGS`."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_options(**options: Any) -> None:
            values = {name: options.pop(name) for name in names}
            command(**options, given=_tables({name: value for name, value in values.items() if value not in (None, [])}))

        hints = get_type_hints(command, include_extras=True)
        parameters = inspect.signature(command).parameters.values()
        named = inspect.Parameter.KEYWORD_ONLY
        own = [each.replace(annotation=hints[each.name], kind=named) for each in parameters if each.name != "given"]
        added = [_parameter(name) for name in names]
        with_options.__signature__ = inspect.Signature([*added, *own])  # type: ignore[attr-defined]
        with_options.__annotations__ = {each.name: each.annotation for each in [*added, *own]}
        return with_options

    return decorate


def _parameter(name: str) -> inspect.Parameter:
    """Return an option of the command line, with the type and the help of its keys."""
    helps = dict.fromkeys(each.metadata["help"].replace("`", "") for _, _, each in FLAGS[name])
    _, record, declared = FLAGS[name][0]
    kind = record.plain_kind(declared.name)
    several = kind not in (int, float, str)
    help_text = " ".join(helps) + (" Repeatable." if several else "")
    taken: Any = list[str] if several else kind
    annotation: Any = Annotated[taken | None, typer.Option(help=help_text, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _tables(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tables of the configuration with the values of options."""
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    for name, value in values.items():
        for table, _, each in FLAGS[name]:
            tables[table][each.name] = value
    return tables
