"""How long a drag takes, and the passes over the loss. `pytest -s -n 0 tests/test_explorer_speed.py` prints the medians."""

from dataclasses import replace
from statistics import median
from time import perf_counter, process_time

import numpy as np
import pytest

pytest.importorskip("panel", reason="the extra explore is not installed")

from riemannrnn.explorer import playground_page, surveys
from riemannrnn.explorer.playground import Playground
from riemannrnn.explorer.playground_page import PlaygroundPage
from riemannrnn.explorer.presets import PRESETS
from riemannrnn.explorer.surveys import survey
from riemannrnn.plots.panels import Image
from riemannrnn.runtime import BLAS

DRAGS = 20
LARGE = replace(PRESETS["large"].state, units=300)


@pytest.fixture
def opened(monkeypatch):
    """Return a function that opens the playground without its loss, which does not change while a point is dragged."""
    monkeypatch.setattr(playground_page, "PASSES", {True: (), False: ()})
    pages = []

    def opened(state):
        pages.append(PlaygroundPage(state))
        pages[-1].view()
        return pages[-1]

    yield opened
    for page in pages:
        page.close()


@pytest.mark.parametrize(("state", "most"), [(Playground(), 0.1), (LARGE, 0.5)], ids=["two units", "300 units"])
def test_the_median_drag_is_drawn_soon(opened, state, most):
    """Seconds of the processor, from the movement of the mouse to new data of all figures: a busy machine has them, too."""
    page, (x, y) = opened(state), state.start
    taken, waited = [], []
    for place in range(DRAGS + 1):
        started, begun = process_time(), perf_counter()
        page.change(hurry=True, start=(x - 0.01 * place - 0.01, y))
        taken.append(process_time() - started)
        waited.append(perf_counter() - begun)
    numbers = f"{1000 * median(taken[1:]):.0f} ms of processor time, {1000 * median(waited[1:]):.0f} ms on the clock"
    print(f"\n{page.state.setting().network.n_units} units, median of {DRAGS} drags: {numbers}")
    assert median(taken[1:]) < most


def test_pictures_are_computed_with_one_thread_of_blas(opened, monkeypatch):
    held = []

    def scene(*arguments, scene=playground_page.scene):
        held.append(BLAS.held)
        return scene(*arguments)

    monkeypatch.setattr(playground_page, "scene", scene)
    opened(Playground(steps=0)).saved_picture("svg")
    assert len(held) > 1
    assert all(held)


def large(units=20):
    return replace(LARGE, units=units).setting()


def losses(ground):
    return next(mark for mark in ground.weights if isinstance(mark, Image) and mark.logarithmic).values


def test_a_survey_with_few_iterations_leaves_blank_what_it_does_not_know():
    made = large()
    quick, full = (survey(made, 5, in_resolvent=False, iterations=iterations) for iterations in (2, None))
    blank = np.isnan(losses(quick))
    assert blank.any()
    assert np.isfinite(losses(full)[blank]).any(), "the full survey finds more"
    assert "no fixed point found" not in {mark.label for mark in quick.weights}
    assert np.allclose(losses(quick)[~blank], losses(full)[~blank], rtol=1e-5)


class EndedError(Exception):
    """A survey was ended by its progress."""


def test_a_survey_that_was_ended_goes_on(monkeypatch):
    made, known, blocks = large(), {}, []

    def counted(*arguments, landscape=surveys.landscape):
        blocks.append(arguments)
        return landscape(*arguments)

    def end(share):
        if share > 0.5:
            raise EndedError

    monkeypatch.setattr(surveys, "landscape", counted)
    with pytest.raises(EndedError):
        survey(made, 9, end, in_resolvent=False, known=known)
    first = len(blocks)
    ground = survey(made, 9, in_resolvent=False, known=known)
    both = len(blocks)
    whole = survey(made, 9, in_resolvent=False)
    assert 0 < first < both == len(blocks) - both, "no block is evaluated twice"
    assert np.array_equal(losses(ground), losses(whole), equal_nan=True)


def test_a_look_goes_on_after_a_drag(opened, monkeypatch):
    monkeypatch.setattr(playground_page, "PASSES", {True: ((3, None), (5, None)), False: ()})
    page = opened(Playground(steps=0))
    (looked,) = page._looked.values()
    assert looked.ground.side == 5
    assert not looked.passes
    page.change(hurry=True, start=(0.1, 0.1))
    page.look()
    assert list(page._looked.values()) == [looked], "nothing is evaluated again"
