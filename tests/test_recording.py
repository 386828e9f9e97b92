"""Recording: written points are read back, thinned as documented, also after a crash, and damage is reported."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

import h5py
import numpy as np
import pytest
from pymanopt.optimizers import ConjugateGradient

from manifolds import PullbackManifold, Resolvent
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, train
from riemannrnn.analysis import LearningPath, PathRecorder, RecordedRunError, read_run
from riemannrnn.data import load_digits
from riemannrnn.run_folder import RunFolderError

NETWORK = {"n_units": 20, "n_inputs": 64, "n_outputs": 10, "activation": "tanh", "seed": 0, "dtype": "float64"}
DATA = {"name": "digits", "training_size": 60, "seed": 0}
RUN = {"network": NETWORK, "data": DATA, "training": {"rule": "dW3"}}


def walk(count, n=4, seed=0):
    """Return points with steps of length about one."""
    return np.cumsum(np.random.default_rng(seed).standard_normal((count, n, n)) / n, axis=0)


def record(folder, points, run=RUN, **options):
    with PathRecorder(folder, run, **options) as recorder:
        for step, point in enumerate(points):
            recorder.record(step, point, loss=1 / (1 + step))
    return read_run(folder)


def test_written_files_are_read_back(tmp_path):
    points = walk(20)
    with record(tmp_path, points, resolution=0) as run:
        assert len(run) == 20
        assert run.settings == RUN
        np.testing.assert_array_equal(run.steps, np.arange(20))
        np.testing.assert_array_equal(run.losses, 1 / (1 + np.arange(20)))
        for place in range(20):
            assert run[place].dtype == np.float64
            np.testing.assert_array_equal(run[place], points[place].astype(np.float32))
        np.testing.assert_array_equal(run[-1], run[19])
        assert len(run[3:6]) == 3
    with h5py.File(tmp_path / "path.h5", "r", libver="latest", swmr=True) as file:
        assert file["weights"].dtype == np.float32
        assert file["weights"].chunks == (1, 4, 4)


def test_the_path_is_thinned_by_its_length_and_keeps_its_end(tmp_path):
    points = np.linspace(0, 1, 2001)[:, None, None] * np.ones((3, 3))
    with record(tmp_path, points, resolution=0.05) as run:
        lengths = 3 * run.steps / 2000
        assert np.all(np.diff(lengths)[:-1] >= 0.05 * lengths[1:-1] - 1e-12)
        assert np.all(np.diff(lengths) <= 0.05 * lengths[1:] + 1.5 * 3 / 2000)
        assert 20 < len(run) < (1 + np.log(0.05 * 2000)) / 0.05 + 2
        assert run.steps[-1] == 2000


def test_length_agrees_with_the_metric(tmp_path):
    """Close to the singular set steps are long in the resolvent metric: more of them are recorded there than elsewhere."""
    points = np.linspace(0, 0.99, 400)[:, None, None] * np.eye(3)
    (tmp_path / "euclidean").mkdir()
    (tmp_path / "resolvent").mkdir()
    with record(tmp_path / "euclidean", points, resolution=0.05) as flat:
        in_second_half = np.mean(flat.steps > 200)
    with record(tmp_path / "resolvent", points, manifold=PullbackManifold(Resolvent(), 3), resolution=0.05) as run:
        assert np.mean(run.steps > 200) > 1.5 * in_second_half


def test_a_plain_period(tmp_path):
    with record(tmp_path, walk(20), resolution=0, every=6) as run:
        np.testing.assert_array_equal(run.steps, [0, 6, 12, 18, 19])


def test_weights_changed_in_place_and_weights_that_diverge_do_no_harm(tmp_path):
    weights = np.zeros((3, 3))
    with PathRecorder(tmp_path, {}, resolution=0.5) as recorder:
        for step in range(10):
            weights += 0.01
            recorder.record(step, weights)
        recorder.record(10, np.full((3, 3), np.nan))
    with read_run(tmp_path) as run:
        assert run.steps[-1] == 9
        np.testing.assert_array_equal(run[-1], np.full((3, 3), 0.1, np.float32))
        for place, step in enumerate(run.steps):
            np.testing.assert_allclose(run[place], 0.01 * (step + 1), rtol=1e-6)


def test_a_point_that_is_singular_under_the_metric_is_kept(tmp_path):
    points = [np.zeros((2, 2)), np.eye(2), np.eye(2) * 1.5, np.eye(2) * 1.6]
    with record(tmp_path, points, manifold=PullbackManifold(Resolvent(), 2), resolution=1.0) as run:
        np.testing.assert_array_equal(run.steps, [0, 1, 2, 3])


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "path.h5").write_text("mine")
    with pytest.raises(RunFolderError, match=r"cannot write .*path\.h5: it exists already; choose another folder"):
        PathRecorder(tmp_path, {})
    assert (tmp_path / "path.h5").read_text() == "mine"


@pytest.mark.parametrize("options", [{"resolution": -1.0}, {"resolution": float("nan")}, {"every": 0}])
def test_invalid_options_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match="pass a resolution of 0 or more and a period of 1 or more"):
        PathRecorder(tmp_path, {}, **options)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_a_square_matrix(tmp_path):
    with PathRecorder(tmp_path, {}) as recorder, pytest.raises(ValueError, match=r"shape \(2, 3\); pass one square matrix"):
        recorder.record(0, np.zeros((2, 3)))
    with (
        PathRecorder(tmp_path, {}, resume=True) as recorder,
        pytest.raises(ValueError, match="3 factors; form W to record"),
    ):
        recorder.record(0, (np.eye(2), np.ones(2), np.eye(2)))


def test_a_killed_process_leaves_a_path_that_can_be_read(tmp_path):
    code = f"""
        import os, signal, pathlib, numpy as np
        from riemannrnn.analysis import PathRecorder
        recorder = PathRecorder(pathlib.Path({str(tmp_path)!r}), {{}}, resolution=0)
        for step in range(7):
            recorder.record(step, np.full((3, 3), float(step)))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    with read_run(tmp_path) as run:
        assert len(run) == 7
        np.testing.assert_array_equal(run[6], np.full((3, 3), 6.0))


def test_a_path_continues_after_a_crash_from_the_repeated_step(tmp_path):
    points = np.arange(20.0)[:, None, None] * np.eye(3)  # on a line, where a chord is as long as the path
    crashed = PathRecorder(tmp_path, RUN, resolution=0.21)
    for step in range(9):
        crashed.record(step, points[step])
    crashed._file.close()  # the last point is not recorded
    with PathRecorder(tmp_path, RUN, resolution=0.21, resume=True) as recorder:
        for step in range(6, 20):
            recorder.record(step, points[step])
    (tmp_path / "whole").mkdir()
    with read_run(tmp_path) as run, record(tmp_path / "whole", points, resolution=0.21) as whole:
        np.testing.assert_array_equal(run.steps, whole.steps)
        assert len(run) < 20
        assert all(np.array_equal(run[place], whole[place]) for place in range(len(run)))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["path.h5", "whole"]


def test_resuming_without_a_path_begins_one_and_without_a_step_changes_nothing(tmp_path):
    with record(tmp_path, walk(5), resume=True, resolution=0) as run:
        assert len(run) == 5
    before = (tmp_path / "path.h5").read_bytes()
    PathRecorder(tmp_path, RUN, resume=True).close()
    assert (tmp_path / "path.h5").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_run_that_ends_before_its_first_point_leaves_no_path_and_can_be_continued(tmp_path):
    with PathRecorder(tmp_path, RUN):
        pass
    assert not list(tmp_path.iterdir())
    PathRecorder(tmp_path, RUN)._file.close()  # as after kill -9
    assert [path.name for path in tmp_path.iterdir()] == [".path.partial.h5"]
    with record(tmp_path, walk(5), resume=True, resolution=0) as run:
        assert len(run) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["path.h5"]


def test_a_damaged_path_is_not_continued(tmp_path):
    (tmp_path / "path.h5").write_text("mine")
    with PathRecorder(tmp_path, {}, resume=True) as recorder, pytest.raises(RunFolderError, match=r"damaged .*; move it away"):
        recorder.record(3, np.eye(2))
    assert (tmp_path / "path.h5").read_text() == "mine"


def test_a_run_in_single_precision_is_analysed_at_the_residual_of_training(tmp_path):
    """With large weights, float32 leaves residuals above its usual tolerance, and the cost would be infinite."""
    network = RateNetwork(**(NETWORK | {"dtype": "float32"}))
    steep = 200 * network.initial_weights(0.5)
    with record(
        tmp_path, [0 * steep, steep - steep.T - 50 * np.eye(20)], RUN | {"network": NETWORK | {"dtype": "float32"}}
    ) as run:
        cost = run.cost()
        assert np.isfinite(cost(run[1].astype(np.float32)))


def test_an_unfinished_run_can_be_read(tmp_path):
    with PathRecorder(tmp_path, {}, resolution=0) as recorder:
        for step, point in enumerate(walk(5)):
            recorder.record(step, point)
        with read_run(tmp_path) as run:
            assert len(run) == 5


def test_training_and_pymanopt_are_recorded(tmp_path):
    data = load_digits().split(60, seed=0)[0]
    network = RateNetwork(**NETWORK)
    start = network.initial_weights(0.3)
    for name in ("train", "pymanopt"):
        (tmp_path / name).mkdir()
    with PathRecorder(tmp_path / "train", RUN, resolution=0) as recorder:
        history = train(
            network, start, data.stimuli, data.labels, "dW3", 0.1, 30, 2, 0,
            callback=lambda step, history: recorder.record(step - 1, history.weights, history.loss[-1]),
        )  # fmt: skip
        recorder.record(len(history.loss), history.weights)
    with read_run(tmp_path / "train") as run:
        np.testing.assert_array_equal(run.steps, np.arange(5))
        np.testing.assert_array_equal(run[0], start.astype(np.float32))
        np.testing.assert_array_equal(run[-1], history.weights.astype(np.float32))
        np.testing.assert_array_equal(run.losses[:-1], history.loss)
        rebuilt = run.cost()
        np.testing.assert_array_equal(rebuilt.model.readout, network.readout)
        assert rebuilt(run[0]) == pytest.approx(FixedPointCost(network, data.stimuli, CrossEntropy(data.labels))(run[0]))
        assert len(run.cost(7).batch) == 7
    with PathRecorder(tmp_path / "pymanopt", RUN, resolution=0) as recorder:
        cost = FixedPointCost(network, data.stimuli, CrossEntropy(data.labels), observer=recorder.observe)
        problem = cost.problem(PullbackManifold(Resolvent(), 20, retraction="additive"))
        result = ConjugateGradient(verbosity=0, max_iterations=5).run(problem, initial_point=start)
    with read_run(tmp_path / "pymanopt") as run:
        assert len(run) == cost.evaluations.gradient
        np.testing.assert_array_equal(run[-1], result.point.astype(np.float32))
        assert np.all(np.diff(run.losses) < 0)
        assert LearningPath.of_run(run).name == "pymanopt"


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribble(path):
    """Overwrite the numbers of the last point."""
    data = bytearray(path.read_bytes())
    place = data.find(np.full(36, 3.0, np.float32).tobytes())
    data[place : place + 4] = b"\xff\xff\xff\x01"
    path.write_bytes(data)


def foreign(path):
    path.unlink()
    with h5py.File(path, "w") as file:
        file["weights"] = 1


@pytest.mark.parametrize("damage", [lambda path: path.write_text("no HDF5"), lambda path: path.write_bytes(b""), foreign])
def test_a_damaged_or_foreign_file_is_reported(tmp_path, damage):
    record(tmp_path, walk(4)).close()
    damage(tmp_path / "path.h5")
    with pytest.raises(RecordedRunError, match=r"path\.h5 cannot be .*damaged or not a recorded path of riemannrnn; name"):
        read_run(tmp_path)


@pytest.mark.parametrize("size", [48, 60, 100, 500, 1000, 2000])
def test_a_truncated_path_is_reported_at_once(tmp_path, size):
    record(tmp_path, walk(4)).close()
    path = tmp_path / "path.h5"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RecordedRunError, match="damaged or not a recorded path"):
        read_run(tmp_path)
    with PathRecorder(tmp_path, {}, resume=True) as recorder, pytest.raises(RunFolderError, match=r"damaged .*; move it away"):
        recorder.record(3, np.eye(2))


@pytest.mark.parametrize("place", range(20, 700, 60))
def test_a_flipped_byte_is_reported_or_harmless(tmp_path, place):
    points = walk(4)
    record(tmp_path, points, resolution=0).close()
    data = bytearray((tmp_path / "path.h5").read_bytes())
    data[place] ^= 0xFF
    (tmp_path / "path.h5").write_bytes(data)
    with suppress(RecordedRunError), read_run(tmp_path) as run:
        np.testing.assert_array_equal(run[-1], points[-1].astype(np.float32))


@pytest.mark.parametrize("damage", [cut, scribble])
def test_a_damaged_point_is_never_returned(tmp_path, damage):
    points = np.arange(4)[:, None, None] * np.ones((6, 6))
    record(tmp_path, points, resolution=0).close()
    damage(tmp_path / "path.h5")
    with pytest.raises(RecordedRunError, match="damaged"), read_run(tmp_path) as run:
        [run[place] for place in range(len(run))]


def test_folders_without_a_path(tmp_path):
    with pytest.raises(RecordedRunError, match=r"nowhere is not a folder; name the run folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(RecordedRunError, match=r"holds no path\.h5; name the run folder"):
        read_run(tmp_path)
    with PathRecorder(tmp_path, {}) as recorder:
        recorder.record(0, np.zeros((2, 2)))
    with pytest.raises(RecordedRunError, match="holds 1 points, but a path has at least two"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({}, "KeyError: 'network'"),
        ({"network": NETWORK}, "KeyError: 'data'"),
        ({"network": NETWORK | {"units": 3}, "data": DATA}, "unexpected keyword argument 'units'"),
        ({"network": NETWORK, "data": {"name": "faces"}}, "data 'faces' is neither 'digits' nor 'mnist'"),
        ({"network": NETWORK | {"n_units": 5}, "data": DATA}, "W has 20 rows, its network 5 units"),
    ],
)
def test_a_network_or_data_that_cannot_be_built_again(tmp_path, run, message):
    with record(tmp_path, walk(3, n=20), run=run) as recorded, pytest.raises(RecordedRunError, match=message):
        recorded.cost()
