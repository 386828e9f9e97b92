"""The playground in a window: its widgets, dragging, and keys."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from math import hypot
from typing import Any, ClassVar

import panel as pn
from bokeh.events import Pan, PanEnd, PanStart, Tap

from manifolds import Array, WeightManifold
from riemannrnn.explorer import widgets
from riemannrnn.explorer.canvas import Canvas
from riemannrnn.explorer.curves import MANIFOLDS, OWN, rule_names
from riemannrnn.explorer.page import Page, number
from riemannrnn.explorer.planes import ACTIVATIONS, NETWORKS
from riemannrnn.explorer.playground import Paths, Playground, PlaygroundScene, grid_step, scene
from riemannrnn.explorer.presets import PRESETS
from riemannrnn.explorer.surveys import Ground, survey
from riemannrnn.explorer.verdicts import rule_label
from riemannrnn.plots.panels import Panel
from riemannrnn.progress import Progress

PASSES = {True: ((9, None), (33, None)), False: ((9, 20), (25, 20), (25, None))}
"""Passes over the loss of two units, and of a large network: points along each side, and iterations at most, if fewer."""

GROUNDS = 12
"""Number of cached losses."""

FRAME, FRAMES = 60, 40
"""Milliseconds between two steps while the rules run, and number of steps of one run."""

REACH = 0.06
"""Largest distance between mouse and point for dragging, as a share of the picture."""

MOVES = {"ArrowLeft": (-1, 0), "ArrowRight": (1, 0), "ArrowUp": (0, 1), "ArrowDown": (0, -1)}


@dataclass
class Looked:
    """The loss of one setting as far as it is known.

    Attributes
    ----------
    passes
        The passes that are still to be made.
    ground
        The result of the last pass; None before the first has ended.
    blocks
        What `survey` knows.
    """

    passes: Sequence[tuple[int, int | None]]
    ground: Ground | None = None
    blocks: dict[object, Array] = field(default_factory=dict)


class PlaygroundPage(Page):
    """The playground in one window.

    Parameters
    ----------
    state, problems
        The first state, and errors in the address.
    own
        The user's manifold, if any.
    """

    title = "The playground"
    state: Playground
    keys: ClassVar = {
        "s": "one step more", "r": "run, or stop", "0": "reset to no steps", "ArrowLeft": "and other arrows: move the start",
        "ArrowRight": "", "ArrowUp": "", "ArrowDown": "", "Shift+ArrowLeft": "and others: move the end",
        "Shift+ArrowRight": "", "Shift+ArrowUp": "", "Shift+ArrowDown": "", "+": "double the learning rate", "-": "halve it",
    }  # fmt: skip

    def __init__(self, state: Playground, problems: Sequence[str] = (), own: WeightManifold | None = None) -> None:
        super().__init__(state, problems)
        self.own, self._paths = own, Paths()
        self._looked: dict[object, Looked] = {}
        self._seen: object = None
        self._scene: PlaygroundScene | None = None
        self._running: Any = None
        self._held: str | None = None
        self._interrupted = False

    # The picture

    def panels(self, hurry: bool) -> Sequence[Panel]:
        looked = self._looked.get(self._key())
        self._scene = scene(self.state, looked.ground if looked else None, self._paths, self.own, hurry)
        return self._scene.panels

    def _key(self) -> object:
        return self.state.setting(), self.state.in_resolvent

    def changed(self) -> None:
        if self._key() != self._seen:
            self.look()

    def look(self) -> None:
        """Evaluate the loss over the window in the background, pass by pass, from where an earlier look was ended."""
        state, made = self.state, self.state.setting()
        self._seen = self._key()
        looked = self._looked.pop(self._seen, None) or Looked(PASSES[made.small])
        self._looked[self._seen] = looked
        while len(self._looked) > GROUNDS:
            del self._looked[next(iter(self._looked))]
        self.background.cancel()
        if not looked.passes:
            return
        side, iterations = looked.passes[0]

        def work(progress: Progress) -> Ground:
            return survey(made, side, progress, state.in_resolvent, iterations, looked.blocks)

        def done(ground: Ground) -> None:
            looked.ground, looked.passes = ground, looked.passes[1:]
            self.follow()
            if looked is self._looked.get(self._key()):
                self.look()

        self.background.start(work, done)

    def refresh(self) -> None:
        """Draw the state now, and continue the evaluation of the loss that a drag has interrupted."""
        super().refresh()
        if self._interrupted and not self._hurried:
            self._interrupted = False
            self.look()

    def text(self) -> str:
        preset = PRESETS.get(self.state.lesson)
        if preset is None:
            return f"<div class='lesson'><h2>{self.title}</h2></div>"
        return (
            f"<div class='lesson'><h2>{escape(preset.title)}</h2><p>{escape(preset.look)}</p>"
            f"<p><b>Try:</b> {escape(preset.attempt)}</p></div>"
        )

    def facts(self) -> str:
        if self._scene is None:
            return ""
        rows = "".join(
            f"<tr><td><b style='color:{row.colour}'>▬</b> {escape(row.name)}</td><td>{number(row.before)}</td>"
            f"<td>{number(row.after)}</td><td>{number(row.distance)}</td><td>{escape(row.verdict)}</td></tr>"
            for row in self._scene.rows
        )
        head = "<tr><th>rule</th><th>loss at the start</th><th>loss now</th><th>how far it went</th><th>what happened</th></tr>"
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self._scene.sentences)
        return f"<table>{head}{rows}</table>{said}"

    # Dragging

    def prepare(self, canvases: Sequence[Canvas]) -> None:
        """Make the start and the end draggable in every picture in W, and let a click set them."""
        for canvas in canvases:
            if canvas.logarithmic or (canvas is canvases[1] and self.state.in_resolvent):
                continue
            canvas.figure.on_event(PanStart, self.grab)
            canvas.figure.on_event(Pan, self.move)
            canvas.figure.on_event(PanEnd, self.drop)
            canvas.figure.on_event(Tap, self.tap)

    def grab(self, event: Any) -> None:
        """Start to drag the start or the end, whichever is nearer, if it is close to the mouse."""
        left, right, bottom, top = self.state.setting().window

        def away(field: str) -> float:
            x, y = getattr(self.state, field)
            return hypot((event.x - x) / (right - left), (event.y - y) / (top - bottom))

        nearer = min(("start", "end"), key=away)
        self._held = nearer if away(nearer) < REACH else None

    def move(self, event: Any) -> None:
        """Drag the grabbed point to the mouse."""
        if self._held is not None:
            if self.background.busy:  # its work would slow down the picture that follows the mouse
                self.background.cancel()
                self._interrupted = True
            self.change(True, **{self._held: self._within((float(event.x), float(event.y)))})

    def drop(self, event: Any) -> None:
        """Drop the dragged point at its position."""
        self._held = None

    def _within(self, place: tuple[float, float]) -> tuple[float, float]:
        left, right, bottom, top = self.state.setting().window
        return round(min(max(place[0], left), right), 4), round(min(max(place[1], bottom), top), 4)

    def tap(self, event: Any) -> None:
        """Set the start, or with Shift the end."""
        place = self._within((float(event.x), float(event.y)))
        shifted = bool((event.modifiers or {}).get("shift"))
        self.change(False, **{"end" if shifted else "start": place})

    # Steps

    def step(self) -> None:
        """Take one step more."""
        self.change(steps=min(self.state.steps + 1, 2000))

    def reset(self) -> None:
        """Go back to the start."""
        self.stop()
        self.change(steps=0)

    def run(self) -> None:
        """Take one step after another, or stop."""
        if self._running is not None:
            self.stop()
            return
        left = FRAMES

        def one() -> None:
            nonlocal left
            left -= 1
            self.step()
            if left <= 0:
                self.stop()

        self._running = pn.state.add_periodic_callback(one, period=FRAME)

    def stop(self) -> None:
        """Stop running."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def close(self, *ignored: Any) -> None:
        self.stop()
        super().close()

    def pressed(self, key: str) -> None:
        actions = {"s": self.step, "r": self.run, "0": self.reset}
        which, _, arrow = key.rpartition("+") if key != "+" else ("", "", "+")
        if key in actions:
            actions[key]()
        elif key in ("+", "-"):
            self.change(rate=min(max(self.state.rate * (2 if key == "+" else 0.5), 1e-6), 1e4))
        elif arrow in MOVES:
            field = "end" if which == "Shift" else "start"
            across, up = grid_step(self.state.setting().window)
            x, y = getattr(self.state, field)
            self.change(False, **{field: self._within((x + across * MOVES[arrow][0], y + up * MOVES[arrow][1]))})

    # The page

    def view(self) -> Any:
        """Return the page."""
        state, own = self.state, [OWN] if self.own is not None else []
        lessons = {preset.title: name for name, preset in PRESETS.items()} | ({} if state.lesson in PRESETS else {"none": ""})
        rules = {rule_label(name): name for name in rule_names(bool(own))}
        made = {
            "rate": widgets.real("Learning rate η", state.rate, 1e-6, 1e4),
            "rules": widgets.some_of("Rules", state.rules, rules),
            "manifolds": widgets.some_of("Manifolds", state.manifolds, [*MANIFOLDS, *own]),
            "radius": widgets.real("Radius of the balls", state.radius, 0.001, 10.0),
            "in_resolvent": widgets.make.Checkbox(label="also in A = (I − W)⁻¹", value=state.in_resolvent),
            "network": widgets.one_of("Network", state.network, list(NETWORKS)),
            "activation": widgets.one_of("Activation", state.activation, ACTIVATIONS),
            "correlation": widgets.real("Correlation of the stimuli", state.correlation, -0.95, 0.95),
            "seed": widgets.whole("Seed", state.seed, 0, 10**6),
            "units": widgets.whole("Units of the large network", state.units, 3, 400),
        }
        several = ("rules", "manifolds")
        bound = [self.control(field, widget, tuple if field in several else _same) for field, widget in made.items()]
        lesson = self.control("lesson", widgets.one_of("Lesson", state.lesson, lessons))
        steps = widgets.buttons({"Step": self.step, "Run": self.run, "Reset": self.reset})
        page = self.layout(lesson, steps, *bound)
        self.look()
        return page

    def become(self, state: Playground, hurry: bool = False) -> None:  # type: ignore[override]  # its own type of state
        """Show another state; a different lesson starts from its own state."""
        if state.lesson != self.state.lesson and state == replace(self.state, lesson=state.lesson) and state.lesson in PRESETS:
            self.stop()
            state = PRESETS[state.lesson].state
        super().become(state, hurry)


def _same(value: Any) -> Any:
    return value
