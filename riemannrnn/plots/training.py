"""Figures of a training run."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from riemannrnn.plots.comparison import scale_losses

BATCHES, HELD_OUT, GUARD = "#56B4E9", "#D55E00", "#CC79A7"
"""Colours of what is measured on mini-batches and on held-out data, and of the guard; colour-blind safe."""


def plot_loss(history: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the loss of mini-batches and of the held-out data against steps."""
    ax = _along_steps(history, "loss", "test_loss", 1, ax)
    scale_losses(ax)
    ax.set_ylabel("loss (nat)")
    return ax


def plot_accuracy(history: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the accuracy on mini-batches and on the held-out data against steps."""
    ax = _along_steps(history, "accuracy", "test_accuracy", 100, ax)
    ax.set(ylabel="accuracy (%)")
    return ax


def plot_steps(history: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the length of steps in the metric of the rule."""
    ax = Figure().add_subplot() if ax is None else ax
    ax.plot(history["step"], history["step_length"], _line(history), color="black", lw=1, ms=3)
    ax.set(xlabel="step", ylabel="step length in the metric")
    ax.set_ylim(bottom=0)
    return ax


def plot_watch(history: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw what the stability guard saw: the worst abscissa after each step, and the steps that it shortened."""
    ax = Figure().add_subplot() if ax is None else ax
    ax.set(xlabel="step", ylabel="worst abscissa of −I + G W (1/τ)")
    if not np.isfinite(history["abscissa"]).any():
        refused = (history["shortened"].values < 1).any()
        told = "the guard let no step pass: not measured" if refused else "no guard: not measured"
        ax.text(0.5, 0.5, told, transform=ax.transAxes, ha="center", color="0.4")
        ax.set(xlim=(1, max(history.sizes["step"], 2)), yticks=[])
        return ax
    ax.plot(history["step"], history["abscissa"], ".-", color="black", lw=1, ms=3)
    ax.axhline(0, color="black", lw=0.8, ls=":")
    shortened = history["step"][history["shortened"].values < 1]
    above = np.full(shortened.size, 1.02)  # of the height of the axes
    ax.plot(
        shortened, above, "|", color=GUARD, ms=7, label=f"shortened by the guard: {shortened.size}",
        transform=ax.get_xaxis_transform(), clip_on=False,
    )  # fmt: skip
    ax.legend(frameon=False, fontsize=8)
    return ax


def training_figure(history: xr.Dataset, title: str) -> Figure:
    """Return the figure of a history: loss, accuracy, step length and stability over steps.

    Parameters
    ----------
    history
        From `History.to_dataset`, of a loss with labels.
    title
        Stands above the panels.
    """
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True).flat
    for letter, draw, ax in zip("abcd", (plot_loss, plot_accuracy, plot_steps, plot_watch), panels, strict=True):
        draw(history, ax)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.set_title(letter, loc="left", fontweight="bold")
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    return figure


def _line(history: xr.Dataset) -> str:
    """Return the style of a line; that of a single step would show nothing."""
    return "-" if history.sizes["step"] > 1 else "o"


def _along_steps(history: xr.Dataset, batches: str, held_out: str, scale: float, ax: Axes | None) -> Axes:
    ax = Figure().add_subplot() if ax is None else ax
    ax.plot(history["step"], scale * history[batches], _line(history), color=BATCHES, lw=1, ms=5, label="mini-batch")
    measured = np.isfinite(history[held_out])
    ax.plot(
        history["step"][measured], scale * history[held_out][measured], "o-", color=HELD_OUT, ms=3, lw=1.4, label="held out"
    )
    ax.legend(frameon=False, fontsize=8)
    return ax
