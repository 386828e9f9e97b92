"""Figures of a training run."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from riemannrnn.plots.comparison import scale_losses
from riemannrnn.training.history import History

Recorded: TypeAlias = History | xr.Dataset
"""What the functions draw: a history, or the dataset from its `to_dataset`."""

BATCHES, HELD_OUT, GUARD = "#56B4E9", "#D55E00", "#CC79A7"
"""Colours of mini-batches, of held-out data, and of the guard; colour-blind safe."""


def plot_loss(history: Recorded, ax: Axes | None = None) -> Axes:
    """Draw the loss of mini-batches and of the held-out data against steps."""
    data = _dataset(history)
    ax = _along_steps(data, "loss", "test_loss", 1, ax)
    scale_losses(ax)
    unit = data["loss"].attrs.get("units")
    ax.set_ylabel(f"loss ({unit})" if unit else "loss")
    return ax


def plot_accuracy(history: Recorded, ax: Axes | None = None) -> Axes:
    """Draw the accuracy on mini-batches and on the held-out data against steps.

    Raises
    ------
    ValueError
        For the history of a loss without labels, which has no accuracy.
    """
    data = _dataset(history)
    if not _measured(data, "accuracy"):
        raise ValueError("the history holds no accuracy: its loss has no labels; draw the loss with plot_loss")
    ax = _along_steps(data, "accuracy", "test_accuracy", 100, ax)
    ax.set(ylabel="accuracy (%)")
    return ax


def plot_steps(history: Recorded, ax: Axes | None = None) -> Axes:
    """Draw the length of steps in the metric of the rule."""
    return _line_of(history, "step_length", "step length in the metric", ax)


def plot_iterations(history: Recorded, ax: Axes | None = None) -> Axes:
    """Draw the fixed-point iterations of the slowest stimulus of each mini-batch."""
    return _line_of(history, "iterations", "fixed-point iterations", ax)


def plot_watch(history: Recorded, ax: Axes | None = None) -> Axes:
    """Draw the observations of the stability guard: the worst abscissa after each step, and the steps that it shortened.

    Without a guard the axes say that the abscissa was not measured.
    """
    data = _dataset(history)
    ax = Figure().add_subplot() if ax is None else ax
    ax.set(xlabel="step", ylabel="worst abscissa of −I + G W (1/τ)")
    shortened = data["step"][data["shortened"].values < 1] if "shortened" in data else data["step"][:0]
    if not _measured(data, "abscissa"):
        told = "the guard let no step pass: not measured" if shortened.size else "no guard: not measured"
        ax.text(0.5, 0.5, told, transform=ax.transAxes, ha="center", color="0.4")
        ax.set(xlim=(1, max(data.sizes["step"], 2)), yticks=[])
        return ax
    ax.plot(data["step"], data["abscissa"], ".-", color="black", lw=1, ms=3)
    ax.axhline(0, color="black", lw=0.8, ls=":")
    if shortened.size:
        above = np.full(shortened.size, 1.02)  # relative to the height of the axes
        ax.plot(
            shortened, above, "|", color=GUARD, ms=7, label=f"shortened by the guard: {shortened.size}",
            transform=ax.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
        ax.legend(frameon=False, fontsize=8)
    return ax


def training_figure(history: Recorded, title: str) -> Figure:
    """Return the figure of a history over steps: loss, accuracy, step length, and stability or iterations.

    Only measured quantities are shown. The accuracy is left out for a loss without labels. The last panel shows the
    stability if a guard checked it, otherwise the fixed-point iterations.

    Parameters
    ----------
    history
        The history, or its dataset.
    title
        Title above the panels.

    Raises
    ------
    ValueError
        For a history without steps.
    """
    data = _dataset(history)
    draws = _panels(data)
    rows, columns, size = (2, 2, (9, 6.5)) if len(draws) == 4 else (1, len(draws), (3.6 * len(draws), 3.3))
    figure = Figure(figsize=size, layout="constrained")
    for letter, draw, ax in zip("abcd", draws, figure.subplots(rows, columns, sharex=True, squeeze=False).flat, strict=False):
        draw(data, ax)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.set_title(letter, loc="left", fontweight="bold")
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    return figure


def _panels(data: xr.Dataset) -> list[Callable[[Recorded, Axes], Axes]]:
    """Return the drawing function of each panel with data."""
    guarded = _measured(data, "abscissa") or ("shortened" in data and bool((data["shortened"] < 1).any()))
    optional = {"accuracy": plot_accuracy, "step_length": plot_steps}
    found = [plot_loss, *(draw for name, draw in optional.items() if _measured(data, name))]
    return [*found, plot_watch if guarded else plot_iterations]


def _dataset(history: Recorded) -> xr.Dataset:
    data = history.to_dataset() if isinstance(history, History) else history
    if not data.sizes.get("step"):
        raise ValueError("the history has no steps, so there is nothing to draw; train for at least one step")
    return data


def _measured(data: xr.Dataset, name: str) -> bool:
    return name in data and bool(np.isfinite(data[name]).any())


def _line(data: xr.Dataset) -> str:
    """Return the style of a line; a single point is drawn as a marker."""
    return "-" if data.sizes["step"] > 1 else "o"


def _line_of(history: Recorded, name: str, label: str, ax: Axes | None) -> Axes:
    data, ax = _dataset(history), Figure().add_subplot() if ax is None else ax
    ax.plot(data["step"], data[name], _line(data), color="black", lw=1, ms=3)
    ax.set(xlabel="step", ylabel=label)
    ax.set_ylim(0, 1.05 * float(data[name].max()) or None)
    return ax


def _along_steps(data: xr.Dataset, batches: str, held_out: str, scale: float, ax: Axes | None) -> Axes:
    ax = Figure().add_subplot() if ax is None else ax
    ax.plot(data["step"], scale * data[batches], _line(data), color=BATCHES, lw=1, ms=5, label="mini-batch")
    if _measured(data, held_out):
        there = np.isfinite(data[held_out])
        ax.plot(data["step"][there], scale * data[held_out][there], "o-", color=HELD_OUT, ms=3, lw=1.4, label="held out")
    ax.set_xlabel("step")
    ax.legend(frameon=False, fontsize=8)
    return ax
