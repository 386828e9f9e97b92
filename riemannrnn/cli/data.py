"""`riemannrnn data`."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich import box
from rich.markup import escape
from rich.table import Table as Printed

from riemannrnn.cli.common import INTERRUPTED, complain, console, progress_bar, refuse
from riemannrnn.data import DatasetError, Table, index_column, open_table
from riemannrnn.data.survey import Survey, all_sources, class_counts, survey
from riemannrnn.progress import Progress

MOST_COLUMNS = 24
"""Largest number of numeric columns that are printed on separate lines."""


def _note(message: str) -> None:
    complain("Note", message)


def check_command(
    file: Path,
    target: list[str] | None,
    inputs: list[str] | None,
    index: str | None,
    rows: str | None,
    cache: Path | None,
) -> None:
    """Print the contents of a file, and how they would be used; the options are declared in `riemannrnn.cli.commands`."""

    def used() -> Table:
        options: dict[str, Any] = {"rows": rows, "cache": cache, "notify": _note}
        return open_table(file, target=_one(target), inputs=_one(inputs), index=index, **options)

    try:
        table = used() if target or inputs or index else None  # wrong names raise an error before all rows are read
        surveys = _surveys(file, rows, cache)
        _print_contents(file, surveys)
        if table is None and len(surveys) == 1:
            table = _if_usable(used)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except DatasetError as error:
        refuse(error)
    if table is not None:
        _print_use(table, surveys, index)
    elif len(surveys) > 1:
        _say(f"Stimuli and targets: name them with --inputs and --target: {_shortened(list(surveys))}.")


def _surveys(file: Path, rows: str | None, cache: Path | None) -> dict[str, Survey]:
    """Return a survey of each array in a file."""
    sources, found = all_sources(file, rows, cache, _note), dict[str, Survey]()
    with progress_bar(file.name) as progress:
        for done, (name, source) in enumerate(sources.items()):
            found[name] = survey(source, partial(_advance, progress, done, len(sources)))
    return found


def _advance(progress: Progress, done: int, total: int, share: float) -> None:
    progress((done + share) / total)


def _if_usable(used: Callable[[], Table]) -> Table | None:
    """Return a table, or print why there is none. This is not an error: no column was requested."""
    try:
        return used()
    except DatasetError as error:
        _say(f"Not usable without options: {error}.")
        return None


def _one(names: list[str] | None) -> str | list[str] | None:
    return names[0] if names and len(names) == 1 else names or None


def _say(sentence: str) -> None:
    console.print(escape(sentence), highlight=False, soft_wrap=True)


def _print_contents(file: Path, surveys: dict[str, Survey]) -> None:
    printed = Printed(title=escape(f"What {file} holds"), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("what", "rows", "type", "missing", "smallest", "largest", "remarks"):
        printed.add_column(heading, overflow="fold")
    for name, each in surveys.items():
        for cells in _lines(name, each):
            printed.add_row(*map(escape, cells))
    console.print(printed)


def _lines(name: str, found: Survey) -> Iterable[tuple[str, ...]]:
    """Return the lines about one source: one for each column of a narrow table, or one for all numbers."""
    source = found.source
    texts = [place for place, column in enumerate(source.columns) if column.is_text]
    numbers = [place for place in range(len(found.names)) if place not in texts]
    each_alone = bool(source.columns) and len(numbers) <= MOST_COLUMNS
    for place in range(len(source.columns)):
        if place in texts or each_alone:
            yield _line(source.columns[place].name, source.columns[place].kind, found, [place])
    if numbers and not each_alone:
        named = [f"{size} {name}".strip() for size, name in zip_longest(source.shape, source.dimensions, fillvalue="")]
        title = f"{len(numbers)} columns of numbers" if source.columns else name or "the array"
        sizes = f", {' × '.join(named[1:])} a row" if named[1:] and not source.columns else ""
        yield _line(title, source.dtype + sizes, found, numbers)


def _line(title: str, kind: str, found: Survey, places: list[int]) -> tuple[str, ...]:
    moments, remarks = found.moments, []
    column = found.source.columns[places[0]] if found.source.columns and len(places) == 1 else None
    missing, infinite = int(moments.missing[places].sum()), int(moments.infinite[places].sum())
    if column is not None and column.is_text:
        shown = ", ".join(column.classes[:5]) + (" …" if len(column.classes) > 5 else "")
        remark = f"{len(column.classes)} different: {shown}" if column.classes else "too many different texts for classes"
        return title, str(len(found.source)), kind, str(column.missing), "", "", remark
    constant = [name for name in found.constant if name in {found.names[place] for place in places}]
    if constant:
        remarks.append("constant" if len(places) == 1 else f"{len(constant)} constant columns")
    if infinite:
        remarks.append(f"{infinite} infinite")
    low, high = float(np.min(moments.smallest[places])), float(np.max(moments.largest[places]))
    return title, str(len(found.source)), kind, str(missing), f"{low:.6g}", f"{high:.6g}", "; ".join(remarks)


def _print_use(table: Table, surveys: dict[str, Survey], index: str | None) -> None:
    source = table.stimuli.source
    names = table.stimuli.names
    shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "") if source.columns else ""
    _say(f"Stimuli: {len(table)} of {table.n_inputs} inputs{': ' if shown else ''}{shown}, as {table.dtype}.")
    left_out = index_column(source, index)
    if left_out is not None:
        _say(f"Index: column {source.columns[left_out].name!r} numbers or names the rows, and is left out.")
    _print_missing(table, next(each for each in surveys.values() if each.source.fingerprint == source.fingerprint))
    if table.targets is None:
        _say("Targets: none; name their column with --target.")
    elif table.classes is not None:
        counts, missing = class_counts(table)
        listed = [f"{name} ({count})" for name, count in zip(table.classes.names, counts.tolist())]
        _say(f"Targets: {_titled(table)}: classification, {len(counts)} classes: {_shortened(listed)}.")
        _say_unobserved(missing, len(table))
    else:
        found = next(each for each in surveys.values() if each.source.fingerprint == table.targets.source.fingerprint)
        chosen = slice(None) if table.targets.chosen is None else list(table.targets.chosen)
        _say(f"Targets: {_titled(table)}: regression, {table.n_outputs} outputs.")
        _say_unobserved(int(found.moments.missing[chosen].sum()), len(table) * table.n_outputs)


def _titled(table: Table) -> str:
    targets = table.targets
    if targets is None or not targets.source.columns:
        return "an array" if targets is None or len(targets.names) > 1 else "one number a row"
    return f"column {targets.names[0]!r}" if len(targets.names) == 1 else f"{len(targets.names)} columns"


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:20]) + (" …" if len(names) > 20 else "")


def _say_unobserved(missing: int, total: int) -> None:
    if missing:
        _say(f"Missing targets: {missing} of {total} ({missing / total:.1%}); they count as not observed.")


def _print_missing(table: Table, found: Survey) -> None:
    chosen = np.arange(len(found.names)) if table.stimuli.chosen is None else np.array(table.stimuli.chosen)
    missing, infinite = found.moments.missing[chosen], found.moments.infinite[chosen]
    if missing.any():
        _say(
            f"Missing in stimuli: {int(missing.sum())}, in {int((missing > 0).sum())} of {len(chosen)} inputs. "
            'They cause an error, unless missing="mean" (--missing mean) replaces them by the mean of their column.'
        )
    if infinite.any():
        count, places = int(infinite.sum()), int((infinite > 0).sum())
        _say(f"Infinite in stimuli: {count}, in {places} of {len(chosen)} inputs. They cause an error.")
    constant = [name for name in found.constant if name in table.stimuli.names]
    if constant:
        _say(f"Constant inputs: {_shortened(constant)}. They tell nothing about the targets.")
