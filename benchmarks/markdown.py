"""Tables and headings for the pages on benchmarks, in Markdown."""

import statistics
from collections.abc import Iterable
from typing import Any, TypeAlias

from benchmarks.records import Row

Record: TypeAlias = dict[str, Any]
"""The results of a benchmark: rows, with the day and the machine."""


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    heading = list(headings)
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def figure(row: Row, key: str, form: str) -> str:
    """Return a formatted number, or "misses" if it is missing."""
    return format(row[key], form) if key in row else "misses"


def spread(runs: list[Row], key: str, form: str) -> str:
    """Return the smallest, the largest and the median value over runs."""
    values = [row[key] for row in runs]
    return f"{min(values):{form}} to {max(values):{form}} ({statistics.median(values):{form}})"


def measured(words: str, record: Record, *, versions: bool = False) -> str:
    """Return a heading with the day, the machine and optionally the versions of the measurements below it."""
    machine = record["machine"]
    days = sorted({row["date"] for row in record["rows"]})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    where = processors(record["rows"], record)
    if versions:
        packages = ", ".join(f"{name} {number}" for name, number in record["versions"].items() if name != "riemannrnn")
        where += f", {machine['cores']} core{'s' * (machine['cores'] != 1)}, Python {machine['python']}, {packages}"
    return f"**{words}** ({when}; {where}):"


def processors(rows: list[Row], record: Record) -> str:
    """Return the processors of the rows: seconds on different processors do not compare."""
    return " and ".join(sorted({row.get("processor", record["machine"]["processor"]) for row in rows}))
