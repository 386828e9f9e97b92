"""The figures of a learning path, each drawn only from its dataset, and the animation of learning."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.animation import FFMpegWriter, PillowWriter, writers
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.ticker import LogLocator, NullFormatter

from riemannrnn.analysis.verdict import INFORMATIVE, rule_angles
from riemannrnn.plots.paper import RULE_COLOURS, RULE_LABELS
from riemannrnn.run_folder import write_atomically

METRIC_STYLES: dict[str, tuple[str, Any]] = {
    "euclidean": ("#D55E00", "--"),
    "resolvent": ("#0072B2", "-"),
    "monotone": ("#009E73", "-."),
    "left-invariant": ("#CC79A7", ":"),
    "right-invariant": ("#000000", (0, (4, 1, 1, 1))),
    "scaled-monotone": ("#882255", (0, (6, 1))),
    "gain": ("#332288", (0, (5, 1))),
    "response": ("#117733", (0, (1, 1))),
    "aggregated": ("#44AA99", (0, (3, 1, 1, 1, 1, 1))),
    "dale": ("#999933", (0, (8, 2))),
    "sparse": ("#E69F00", (0, (4, 2))),
    "hollow": ("#CC6677", (0, (2, 1))),
    "symmetric": ("#6699CC", (0, (7, 1, 2, 1))),
    "circulant": ("#AA4499", (0, (3, 2))),
}
"""Colour (Okabe & Ito; Tol; colour-blind safe) and line style. The Euclidean geodesic is the straight line in W."""

RULE_STYLES = {"dW1": "--", "dW2": ":", "dW3": "-", "dW4": "-."}

STRAIGHT_LINE = "straight line in W"

OUTLINE: list[AbstractPathEffect] = [withStroke(linewidth=3, foreground="black")]
"""White lines with black outlines are visible on every background."""

FRAMES, FRAMES_PER_SECOND, DOTS_PER_INCH = 36, 12, 100
"""Largest number of frames of an animation."""


def _style(metric: str) -> dict[str, Any]:
    colour, line = METRIC_STYLES.get(metric, ("0.4", "-"))
    return {"color": colour, "ls": line, "lw": 1.4}


def _line_style(line: str) -> dict[str, Any]:
    return _style("euclidean" if line == STRAIGHT_LINE else line.rpartition(", ")[2])


def _axes(ax: Axes | None) -> Axes:
    return Figure().add_subplot() if ax is None else ax


def plot_landscape(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the loss over the plane of the path, the path, and the geodesics and straight line between its ends."""
    ax = _axes(ax)
    if "plane_cost" in data:
        _draw_plane(data, ax)
    for line in map(str, data["line"].values):
        u, v = data["lines_on_plane"].sel(line=line).transpose("axis", "time").values
        ax.plot(u, v, **_line_style(line) | {"lw": 1.6})
    u, v = data["path_on_plane"].transpose("axis", "point").values
    ax.plot(u, v, color="black", lw=1.2)
    ax.plot(u[0], v[0], "o", color="white", mec="black", ms=6)
    ax.plot(u[-1], v[-1], "*", color="white", mec="black", ms=10)
    name = data.attrs["chart"].partition(" ")[0]
    ax.set(xlabel=f"first principal component in {name}", ylabel=f"second component in {name}")
    return ax


def _draw_plane(data: xr.Dataset, ax: Axes) -> None:
    u, v, cost = data["first"], data["second"], data["plane_cost"].transpose("second", "first")
    finite = cost.where(np.isfinite(cost) & (cost > 0))
    if bool(finite.notnull().any()):
        low, high = float(finite.min()), float(finite.quantile(0.95))
        mesh = ax.pcolormesh(u, v, finite, norm=LogNorm(low, max(high, 1.01 * low)), cmap="cividis", shading="gouraud")
        bar = ax.figure.colorbar(mesh, ax=ax, shrink=0.9)
        bar.set_label("loss J (nat)")
        _plain_numbers(bar.ax.yaxis)
        bar.ax.tick_params(labelsize=8)
        bar.ax.yaxis.label.set_fontsize(8)
    ax.set_facecolor("0.8")
    lost = (~np.isfinite(cost)).astype(float)
    if float(lost.max()) > 0:
        ax.contourf(u, v, lost, levels=[0.5, 1.5], colors=["0.8"], hatches=["////"])
    for name, level, style in (("abscissa", 0.0, "-"), ("sign", 0.0, ":")):
        values = data[name].transpose("second", "first")
        if float(values.min()) < level < float(values.max()):
            lines = ax.contour(u, v, values, levels=[level], colors="white", linestyles=style, linewidths=1.6)
            lines.set_path_effects(OUTLINE)


def plot_loss_between(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the loss along the geodesics, the straight line, and the path (against the share of its length)."""
    ax = _axes(ax)
    for line in map(str, data["line"].values):
        ax.plot(data["time"], data["loss_between"].sel(line=line), **_line_style(line))
    if "loss" in data:
        length = data["step_length"].sel(metric=_best_known(data)).fillna(0).cumsum("point").values
        if length[-1] > 0:
            ax.plot(np.concatenate([[0.0], length[:-1]]) / length[-1], data["loss"], color="black", lw=1.2)
    ax.set(xlabel="share of the way", ylabel="loss J (nat)", yscale="log", xlim=(0, 1))
    _plain_numbers(ax.yaxis)
    return ax


def _best_known(data: xr.Dataset) -> str:
    """Return the metric with the most measured points of the path; the last one, if there are several."""
    known = data["step_length"].count("point").values
    return str(data["metric"].values[np.flatnonzero(known == known.max())[-1]])


def _most_telling(data: xr.Dataset) -> str:
    """Return the metric in which the steps of a rule are farthest from perpendicular to the actual steps."""
    angles = rule_angles(data)
    return max(angles, key=lambda key: abs(angles[key] - 90))[1] if angles else _best_known(data)


def _plain_numbers(axis: Axis) -> None:
    """Use plain numbers such as 0.5 on a logarithmic axis, and few of them."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _over_steps(data: xr.Dataset, name: str, ax: Axes, scale: xr.DataArray | float = 1.0) -> Axes:
    for metric in map(str, data["metric"].values):
        factor = scale if isinstance(scale, float) else float(scale.sel(metric=metric))
        values = (data[name].sel(metric=metric) * factor).values
        there = np.isfinite(values)
        ax.plot(data["step"].values[there], values[there], **_style(metric))
    ax.set(xlabel="step of learning")
    return ax


def plot_efficiency(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the distance from the start divided by the length of the path so far against steps; 100 % for a geodesic."""
    ax = _axes(ax)
    gone = data["step_length"].fillna(0).cumsum("point").shift(point=1)
    lost = (data["from_start"].notnull() & data["step_length"].isnull()).cumsum("point").shift(point=1, fill_value=0)
    share = data.assign(share=data["from_start"] / gone.where((gone > 0) & (lost == 0)) * 100)
    _over_steps(share, "share", ax).set(ylabel="distance / length so far (%)", ylim=(0, 105))
    return ax


def plot_deviation(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the distance from the geodesic between the ends, relative to its length."""
    ax = _over_steps(data, "deviation", _axes(ax), 100 / data["distance"])
    ax.set(ylabel="deviation from geodesic\n(% of its length)", ylim=(0, None))
    return ax


def plot_speed(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the length of each step of learning, on a logarithmic axis."""
    ax = _over_steps(data, "speed", _axes(ax))
    ax.set(ylabel="speed (length per step)", yscale="log")
    return ax


def plot_nearness(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the smallest singular value of I − G W, and the distance to the nearest edge in each metric with an edge."""
    ax = _axes(ax)
    if "singular_value" in data:
        ax.plot(data["step"], data["singular_value"], color="black", lw=1.4, label="σ_min(I − G W), worst stimulus")
    for metric in map(str, data["metric"].values):
        distance = data["edge_distance"].sel(metric=metric)
        if bool(np.isfinite(distance).any()):
            ax.plot(data["step"], distance, **_style(metric), label=f"distance to the edge, {metric}")
    ax.set(xlabel="step of learning", ylabel="distance from singular\n(0: singular)", ylim=(0, None))
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=7)
    return ax


def plot_turning(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the angle between each step and the next, smoothed; 90° is a random walk."""
    smooth = data["turning"].rolling(point=max(1, data.sizes["point"] // 30), center=True, min_periods=1).mean()
    ax = _over_steps(data.assign(smooth=smooth), "smooth", _axes(ax))
    ax.axhline(90, color="0.6", lw=0.8, ls=":")
    ax.set(ylabel="turning per step (°)", ylim=(0, 180), yticks=[0, 45, 90, 135, 180])
    return ax


def plot_angles(data: xr.Dataset, metric: str, ax: Axes | None = None) -> Axes:
    """Draw the angle between the step of each rule and the actual step, in one metric, smoothed.

    A rule that always stays within `INFORMATIVE` degrees of perpendicular is named instead of drawn.
    """
    ax = _axes(ax)
    smooth = (
        data["angle"].sel(metric=metric).rolling(point=max(1, data.sizes["point"] // 30), center=True, min_periods=1).mean()
    )
    away = abs(smooth - 90).max("point")
    drawn = [str(rule) for rule in data["rule"].values if float(away.sel(rule=rule)) >= INFORMATIVE]
    silent = [RULE_LABELS[str(rule)] for rule in data["rule"].values if float(away.sel(rule=rule)) < INFORMATIVE]
    if silent:
        told = f"within {INFORMATIVE:.0f}° of perpendicular throughout:\n{', '.join(silent)}"
        ax.text(0.5, 0.04 if drawn else 0.5, told, transform=ax.transAxes, ha="center", color="0.3", fontsize=7)
    for rule in drawn:
        ax.plot(
            data["step"], smooth.sel(rule=rule), color=RULE_COLOURS[rule], ls=RULE_STYLES[rule], lw=1.4, label=RULE_LABELS[rule]
        )
    ax.axhline(90, color="0.6", lw=0.8, ls=":")
    shown = smooth.sel(rule=drawn)
    low, high = (float(shown.min()), float(shown.max())) if drawn else (0.0, 180.0)
    ax.set(
        xlabel="step of learning",
        ylabel=f"angle to the step done (°)\n{metric} metric",
        ylim=(max(min(low, 90) - 25, 0) if silent else max(low - 5, 0), min(max(high, 90) + 5, 180)),
    )
    if not drawn:
        return ax
    ax.legend(
        frameon=False, fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 0.97), handlelength=1.6, columnspacing=1
    )
    return ax


def geodesics_figure(data: xr.Dataset) -> Figure:
    """Return the report of a run on one page."""
    figure = Figure(figsize=(8.3, 10.6), layout="constrained")
    grid = figure.add_gridspec(4, 2, height_ratios=[1.7, 1, 1, 1])
    axes = [figure.add_subplot(grid[0, :]), *(figure.add_subplot(grid[row, column]) for row in (1, 2, 3) for column in (0, 1))]
    plot_landscape(data, axes[0])
    axes[0].set_title(_plane_title(data), fontsize=8)
    panels = [plot_efficiency, plot_deviation, plot_nearness, plot_turning]
    for panel, ax in zip(panels, axes[1:5], strict=True):
        panel(data, ax)
    if "angle" in data:
        plot_loss_between(data, axes[5])
        plot_angles(data, _most_telling(data), axes[6])
    else:
        plot_speed(data, axes[5])
        figure.delaxes(axes.pop())
    for letter, ax in zip("abcdefg", axes, strict=False):
        ax.text(0, 1.02, letter, transform=ax.transAxes, fontweight="bold", ha="right", va="bottom")
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
        ax.xaxis.label.set_fontsize(8)
        ax.yaxis.label.set_fontsize(8)
    figure.legend(handles=_handles(data), loc="outside lower center", ncols=4, frameon=False, fontsize=7.5)
    figure.suptitle(f"The path of learning: {data.attrs['title']}", fontsize=10)
    return figure


def _plane_title(data: xr.Dataset) -> str:
    plane, share = f"the plane of the path's principal components in {data.attrs['chart']}", data.attrs["explained"]
    return plane if np.isnan(share) else f"{plane} holds {share:.1%} of the squared distances from its end"


def _handles(data: xr.Dataset) -> list[Any]:
    handles: list[Any] = [
        Line2D([], [], color="black", lw=1.2, label="path of learning"),
        Line2D([], [], color="white", mec="black", marker="o", ls="", label="start"),
        Line2D([], [], color="white", mec="black", marker="*", ms=9, ls="", label="end"),
    ]
    for metric in map(str, data["metric"].values):
        label = "euclidean, straight line in W" if metric == "euclidean" else f"{metric}, its geodesic"
        handles.append(Line2D([], [], **_style(metric), label=label))
    if "euclidean" not in data["metric"].values:
        handles.append(Line2D([], [], **_style("euclidean"), label=STRAIGHT_LINE))
    if "plane_cost" in data:
        handles.append(Patch(fc="0.8", ec="0.2", hatch="////", label="a stimulus has no fixed point"))
        for style, label in (("-", "edge of stability"), (":", "det(I − W) changes its sign")):
            handles.append(Line2D([], [], color="white", ls=style, lw=1.6, label=label, path_effects=OUTLINE))
    return handles


def runs_figure(between: xr.Dataset) -> Figure:
    """Return the loss along the geodesics between the ends of several runs, one panel for each metric."""
    figure = Figure(figsize=(8.3, 3.4), layout="constrained")
    axes = figure.subplots(1, between.sizes["metric"], squeeze=False, sharey=True)[0]
    names = [str(name) for name in between["run"].values]
    for ax, metric in zip(axes, map(str, between["metric"].values), strict=True):
        curves = between["loss_between"].sel(metric=metric).values
        for a in range(len(names)):
            for b in range(a + 1, len(names)):
                ax.plot(between["time"], curves[a, b], lw=1.4, label=f"{names[a]} → {names[b]}")
        ax.set(xlabel="share of the way along the geodesic", title=f"{metric} metric", xlim=(0, 1))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("loss J (nat)")
    axes[0].legend(frameon=False, fontsize=7)
    return figure


def animation_formats() -> tuple[str, ...]:
    """Return the available formats of an animation: "gif" always, "mp4" if ffmpeg is installed."""
    return ("gif", "mp4") if writers.is_available("ffmpeg") else ("gif",)


def save_animation(data: xr.Dataset, path: Path) -> None:
    """Write an animation of learning, GIF or MP4 by the name of the file: the path on its plane, and the loss.

    Raises
    ------
    ValueError
        For a format that cannot be written on this machine.
    """
    kind = path.suffix[1:]
    if kind not in animation_formats():
        raise ValueError(f"an animation cannot be written as {kind!r} here; choose one of {', '.join(animation_formats())}")
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_landscape(data, left)
    quantity, label = ("loss", "loss J (nat)") if "loss" in data else ("step", "step")
    right.plot(data["step"], data[quantity], color="0.75", lw=1.2)
    right.set(xlabel="step of learning", ylabel=label)
    right.spines[["top", "right"]].set_visible(False)
    u, v = data["path_on_plane"].transpose("axis", "point").values
    (here,) = left.plot([], [], "o", color="#E69F00", mec="black", ms=9)
    (gone,) = right.plot([], [], color="black", lw=1.6)
    right.set_title("step", fontsize=9, y=1)
    _freeze(figure, {here, gone, right.title})
    writer = PillowWriter(FRAMES_PER_SECOND) if kind == "gif" else FFMpegWriter(FRAMES_PER_SECOND)

    def write(temporary: Path) -> None:
        with writer.saving(figure, temporary, DOTS_PER_INCH):
            for place in np.unique(np.linspace(0, len(u) - 1, min(FRAMES, len(u))).round().astype(int)):
                here.set_data(u[place : place + 1], v[place : place + 1])
                gone.set_data(data["step"].values[: place + 1], data[quantity].values[: place + 1])
                right.title.set_text(f"step {int(data['step'][place])}")
                writer.grab_frame()

    write_atomically(path, write)


def _freeze(figure: Figure, moving: set[Artist]) -> None:
    """Replace all artists that do not move by one picture of them, because drawing hundreds of artists is slow."""
    figure.set_dpi(DOTS_PER_INCH)
    figure.draw_without_rendering()  # computes the layout
    figure.set_layout_engine("none")
    for artist in moving:
        artist.set_visible(False)
    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    canvas.draw()
    for artist in [each for axes in figure.axes for each in axes.get_children()]:
        artist.set_visible(artist in moving)
    figure.figimage(np.array(canvas.buffer_rgba()), zorder=-1)
