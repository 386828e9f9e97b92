"""Panels: plots as plain data, which the explorer shows in a browser and `panels_figure` draws for paper.

A plot is described once, as lines, dots and images over axes. This module computes nothing about a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import log
from typing import Any, Literal, TypeAlias

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from manifolds import Array

Format: TypeAlias = Literal["png", "svg"]

DASHES: dict[str, Any] = {
    "solid": "-", "dashed": (0, (6, 3)), "dotted": (0, (2, 3)), "dotdash": (0, (2, 3, 6, 3)), "dashdot": (0, (6, 3, 2, 3)),
}  # fmt: skip
"""Line styles by their names in Bokeh."""

MARKERS = {"circle": "o", "star": "*", "square": "s", "triangle": "^", "diamond": "D", "cross": "x"}
"""Markers by their names in Bokeh."""

LOSSES = ("#ffffff", "#dfe3ea", "#9aa1ad", "#5d636e")
"""Shades for a loss, the lowest first; coloured lines are visible on each of them."""

SIGNED = ("#0072b2", "#7fb8d8", "#ffffff", "#eeaa7f", "#d55e00")
"""Colours for numbers of both signs, colour-blind safe: blue below zero, orange above."""

LEVELS = 256
"""Shades of an image."""

COLUMN, DOTS_PER_INCH = 3.3, 150
"""Width of a panel in inches, and the resolution of a picture."""


@dataclass(frozen=True)
class Line:
    """A line through points; NaN interrupts it. Lines with the same label share an entry of the legend."""

    x: Array
    y: Array
    colour: str = "#000000"
    dash: str = "solid"
    width: float = 1.5
    label: str = ""


@dataclass(frozen=True)
class Dots:
    """Markers at points."""

    x: Array
    y: Array
    colour: str = "#000000"
    marker: str = "circle"
    size: float = 8.0
    label: str = ""


@dataclass(frozen=True)
class Image:
    """Numbers as colours over a rectangle, shape (rows, columns), the first row at the bottom; NaN is transparent.

    Attributes
    ----------
    values
        The numbers.
    x, y
        The coordinates of the first and the last column, and of the first and the last row.
    colours
        Colours from the lowest to the highest number.
    low, high
        The numbers of the first and the last colour.
    logarithmic
        Whether colours follow the logarithm of the numbers.
    opacity
        From 0 to 1.
    label
        Entry in the legend, with the last colour.
    """

    values: Array
    x: tuple[float, float]
    y: tuple[float, float]
    colours: tuple[str, ...]
    low: float
    high: float
    logarithmic: bool = False
    opacity: float = 1.0
    label: str = ""

    def pixels(self) -> Array:
        """Return red, green, blue and opacity, shape (rows, columns, 4), bytes."""
        values, low, high = np.asarray(self.values, float), self.low, self.high
        there = ~np.isnan(values)
        if self.logarithmic:
            values, low, high = np.log(np.maximum(values, self.low)), log(self.low), log(self.high)
        share = np.clip((np.where(there, values, low) - low) / (high - low if high > low else 1.0), 0, 1)
        stops = np.array([to_rgb(colour) for colour in self.colours])
        places = np.linspace(0, 1, len(stops)) if len(stops) > 1 else np.zeros(1)
        rgb = np.stack([np.interp(share, places, stops[:, channel]) for channel in range(3)], axis=-1)
        opacity = np.where(there, self.opacity, 0.0)[..., None]
        return np.round(255 * np.concatenate([rgb, opacity], axis=-1)).astype(np.uint8)

    def rectangle(self) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height, half a pixel beyond the centres of the outer pixels."""
        rows, columns = self.values.shape
        (left, right), (bottom, top) = self.x, self.y
        across = (right - left) / max(columns - 1, 1)
        up = (top - bottom) / max(rows - 1, 1)
        return left - across / 2, bottom - up / 2, right - left + across, top - bottom + up


Mark: TypeAlias = Line | Dots | Image


@dataclass(frozen=True)
class Panel:
    """Marks over a pair of axes.

    Attributes
    ----------
    title, xlabel, ylabel
        Texts.
    marks
        The marks, in drawing order.
    under
        Marks that are drawn first. If two panels share the same tuple, the marks are sent to the browser only once.
    x_range, y_range
        The visible ranges; None: all marks.
    logarithmic
        Whether the vertical axis is logarithmic.
    equal
        Whether a unit has the same length on both axes.
    """

    title: str
    xlabel: str
    ylabel: str
    marks: tuple[Mark, ...] = ()
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    logarithmic: bool = False
    equal: bool = False
    under: tuple[Mark, ...] = ()

    @property
    def drawn(self) -> tuple[Mark, ...]:
        """All marks, in order."""
        return (*self.under, *self.marks)


def limits(panel: Panel) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the visible ranges of a panel, horizontal and vertical: the given ranges, or all marks with a margin."""
    found = []
    for given, logarithmic, values in (
        (panel.x_range, False, [_extent(mark, 0) for mark in panel.drawn]),
        (panel.y_range, panel.logarithmic, [_extent(mark, 1) for mark in panel.drawn]),
    ):
        numbers = np.concatenate([np.zeros(0), *values])
        numbers = numbers[np.isfinite(numbers) & ((numbers > 0) | (not logarithmic))]
        if given is not None:
            found.append(given)
        elif not numbers.size:
            found.append((0.1, 1.0))
        elif logarithmic:
            found.append((float(numbers.min()) / 1.2, float(numbers.max()) * 1.2))
        else:
            low, high = float(numbers.min()), float(numbers.max())
            margin = 0.04 * (high - low) or 0.5
            found.append((low - margin, high + margin))
    return found[0], found[1]


def _extent(mark: Mark, axis: int) -> Array:
    if isinstance(mark, Image):
        corner, size = mark.rectangle()[axis], mark.rectangle()[axis + 2]
        return np.array([corner, corner + size])
    return np.asarray((mark.x, mark.y)[axis], float)


def contours(x: Array, y: Array, values: Array, level: float, **style: Any) -> list[Line]:
    """Return the contour lines of values of shape (y, x) at a level; contours do not cross values that are not finite."""
    finite = np.ma.masked_invalid(values)
    if finite.count() == 0:
        return []
    lines: Any = contour_generator(x, y, finite).lines(level)
    return [Line(line[:, 0], line[:, 1], **style) for line in lines]


def legend_entries(panels: Sequence[Panel]) -> list[Mark]:
    """Return the first mark of each label, in order."""
    first: dict[str, Mark] = {}
    for panel in panels:
        for mark in panel.drawn:
            if mark.label:
                first.setdefault(mark.label, mark)
    return list(first.values())


def panels_figure(panels: Sequence[Panel], title: str = "", columns: int = 3) -> Figure:
    """Draw panels in rows, with one legend below."""
    columns = min(columns, max(len(panels), 1))
    rows = max(-(-len(panels) // columns), 1)
    figure = Figure(figsize=(COLUMN * columns, (COLUMN * 0.95) * rows + 0.9), layout="constrained")
    axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax, panel in zip(axes, panels, strict=False):
        _draw(panel, ax)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    handles = [_handle(mark) for mark in legend_entries(panels)]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=7.5)
    figure.suptitle(title, fontsize=10)
    return figure


def picture(panels: Sequence[Panel], kind: Format, title: str = "", columns: int = 3) -> bytes:
    """Return panels as the bytes of a PNG or SVG file, the same bytes for the same panels.

    Raises
    ------
    ValueError
        For another format.
    """
    if kind not in ("png", "svg"):
        raise ValueError(f"a picture cannot be written as {kind!r} here; choose png or svg")
    content = BytesIO()
    metadata: dict[str, Any] = {"Software": None} if kind == "png" else {"Date": None}
    panels_figure(panels, title, columns).savefig(content, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return content.getvalue()


def _draw(panel: Panel, ax: Axes) -> None:
    for mark in panel.drawn:
        if isinstance(mark, Image):
            left, bottom, width, height = mark.rectangle()
            extent = (left, left + width, bottom, bottom + height)
            ax.imshow(mark.pixels(), extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
        elif isinstance(mark, Line):
            ax.plot(mark.x, mark.y, color=mark.colour, ls=DASHES[mark.dash], lw=mark.width)
        else:
            _dots(mark, ax)
    across, up = limits(panel)
    ax.set(xlim=across, ylim=up, xlabel=panel.xlabel, ylabel=panel.ylabel, yscale="log" if panel.logarithmic else "linear")
    if panel.logarithmic:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    if panel.equal:
        ax.set_aspect("equal", adjustable="box")
    ax.set_title(panel.title, fontsize=8.5)
    ax.tick_params(labelsize=7)
    ax.xaxis.label.set_fontsize(8)
    ax.yaxis.label.set_fontsize(8)


def _dots(mark: Dots, ax: Axes) -> None:
    edge = mark.colour if mark.marker == "cross" else "black"
    ax.plot(mark.x, mark.y, MARKERS[mark.marker], color=mark.colour, mec=edge, mew=0.7, ms=0.7 * mark.size)


def _handle(mark: Mark) -> Line2D:
    if isinstance(mark, Image):
        return Line2D([], [], color=mark.colours[-1], alpha=mark.opacity, marker="s", ls="", ms=8, label=mark.label)
    if isinstance(mark, Line):
        return Line2D([], [], color=mark.colour, ls=DASHES[mark.dash], lw=mark.width, label=mark.label)
    return Line2D([], [], color=mark.colour, mec="black", marker=MARKERS[mark.marker], ls="", label=mark.label)
