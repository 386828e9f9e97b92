"""Tables and headings of the pages on benchmarks, in Markdown."""

import statistics
from collections.abc import Iterable
from typing import Any, TypeAlias

from benchmarks.records import Row

Record: TypeAlias = dict[str, Any]
"""What a benchmark has written: rows, with the day and the machine."""


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    heading = list(headings)
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def figure(row: Row, key: str, form: str) -> str:
    """Return a number; "misses" where there is none."""
    return format(row[key], form) if key in row else "misses"


def spread(runs: list[Row], key: str, form: str) -> str:
    """Return the least, the largest and the median value of a figure over runs."""
    values = [row[key] for row in runs]
    return f"{min(values):{form}} to {max(values):{form}} ({statistics.median(values):{form}})"


def measured(words: str, record: Record, *, versions: bool = False) -> str:
    """Return a heading that says when and on what the figures under it were measured, and with which versions."""
    machine = record["machine"]
    days = sorted({row["date"] for row in record["rows"]})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    where = processors(record["rows"], record)
    if versions:
        packages = ", ".join(f"{name} {number}" for name, number in record["versions"].items() if name != "riemannrnn")
        where += f", {machine['cores']} cores, Python {machine['python']}, {packages}"
    return f"**{words}** ({when}; {where}):"


def processors(rows: list[Row], record: Record) -> str:
    """Return on what rows were measured: seconds on one processor do not compare with those on another."""
    return " and ".join(sorted({row.get("processor", record["machine"]["processor"]) for row in rows}))
