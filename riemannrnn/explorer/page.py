"""The base of the views: a state in the address, a picture of it, long work, keys, and saving."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from io import BytesIO
from math import isinf
from typing import Any, ClassVar

import panel as pn
from bokeh.document import Document
from bokeh.embed import components
from bokeh.events import DocumentReady
from bokeh.io.doc import patch_curdoc
from bokeh.layouts import column as bokeh_column
from bokeh.layouts import gridplot
from bokeh.models import CustomJS
from bokeh.models.widgets import Div
from bokeh.resources import Resources

from riemannrnn.explorer import widgets
from riemannrnn.explorer.background import Background
from riemannrnn.explorer.canvas import Canvas, legend
from riemannrnn.explorer.state import State
from riemannrnn.plots.panels import Format, Panel, picture
from riemannrnn.runtime import one_blas_thread

WIDTH, HEIGHT, COLUMNS = 330, 310, 3
"""Size of a panel in pixels, and number of panels in a row: three and the controls fit a laptop screen."""

PAUSE, REST = 15, 200
"""Milliseconds in which events are collected, and after which a hurried picture is drawn in full."""

STYLE = """
:host, body { font-family: system-ui, sans-serif; font-size: 13.5px; color: #1a1a1a; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; max-width: 990px; font-size: 12.5px; }
.entry { white-space: nowrap; }
.lesson { max-width: 970px; line-height: 1.45; }
.lesson h2 { font-size: 18px; margin: 2px 0 4px 0; }
.lesson p { margin: 3px 0; }
.facts { max-width: 970px; }
.facts td, .facts th { padding: 1px 12px 1px 0; text-align: left; vertical-align: top; }
.facts td:first-child { white-space: nowrap; }
.facts p { margin: 3px 0; }
.problem { color: #8a3b00; }
kbd { border: 1px solid #999; border-radius: 3px; padding: 0 4px; font-size: 12px; }
"""

VIEWS = {"": "playground", "run": "run", "dynamics": "dynamics"}
"""The views, by the last part of their address."""

KEYS = """
const held = ["INPUT", "TEXTAREA", "SELECT"];
document.addEventListener("keydown", (event) => {
  const path = event.composedPath ? event.composedPath() : [event.target];
  const inside = path.some((each) => held.includes(each.tagName) || (each.classList && each.classList.contains("noUi-handle")));
  if (inside || event.ctrlKey || event.metaKey || event.altKey) return;
  const name = (event.shiftKey ? "Shift+" : "") + event.key;
  if (!keys.tags.includes(name)) return;
  event.preventDefault();
  keys.text = name + " " + Date.now() + Math.random();
});
document.body.dataset.keys = "ready";
"""
"""Sends the names of pressed keys to the server."""


class Page(ABC):
    """A view in one window.

    Attributes
    ----------
    state
        The current state.
    problems
        Sentences about errors in the address.
    controls
        The widgets of the view, by the field of the state that each one changes.
    """

    title = ""
    keys: ClassVar[dict[str, str]] = {}
    """The action of each key, by its name."""

    def __init__(self, state: State, problems: Sequence[str] = ()) -> None:
        self.state, self.problems = state, list(problems)
        self.controls: dict[str, Any] = {}
        self.drawn = 0
        self._canvases: list[Canvas] = []
        self._panels: tuple[Panel, ...] = ()
        self._grid = pn.Column(margin=0)
        self._legend, self._facts = widgets.pane.HTML(stylesheets=[STYLE]), widgets.pane.HTML(stylesheets=[STYLE])
        self._text = widgets.pane.HTML(stylesheets=[STYLE])
        document = pn.state.curdoc
        self._document: Any = document if document is not None and document.session_context is not None else None
        self._location: Any = pn.state.location if self._document is not None else None
        self.background = Background(self._document)
        self._waiting = self._following = self._hurried = False
        self._own_change = False
        self._resting = 0

    # Provided by a view

    @abstractmethod
    def panels(self, hurry: bool) -> Sequence[Panel]:
        """Return the picture of the state; with `hurry` only what can be computed between two movements of the mouse."""

    @abstractmethod
    def facts(self) -> str:
        """Return numbers and sentences beside the picture, as HTML."""

    @abstractmethod
    def text(self) -> str:
        """Return explanations of the picture, as HTML."""

    @abstractmethod
    def pressed(self, key: str) -> None:
        """Perform the action of a key."""

    @abstractmethod
    def view(self) -> Any:
        """Return the page."""

    def changed(self) -> None:  # noqa: B027  # most views do nothing here
        """Perform further actions after a change of the state."""

    # The state

    def change(self, hurry: bool = False, **values: Any) -> None:
        """Change the state, and update the picture, the controls and the address."""
        self.become(replace(self.state, **values), hurry)

    def become(self, state: State, hurry: bool = False) -> None:
        """Show another state."""
        if state == self.state:
            return
        self.state = state
        self.problems = []
        self.changed()
        self.follow(hurry)

    def follow(self, hurry: bool = False) -> None:
        """Draw the state soon. Several events in quick succession are drawn once."""
        self._hurried = hurry
        if self._waiting:
            return
        if self._document is None:
            self.refresh()
            return
        self._waiting = True
        self._document.add_timeout_callback(self.refresh, PAUSE)

    def refresh(self) -> None:
        """Draw the state now."""
        self._waiting, hurry = False, self._hurried
        self.show(hurry)
        if hurry:
            self._rest()
        else:
            self.tell_controls()
            self.tell_address()

    def _rest(self) -> None:
        """Draw in full after a pause in the events."""
        self._resting += 1
        mine = self._resting

        def full() -> None:
            if mine == self._resting:
                self._hurried = False
                self.refresh()

        if self._document is not None:
            self._document.add_timeout_callback(full, REST)

    def show(self, hurry: bool = False) -> None:
        """Draw the panels, the legend and the facts."""
        panels = self._drawn(hurry)
        if [each.logarithmic for each in panels] != [canvas.logarithmic for canvas in self._canvases]:
            self._canvases = [Canvas(each, WIDTH, HEIGHT) for each in panels]
            self.prepare(self._canvases)
            figures = [widgets.pane.Bokeh(canvas.figure, margin=2) for canvas in self._canvases]
            self._grid.objects = [pn.Row(*figures[row : row + COLUMNS]) for row in range(0, len(figures), COLUMNS)]
        else:
            for canvas, panel in zip(self._canvases, panels, strict=True):
                canvas.show(panel)
        self._panels = panels
        self.drawn += 1
        if not hurry:
            self._legend.object = legend(panels)
            self._text.object = self.text()
        wrong = "".join(f"<p class='problem'>{escape(problem)}</p>" for problem in self.problems)
        self._facts.object = f"<div class='facts'>{wrong}{self.facts()}</div>"

    def _drawn(self, hurry: bool) -> tuple[Panel, ...]:
        """Return the picture. Threads of BLAS would wait for each other longer than a few small products take."""
        with one_blas_thread():
            return tuple(self.panels(hurry))

    def prepare(self, canvases: Sequence[Canvas]) -> None:  # noqa: B027  # most views need nothing
        """Do what else new figures need."""

    # Controls and address

    def control(self, field: str, widget: Any, read: Callable[[Any], Any] = lambda value: value) -> Any:
        """Bind a widget to a field of the state, and return it."""
        self.controls[field] = widget

        def moved(event: Any) -> None:
            if not self._following:
                self.change(**{field: read(event.new)})

        widget.param.watch(moved, "value")
        return widget

    def tell_controls(self) -> None:
        """Set the widgets to the state."""
        self._following = True
        try:
            for field, widget in self.controls.items():
                value = getattr(self.state, field)
                wanted = list(value) if isinstance(value, tuple) else value
                if widget.value != wanted:
                    widget.value = wanted
        finally:
            self._following = False

    def tell_address(self) -> None:
        """Write the state into the address."""
        query = self.state.query()
        search = f"?{query}" if query else ""
        if self._location is not None and self._location.search != search:
            self._own_change = True
            self._location.search = search
            self._own_change = False

    def _address_changed(self, event: Any) -> None:
        if not self._own_change and (event.new or "") != (f"?{self.state.query()}" if self.state.query() else ""):
            state, problems = type(self.state).from_query(event.new or "")
            self.become(state)
            self.problems = problems

    def close(self, *ignored: Any) -> None:
        """End the work that was started for this window."""
        self.background.close()

    # Saving

    def saved_picture(self, kind: Format) -> BytesIO:
        """Return the picture as PNG or SVG, drawn in full."""
        return BytesIO(picture(self._drawn(False), kind, self.title))

    def saved_page(self) -> BytesIO:
        """Return the picture as one HTML file that needs no network: its figures can still be moved and zoomed."""
        panels = self._drawn(False)
        figures = [Canvas(panel, WIDTH, HEIGHT).figure for panel in panels]
        words = Div(
            text=f"<style>{STYLE}</style>{self.text()}<div class='facts'>{self.facts()}</div>{legend(panels)}", width=990
        )
        page = bokeh_column(words, gridplot(figures, ncols=COLUMNS, merge_tools=False))
        own = Document()  # Bokeh's current document may belong to a closed window
        with patch_curdoc(own):
            script, place = components(page)
        resources = Resources("inline", components=["bokeh", "bokeh-widgets"])
        bokeh = "".join(f"<script>{raw}</script>" for raw in resources.js_raw)
        head = f"<meta charset='utf-8'><title>{escape(self.title)}, riemannrnn</title>{bokeh}{script}"
        return BytesIO(f"<!DOCTYPE html><html lang='en'><head>{head}</head><body>{place}</body></html>".encode())

    def _downloads(self) -> Any:
        buttons = []
        for kind, save in (
            ("png", lambda: self.saved_picture("png")),
            ("svg", lambda: self.saved_picture("svg")),
            ("html", self.saved_page),
        ):
            name = f"{type(self.state).__name__.lower()}.{kind}"
            buttons.append(
                widgets.make.FileDownload(callback=save, filename=name, label=kind.upper(), width=78, embed=False, margin=3)
            )
        return pn.Row(*buttons)

    # The page

    def layout(self, *controls: Any) -> Any:
        """Return the whole page: links to the other views, controls on the left, text and pictures on the right."""
        links = " · ".join(f"<a href='./{where}'>{name}</a>" for where, name in VIEWS.items())
        keys = " ".join(f"<kbd>{escape(_shown(key))}</kbd> {escape(what)}<br>" for key, what in self.keys.items() if what)
        left = pn.Column(
            widgets.pane.HTML(links, stylesheets=[STYLE]), *controls, self.background.row,
            widgets.pane.HTML("Save this view as"), self._downloads(), widgets.pane.HTML(keys, stylesheets=[STYLE]), width=270,
        )  # fmt: skip
        right = pn.Column(self._text, self._grid, self._legend, self._facts)
        page = pn.Row(left, right, self._key_field())
        if self._location is not None:
            self._location.param.watch(self._address_changed, "search")
        self._hurried = False
        self.refresh()
        return page

    def _key_field(self) -> Any:
        """Return a hidden field into which the browser writes the pressed key."""
        field = Div(text="", visible=False, tags=list(self.keys))
        field.on_change("text", lambda name, old, new: self.pressed(new.split(" ")[0]) if new else None)
        if self._document is not None:
            self._document.js_on_event(DocumentReady, CustomJS(args={"keys": field}, code=KEYS))
        return widgets.pane.Bokeh(field, visible=True, width=0, height=0, margin=0)


def _shown(key: str) -> str:
    arrows = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓"}
    modifier, plus, name = key.rpartition("+")
    return f"{modifier}{plus}{arrows.get(name, name)}"


def number(value: float) -> str:
    """Return a number with a few digits."""
    return "∞" if isinf(value) else f"{value:.4g}"
