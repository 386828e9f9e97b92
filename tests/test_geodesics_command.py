"""The command `geodesics`: its files, its output, and its errors."""

import base64
import csv
import re
import tomllib
import warnings
from functools import partial

import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread
from PIL import Image
from test_cli import names, refused, run
from test_recording import DATA, NETWORK, cut

from riemannrnn import RateNetwork, plots, train
from riemannrnn.analysis import LearningPath, PathRecorder
from riemannrnn.analysis.report import gather, numbers, runs_table
from riemannrnn.cli.geodesics import _name_apart
from riemannrnn.data import load_digits

FILES = ["config.toml", "data.nc", "geodesics.png", "learning.gif", "report.html", "summary.csv"]


def trained(folder, rule, learning_rate=0.1, seed=0):
    """Make the run folder of a short training."""
    folder.mkdir()
    data, network = load_digits().split(60, seed=0)[0], RateNetwork(**NETWORK)
    settings = {"network": NETWORK, "data": DATA, "training": {"rule": rule, "learning_rate": learning_rate}}
    with PathRecorder(folder, settings) as recorder:
        history = train(
            network, network.initial_weights(0.3), data.stimuli, data.labels, rule, learning_rate, 20, 3, seed,
            callback=lambda step, history: recorder.record(step - 1, history.weights, history.loss[-1]),
        )  # fmt: skip
        recorder.record(len(history.loss), history.weights)
    return folder


@pytest.fixture(scope="module")
def run_folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("runs")
    return trained(parent / "third", "dW3"), trained(parent / "first [b]", "dW1", seed=1)


@pytest.fixture(scope="module", autouse=True)
def small_planes():
    """Evaluate landscapes on few points."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("riemannrnn.cli.geodesics.gather", partial(gather, plane_points=7))
        yield


@pytest.fixture(scope="module")
def outcome(run_folders):
    result = run("geodesics", run_folders[0], "--stimuli", 40)
    (report,) = (path for path in run_folders[0].iterdir() if path.is_dir())
    return result, report


def test_the_report_goes_into_the_run_folder(outcome, run_folders):
    result, report = outcome
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert report.name.startswith("geodesics-")
    assert names(report) == FILES
    assert f"Written to {report}: config.toml, summary.csv" in result.stdout
    settings = tomllib.loads((report / "config.toml").read_text(encoding="utf-8"))["geodesics"]
    assert settings == {"runs": [str(run_folders[0])], "metrics": ["euclidean", "resolvent"], "stimuli": 40, "animation": "gif"}


def test_the_animation_moves(outcome):
    _, report = outcome
    with xr.open_dataset(report / "data.nc", engine="h5netcdf") as data, Image.open(report / "learning.gif") as animation:
        count = min(data.sizes["point"], 36)
        assert animation.n_frames == count > 2
        frames = []
        for number in (0, 1, count - 1):
            animation.seek(number)
            frames.append(np.asarray(animation.convert("L")).astype(float))
    still = np.std(frames, axis=0) < 1
    assert 0.9 < still.mean() < 1
    assert np.ptp(frames[0][:20, 400:]) > 100, "the title, on white"


def test_every_number_is_printed_with_its_meaning(outcome):
    result, report = outcome
    with xr.open_dataset(report / "data.nc", engine="h5netcdf") as data:
        data.load()
    told = numbers(data)
    assert len({number.name for number in told}) == len(told) > 12
    page = (report / "report.html").read_text(encoding="utf-8")
    for number in told:
        assert number.name in result.stdout
        assert number.meaning.endswith(".")
        assert f"<td>{number.name}</td><td>{number.value}</td>" in page
    rows = runs_table([data])
    with open(report / "summary.csv", encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["metric"] for row in read] == ["euclidean", "resolvent"]
    assert float(read[1]["length"]) == pytest.approx(rows[1]["length"])
    assert 0 < float(read[1]["efficiency"]) <= 1
    assert 0 < float(read[0]["smallest_singular_value"]) < 1


def test_the_page_needs_nothing_but_itself(outcome):
    page = (outcome[1] / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=\s*['\"](?!data:)", page)
    pictures = re.findall(r"src='data:image/(png|gif);base64,([^']+)'", page)
    assert [kind for kind, _ in pictures] == ["png", "gif"]
    for (_, text), name in zip(pictures, ("geodesics.png", "learning.gif"), strict=True):
        assert base64.b64decode(text) == (outcome[1] / name).read_bytes()


def test_the_pictures_show_something(outcome):
    pixels = imread(outcome[1] / "geodesics.png")
    assert pixels.shape[:2] == (2120, 1660)
    assert pixels[..., :3].std() > 0.1
    movie = (outcome[1] / "learning.gif").read_bytes()
    assert movie.startswith(b"GIF89a")
    assert movie.count(b"\x21\xf9\x04") == 10  # one frame for each point


@pytest.mark.parametrize(
    "panel",
    [
        plots.plot_landscape, plots.plot_loss_between, plots.plot_efficiency, plots.plot_deviation, plots.plot_nearness,
        plots.plot_speed, plots.plot_turning, lambda data, ax=None: plots.plot_angles(data, "resolvent", ax),
    ],
)  # fmt: skip
def test_each_panel_draws_on_its_own_or_given_axes(outcome, panel):
    with xr.open_dataset(outcome[1] / "data.nc", engine="h5netcdf") as data:
        data.load()
    ax = panel(data)
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert panel(data, ax) is ax


def test_several_runs_and_metrics(run_folders, tmp_path):
    metrics = ["euclidean", "resolvent", "monotone"]
    options = [part for metric in metrics for part in ("--metric", metric)]
    result = run("geodesics", *run_folders, *options, "--animation", "none", "--stimuli", 20, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    (report,) = tmp_path.iterdir()
    assert names(report) == ["between.nc", "between.png", "config.toml", "first [b]", "summary.csv", "third"]
    assert names(report / "third") == ["data.nc", "geodesics.png", "report.html"]
    with xr.open_dataset(report / "between.nc", engine="h5netcdf") as between:
        assert list(between["metric"].values) == metrics
        assert np.all(between["distance"].values[:, 0, 1] > 0)
    assert "Between the ends of the runs" in result.stdout
    assert "The mean of the ends under the monotone metric has loss " in result.stdout
    assert "yes" in result.stdout
    assert len((report / "summary.csv").read_text(encoding="utf-8").splitlines()) == 1 + 6


def test_runs_of_the_same_name_are_distinguished():
    paths = [LearningPath([np.zeros((1, 1)), np.ones((1, 1))], name=name) for name in ("r-2", "r", "r", "s")]
    _name_apart(paths)
    assert len({path.name for path in paths}) == 4
    assert paths[0].name == "r-2"
    assert paths[3].name == "s"


def test_efficiency_is_drawn_up_to_the_known_length():
    """An unknown length is not drawn; points that were not measured have no distance from the start either."""
    lengths, from_start = [1.0, np.nan, np.nan, 1.0, 1.0, np.nan], [0.0, np.nan, 1.0, 1.5, 1.8, 2.0]
    data = xr.Dataset(
        {"step_length": (("metric", "point"), [lengths]), "from_start": (("metric", "point"), [from_start])},
        coords={"metric": ["euclidean"], "step": ("point", np.arange(6))},
    )
    (line,) = plots.plot_efficiency(data).lines
    np.testing.assert_allclose(line.get_xydata(), [[2, 100]])
    data["step_length"][0, 2] = 0.5
    (line,) = plots.plot_efficiency(data).lines
    np.testing.assert_allclose(line.get_xydata(), [[2, 100], [3, 100], [4, 72], [5, 2 / 3.5 * 100]])


def test_a_run_that_does_not_move_has_no_path_to_partition():
    still = xr.Dataset(
        {
            "loss_between": (("line", "time"), np.ones((1, 2))),
            "loss": ("point", np.ones(2)),
            "step_length": (("metric", "point"), [[0.0, np.nan]]),
        },
        coords={"line": ["straight line in W"], "time": [0.0, 1.0], "metric": ["euclidean"]},
    )
    assert len(plots.plot_loss_between(still).lines) == 1


def test_a_run_that_did_not_move_has_no_angles(tmp_path):
    with PathRecorder(tmp_path, {"network": NETWORK, "data": DATA}) as recorder:
        for step in range(4):
            recorder.record(step, np.zeros((NETWORK["n_units"],) * 2))
    output = " ".join(run("geodesics", tmp_path, "--stimuli", 20, "--animation", "none").stdout.split())
    assert "The path did not move." in output
    assert "nan" not in output
    assert "is the nearest" not in output


def test_two_reports_never_overwrite_each_other(run_folders, tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "now")
    monkeypatch.setattr("riemannrnn.cli.geodesics.gather", interrupted)
    for _ in range(2):
        assert run("geodesics", run_folders[0], "--output", tmp_path).exit_code == 130
    assert names(tmp_path) == ["geodesics-now", "geodesics-now-1"]


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_ctrl_c_keeps_finished_results(run_folders, tmp_path, monkeypatch):
    monkeypatch.setattr("riemannrnn.cli.geodesics.gather", interrupted)
    result = run("geodesics", run_folders[0], "--output", tmp_path)
    assert result.exit_code == 130
    assert "Interrupted: what was finished is kept in" in result.stdout


def damaged(parent):
    folder = trained(parent / "damaged", "dW3")
    cut(folder / "path.h5")
    return folder


def empty(parent):
    (parent / "empty").mkdir()
    return parent / "empty"


def foreign(parent):
    folder = empty(parent)
    (folder / "history.nc").write_text("of a comparison")
    return folder


def unknown_data(parent):
    folder = empty(parent)
    with PathRecorder(folder, {"network": NETWORK, "data": {"name": "faces"}}) as recorder:
        for step in range(3):
            recorder.record(step, np.eye(20) * step / 10)
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged, "damaged"),
        (empty, "holds no path.h5; name the run folder of a training that recorded its path"),
        (foreign, "holds no path.h5"),
        (lambda parent: parent / "nowhere", "is not a folder; name the run folder"),
        (unknown_data, "data 'faces' is neither 'digits' nor 'mnist'"),
    ],
)
def test_a_folder_without_a_run_is_refused_in_one_message(tmp_path, make, message):
    folder = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert message in refused(run("geodesics", folder))
    after = sorted(tmp_path.rglob("*"))
    assert before == after or make is damaged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "hyperbolic"], "metric 'hyperbolic' is unknown; choose one of euclidean, resolvent, gain"),
        (["--animation", "avi"], "animation 'avi' cannot be made here; choose one of gif"),
    ],
)
def test_wrong_names_are_refused_with_the_right_ones(run_folders, options, message):
    before = names(run_folders[1])
    assert message in refused(run("geodesics", run_folders[1], *options))
    assert names(run_folders[1]) == before


def other_run(folder, table, key, value):
    other = {"network": dict(NETWORK), "data": dict(DATA)}
    other[table][key] = value
    folder.mkdir()
    with PathRecorder(folder, other) as recorder:
        for step in range(3):
            recorder.record(step, np.eye(NETWORK["n_units"]) * step / 10)
    return folder


@pytest.mark.parametrize(("key", "value"), [("seed", 7), ("activation", "relu")])
def test_runs_of_different_networks_are_refused(run_folders, tmp_path, key, value):
    message = refused(run("geodesics", run_folders[0], other_run(tmp_path / "other", "network", key, value)))
    assert f"network.{key} is " in message
    assert "weights of different networks cannot be compared" in message


def test_runs_on_other_data_use_the_data_of_the_first_and_are_reported(run_folders, tmp_path):
    other = other_run(tmp_path / "other", "data", "seed", 7)
    options = "--metric", "euclidean", "--animation", "none", "--stimuli", 20, "--output", tmp_path / "report"
    output = run("geodesics", run_folders[0], other, *options).stdout
    assert "All losses are on the training data of third; other learned from others." in output


def test_runs_of_different_sizes_are_refused(run_folders, tmp_path):
    with PathRecorder(tmp_path, {"network": NETWORK | {"n_units": 5}, "data": DATA}) as recorder:
        for step in range(3):
            recorder.record(step, np.eye(5) * step / 10)
    assert "networks of different sizes" in refused(run("geodesics", run_folders[0], tmp_path))
