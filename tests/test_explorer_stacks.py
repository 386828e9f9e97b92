"""Runs of stacks in the explorer, and runs on a file of one's own."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from test_cli import run

from riemannrnn import load_model
from riemannrnn.analysis import RecordedRunError, read_run
from riemannrnn.explorer.run_scene import RunState, run_scene, survey_path
from riemannrnn.explorer.sources import Runs
from riemannrnn.plots.panels import Dots, Image, Line

STACK = """
[data]
name = "digits"
training_size = 60
[network]
seed = 1
[[network.layers]]
units = 12
[[network.layers]]
units = 8
[train]
epochs = 2
batch_size = 20
seed = 0
"""


def trained(folder, *arguments):
    """Train by the command; return the run folder."""
    done = run("train", *arguments, "--output", folder)
    assert done.exit_code == 0, done.output
    (found,) = folder.glob("train-*")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    parent = tmp_path_factory.mktemp("stack")
    (parent / "stack.toml").write_text(STACK)
    return trained(parent, "--config", parent / "stack.toml")


@pytest.fixture
def runs(folder):
    return Runs([folder])


def marks(panels, title, kind):
    (panel,) = (each for each in panels if each.title.startswith(title))
    return [mark for mark in panel.marks if isinstance(mark, kind)]


def shown(runs, layer, **changes):
    (name,) = runs.folders
    loaded = runs.load(name, layer)
    return run_scene(RunState(layer=layer, **changes), [loaded], {name: survey_path(loaded, ("euclidean",))})


@pytest.mark.parametrize("layer", [0, 1])
def test_a_layer_of_a_stack_is_seen_at_a_step(runs, folder, layer):
    parameter = f"layers.{layer}.recurrent"
    with read_run(folder, parameter) as recorded:
        for step, W in ((0, recorded[0]), (-1, recorded[-1])):
            made = shown(runs, layer, step=step)
            (image,) = marks(made.panels, f"W, layer {layer}", Image)
            assert np.array_equal(image.values[::-1], W)
            (dots,) = marks(made.panels, f"Eigenvalues of W, layer {layer}", Dots)
            assert np.allclose(np.sort_complex(dots.x + 1j * dots.y), np.sort_complex(np.linalg.eigvals(W)))
            margin = np.linalg.eigvalsh(np.eye(len(W)) - (W + W.T) / 2)[0]
            assert np.isclose(made.rows[layer]["smallest eigenvalue of sym(I − W)"], margin)
    assert marks(made.panels, "Loss", Line)
    assert marks(made.panels, "Accuracy", Line)
    assert not made.sentences


def test_rates_of_a_stack_are_known_at_its_end(runs, folder):
    (name,) = runs.folders
    model = load_model(folder)
    made = shown(runs, 1)
    loaded = runs.load(name, 1)
    response = model.network.respond(model.weights, model.network.prepare(loaded.stimuli(np.float64)), model.solving)
    line = marks(made.panels, "Rates of some stimuli, layer 1", Line)[0]
    assert np.allclose(line.y, np.sort(response.layers[1].rates[0]))
    assert np.isclose(made.rows[0]["rightmost eigenvalue"], response.layers[0].stability().max())
    assert "rightmost eigenvalue" not in shown(runs, 1, step=1).rows[0]


def test_the_verdict_of_a_stack_is_that_of_all_its_layers(runs, monkeypatch):
    made = shown(runs, 0)
    assert [row["layer"] for row in made.rows] == ["0", "1", "all"]
    assert made.rows[2]["verdict"] == "stable for every stimulus: all layers are monotone"
    (name,) = runs.folders
    upper = runs.load(name, 1)
    feedforward = np.triu(np.full((8, 8), 3.0), 1)
    monkeypatch.setattr(upper, "weights", lambda step: feedforward)
    early = shown(runs, 0, step=1)
    assert early.rows[1]["verdict"].startswith("not decided")
    assert early.rows[2]["verdict"] == "not decided, because of layer 1"
    at_end = shown(runs, 0)
    assert at_end.rows[1]["verdict"] == "stable for the stimuli shown"
    assert at_end.rows[2]["verdict"] == "stable for the stimuli shown: every layer is"


def test_an_unstable_layer_makes_its_stack_unstable(runs, monkeypatch):
    (name,) = runs.folders
    lower = runs.load(name, 0)
    points = lower.response.layers[0]
    grown = replace(points, gains=np.full_like(points.gains, 1e3))
    lower.response = replace(lower.response, layers=(grown, lower.response.layers[1]))
    monkeypatch.setattr(lower, "weights", lambda step: 2 * np.eye(12))
    assert shown(runs, 1).rows[2]["verdict"] == "unstable, because of layer 0"


def test_a_stack_without_its_model_says_why_rates_are_missing(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.npz").unlink()
    made = shown(Runs([copy]), 0)
    assert "rates are known when it has ended" in made.sentences[0]
    (copy / "path.layers.1.recurrent.h5").write_bytes(b"nothing")
    runs = Runs([copy])
    assert [row["layer"] for row in shown(runs, 0).rows] == ["0", "all"]
    with pytest.raises(RecordedRunError, match="damaged"):
        runs.load("copy", 1)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_a_run_on_a_file_of_ones_own(tmp_path, kind):
    pytest.importorskip("pandas", reason="the extra data is not installed")
    generator = np.random.default_rng(0)
    stimuli = generator.standard_normal((60, 3))
    targets = np.where(stimuli[:, 0] > 0, "yes", "no") if kind == "classes" else np.tanh(stimuli[:, 0]).round(6)
    rows = [",".join([*map(str, row), str(target)]) for row, target in zip(stimuli.tolist(), targets.tolist(), strict=True)]
    (tmp_path / "own.csv").write_text("\n".join(["a,b,c,answer", *rows]))
    options = ("--units", 9, "--epochs", 3, "--seed", 0, "--data", tmp_path / "own.csv", "--target", "answer")
    runs = Runs([trained(tmp_path, *options)])
    made = shown(runs, 0)
    assert not made.sentences
    assert len(made.panels) == 8
    assert made.rows[0]["unstable stimuli"] == 0
    assert (made.rows[0]["loss of the stimuli shown"] is None) == (kind == "numbers")
    assert np.isfinite(marks(made.panels, "Distance", Line)[0].y).all()
    (tmp_path / "own.csv").unlink()
    gone = shown(Runs(list(runs.folders.values())), 0)
    assert "stimuli cannot be shown" in gone.sentences[0]


def test_the_layer_is_chosen_and_kept_in_the_address(runs):
    pytest.importorskip("panel", reason="the extra explore is not installed")
    from riemannrnn.explorer.run_page import RunPage

    page = RunPage(RunState(), [], runs)
    page.view()
    assert list(page.controls["layer"].options.values()) == [0, 1]
    page.controls["layer"].value = 1
    assert page.state.query() == "layer=1"
    assert "W, layer 1" in page._panels[2].title
    assert "principal" in page._panels[-1].xlabel
    assert marks(page._panels, "Distance", Line), "the other layer is measured, too"
    page.pressed("l")
    assert page.state.layer == 0
    page.close()
    other = RunPage(*RunState.from_query("?layer=7"), runs)
    other.view()
    assert other.state.layer == 1
    assert "names layer 7" in other._facts.object
    other.close()


def test_the_dynamics_of_a_layer(runs, folder):
    pytest.importorskip("panel", reason="the extra explore is not installed")
    from riemannrnn.explorer.dynamics_page import DynamicsPage
    from riemannrnn.explorer.dynamics_scene import DynamicsState

    (name,) = runs.folders
    page = DynamicsPage(DynamicsState(run=name, layer=1, starts=2, duration=5.0), [], runs)
    model, response = page.model(), runs.load(name, 0).response
    fixed = model.network.solve(model.weights, model.drive)
    assert np.allclose(fixed.rates, response.layers[1].rates, atol=1e-6)
    page.change(step=1)
    page.refresh()
    assert "choose step −1" in page._facts.object
    page.close()
