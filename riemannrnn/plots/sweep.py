"""The figure of a sweep: small multiples over the varied options, with every seed and the median over seeds."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, ScalarFormatter

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of the values of an axis, colour-blind safe (Okabe and Ito)."""

QUANTITIES = {"test_loss": "held-out loss", "loss": "training loss"}
"""The quantities to draw, with their names; the first one that exists is drawn."""

PANELS_IN_A_ROW, PAGE_WIDTH, PANEL_HEIGHT, MARGIN = 4, 7.0, 1.7, 1.0
"""Panels in a row, and sizes in inches; a page of a paper is seven inches wide."""

LOG_RANGE = 20
"""The ratio of the largest to the smallest value from which a numeric axis is drawn logarithmically."""


def sweep_figure(dataset: xr.Dataset, axes: Sequence[str]) -> Figure:
    """Return small multiples of the loss of all cells.

    The abscissa is the numeric axis with the most values. The last loss of each run is a dot, and the median over seeds a line.
    Without a numeric axis, the abscissa is the number of the step, with a thin curve for each run and a thick curve for the
    median. The other axis with the fewest values is shown by colours, unless it is the only axis beside a numeric
    axis. Every combination of the remaining values has a panel. Runs without a value are crosses at the top.

    Parameters
    ----------
    dataset
        A dataset as `SweepResult.to_dataset` returns it.
    axes
        The names of its axes.
    """
    varied = [name for name in axes if dataset.sizes[name] > 1]
    abscissa = _abscissa(dataset, varied)
    others = [name for name in varied if name != abscissa]
    few = [name for name in others if dataset.sizes[name] <= len(COLOURS)]
    coloured = min(few, key=lambda name: dataset.sizes[name]) if few and (len(others) > 1 or abscissa == "step") else None
    panelled = [name for name in others if name != coloured]
    places = [dict(zip(panelled, values, strict=True)) for values in product(*(dataset[name].values for name in panelled))]
    dataset = dataset.isel({name: 0 for name in axes if name not in varied})
    columns = min(PANELS_IN_A_ROW, len(places))
    rows = -(-len(places) // columns)
    figure = Figure(figsize=(PAGE_WIDTH, PANEL_HEIGHT * rows + MARGIN), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax, place in zip(grid.flat, places, strict=False):
        plot_cells(dataset.sel(place), abscissa, coloured, ax)
        ax.set_title(", ".join(str(value) for value in place.values()), loc="left", fontsize=8)
        ax.set(xlabel="", ylabel="")
    for ax in grid.flat[len(places) :]:
        ax.remove()
    for ax in grid.flat[max(len(places) - columns, 0) : len(places)]:
        ax.tick_params(labelbottom=True)
        ax.set_xlabel(abscissa, fontsize=8)
    figure.supylabel(_label(dataset), fontsize=8)
    figure.legend(handles=_legend(dataset, coloured), loc="outside lower center", ncols=4, frameon=False, fontsize=7)
    figure.suptitle(", ".join(panelled), fontsize=9)
    return figure


def plot_cells(dataset: xr.Dataset, abscissa: str, coloured: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the cells of one panel against an axis or "step", with a colour for each value of another axis."""
    ax = Figure().add_subplot() if ax is None else ax
    name = _quantity(dataset)
    if f"final_{name}" not in dataset:
        ax.text(0.5, 0.5, "no run has a value", ha="center", va="center", fontsize=7, transform=ax.transAxes)
        return ax
    for colour, each in _by_colour(dataset, coloured):
        if abscissa == "step":
            _draw_curves(ax, each[name].transpose("replicate", "step").values, each["step"].values, colour)
        else:
            _draw_dots(ax, each[f"final_{name}"].transpose("replicate", abscissa).values, each[abscissa].values, colour)
    values = dataset[abscissa].values
    if abscissa != "step" and values.min() > 0 and values.max() / values.min() >= LOG_RANGE:
        ax.set_xscale("log")
    ax.set(yscale="log", xlabel=abscissa, ylabel=_label(dataset))
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if _wide(ax) else MaxNLocator(5))
    ax.yaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_locator(NullLocator())
    ax.tick_params(labelsize=7, which="both")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _draw_dots(ax: Axes, values: np.ndarray, places: np.ndarray, colour: str) -> None:
    """Draw values of shape (replicates, places) as dots, their median as a line, and missing values as crosses."""
    finite = np.where(np.isfinite(values), values, np.nan)
    ax.plot(np.broadcast_to(places, values.shape).ravel(), finite.ravel(), "o", ms=2.5, mew=0, alpha=0.6, color=colour)
    order = np.argsort(places)
    ax.plot(places[order], _median(finite)[order], color=colour, lw=1.3)
    missing = places[~np.isfinite(values).all(axis=0)]
    if missing.size:
        ax.plot(missing, np.ones(missing.size), "x", ms=4, color=colour, transform=ax.get_xaxis_transform(), clip_on=False)


def _draw_curves(ax: Axes, values: np.ndarray, steps: np.ndarray, colour: str) -> None:
    """Draw a thin curve for each replicate of values of shape (replicates, steps), and a thick curve for their median."""
    finite = np.where(np.isfinite(values), values, np.nan)
    for curve in finite:
        there = np.isfinite(curve)
        ax.plot(steps[there], curve[there], color=colour, lw=0.5, alpha=0.5)
    median = _median(finite)
    there = np.isfinite(median)
    ax.plot(steps[there], median[there], color=colour, lw=1.5)


def _wide(ax: Axes) -> bool:
    """Tell whether the range of the ordinates is so wide that ticks at equal distances would crowd."""
    lowest, highest = ax.get_ylim()
    return highest > 5 * lowest


def _median(values: np.ndarray) -> np.ndarray:
    """Return the median over the replicates that have a value, NaN if none has."""
    there = np.isfinite(values).any(axis=0)
    median = np.full(values.shape[1], np.nan)
    median[there] = np.nanmedian(values[:, there], axis=0)
    return median


def _abscissa(dataset: xr.Dataset, varied: Sequence[str]) -> str:
    numeric = [name for name in varied if dataset[name].dtype.kind in "if" and dataset.sizes[name] > 2]
    return max(numeric, key=lambda name: dataset.sizes[name]) if numeric else "step"


def _quantity(dataset: xr.Dataset) -> str:
    return next((name for name in QUANTITIES if f"final_{name}" in dataset), "loss")


def _label(dataset: xr.Dataset) -> str:
    return QUANTITIES[_quantity(dataset)]


def _by_colour(dataset: xr.Dataset, coloured: str | None) -> list[tuple[str, xr.Dataset]]:
    if coloured is None:
        return [(COLOURS[0], dataset)]
    return [(colour, dataset.sel({coloured: value})) for colour, value in zip(COLOURS, dataset[coloured].values, strict=False)]


def _legend(dataset: xr.Dataset, coloured: str | None) -> list[Line2D]:
    style: Mapping[str, Any] = {"lw": 1.3, "ms": 3}
    names = [] if coloured is None else [f"{coloured} = {value}" for value in dataset[coloured].values]
    handles = [Line2D([], [], color=colour, label=name, **style) for colour, name in zip(COLOURS, names, strict=False)]
    handles.append(Line2D([], [], color="0.3", marker="o", label="each seed, and their median", **style))
    if (dataset["status"].isin(["failed", "unfinished"])).any():
        handles.append(Line2D([], [], color="0.3", ls="", marker="x", label="a run without a value", **style))
    return handles
