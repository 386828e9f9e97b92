"""What a reproduced figure is: its data, the claims that they bear on, and the words in which it is reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import xarray as xr

Row: TypeAlias = Mapping[str, str]


@dataclass(frozen=True)
class Claim:
    """One thing that the paper says, beside what was measured.

    Attributes
    ----------
    paper
        What the paper, or the code released with it, says.
    recorded
        What the authors' code recorded; "not recorded" where there is no number of theirs.
    measured
        What was found here, in numbers.
    holds
        Whether it holds; None where these data do not decide it.
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
        What the command line calls it.
    data
        Everything the figure shows, enough to draw it again; its attributes are the settings.
    claims
        What the paper says about it.
    details
        The numbers behind the claims, rows of equal keys.
    notes
        What a reader should know besides.
    interrupted
        Whether Ctrl-C cut it short.
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
    """Return paper.md: a line for every claim of every figure."""
    rows = [{"figure": each.name, **claim.as_row()} for each in reproductions for claim in each.claims]
    heading = "# Zhu & Rosenbaum (Neural Computation 36(8), 2024), claim by claim"
    return f"{heading}\n\n{table(rows)}\n"


def table(rows: Sequence[Row]) -> str:
    """Return rows of equal keys as a Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[key].replace("|", "\\|") for key in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
