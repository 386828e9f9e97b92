"""Interrupted and killed runs: a resumed run gives the bits of a run that was never stopped."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from runs import DIGITS, NETWORK, N, check_same, fold, run

from manifolds import FixedRank, MonotoneManifold, PullbackManifold, Resolvent, ScaledMonotoneManifold
from riemannrnn import LowRank, RateNetwork, SquaredError, train
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.equilibrium import Neumann
from riemannrnn.rules import KFAC, Adam, Descent, Momentum
from riemannrnn.run_folder import RunFolderError
from riemannrnn.training import StabilityGuard
from riemannrnn.training.checkpoints import CheckpointError, last_checkpoint
from riemannrnn.training.run import Run
from riemannrnn.training.stopping import LossBelow, StepLimit

KILLS = int(os.environ.get("RIEMANNRNN_KILLS", "1"))
"""How often the run in a separate process is killed."""


def resolvent():
    return PullbackManifold(Resolvent(), N)


RULES = {
    "default": {"rule": None},
    "dW1": {"rule": "dW1"},
    "dW3": {"rule": "dW3"},
    "dW4": {"rule": "dW4"},
    "momentum": {"rule": "momentum"},
    "momentum, scaled": {"rule": Momentum(ScaledMonotoneManifold(N)), "decay": 0.1, "longest_step": 0.02},
    "adam": {"rule": "adam", "manifold": resolvent(), "learning_rate": 0.01},
    "adam, decay": {"rule": Adam(MonotoneManifold(N)), "learning_rate": 0.01, "decay": 0.1, "schedule": "linear"},
    "kronecker": {"rule": KFAC()},
    "factors": {"rule": Descent(FixedRank(N, N, 2)), "network": RateNetwork(N, 64, 10, seed=0, connectivity=LowRank(2))},
    "float32": {"rule": "adam", "network": RateNetwork(N, 64, 10, seed=0, dtype=np.float32), "learning_rate": 0.01},
}


def raise_at(step, error=KeyboardInterrupt):
    def callback(now, history):
        if now == step:
            raise error

    return callback


@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("options", RULES.values(), ids=RULES)
def test_a_resumed_run_is_an_uninterrupted_one(tmp_path, options, guard):
    reference = run(**options, guard=guard)
    assert len(reference.loss) == 8, reference.stopped
    resume = False
    for step in (1, 2, 4, 5, 7):  # 4 is the last step of the first epoch
        history = run(**options, guard=guard, checkpoints=tmp_path, resume=resume, callback=raise_at(step))
        assert history.stopped == f"Interrupted after {step} steps."
        assert last_checkpoint(tmp_path)["step"] == step - 1, "a step is repeated if its callbacks were not done"
        resume = True
    check_same(run(**options, guard=guard, checkpoints=tmp_path, resume=True), reference)
    check_same(run(**options, guard=guard, checkpoints=tmp_path, resume=True), reference)


@pytest.mark.parametrize("step", [2, 3, 5])
def test_a_run_that_died_continues_from_its_last_checkpoint(tmp_path, step):
    options = RULES["adam"]
    with pytest.raises(RuntimeError):
        run(**options, checkpoints=tmp_path, callback=raise_at(step, RuntimeError))
    assert last_checkpoint(tmp_path)["step"] == {2: 0, 3: 0, 5: 3}[step]
    check_same(run(**options, checkpoints=tmp_path, resume=True), run(**options))


PLACES = {
    "velocity": (Descent, "gradient"),
    "guard": (StabilityGuard, "accept"),
    "stability": (StabilityGuard, "unstable"),
    "solver": (FixedPointCost, "_evaluate"),
    "move": (Descent, "move"),
    "memory": (Momentum, "carry"),
    "held-out data": (Run, "_measure"),
    "checkpoint": (Run, "_write"),
}
"""Places where Ctrl-C may occur; some are passed several times in a step."""


@pytest.mark.parametrize("call", [1, 2, 5])
@pytest.mark.parametrize("place", PLACES)
def test_ctrl_c_in_the_middle_of_a_step(tmp_path, monkeypatch, place, call):
    owner, name = PLACES[place]
    original, count = getattr(owner, name), []

    def interrupted(*arguments):
        count.append(1)
        if len(count) == call:
            raise KeyboardInterrupt
        return original(*arguments)

    options = RULES["momentum"] | {"checkpoint_every": 1}
    reference = run(**options)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        history = run(**options, checkpoints=tmp_path)
    assert history.stopped.startswith("Interrupted after ") or len(count) < call
    check_same(run(**options, checkpoints=tmp_path, resume=True), reference)


@pytest.mark.filterwarnings("ignore:The training loss has not fallen")
def test_checkpoints_hold_the_whole_step_before_a_later_halving(tmp_path):
    """If the next step halves a step, its checkpoint holds the whole step, for Ctrl-C at any place."""
    reference = fold()
    afterwards = [int(reason.split(":")[0][5:]) for reason in reference.guard_reasons if "the stimuli after it" in reason]
    assert afterwards, "the test needs such a step"
    for step in sorted({afterwards[0], afterwards[0] + 1, afterwards[-1] + 1}):
        folder = tmp_path / str(step)
        folder.mkdir()
        fold(checkpoints=folder, callback=raise_at(step))
        check_same(fold(checkpoints=folder, resume=True), reference)


@pytest.mark.parametrize("stop", [StepLimit(5), LossBelow(2.3)])
def test_a_run_that_ended_stays_ended(tmp_path, stop):
    history = run(checkpoints=tmp_path, stop=stop)
    assert 0 < len(history.loss) < 8
    check_same(run(checkpoints=tmp_path, stop=stop, resume=True), history)


@pytest.mark.parametrize("options", [{"epochs": 1}, {"stop": LossBelow(1e9)}, {"epochs": 2}])
def test_a_run_that_lost_its_fixed_points_is_lost_again(tmp_path, options):
    """At the end or before the next step: the weights before the step that lost the fixed points are kept."""
    network = RateNetwork(N, 64, 10, "power-law", seed=0)
    options = {"network": network, "learning_rate": 1e3, "guard": False, "batch_size": 100, "checkpoint_every": 1} | options
    lost = run(checkpoints=tmp_path, **options)
    assert lost.failed
    again = run(checkpoints=tmp_path, resume=True, **options)
    check_same(again, lost)
    np.testing.assert_array_equal(again.weights, network.initial_weights(0.3))


def test_another_run_cannot_be_resumed(tmp_path):
    with pytest.raises(CheckpointError, match="needs a folder to resume from; pass checkpoints=FOLDER"):
        run(resume=True)
    with pytest.raises(CheckpointError, match="holds no intact checkpoint"):
        run(resume=True, checkpoints=tmp_path)
    run(checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match="another run: batch_size was 30, now 60; resume with"):
        run(checkpoints=tmp_path, resume=True, batch_size=60)
    with pytest.raises(CheckpointError, match=r"rule was DeltaW3.*, now Descent on the Resolvent manifold .*; resume with"):
        run(checkpoints=str(tmp_path), resume=True, rule="dW2")
    with pytest.raises(CheckpointError, match=r"learning_rate was 0\.05, now 0\.5; resume with"):
        run(checkpoints=tmp_path, resume=True, learning_rate=0.5)
    with pytest.raises(CheckpointError, match=r"activation was tanh, now relu; resume with"):
        run(checkpoints=tmp_path, resume=True, network=RateNetwork(N, 64, 10, "relu", seed=0))
    with pytest.raises(CheckpointError, match=r"weights was [0-9a-f]{12}, now [0-9a-f]{12}; resume with"):
        run(checkpoints=tmp_path, resume=True, weights=NETWORK.initial_weights(0.4))
    with pytest.raises(CheckpointError, match="holds checkpoints of another run"):
        run(checkpoints=tmp_path)


OPTIONS = {
    "schedule": ({"schedule": "cosine"}, "constant, now cosine"),
    "longest_step": ({"longest_step": 0.5}, "inf, now 0.5"),
    "decay": ({"decay": 0.1}, "0.0, now 0.1"),
    "guard": ({"guard": StabilityGuard(0.1)}, r"StabilityGuard\(margin=0.05, .*, now StabilityGuard\(margin=0.1, .*"),
    "solver": ({"solver": "newton"}, "auto, now newton"),
    "adjoint_solver": ({"adjoint_solver": Neumann(2)}, r"None, now Neumann\(terms=2.*\)"),
    "tolerance": ({"tolerance": 1e-6}, ".*, now 1e-06"),
}


def test_a_schedule_need_not_have_an_end(tmp_path):
    """Shares of the run are below 1."""
    schedule = {"schedule": lambda done: 0.01 / (1 - done)}
    check_same(run(checkpoints=tmp_path, **schedule), run(**schedule))


def test_a_run_is_resumed_with_the_options_of_its_rule(tmp_path):
    run(rule=Momentum(resolvent()), checkpoints=tmp_path, stop=StepLimit(4))
    message = r"rule was Momentum on the Resolvent .* \(momentum = 0\.9\), now .* \(momentum = 0\.5\); resume with"
    with pytest.raises(CheckpointError, match=message):
        run(rule=Momentum(resolvent(), momentum=0.5), checkpoints=tmp_path, resume=True)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_is_resumed_with_its_own_options(tmp_path, name):
    """Options that no stored array shows are compared too; otherwise a changed run would not be noticed."""
    change, message = OPTIONS[name]
    run(rule="descent", checkpoints=tmp_path, stop=StepLimit(4))
    with pytest.raises(CheckpointError, match=f"of another run: {name} was {message}; resume with"):
        run(rule="descent", checkpoints=tmp_path, resume=True, **change)


def learn(folder, network=NETWORK, stimuli=DIGITS.stimuli, labels=DIGITS.labels, resume=False):
    weights = NETWORK.initial_weights(0.3)
    return train(network, weights, stimuli, labels, rule="dW3", batch_size=30, checkpoints=folder, resume=resume)


def network_with_other(name):
    network = RateNetwork(N, 64, 10, seed=0)
    setattr(network, name, -getattr(network, name))
    return network


ZEROS = SquaredError(np.zeros((100, 10)))
DATA = {
    "stimuli": ({}, {"stimuli": 1 - DIGITS.stimuli}),
    "labels": ({}, {"labels": (DIGITS.labels + 1) % 10}),
    "targets": ({"labels": ZEROS}, {"labels": SquaredError(np.ones((100, 10)))}),
    "input weights": ({}, {"network": network_with_other("input_weights")}),
    "readout": ({}, {"network": network_with_other("readout")}),
}


@pytest.mark.parametrize(("data", "others"), DATA.values(), ids=DATA)
@pytest.mark.filterwarnings("ignore:The training loss has not fallen")
def test_other_data_of_the_same_size_are_refused(tmp_path, data, others):
    learn(tmp_path, **data)
    with pytest.raises(CheckpointError, match=r"of another run: data was [0-9a-f]{12}, now [0-9a-f]{12}; resume with"):
        learn(tmp_path, **data | others, resume=True)


def test_a_damaged_checkpoint_is_skipped(tmp_path):
    run(checkpoints=tmp_path, callback=raise_at(8))
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(RuntimeWarning, match=rf"{newest.name} is damaged: .*; it is skipped"):
        history = run(checkpoints=tmp_path, resume=True)
    check_same(history, run())


def test_an_unwritable_folder_is_found_before_training(tmp_path):
    steps = []
    with pytest.raises(RunFolderError, match=r"the folder .* does not exist; make it"):
        run(checkpoints=tmp_path / "gone", callback=lambda step, history: steps.append(step))
    assert not steps


def test_a_disk_that_fills_up_keeps_the_earlier_checkpoints(tmp_path):
    with pytest.MonkeyPatch.context() as patch:

        def full(*arguments):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def fill(step, history):
            if step == 5:
                patch.setattr(os, "replace", full)

        with pytest.raises(RunFolderError, match="No space left on device; free space"):
            run(checkpoints=tmp_path, callback=fill)
    assert last_checkpoint(tmp_path)["step"] == 3
    check_same(run(checkpoints=tmp_path, resume=True), run())


def long_run(folder=None):
    """Train for enough steps with Adam on the default manifold, from the last checkpoint if there is one."""
    resume = folder is not None and any(folder.glob("checkpoint-*"))
    return run(
        rule=None, learning_rate=None, epochs=4 * KILLS + 3, checkpoints=folder, resume=resume, checkpoint_every=1,
    )  # fmt: skip


def finish(folder):
    """Run as the process that is killed."""
    print("ready", flush=True)
    history = long_run(folder)
    np.savez(folder / "result.npz", weights=history.weights, loss=history.loss, test_loss=history.test_loss)


def test_a_run_that_is_killed_again_and_again(tmp_path):
    reference, generator, steps = long_run(), np.random.default_rng(), []
    tests = Path(__file__).resolve().parent
    code = f"import sys; sys.path[:0] = [{str(tests)!r}, {str(tests.parent)!r}]\n"
    code += f"from pathlib import Path; from test_resuming import finish; finish(Path({str(tmp_path)!r}))"

    def started():
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    for _ in range(KILLS):
        with started() as process:
            time.sleep(generator.uniform(0, 0.5))
            process.kill()
        steps.append(last_checkpoint(tmp_path)["step"] if any(tmp_path.glob("checkpoint-*")) else None)
    with started() as process:
        assert process.wait() == 0
    print("last checkpoints when it was killed:", steps)
    with np.load(tmp_path / "result.npz") as result:
        for name in ("weights", "loss", "test_loss"):
            np.testing.assert_array_equal(result[name], getattr(reference, name))
