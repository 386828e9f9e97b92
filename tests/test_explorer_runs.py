"""The pictures of runs and of the dynamics, and the run folders behind them."""

import shutil

import numpy as np
import pytest
from recorded_runs import ARGUMENTS, record_run

from riemannrnn import RateNetwork
from riemannrnn.analysis import PathRecorder, RecordedRunError
from riemannrnn.explorer.dynamics_scene import DynamicsState, dynamics_scene, integrate, two_units
from riemannrnn.explorer.run_scene import RunState, run_scene, survey_path
from riemannrnn.explorer.sources import NoRunsError, Runs
from riemannrnn.plots.panels import Dots, Image, Line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return record_run(tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture
def loaded(folder):
    return Runs([folder]).load("one")


def marks(panels, title, kind):
    (panel,) = (each for each in panels if each.title.startswith(title))
    return [mark for mark in panel.marks if isinstance(mark, kind)]


def test_a_run_is_seen_at_a_step(loaded):
    survey = survey_path(loaded, ("euclidean", "resolvent"))
    for step, place in ((5, 5), (-1, -1)):
        made = run_scene(RunState(step=step), [loaded], {"one": survey})
        W = loaded.run[place]
        (dots,) = marks(made.panels, "Eigenvalues of W", Dots)
        assert np.allclose(np.sort_complex(dots.x + 1j * dots.y), np.sort_complex(np.linalg.eigvals(W)))
        (image,) = marks(made.panels, "W: ", Image)
        assert np.array_equal(image.values[::-1], W)
        stability = RateNetwork(**ARGUMENTS).solve(W, loaded.cost.batch).stability()
        assert np.allclose(marks(made.panels, "Rightmost", Dots)[0].y, np.sort(stability))
        assert made.rows[0]["step"] == loaded.run.steps[place]
        assert np.isclose(made.rows[0]["rightmost eigenvalue"], stability.max())
    assert len(made.panels) == 8
    assert not made.sentences
    loss = marks(made.panels, "Loss", Line)[0]
    assert np.array_equal(loss.y, loaded.history["loss"].values)


def test_the_path_lies_beside_its_geodesics(loaded):
    survey = survey_path(loaded, ("euclidean", "resolvent", "monotone"))
    for line in survey.lines.values():
        assert np.allclose(line[[0, -1]], survey.places[[0, -1]], atol=1e-6)
    straight = survey.lines["euclidean"]
    assert np.allclose(straight[20], straight[[0, -1]].mean(axis=0)), "the Euclidean geodesic is the straight line"
    assert np.isclose(survey.edge[0], 1 / np.linalg.norm(np.eye(10) - loaded.run[0], 2))
    gains = loaded.cost.at(loaded.run[0]).gains
    smallest = min(np.linalg.svd(np.eye(10) - gain[:, None] * loaded.run[0])[1][-1] for gain in gains)
    assert np.isclose(survey.singular[0], smallest, rtol=1e-3)


def test_several_runs_are_one_picture(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    runs = Runs([folder, other, folder])
    assert list(runs.folders) == ["one", "other", "one-1"]
    made = run_scene(RunState(focus="other"), [runs.load(name) for name in runs.folders], {})
    assert len(marks(made.panels, "Eigenvalues of W", Dots)) == 3
    assert len({line.colour for line in marks(made.panels, "Loss", Line) if line.label in runs}) == 3
    assert [row["run"] for row in made.rows] == ["one", "other", "one-1"]


def test_a_sweep_is_its_cells(folder, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(folder, tmp_path / "sweep" / "cells" / name)
    assert list(Runs([tmp_path / "sweep"]).folders) == ["a", "b"]


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(NoRunsError, match="not a folder; name"):
        Runs([tmp_path / "nothing"])
    with pytest.raises(NoRunsError, match=r"holds no path\.h5"):
        Runs([tmp_path])


def test_a_damaged_path_and_history_are_reported(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "history.nc").write_bytes(b"nothing")
    loaded = Runs([broken]).load("broken")
    assert "cannot be read" in loaded.problems[0]
    assert run_scene(RunState(), [loaded], {}).sentences == tuple(loaded.problems)
    content = (folder / "path.h5").read_bytes()
    point = loaded.run[3].astype(np.float32).tobytes()
    holed = content.replace(point, point[::-1])
    files = {"cut": content[: len(content) // 2], "headless": bytes(64) + content[64:], "holed": holed}
    for name, damaged in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "path.h5").write_bytes(damaged)
    for name in ("cut", "headless"):
        with pytest.raises(RecordedRunError, match="damaged"):
            Runs([tmp_path / name]).load(name)
    holed = Runs([tmp_path / "holed"]).load("holed")
    assert "checksum is wrong" in run_scene(RunState(step=3), [holed], {}).sentences[0]
    assert not run_scene(RunState(step=5), [holed], {}).sentences


def test_a_run_that_grows_is_read_again(tmp_path):
    runs = None
    with PathRecorder(tmp_path, {"network": ARGUMENTS}, resolution=0) as recorder:
        for step in range(6):
            recorder.record(step, np.eye(10) * step / 20, loss=1.0 / (step + 1))
            if step == 2:
                runs = Runs([tmp_path])
                before, stamps = len(runs.load(tmp_path.name).run), runs.stamps()
    assert runs.stamps() != stamps
    loaded = runs.load(tmp_path.name)
    assert len(loaded.run) > before >= 2
    assert runs.load(tmp_path.name) is loaded, "it is not read again without need"
    made = run_scene(RunState(step=4), [loaded], {tmp_path.name: survey_path(loaded, ("euclidean",))})
    assert "stimuli cannot be shown" in " ".join(made.sentences), "its settings tell no data"
    assert made.rows[0]["step"] == 4


def test_rates_settle_at_the_fixed_point():
    state = DynamicsState(weights=(0.3, 0.2), starts=3, duration=60.0)
    made = dynamics_scene(state, two_units(state))
    model = two_units(state)
    fixed = model.network.solve(model.weights, model.drive[:1])
    dots = marks(made.panels, "Rates that settle", Dots)[-1]
    assert np.allclose([dots.x[0], dots.y[0]], fixed.rates[0], atol=1e-6)
    values = marks(made.panels, "Eigenvalues of −I", Dots)[0]
    assert np.isclose(values.x.max(), float(fixed.stability()[0]))
    assert "stable" in made.sentences[0]
    distance = marks(made.panels, "Distance", Line)[0]
    assert np.nanmin(distance.y) < 1e-6


def test_several_fixed_points_are_distinguished():
    state = DynamicsState(weights=(1.8, 0.0), starts=12, spread=2.0)
    made = dynamics_scene(state, two_units(state))
    assert "more than one fixed point" in made.sentences[-1]
    assert len(marks(made.panels, "Eigenvalues of −I", Dots)) > 1


def test_the_lag_takes_away_the_error_of_first_order():
    errors = []
    for ratio in (0.02, 0.01):
        state = DynamicsState(weights=(0.3, 0.2), ratio=ratio)
        made = dynamics_scene(state, two_units(state))
        errors.append([np.nanmax(line.y) for line in marks(made.panels, "How far", Line)])
    (plain, corrected), (plain_half, corrected_half) = errors
    assert np.isclose(plain / plain_half, 2, rtol=0.1)
    assert corrected / corrected_half > 3.4


def test_integration_of_a_linear_unit():
    times, activation = np.linspace(0, 3, 7), RateNetwork(1, activation="identity").activation
    rates = integrate(activation, np.array([[0.5]]), lambda time: np.array([1.0]), np.zeros(1), times)
    assert np.allclose(rates[:, 0], 2 * (1 - np.exp(-times / 2)), atol=1e-5)


def test_the_seed_draws_the_starts():
    states = DynamicsState(starts=2), DynamicsState(starts=2, seed=1)
    panels = [dynamics_scene(state, two_units(state)).panels for state in states]
    assert marks(panels[0], "Rates", Dots)[0].x[0] != marks(panels[1], "Rates", Dots)[0].x[0]
