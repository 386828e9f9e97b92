"""How objects print: one to three lines of text, or a small table in a notebook."""

from collections.abc import Iterable
from html import escape
from textwrap import wrap

WIDTH, LINES = 120, 3
"""Largest number of characters in a line, and of lines, of the printed text."""


class Summarised:
    """An object that prints its type and a few facts, and never its arrays.

    A subclass overrides `summary`.
    """

    def summary(self) -> dict[str, object]:
        """Return the facts to print, each under a short name."""
        return {}

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}: {value}" for name, value in self.summary().items())
        lines = wrap(f"{type(self).__name__}({facts})", WIDTH, subsequent_indent="  ", max_lines=LINES, placeholder=" …)")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, self.summary().items())


def html_table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Return a table of two columns in HTML, with every special character escaped."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(str(value))}</td></tr>"
        for name, value in rows
    )
    return f"<table><caption style='text-align:left'><b>{escape(title)}</b></caption>{cells}</table>"
