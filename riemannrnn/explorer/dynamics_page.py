"""The dynamics view in a window."""

from collections.abc import Sequence
from html import escape
from typing import Any, ClassVar

import numpy as np

from riemannrnn.analysis import RecordedRunError
from riemannrnn.explorer import widgets
from riemannrnn.explorer.dynamics_scene import DynamicsScene, DynamicsState, Model, dynamics_scene, two_units
from riemannrnn.explorer.page import Page
from riemannrnn.explorer.sources import Runs
from riemannrnn.models import RateNetwork
from riemannrnn.plots.panels import Panel

TWO_UNITS = "two units, as below"


class DynamicsPage(Page):
    """The dynamics view in one window; arguments as for `RunPage`."""

    title = "The dynamics of one stimulus"
    state: DynamicsState
    keys: ClassVar = {"ArrowLeft": "and → : the stimulus before, after", "ArrowRight": "", "n": "other starts (the next seed)"}

    def __init__(self, state: DynamicsState, problems: Sequence[str], runs: Runs) -> None:
        if state.run and state.run not in runs:
            problems = [*problems, f"The address names a run {state.run!r} that was not given; two units are shown."]
            state = DynamicsState(**vars(state) | {"run": ""})
        super().__init__(state, problems)
        self.runs = runs
        self._scene: DynamicsScene | None = None

    def model(self) -> Model:
        """Return the network and the stimuli.

        Raises
        ------
        RecordedRunError
            If the run cannot be read, or its stimuli are missing.
        """
        if not self.state.run:
            return two_units(self.state)
        loaded = self.runs.load(self.state.run, self.state.layer)
        last = int(loaded.run.steps[-1])
        step = last if self.state.step < 0 else self.state.step
        seen = loaded.seen(step)
        if seen is None:
            known = "of a stack rates are known at the end of learning; choose step −1"
            raise RecordedRunError(loaded.problems[-1] if loaded.problems else f"{loaded.name}: {known}")
        network = RateNetwork(loaded.run.n_units, activation=seen.fixed_points.activation)
        weights, found = loaded.weights(step), seen.fixed_points
        of = f", layer {loaded.number}" if loaded.stacked else ""
        drive = np.asarray(found.inputs, np.float64) - np.asarray(found.rates, np.float64) @ weights.T  # z − W r = x
        return Model(f"{loaded.name}{of} after {loaded.run.steps[loaded.point(step)]} steps", network, weights, drive)

    def panels(self, hurry: bool) -> Sequence[Panel]:
        try:
            self._scene = dynamics_scene(self.state, self.model())
        except RecordedRunError as error:
            self._scene = DynamicsScene((), (str(error),))
        return self._scene.panels

    def text(self) -> str:
        return (
            f"<div class='lesson'><h2>{self.title}</h2><p>τ ṙ = −r + f(W r + x): from each start the rates settle at a "
            "fixed point, as fast as the rightmost eigenvalue of −I + G W says. A slow stimulus is followed with a lag."
            "</p></div>"
        )

    def facts(self) -> str:
        return "" if self._scene is None else "".join(f"<p>{escape(sentence)}</p>" for sentence in self._scene.sentences)

    def pressed(self, key: str) -> None:
        if key == "n":
            self.change(seed=self.state.seed + 1)
        else:
            self.change(stimulus=max(self.state.stimulus + (1 if key == "ArrowRight" else -1), 0))

    def view(self) -> Any:
        """Return the page."""
        state = self.state
        units = [
            widgets.slider(name, value, -2.0, 2.0, 0.05)
            for name, value in zip(("Self-excitation w", "Coupling c"), state.weights, strict=True)
        ]
        for widget in units:
            widget.param.watch(lambda event: self.change(weights=tuple(each.value for each in units)), "value_throttled")
        names = {TWO_UNITS: ""} | {name: name for name in self.runs.folders}
        made = {
            "run": widgets.one_of("Weights of", state.run, names),
            "layer": widgets.whole("Layer of a stack (0: the lowest)", state.layer, 0, 99),
            "stimulus": widgets.whole("Stimulus", state.stimulus, 0, 10**6),
            "other": widgets.whole("It changes slowly to stimulus", state.other, 0, 10**6),
            "ratio": widgets.real("τ/T of the slow change", state.ratio, 0.001, 2.0, 0.01),
            "starts": widgets.whole("Starts", state.starts, 1, 20),
            "spread": widgets.real("Spread of the starts", state.spread, 0.0, 10.0),
            "seed": widgets.whole("Seed of the starts", state.seed, 0, 10**6),
            "duration": widgets.real("Followed for (τ)", state.duration, 1.0, 200.0, 5.0),
            "step": widgets.whole("Step of learning (−1: the last)", state.step, -1, 10**9),
        }
        bound = [self.control(field, widget) for field, widget in made.items()]
        return self.layout(bound[0], *units, *bound[1:])
