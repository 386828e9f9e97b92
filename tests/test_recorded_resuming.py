"""The path of a run that was stopped and resumed is the path of a run that was never stopped, to the bit."""

import numpy as np
import pytest
from runs import N, run

from manifolds import PullbackManifold, Resolvent
from riemannrnn.analysis import PathRecorder
from riemannrnn.analysis.recording import PATH_FILE, open_path
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.training.history import Recorder


def still_at_the_end(done):
    """Return a factor of the learning rate that is zero in the last of eight steps."""
    return float(done < 0.8)


RECORDERS = {
    "thinned": {"resolution": 0.3},
    "every point": {"resolution": 0},
    "every second step": {"resolution": 0.3, "every": 2},
    "resolvent": {"resolution": 0.3, "manifold": PullbackManifold(Resolvent(), N)},
}
SCHEDULES = {"moving": {}, "the last step does not move W": {"schedule": still_at_the_end}}


def learn(folder, recording, **options):
    folder.mkdir(exist_ok=True)
    with PathRecorder(folder, {}, resume=options.get("resume", False), **recording) as recorder:
        return run(record=recorder, checkpoints=folder, **options)


def path_of(folder):
    """Return the steps, losses, lengths and checksums of a path, and its points, as bytes."""
    with open_path(folder / PATH_FILE) as file:
        return file["log"][:].tolist().__repr__(), file["weights"][:].tobytes()


def raise_at(step, error):
    def callback(now, history):
        if now == step:
            raise error

    return callback


@pytest.mark.parametrize("recording", RECORDERS.values(), ids=RECORDERS)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_resumed_run_writes_the_path_of_an_uninterrupted_run(tmp_path, recording, schedule):
    learn(tmp_path / "whole", recording, **schedule)
    whole = path_of(tmp_path / "whole")
    learn(tmp_path / "whole", recording, **schedule, resume=True)
    assert path_of(tmp_path / "whole") == whole, "resuming a finished run"
    for error in (KeyboardInterrupt, RuntimeError):
        for step in range(1, 9):
            folder = tmp_path / f"{error.__name__} {step}"
            try:
                learn(folder, recording, **schedule, callback=raise_at(step, error))
            except RuntimeError:
                assert error is RuntimeError
            learn(folder, recording, **schedule, resume=True)
            assert path_of(folder) == whole, folder.name


@pytest.mark.parametrize("call", range(1, 24, 2))
def test_ctrl_c_before_a_step_is_recorded(tmp_path, monkeypatch, call):
    """Closing the recorder writes the last point, which the thinning rule leaves out."""
    recording, count, evaluate = RECORDERS["thinned"], [], FixedPointCost._evaluate

    def interrupted(*arguments):
        count.append(1)
        if len(count) == call:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    learn(tmp_path / "whole", recording)
    with monkeypatch.context() as patch:
        patch.setattr(FixedPointCost, "_evaluate", interrupted)
        assert learn(tmp_path / "stopped", recording).stopped.startswith("Interrupted") or len(count) < call
    for _ in range(2):  # the first attempt is stopped again before it records anything
        learn(tmp_path / "stopped", recording, resume=True, callback=raise_at(8, KeyboardInterrupt))
    learn(tmp_path / "stopped", recording, resume=True)
    assert path_of(tmp_path / "stopped") == path_of(tmp_path / "whole")


def test_a_path_with_fewer_points_than_the_checkpoint_counts_is_damaged(tmp_path):
    learn(tmp_path, RECORDERS["every point"], callback=raise_at(6, KeyboardInterrupt))
    (tmp_path / PATH_FILE).unlink()
    with PathRecorder(tmp_path, {}) as recorder:
        recorder.record(0, np.zeros((N, N)))
    with pytest.raises(OSError, match=r"it holds 1 points, but 5 were recorded at the checkpoint\); move it away to record"):
        learn(tmp_path, RECORDERS["every point"], resume=True)


class Steps(list):
    def record(self, step, weights, loss=np.nan):
        self.append(step)


class ResumableSteps(Steps, Recorder):
    pass


def test_a_custom_recorder_says_that_it_has_no_state(tmp_path):
    with pytest.raises(TypeError, match=r"record = \[\] has no state for checkpoints; derive its class from .*Recorder"):
        run(record=Steps(), checkpoints=tmp_path)
    steps = ResumableSteps()
    run(record=steps, checkpoints=tmp_path, callback=raise_at(4, KeyboardInterrupt))
    run(record=steps, checkpoints=tmp_path, resume=True)
    assert steps == [0, 1, 2, 3, *range(3, 9)]
