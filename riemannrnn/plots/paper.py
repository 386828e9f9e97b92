"""The figures of the paper, each drawn only from its dataset: data.nc is enough to draw it again."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

RULE_COLOURS = {"dW1": "#D55E00", "dW2": "#0072B2", "dW2 as released": "#56B4E9", "dW3": "#009E73", "dW4": "#CC79A7"}
"""Colour-blind safe (Okabe & Ito)."""

RULE_LABELS = {"dW1": "ΔW1", "dW2": "ΔW2", "dW2 as released": "ΔW2 as released", "dW3": "ΔW3", "dW4": "ΔW4"}

METRIC_COLOURS = {"euclidean": "#D55E00", "resolvent": "#0072B2"}

DISTANCES = tuple(2.5 * 2**k for k in range(12))
"""Line styles of equal distances, the same for every metric."""

RATE_STYLES = ("-", "--", ":", "-.")

RECORDED: dict[str, Any] = {"color": "black", "marker": "o", "ms": 4, "mfc": "none", "ls": ""}
"""The authors' recorded values."""


def shades(count: int) -> list[Any]:
    """Return colours for an ordered quantity, from dark to light."""
    return [mpl.colormaps["viridis"](place) for place in np.linspace(0, 0.85, count)]


def plot_curves(
    curves: xr.DataArray, ax: Axes | None = None, recorded: xr.DataArray | None = None, spread: bool = False
) -> Axes:
    """Draw one curve for each learning rate over step, and the recorded values as circles.

    Parameters
    ----------
    curves
        Over learning_rate and step. With `spread` also over seed: the mean is drawn in a band from minimum to maximum.
    ax
        The axes.
    recorded
        Over learning_rate and recorded_step.
    """
    ax = Figure().add_subplot() if ax is None else ax
    rates = curves["learning_rate"].values
    for rate, colour in zip(rates, shades(rates.size), strict=True):
        curve = curves.sel(learning_rate=rate).dropna("step", how="all")
        if spread:
            ax.fill_between(curve["step"], curve.min("seed"), curve.max("seed"), color=colour, alpha=0.2, lw=0)
            curve = curve.mean("seed")
        ax.plot(curve["step"], curve, color=colour, lw=1.4, label=f"{rate:g}")
        if recorded is not None:
            theirs = recorded.sel(learning_rate=rate)
            ax.plot(theirs["recorded_step"], theirs, **RECORDED | {"markeredgecolor": colour})
    ax.set_xlabel("step")
    return ax


def plot_sample(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the samples of the one-neuron task and the best fit."""
    ax = Figure().add_subplot() if ax is None else ax
    ax.plot(data["stimulus"], data["target"], ".", color="0.6", ms=3, label="samples")
    ends = np.array([float(data["stimulus"].min()), float(data["stimulus"].max())])
    weight = data.attrs["best weight"]
    ax.plot(ends, ends / (1 - weight), color="black", label=f"fit, W* = {weight:.3f}")
    ax.set(xlabel="stimulus x", ylabel="target y")
    ax.legend(frameon=False, fontsize=7)
    return ax


def plot_against(values: xr.DataArray, xlabel: str, ylabel: str, ax: Axes | None = None, log: bool = False) -> Axes:
    """Draw a function of one variable."""
    ax = Figure().add_subplot() if ax is None else ax
    ax.plot(values[values.dims[0]], values, color="black", lw=1.2)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        ax.set_yscale("log")
    return ax


def one_neuron_figure(data: xr.Dataset) -> Figure:
    """Return the figure of one neuron: task, cost and response in the first row, learning curves below."""
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    axes = figure.subplots(2, 4)
    plot_sample(data, axes[0, 0])
    plot_against(data["cost"], "weight W", "cost J", axes[0, 1], log=True).set_title("singular at W = 1", fontsize=9)
    visible = data["response"].where(abs(data["response"]) < 20)
    plot_against(visible, "weight W", "response a = 1 / (1 − W)", axes[0, 2])
    plot_against(data["cost_of_response"], "response a", "cost J", axes[0, 3]).set_title("a parabola in a", fontsize=9)
    for ax in axes[0, 1:3]:
        ax.axvline(1, color="0.6", ls=":", lw=1)
    rates = data["learning_rate"].values
    for ax, start in zip(axes[1], data["start"].values, strict=True):
        for rule in data["rule"].values:
            for rate, width in zip(rates, np.linspace(0.6, 2.2, rates.size), strict=True):
                style = "--" if rule == "dW3" else "-"
                excess = data["loss"].sel(rule=rule, start=start, learning_rate=rate) - data.attrs["least cost"]
                ax.plot(data["step"] + 1, excess.where(excess > 1e-12), color=RULE_COLOURS[rule], lw=width, ls=style)
        ax.set(xscale="log", yscale="log", xlabel="step + 1", title=f"from W₀ = {start:g}", ylim=(1e-8, None))
    axes[1, 0].set_ylabel("cost above the least")
    handles = [
        Line2D([], [], color=RULE_COLOURS[rule], ls="--" if rule == "dW3" else "-", label=RULE_LABELS[rule])
        for rule in data["rule"].values
    ]
    handles += [
        Line2D([], [], color="0.3", lw=width, label=f"η = {rate:g}")
        for rate, width in zip(rates, np.linspace(0.6, 2.2, rates.size), strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    return _finished(figure, axes.flat, data)


def plot_plane(data: xr.Dataset, name: str, ax: Axes | None = None) -> Axes:
    """Draw the cost over the plane in W or in A, and the stability boundary."""
    ax = Figure().add_subplot() if ax is None else ax
    plane = data.sel(coordinates=name)
    positive = data["plane_cost"].where(data["plane_cost"] > 0)
    norm = LogNorm(float(positive.min()), float(np.nanpercentile(positive, 98)))
    mesh = ax.pcolormesh(plane["second"], plane["first"], plane["plane_cost"], norm=norm, cmap="viridis", shading="nearest")
    ax.figure.colorbar(mesh, ax=ax, label="cost J", shrink=0.85)
    _draw_boundary(plane, ax)
    ax.set(xlabel=f"second direction in {name}", ylabel=f"first direction in {name}", aspect="equal")
    return ax


def plot_distances(data: xr.Dataset, name: str, ax: Axes | None = None) -> Axes:
    """Draw lines of equal distance from the optimum where the network is stable; each distance is twice the previous one."""
    ax = Figure().add_subplot() if ax is None else ax
    plane = data.sel(coordinates=name)
    stable = plane["abscissa"] < 0
    for (metric, colour), style in zip(METRIC_COLOURS.items(), ("--", "-"), strict=True):
        distance = plane["distance"].sel(metric=metric).where(stable)
        levels = [level for level in DISTANCES if float(distance.min()) < level < float(distance.max())]
        if levels:
            lines = ax.contour(
                plane["second"], plane["first"], distance, levels=levels, colors=colour, linestyles=style, linewidths=1
            )
            ax.clabel(lines, fmt="%g", fontsize=6)
    _draw_boundary(plane, ax)
    ax.set(xlabel=f"second direction in {name}", ylabel=f"first direction in {name}", aspect="equal")
    return ax


def _draw_boundary(plane: xr.Dataset, ax: Axes) -> None:
    if float(plane["abscissa"].min()) < 0 < float(plane["abscissa"].max()):
        ax.contour(plane["second"], plane["first"], plane["abscissa"], levels=[0], colors="red", linewidths=1.6)
    ax.plot(0, 0, "*", color="white", mec="black", ms=9)


def landscape_figure(data: xr.Dataset) -> Figure:
    """Return the figure of the landscape: segments, plane and distances, in W in the first row and in A in the second."""
    figure = Figure(figsize=(11.5, 6.8), layout="constrained")
    axes = figure.subplots(2, 3)
    for row, name in zip(axes, data["coordinates"].values, strict=True):
        for segment, colour in zip(data["segment"].values, shades(data.sizes["segment"]), strict=True):
            row[0].plot(data["along"], data["segment_cost"].sel(coordinates=name, segment=segment), lw=1, color=colour)
        row[0].set(yscale="log", xlabel=f"along a random segment in {name}", ylabel="cost J")
        plot_plane(data, name, row[1])
        plot_distances(data, name, row[2])
    handles = [
        Line2D([], [], color="red", lw=1.6, label="stability boundary"),
        Line2D([], [], color="black", marker="*", mfc="white", ls="", label="optimum"),
        Line2D([], [], color="#D55E00", ls="--", label="equal Euclidean distance"),
        Line2D([], [], color="#0072B2", label="equal resolvent distance"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return _finished(figure, axes.flat, data)


def linear_figure(data: xr.Dataset) -> Figure:
    """Return the figure of the linear network: a panel for each rule, a curve for each rate, circles for recorded losses."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, data.sizes["rule"], sharey=True)
    for ax, rule in zip(axes, data["rule"].values, strict=True):
        recorded = data["recorded_loss"].sel(rule=rule) if "recorded_loss" in data else None
        plot_curves(data["loss"].sel(rule=rule), ax, recorded)
        ax.set(yscale="log", title=RULE_LABELS[rule])
    axes[0].set_ylabel("mean squared error")
    handles = [*axes[0].get_lines()[:: 2 if "recorded_loss" in data else 1]]
    _legend_of_rates(figure, [f"η = {line.get_label()}" for line in handles], handles, "recorded_loss" in data)
    return _finished(figure, axes, data)


def plot_angles(angles: xr.DataArray, ax: Axes | None = None) -> Axes:
    """Draw angles over metric, learning_rate and step: a colour for each metric, a line style for each rate."""
    ax = Figure().add_subplot() if ax is None else ax
    for metric, colour in METRIC_COLOURS.items():
        for rate, style in zip(angles["learning_rate"].values, RATE_STYLES, strict=False):
            chosen = angles.sel(metric=metric, learning_rate=rate)
            ax.plot(angles["step"] + 1, chosen, color=colour, ls=style, lw=1.4)
    ax.set(xscale="log", xlabel="step + 1")
    return ax


def angles_figure(data: xr.Dataset) -> Figure:
    """Return the figure of the angles: θ₁₂ above and θ₂₃ below, a column for each rule that generated the path."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(data.sizes["pair"], data.sizes["path"], sharex=True, sharey="row")
    for row, pair in zip(axes, data["pair"].values, strict=True):
        for ax, path in zip(row, data["path"].values, strict=True):
            plot_angles(data["angle"].sel(path=path, pair=pair), ax)
    for ax, path in zip(axes[0], data["path"].values, strict=True):
        ax.set(title=f"along {RULE_LABELS[path]}", xlabel="", ylabel="θ₁₂ (degrees)", ylim=(0, 95))
        ax.axhline(90, color="0.6", lw=0.8, ls=":")
    axes[1, 0].set(ylabel="θ₂₃ (degrees)", yscale="log")
    handles = [Line2D([], [], color=colour, lw=2, label=f"{metric} metric") for metric, colour in METRIC_COLOURS.items()]
    handles += [
        Line2D([], [], color="0.3", ls=style, label=f"η = {rate:g}")
        for rate, style in zip(data["learning_rate"].values, RATE_STYLES, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    return _finished(figure, axes.flat, data)


def plot_eigenvalues(eigenvalues: xr.DataArray, ax: Axes | None = None) -> Axes:
    """Draw eigenvalues of −I + G W over component and unit, for each learning rate; they are stable in the left half-plane."""
    ax = Figure().add_subplot() if ax is None else ax
    rates = eigenvalues["learning_rate"].values
    for rate, colour in zip(rates, shades(rates.size), strict=True):
        real, imaginary = eigenvalues.sel(learning_rate=rate).transpose("component", "unit").values
        ax.plot(real, imaginary, ".", ms=2, color=colour)
    ax.axvline(0, color="black", lw=0.8, ls=":")
    ax.set(xlabel="Re λ of −I + G W (1/τ)", ylabel="Im λ (1/τ)")
    return ax


def mnist_figure(data: xr.Dataset) -> Figure:
    """Return the figure of MNIST, a column for each rule: accuracy, loss, and eigenvalues after learning."""
    rules = data["rule"].values
    figure = Figure(figsize=(4 * rules.size, 9.6), layout="constrained")
    axes = figure.subplots(3, rules.size, squeeze=False)
    seed = data["seed"].values[0]
    for column, rule in zip(axes.T, rules, strict=True):
        chosen = data.sel(rule=rule).dropna("learning_rate", how="all", subset=["recorded_last"])
        for ax, quantity, part in ((column[0], "accuracy", "test"), (column[1], "loss", "training")):
            scale = 100 if quantity == "accuracy" else 1
            curves, recorded = (chosen[name].sel(part=part) * scale for name in (quantity, f"recorded_{quantity}"))
            plot_curves(curves, ax, recorded, spread=True)
        column[0].set(title=RULE_LABELS[rule], ylabel="test accuracy (%)", ylim=(0, 100))
        column[1].set(ylabel="training loss (nat)", ylim=(0, min(4.0, max(2.6, float(chosen["loss"].quantile(0.98))))))
        column[0].legend(title="η", frameon=False, fontsize=7, title_fontsize=7, loc="lower right", ncols=2)
        if "eigenvalue" in chosen:
            plot_eigenvalues(chosen["eigenvalue"].sel(seed=seed), column[2])
    handles = [
        Line2D([], [], label="recorded by the authors", **RECORDED),
        Line2D([], [], color="0.3", label="mean over seeds, in a band of least and most"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return _finished(figure, axes.flat, data)


def _legend_of_rates(figure: Figure, labels: Sequence[str], handles: Sequence[Line2D], recorded: bool) -> None:
    circle = [Line2D([], [], **RECORDED)] if recorded else []
    names = [*labels, *(["recorded by the authors"] if recorded else [])]
    figure.legend([*handles, *circle], names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8)


def _finished(figure: Figure, axes: Any, data: xr.Dataset) -> Figure:
    for letter, ax in zip("abcdefghijklmnop", axes):
        ax.text(0, 1.02, letter, transform=ax.transAxes, fontweight="bold", ha="right", va="bottom")
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(data.attrs["title"], fontsize=10)
    return figure
