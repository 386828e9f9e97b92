"""The table that `riemannrnn compare` prints."""

from textwrap import wrap

import numpy as np
from rich import box
from rich.table import Table

from riemannrnn.cli.common import console
from riemannrnn.comparison.comparison import Comparison
from riemannrnn.comparison.entry import Entry

WIDE = 110
"""Columns from which the name of a contender fits on a line of the table."""

NARROW = 20
"""Columns that are left for it in a terminal of 80."""


def table(comparison: Comparison) -> Table:
    """Return the table of a comparison, best first; contenders that took no step are not in it."""
    score = "R²" if comparison.regression else "accuracy in %"
    result = Table(
        title=f"{comparison.budget} evaluations for each contender",
        caption=f"test: {score}; J+∇J+H: evaluations of cost, gradient and Hessian; iter: fixed-point iterations; "
        "abscissa: the worst over all stimuli, stable below 0; lost: no stable fixed point found",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    result.add_column("contender", overflow="fold")
    for heading in ("rate", "loss", "test", "J+∇J+H", "iter", "s", "abscissa", "lost"):
        result.add_column(heading, justify="right", no_wrap=True)
    for entry in (each for each in comparison.ranking if each.weights is not None):
        result.add_row(*_cells(entry, comparison.regression))
    return result


def _cells(entry: Entry, regression: bool) -> list[str]:
    name = entry.contender.name
    return [
        name if console.width >= WIDE else _broken(name),
        f"{entry.learning_rate:g}" if np.isfinite(entry.learning_rate) else "",
        _number(entry.training_loss, ".3f"),
        _number(entry.test_r_squared, ".3f") if regression else _number(100 * entry.test_accuracy, ".1f"),
        f"{entry.cost_evaluations}+{entry.gradient_evaluations}+{entry.hessian_evaluations}",
        str(entry.iterations),
        _number(entry.seconds, ".1f"),
        _number(entry.worst_abscissa, "+.2f"),
        _number(entry.without_stable_fixed_point, ".0f"),
    ]


def _broken(name: str) -> str:
    """Return a name in lines that fit the first column of a narrow table, broken before slashes only."""
    lines = wrap(name.replace("/", " /"), NARROW, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(" /", "/")


def _number(value: float, form: str) -> str:
    return "–" if np.isnan(value) else f"{value:{form}}"
