"""The address of a view, and pictures as files."""

import numpy as np
import pytest

from riemannrnn.explorer.dynamics_scene import DynamicsState
from riemannrnn.explorer.playground import Playground
from riemannrnn.explorer.presets import PRESETS
from riemannrnn.explorer.run_scene import RunState
from riemannrnn.plots.panels import Dots, Image, Line, Panel, contours, limits, picture


@pytest.mark.parametrize("state", [*(preset.state for preset in PRESETS.values()), RunState(runs=("a", "b"), step=7),
                                   DynamicsState(weights=(1.5, -0.25), seed=3)], ids=str)  # fmt: skip
def test_an_address_holds_the_whole_state(state):
    assert type(state).from_query(state.query()) == (state, [])
    assert type(state).from_query("?" + state.query()) == (state, [])


def test_the_default_needs_no_query():
    assert Playground().query() == ""
    assert "seed=4" in Playground(seed=4).query()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("rate=fast", "it is a number"),
        ("rate=nan", "from 1e-06 to 10000"),
        ("rate=-1", "from 1e-06"),
        ("steps=1e99", "it is a number from 0 to 2000"),
        ("network=<script>", "it is one of chain"),
        ("start=1", "it takes 2 numbers"),
        ("start=1,b", "it is a number"),
        ("rules=" + ",".join(["dW1"] * 41), "at most 40"),
        ("manifolds=euclidean,nothing", "it is one of euclidean"),
        ("file=/etc/passwd", "does not know"),
    ],
)
def test_invalid_entries_of_an_address_are_named_and_ignored(query, told):
    state, problems = Playground.from_query(query + "&seed=5")
    assert state == Playground(seed=5)
    assert len(problems) == 1
    assert told in problems[0]


def panels():
    values = np.array([[1.0, 2.0], [np.nan, 4.0]])
    marks = (
        Image(values, (0, 1), (0, 1), ("#ffffff", "#000000"), 1, 4, logarithmic=True, label="an image"),
        Line(np.array([0, np.nan, 1]), np.array([1, np.nan, 2.0]), label="a line"),
        Dots(np.array([0.5]), np.array([1.0]), marker="cross"),
    )
    return [Panel("one", "x", "y", marks, logarithmic=True), Panel("none", "x", "y")]


def test_pictures_are_files_and_the_same_for_the_same_panels():
    assert picture(panels(), "png").startswith(b"\x89PNG")
    assert b"<svg" in picture(panels(), "svg", "a title")
    assert picture(panels(), "png") == picture(panels(), "png")
    with pytest.raises(ValueError, match="choose png or svg"):
        picture(panels(), "pdf")


def test_pixels_of_an_image():
    pixels = panels()[0].marks[0].pixels()
    assert pixels[0, 0].tolist() == [255, 255, 255, 255]
    assert pixels[0, 1].tolist() == [128, 128, 128, 255], "2 is halfway from 1 to 4 on a logarithmic scale"
    assert pixels[1, 0, 3] == 0
    assert pixels[1, 1].tolist() == [0, 0, 0, 255]


def test_limits_hold_all_marks():
    (left, right), (bottom, top) = limits(panels()[0])
    assert left < -0.49 < 1.49 < right
    assert 0 < bottom < 1
    assert top > 2


def test_contours_avoid_what_is_not_finite():
    x = np.linspace(-1, 1, 21)
    values = np.hypot(*np.meshgrid(x, x))
    lines = contours(x, x, values, 0.5, colour="#123456")
    assert np.allclose(np.hypot(lines[0].x, lines[0].y), 0.5, atol=0.01)
    assert lines[0].colour == "#123456"
    assert contours(x, x, np.full_like(values, np.nan), 0.5) == []
