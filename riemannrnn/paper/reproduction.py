"""A reproduced figure: its data, the claims of the paper that they test, and the text of its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import xarray as xr

Row: TypeAlias = Mapping[str, str]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and what was measured.

    Attributes
    ----------
    paper
        The claim of the paper, or of the code released with it.
    recorded
        The value that the authors' code recorded, or "not recorded".
    measured
        The value measured here.
    holds
        Whether the claim holds; None if these data do not decide it.
    """

    paper: str
    recorded: str
    measured: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """Return "holds", "does not hold" or "undecided"."""
        return {True: "holds", False: "does not hold", None: "undecided"}[self.holds]

    def as_row(self) -> Row:
        """Return the claim as a row of a table."""
        return {"the paper": self.paper, "recorded": self.recorded, "measured here": self.measured, "verdict": self.verdict}


@dataclass(frozen=True)
class Reproduction:
    """A reproduced figure.

    Attributes
    ----------
    name
        Name on the command line.
    data
        All data of the figure, enough to draw it again; the attributes are the settings.
    claims
        The claims of the paper about it.
    details
        The numbers behind the claims, rows of equal keys.
    notes
        Further remarks for the reader.
    interrupted
        Whether Ctrl-C ended it early.
    """

    name: str
    data: xr.Dataset
    claims: tuple[Claim, ...]
    details: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    def verdict(self) -> str:
        """Return verdict.md: the claims, the numbers behind them, the settings."""
        parts = [f"# {self.data.attrs['title']}"]
        if self.interrupted:
            parts.append("**Interrupted: what follows rests on what had been computed by then.**")
        parts.append(table([claim.as_row() for claim in self.claims]))
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        if self.details:
            parts += ["## Numbers", table(self.details)]
        settings = (f"- {key}: {value}" for key, value in self.data.attrs.items() if key != "title")
        return "\n\n".join([*parts, "## Settings", "\n".join(settings)]) + "\n"


def paper_table(reproductions: Sequence[Reproduction]) -> str:
    """Return paper.md: one line for every claim of every figure."""
    rows = [{"figure": each.name, **claim.as_row()} for each in reproductions for claim in each.claims]
    heading = "# Zhu & Rosenbaum (Neural Computation 36(8), 2024), claim by claim"
    return f"{heading}\n\n{table(rows)}\n"


def table(rows: Sequence[Row]) -> str:
    """Return rows with equal keys as a Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[key].replace("|", "\\|") for key in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
