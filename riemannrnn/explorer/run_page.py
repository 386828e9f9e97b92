"""The run view in a window: its widgets, a slider through learning, and runs that are still being written."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any, ClassVar

import panel as pn

from riemannrnn.analysis import RecordedRunError
from riemannrnn.explorer import widgets
from riemannrnn.explorer.page import Page, number
from riemannrnn.explorer.run_scene import CLOSED, PathSurvey, RunScene, RunState, run_scene, survey_path
from riemannrnn.explorer.run_verdicts import COLUMNS
from riemannrnn.explorer.sources import Loaded, Runs
from riemannrnn.plots.panels import Panel
from riemannrnn.progress import Progress

WATCH = 2000
"""Milliseconds between two checks whether runs have grown."""

STRIDE = 40
"""Share of learning by which a key moves the slider."""


class RunPage(Page):
    """The run view in one window.

    Parameters
    ----------
    state, problems
        The first state, and errors in the address.
    runs
        The given runs.
    """

    title = "Runs of learning"
    state: RunState
    keys: ClassVar = {
        "ArrowLeft": "and → : earlier, later", "ArrowRight": "", "Home": "the start of learning", "End": "its end",
        "n": "the next run's W, rates and path", "l": "the next layer",
    }  # fmt: skip

    def __init__(self, state: RunState, problems: Sequence[str], runs: Runs) -> None:
        unknown = [name for name in (*state.runs, *([state.focus] if state.focus else [])) if name not in runs]
        problems = [*problems, *(f"The address names a run {name!r} that was not given; it is left out." for name in unknown)]
        known = tuple(name for name in state.runs if name in runs)
        super().__init__(
            RunState(**vars(state) | {"runs": known, "focus": state.focus if state.focus in runs else ""}), problems
        )
        self.runs = runs
        self._surveys: dict[tuple[str, int, tuple[str, ...]], tuple[int, PathSurvey]] = {}
        self._scene: RunScene | None = None
        self._failed: list[str] = []
        self._stamps = runs.stamps()
        self._watch: Any = None
        self._slider: Any = None
        self._wanted = (self.state.runs, self.state.metrics, self.state.layer)

    def loaded(self) -> list[Loaded]:
        """Return the visible runs that can be read; sentences about the others are kept."""
        self._failed, found = [], []
        for name in self.state.runs or tuple(self.runs.folders):
            try:
                found.append(self.runs.load(name, self.state.layer))
            except RecordedRunError as error:
                self._failed.append(f"{name}: {error}")
        return found

    def panels(self, hurry: bool) -> Sequence[Panel]:
        loaded = self.loaded()
        if not loaded:
            self._scene = RunScene((), (), tuple(self._failed))
            return ()
        known: dict[str, PathSurvey] = {}
        for each in loaded:
            survey = self._surveys.get((each.name, each.number, self.state.metrics))
            if survey is not None:
                known[each.name] = survey[1]
        self._scene = run_scene(self.state, loaded, known)
        return self._scene.panels

    def measure(self) -> None:
        """Measure the paths that are not measured yet, or have grown, in the background, one after the other."""
        known = {
            (name, layer): points
            for (name, layer, metrics), (points, _) in self._surveys.items()
            if metrics == self.state.metrics
        }
        waiting = [each for each in self.loaded() if known.get((each.name, each.number)) != len(each.run)]
        if not waiting:
            return
        first, metrics = waiting[0], self.state.metrics
        key, points = (first.name, first.number, metrics), len(first.run)

        def work(progress: Progress) -> PathSurvey | str:
            try:
                return survey_path(first, metrics, progress)
            except (RecordedRunError, ValueError, RuntimeError) as error:  # it is closed when the run has grown
                return str(error)

        def done(result: PathSurvey | str) -> None:
            if isinstance(result, str):
                self._failed.append(result)
                first.problems.append(f"{first.name}: {result}")
                return
            self._surveys[key] = (points, result)
            self.follow()
            self.measure()

        self.background.start(work, done)

    def changed(self) -> None:
        wanted = (self.state.runs, self.state.metrics, self.state.layer)
        if wanted != self._wanted:
            self._wanted = wanted
            self.measure()

    def text(self) -> str:
        last = self._last()
        step = last if self.state.step < 0 else min(self.state.step, last)
        return f"<div class='lesson'><h2>{self.title}</h2><p>After {step} of {last} steps of learning.</p></div>"

    def facts(self) -> str:
        if self._scene is None:
            return ""
        told = {name for row in self._scene.rows for name, value in row.items() if value is not None}
        names = [name for name in COLUMNS if name in told]
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_told(row.get(name)))}</td>" for name in names) + "</tr>" for row in self._scene.rows
        )
        sentences = dict.fromkeys([*self._failed, *self._scene.sentences])
        said = "".join(f"<p class='problem'>{escape(sentence)}</p>" for sentence in sentences)
        return f"<table><tr>{head}</tr>{body}</table>{said}"

    def _layers(self) -> dict[str, int]:
        """Return the layers of the run that has most, by their names in the menu."""
        count = max((each.layers[-1].number + 1 for each in self.loaded()), default=1)
        return {f"{number}, the lowest" if not number else str(number): number for number in range(count)}

    def _last(self) -> int:
        return max((int(each.run.steps[-1]) for each in self.loaded()), default=0)

    def look_again(self) -> None:
        """Draw again if one of the runs has grown."""
        stamps = self.runs.stamps()
        if stamps != self._stamps:
            self._stamps = stamps
            self._fit_slider()
            self.follow()
            self.measure()

    def _fit_slider(self) -> None:
        last = self._last()
        self._following = True
        try:
            self._slider.end = max(last, 1)
            self._slider.value = last if self.state.step < 0 else min(self.state.step, last)
        finally:
            self._following = False

    def tell_controls(self) -> None:
        super().tell_controls()
        if self._slider is not None:
            self._fit_slider()

    def pressed(self, key: str) -> None:
        last = self._last()
        now, stride = (last if self.state.step < 0 else self.state.step), max(last // STRIDE, 1)
        moves = {"ArrowLeft": now - stride, "ArrowRight": now + stride, "Home": 0, "End": last}
        if key in moves:
            step = min(max(moves[key], 0), last)
            self.change(step=-1 if step == last else step)
        elif key == "l":
            self.change(layer=(self.state.layer + 1) % len(self._layers()))
        elif key == "n":
            names = list(self.state.runs or self.runs.folders)
            here = names.index(self.state.focus) if self.state.focus in names else 0
            self.change(focus=names[(here + 1) % len(names)])

    def close(self, *ignored: Any) -> None:
        if self._watch is not None:
            self._watch.stop()
        super().close()

    def view(self) -> Any:
        """Return the page."""
        layers, names = self._layers(), list(self.runs.folders)
        if self.state.layer >= len(layers):
            self.problems.append(
                f"The address names layer {self.state.layer}, but the runs have {len(layers)}; the highest is shown."
            )
            self.state = replace(self.state, layer=len(layers) - 1)
        state = self.state
        self._slider = widgets.steps(max(self._last(), 1))

        def moved(event: Any, hurry: bool) -> None:
            if not self._following:
                self.change(hurry, step=-1 if event.new >= self._last() else event.new)

        self._slider.param.watch(lambda event: moved(event, True), "value")
        self._slider.param.watch(lambda event: moved(event, False), "value_throttled")
        made = [
            self._slider,
            self.control("runs", widgets.some_of("Runs (none: all)", state.runs, names), tuple),
            self.control(
                "focus", widgets.one_of("W, rates and path of", state.focus, {"the first run": ""} | dict(zip(names, names)))
            ),
            self.control("layer", widgets.one_of("Layer", state.layer, layers)),
            self.control("metrics", widgets.some_of("Geodesics", state.metrics, CLOSED), tuple),
            self.control("first", widgets.whole("First stimulus", state.first, 0, 10**6)),
            self.control("stimuli", widgets.whole("Stimuli whose rates are shown", state.stimuli, 1, 12)),
        ]
        page = self.layout(*made)
        self.measure()
        if self._document is not None:
            self._watch = pn.state.add_periodic_callback(self.look_again, period=WATCH)
        return page


def _told(value: object) -> str:
    return number(value) if isinstance(value, float) else ("" if value is None else str(value))
