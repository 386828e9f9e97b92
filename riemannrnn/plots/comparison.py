"""Figures of a comparison of contenders."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter, SymmetricalLogLocator

from riemannrnn.comparison.comparison import Comparison
from riemannrnn.comparison.entry import Entry
from riemannrnn.metrics.catalogue import CATALOGUE

OPTIMISER_STYLES = {
    "descent": ("#0072B2", "o"),
    "momentum": ("#56B4E9", "P"),
    "steepest-descent": ("#E69F00", "s"),
    "conjugate-gradient": ("#D55E00", "^"),
    "trust-regions": ("#009E73", "D"),
    "dW3": ("#CC79A7", "v"),
    "dW4": ("#000000", "X"),
}
"""Colour and marker of an optimiser or a rule; the colours are colour-blind safe (Okabe and Ito)."""

PANELS_IN_A_ROW = 4
PAGE_WIDTH, PANEL_HEIGHT, LEGEND_HEIGHT = 7.0, 1.45, 1.1
"""Sizes in inches; a page of a paper is seven inches wide."""

Abscissa = Literal["evaluations", "seconds"]
"""What a contender has used when it reaches a loss."""

X_LABELS: dict[Abscissa, str] = {
    "evaluations": "cost, gradient and Hessian evaluations",
    "seconds": "seconds of computation",
}


def _style(entry: Entry) -> dict[str, Any]:
    """Return colour and marker; the last marker is open if stimuli have lost their stable fixed point."""
    colour, marker = OPTIMISER_STYLES[entry.contender.optimiser]
    return {
        "color": colour,
        "marker": marker,
        "markevery": [-1],
        "markerfacecolor": colour if entry.keeps_all else "white",
        "lw": 1.3,
        "ms": 4.5,
    }


def _loss_label(entries: Sequence[Entry]) -> str:
    """Return the label of the losses: those of labels are in nat, and squared errors have no unit."""
    return "training loss" if any(np.isfinite(each.test_r_squared) for each in entries) else "training loss (nat)"


def scale_losses(ax: Axes) -> None:
    """Make the ordinate logarithmic, with plain numbers at 1, 2 and 5."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_formatter(NullFormatter())


def plot_losses(
    entries: Sequence[Entry], against: Abscissa = "evaluations", ax: Axes | None = None, others: Sequence[Entry] = ()
) -> Axes:
    """Draw the training loss of each contender, and other contenders in grey behind them.

    Each curve begins at the start, before any evaluation.
    """
    ax = Figure().add_subplot() if ax is None else ax
    for entry, style in (
        *((each, {"color": "0.82", "lw": 0.6, "zorder": 1}) for each in others),
        *((each, _style(each)) for each in entries),
    ):
        used = [getattr(point, against) for point in entry.history]
        losses = [point.loss for point in entry.history]
        ax.plot([0, *used] if used else [], [*losses[:1], *losses], **style)
    scale_losses(ax)
    ax.set(xlabel=X_LABELS[against], ylabel=_loss_label(entries))
    return ax


def plot_accuracies(entries: Sequence[Entry], ax: Axes | None = None) -> Axes:
    """Draw the test accuracy of each contender against evaluations."""
    ax = Figure().add_subplot() if ax is None else ax
    for entry in entries:
        points = [point for point in entry.history if np.isfinite(point.test_accuracy)]
        ax.plot([p.evaluations for p in points], [100 * p.test_accuracy for p in points], **_style(entry))
    ax.set(xlabel=X_LABELS["evaluations"], ylabel="test accuracy (%)")
    return ax


def plot_stability(entries: Sequence[Entry], ax: Axes | None = None) -> Axes:
    """Draw the worst spectral abscissa of each contender, and the number of stimuli without a stable fixed point."""
    ax = Figure().add_subplot() if ax is None else ax
    places = np.arange(len(entries))[::-1]
    for place, entry in zip(places, entries, strict=True):
        colour, marker = OPTIMISER_STYLES[entry.contender.optimiser]
        ax.plot([-1, entry.worst_abscissa], [place, place], color=colour, lw=1)
        ax.plot(entry.worst_abscissa, place, color=colour, marker=marker, ms=5)
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


def panels(comparison: Comparison) -> dict[str, list[Entry]]:
    """Return the contenders on each manifold, best first, by the title of their panel.

    A manifold that is compared with several retractions has one panel for each of them.
    """
    found: dict[str, list[Entry]] = {}
    for entry in comparison.ranking:
        manifold, retraction = entry.contender.manifold, entry.contender.retraction
        several = manifold in CATALOGUE and len(CATALOGUE[manifold].retractions) > 1
        found.setdefault(f"{manifold}, {retraction}" if several else manifold, []).append(entry)
    return found


def comparison_figure(comparison: Comparison, title: str) -> Figure:
    """Return small multiples of the training loss: one panel for each manifold, on the same axes, best first.

    In each panel the contenders on its manifold are in colour, and all others are grey behind them. The figure is as wide
    as the page of a paper.
    """
    shown = panels(comparison)
    columns = min(PANELS_IN_A_ROW, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(PAGE_WIDTH, PANEL_HEIGHT * rows + LEGEND_HEIGHT), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax, (name, entries) in zip(grid.flat, shown.items(), strict=False):
        plot_losses(entries, "evaluations", ax, [entry for entry in comparison.entries if entry not in entries])
        if not any(entry.history for entry in entries):
            ax.text(0.5, 0.5, "failed at the start", ha="center", va="center", fontsize=7, transform=ax.transAxes)
        ax.set_title(name, loc="left", fontsize=8)
        ax.set(xlabel="", ylabel="")
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in grid.flat[len(shown) :]:
        ax.remove()
    for ax in grid.flat[max(len(shown) - columns, 0) : len(shown)]:  # the lowest panel of each column
        ax.tick_params(labelbottom=True)
        ax.set_xlabel("evaluations", fontsize=8)
    figure.supylabel(_loss_label(comparison.entries), fontsize=8)
    figure.legend(handles=_legend(comparison), loc="outside lower center", ncols=4, frameon=False, fontsize=7)
    figure.suptitle(title, fontsize=9)
    return figure


def _legend(comparison: Comparison) -> list[Line2D]:
    optimisers = {entry.contender.optimiser for entry in comparison.entries}
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=4.5, lw=1.3, label=name)
        for name, (colour, marker) in OPTIMISER_STYLES.items()
        if name in optimisers
    ]
    if any(entry.history and not entry.keeps_all for entry in comparison.entries):
        label = "open: lost stable fixed points"
        handles.append(
            Line2D([], [], color="0.3", linestyle="", marker="o", markerfacecolor="white", markersize=4.5, label=label)
        )
    return [*handles, Line2D([], [], color="0.82", lw=1.0, label="contenders of the other panels")]
