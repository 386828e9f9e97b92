"""Panels as Bokeh figures. Only their data are replaced when the picture changes, so memory does not grow."""

from collections.abc import Sequence
from html import escape
from math import isfinite
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Range1d
from bokeh.plotting import figure

from riemannrnn.plots.panels import Dots, Image, Line, Mark, Panel, legend_entries, limits

TOOLS = "pan,wheel_zoom,box_zoom,reset"
"""Tools of every figure."""

LINE_COLUMNS = ("xs", "ys", "colour", "dash", "width", "label")
DOT_COLUMNS = ("x", "y", "colour", "marker", "size", "label")
IMAGE_COLUMNS = ("image", "x", "y", "width", "height")


class Canvas:
    """A Bokeh figure that shows one panel after another.

    Parameters
    ----------
    panel
        The first panel; it determines whether the vertical axis is logarithmic.
    width, height
        In pixels.

    Attributes
    ----------
    figure
        The Bokeh figure.
    """

    def __init__(self, panel: Panel, width: int, height: int) -> None:
        self.logarithmic = panel.logarithmic
        self._ranges = limits(panel)
        across, up = self._ranges
        self.figure: Any = figure(
            width=width, height=height, tools=TOOLS, active_drag=None,
            x_range=Range1d(start=across[0], end=across[1]), y_range=Range1d(start=up[0], end=up[1]),
            y_axis_type="log" if panel.logarithmic else "linear", toolbar_location="above", output_backend="canvas",
        )  # fmt: skip
        self.figure.toolbar.logo = None
        self.figure.toolbar.autohide = True
        self._under: tuple[Mark, ...] | None = None
        self._ground, self._layers = _Layer(self.figure), _Layer(self.figure)
        self.show(panel)
        self.figure.add_tools(HoverTool(renderers=[self._ground.lines, self._layers.lines], tooltips="@label", visible=False))

    def show(self, panel: Panel) -> None:
        """Show another panel in the existing figure."""
        self.figure.title.text = panel.title
        self.figure.title.text_font_size = "10pt"
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = panel.xlabel, panel.ylabel
        ranges = limits(panel)
        if ranges != self._ranges:  # a view that the user has moved stays while the ranges of the panel are the same
            self._ranges = ranges
            for axis, (low, high) in zip((self.figure.x_range, self.figure.y_range), ranges, strict=True):
                axis.update(start=low, end=high, reset_start=low, reset_end=high)
        if panel.under is not self._under:  # large, and unchanged while a point is dragged
            self._under = panel.under
            self._ground.show(panel.under)
        self._layers.show(panel.marks)


class _Layer:
    """Images, lines and dots of a figure, in this order."""

    def __init__(self, figure: Any) -> None:
        self._images, self._lines, self._dots = (ColumnDataSource(empty) for empty in (_images([]), _lines([]), _dots([])))
        figure.image_rgba("image", "x", "y", "width", "height", source=self._images)
        self.lines = figure.multi_line("xs", "ys", color="colour", line_dash="dash", line_width="width", source=self._lines)
        figure.scatter("x", "y", fill_color="colour", line_color="#000000", marker="marker", size="size", source=self._dots)

    def show(self, marks: Sequence[Mark]) -> None:
        """Replace the marks."""
        images = [mark for mark in marks if isinstance(mark, Image)]
        if images or len(self._images.data["x"]):
            self._images.data = _images(images)
        self._lines.data = _lines([mark for mark in marks if isinstance(mark, Line)])
        self._dots.data = _dots([mark for mark in marks if isinstance(mark, Dots)])


def _images(marks: Sequence[Image]) -> dict[str, Any]:
    rows: list[tuple[Any, ...]] = []
    for mark in marks:
        pixels = np.ascontiguousarray(mark.pixels())
        rows.append((pixels.view(np.uint32).reshape(pixels.shape[:2]), *mark.rectangle()))
    return {name: [row[place] for row in rows] for place, name in enumerate(IMAGE_COLUMNS)}


def _lines(marks: Sequence[Line]) -> dict[str, Any]:
    data: dict[str, Any] = {name: [] for name in LINE_COLUMNS}
    for mark in marks:
        values = (
            np.asarray(mark.x, float), np.asarray(mark.y, float), mark.colour, mark.dash, mark.width, mark.label or "contour",
        )  # fmt: skip
        for name, value in zip(LINE_COLUMNS, values, strict=True):
            data[name].append(value)
    return data


def _dots(marks: Sequence[Dots]) -> dict[str, Any]:
    data: dict[str, Any] = {name: [] for name in DOT_COLUMNS}
    for mark in marks:
        for x, y in zip(np.asarray(mark.x, float), np.asarray(mark.y, float), strict=True):
            if isfinite(x) and isfinite(y):
                marker = "x" if mark.marker == "cross" else mark.marker
                for name, value in zip(DOT_COLUMNS, (x, y, mark.colour, marker, mark.size, mark.label), strict=True):
                    data[name].append(value)
    return data


DASHED = {"solid": "", "dashed": "6 3", "dotted": "2 3", "dotdash": "2 3 6 3", "dashdot": "6 3 2 3"}
"""Dash patterns of the legend, for SVG."""

SIGNS = {"circle": "●", "star": "★", "square": "■", "triangle": "▲", "diamond": "◆", "cross": "✕"}
"""Markers of the legend."""


def legend(panels: Sequence[Panel]) -> str:
    """Return the legend of panels as HTML."""
    entries = "".join(f"<span class='entry'>{_sample(mark)} {escape(mark.label)}</span>" for mark in legend_entries(panels))
    return f"<div class='legend'>{entries}</div>"


def _sample(mark: Mark) -> str:
    if isinstance(mark, Dots):
        return f"<span style='color:{mark.colour};-webkit-text-stroke:0.7px black'>{SIGNS[mark.marker]}</span>"
    if isinstance(mark, Image):
        box = f"background:{mark.colours[-1]};opacity:{mark.opacity}"
        return f"<span style='display:inline-block;width:14px;height:10px;{box}'></span>"
    dash = DASHED[mark.dash]
    line = f"<line x1='0' y1='5' x2='28' y2='5' stroke='{mark.colour}' stroke-width='{mark.width}' stroke-dasharray='{dash}'/>"
    return f"<svg width='28' height='10'>{line}</svg>"
