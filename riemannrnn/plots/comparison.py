"""Figures of a comparison of contenders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter, SymmetricalLogLocator

from riemannrnn.learning.comparison import Comparison
from riemannrnn.learning.contest import Entry

GEOMETRY_COLOURS = {
    "euclidean": "#D55E00",
    "resolvent/geodesic": "#0072B2",
    "resolvent/additive": "#56B4E9",
    "per-stimulus": "#009E73",
    "gain": "#332288",
    "left-invariant": "#CC79A7",
    "right-invariant": "#882255",
    "monotone": "#E69F00",
    "scaled-monotone": "#000000",
    "response": "#117733",
    "aggregated": "#0A7F73",
    "low-rank": "#6699CC",
    "dale": "#999933",
    "sparse": "#44AA99",
    "hollow": "#CC6677",
    "symmetric": "#DDCC77",
    "circulant": "#AA4499",
}
"""Colour-blind safe (Okabe & Ito; Tol); the metric of a contender, and for the paper's its retraction."""

MOST_LINES = 20
"""Contenders that a figure can show, each with a colour and a style."""

SOLVER_STYLES: dict[str, tuple[Any, str]] = {
    "fixed-step": ("-", "o"),
    "momentum": ((0, (6, 1)), "P"),
    "steepest-descent": ("--", "s"),
    "conjugate-gradient": ("-.", "^"),
    "trust-regions": (":", "D"),
    "dW3": ("-", "v"),
    "dW4": ("--", "X"),
}
"""Line style and marker of a solver."""


def _geometry(entry: Entry) -> str:
    contender = entry.contender
    return f"resolvent/{contender.retraction}" if contender.metric == "resolvent" else contender.metric


def _style(entry: Entry) -> dict[str, Any]:
    line, marker = SOLVER_STYLES[entry.contender.solver]
    return {
        "color": GEOMETRY_COLOURS.get(_geometry(entry), "0.5"),
        "linestyle": line,
        "marker": marker,
        "markevery": [-1],
        "lw": 1.4,
        "ms": 5,
    }


def scale_losses(ax: Axes) -> None:
    """Make the ordinate logarithmic, with plain numbers at 1, 2 and 5."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_formatter(NullFormatter())


def plot_losses(entries: Sequence[Entry], against: str, ax: Axes | None = None) -> Axes:
    """Draw the training loss of each contender against "evaluations" or, on a logarithmic axis too, "seconds"."""
    ax = Figure().add_subplot() if ax is None else ax
    for entry in entries:
        ax.plot([getattr(point, against) for point in entry.history], [point.loss for point in entry.history], **_style(entry))
    scale_losses(ax)
    ax.set_ylabel("training loss (nat)")
    ax.set_xlabel("cost, gradient and Hessian evaluations" if against == "evaluations" else "seconds of computation")
    if against == "seconds" and any(point.seconds > 0 for entry in entries for point in entry.history):
        ax.set_xscale("log")  # contenders differ a hundredfold
    return ax


def plot_accuracies(entries: Sequence[Entry], ax: Axes | None = None) -> Axes:
    """Draw the test accuracy of each contender against evaluations."""
    ax = Figure().add_subplot() if ax is None else ax
    for entry in entries:
        points = [point for point in entry.history if np.isfinite(point.test_accuracy)]
        ax.plot([p.evaluations for p in points], [100 * p.test_accuracy for p in points], **_style(entry))
    ax.set(xlabel="cost, gradient and Hessian evaluations", ylabel="test accuracy (%)")
    return ax


def plot_stability(entries: Sequence[Entry], ax: Axes | None = None) -> Axes:
    """Draw the worst spectral abscissa of each contender, and beside it how many stimuli have no stable fixed point."""
    ax = Figure().add_subplot() if ax is None else ax
    places = np.arange(len(entries))[::-1]
    for place, entry in zip(places, entries, strict=True):
        style = _style(entry)
        ax.plot([-1, entry.worst_abscissa], [place, place], color=style["color"], lw=1)
        ax.plot(entry.worst_abscissa, place, color=style["color"], marker=style["marker"], ms=5)
        if entry.without_stable_fixed_point:
            ax.annotate(
                f"{entry.without_stable_fixed_point} lost",
                (np.fmax(entry.worst_abscissa, 0), place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
            )
    ax.axvline(0, color="black", lw=0.8, ls=":")
    ax.set_yticks(places, [entry.contender.name for entry in entries], fontsize=7)
    ax.set_xlabel("worst spectral abscissa of −I + G W (1/τ), stable below 0\nlost: no stable fixed point found")
    ax.set_xscale("symlog", linthresh=1)  # a run that lost its fixed points may end anywhere
    locator = SymmetricalLogLocator(base=10, linthresh=1)
    locator.set_params(numticks=5)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.margins(x=0.12)
    return ax


def legible(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that a figure shows: all, or where they are more than it can hold the best of each metric."""
    if len(entries) <= MOST_LINES:
        return list(entries)
    best: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda each: np.nan_to_num(each.training_loss, nan=np.inf)):
        best.setdefault(_geometry(entry), entry)
    return [entry for entry in entries if entry is best[_geometry(entry)]]


def comparison_figure(comparison: Comparison, title: str) -> Figure:
    """Return the figure of a comparison: loss against evaluations and seconds, accuracy, stability.

    Of many contenders it shows the best of each metric, by the training loss at the end, and says so.
    """
    entries = legible(comparison.entries)
    if len(entries) < len(comparison.entries):
        title += f"\nthe best of each metric, {len(entries)} of {len(comparison.entries)} contenders"
    figure = Figure(figsize=(11, 8), layout="constrained")
    upper_left, upper_right, lower_left, lower_right = figure.subplots(2, 2).flat
    plot_losses(entries, "evaluations", upper_left)
    plot_losses(entries, "seconds", upper_right)
    plot_accuracies(entries, lower_left)
    plot_stability(entries, lower_right)
    for letter, ax in zip("abcd", (upper_left, upper_right, lower_left, lower_right), strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
        ax.spines[["top", "right"]].set_visible(False)
    present = {_geometry(entry) for entry in entries}
    solvers = {entry.contender.solver for entry in entries}
    handles = [Line2D([], [], color=c, lw=3, label=name) for name, c in GEOMETRY_COLOURS.items() if name in present]
    handles += [
        Line2D([], [], color="0.3", ls=line, marker=marker, ms=5, label=name)
        for name, (line, marker) in SOLVER_STYLES.items()
        if name in solvers
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure
