"""Training from a stream: batches and held-out rows come from disk, runs continue to the bit, and memory does not grow."""

import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from runs import check_same

from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, SquaredError, train
from riemannrnn.data import Stream, open_table
from riemannrnn.training.checkpoints import CheckpointError

ROWS, INPUTS = 700, 5
GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 3, ROWS)
STIMULI = GENERATOR.standard_normal((3, INPUTS))[LABELS] + 0.5 * GENERATOR.standard_normal((ROWS, INPUTS))
TARGETS = np.stack([5 + STIMULI[:, 0], 100 * np.tanh(STIMULI[:, 1])], axis=1)
TARGETS[::3, 0] = TARGETS[::6, 1] = np.nan


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr("riemannrnn.data.source.CHUNK_BYTES", 50 * INPUTS * 8)


@pytest.fixture
def classes(tmp_path):
    """Rows for training, and held-out rows."""
    np.savez(tmp_path / "classes.npz", stimuli=STIMULI, labels=LABELS)
    return open_table(tmp_path / "classes.npz", target="labels", standardise=True).split(0.2, seed=0)


@pytest.fixture
def numbers(tmp_path):
    """Rows with missing targets for training, and held-out rows."""
    np.savez(tmp_path / "numbers.npz", stimuli=STIMULI, targets=TARGETS)
    return open_table(tmp_path / "numbers.npz", target="targets", standardise=True).split(0.2, seed=0)


def stream(table, **options):
    return Stream(table, 60, **({"seed": 0, "window": 3} | options))


def trained(stimuli, n_outputs=3, **options):
    network = RateNetwork(12, INPUTS, n_outputs, seed=0)
    return train(network, network.initial_weights(0.3), stimuli, **({"epochs": 3, "seed": 0} | options))


def stop_at(last):
    def stop(step, history):
        if step == last:
            raise RuntimeError

    return stop


def test_a_stream_is_learned(classes):
    training, held_out = classes
    assert len(training.bounds()) > 6  # chunks; a window holds three
    history = trained(stream(training), epochs=8, held_out=held_out)
    assert len(history.loss) == 8 * stream(training).per_epoch
    assert history.test_accuracy[-1] > 0.9
    assert np.mean(history.model.predict(STIMULI) == LABELS) > 0.9


def test_the_batches_agree_with_the_stream(classes):
    """The first loss equals the loss of the first batch in memory, and later losses equal those of later batches."""
    training, _ = classes
    options = {"rule": "dW3", "learning_rate": 0.0, "guard": False}
    history, network = trained(stream(training), **options), RateNetwork(12, INPUTS, 3, seed=0)
    for step in (0, 5, stream(training).per_epoch, len(history.loss) - 1):
        stimuli, labels = stream(training).batch_at(step)
        cost = FixedPointCost(network, stimuli, CrossEntropy(labels))
        assert cost(network.initial_weights(0.3)) == pytest.approx(history.loss[step], rel=1e-12)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_held_out_rows_are_measured_as_in_memory(kind, request):
    training, held_out = request.getfixturevalue(kind)
    n_outputs = 3 if kind == "classes" else 2
    history = trained(stream(training), n_outputs, held_out=held_out)
    stimuli, targets = held_out.read(slice(0, len(held_out)))
    model = history.model
    loss = CrossEntropy(targets) if kind == "classes" else SquaredError(model.answer.encode(targets))
    cost = FixedPointCost(model.network, stimuli, loss)
    assert cost(history.weights) == pytest.approx(history.test_loss[-1], rel=1e-9)
    raw = replace(model, standardisation=None)
    if kind == "classes":
        assert np.mean(raw.predict(stimuli) == targets) == pytest.approx(history.test_accuracy[-1])


@pytest.mark.filterwarnings("ignore::riemannrnn.training.LossNotFallenWarning")
def test_batches_with_missing_targets_average_to_the_whole(numbers):
    """With batches of one size, the mean of their losses is the loss of all rows."""
    training, _ = numbers
    whole = Stream(training, 56, seed=0, window=3)
    assert len(training) % 56 == 0
    options = {"rule": "dW3", "learning_rate": 0.0, "guard": False, "epochs": 1}
    streamed, memory = trained(whole, 2, **options), trained(training, 2, **options)
    assert np.mean(streamed.loss) == pytest.approx(memory.loss[0], rel=1e-9)


@pytest.mark.parametrize("last", [3, 10, 17])
def test_a_killed_run_continues_to_the_same_bits(classes, tmp_path, last):
    training, held_out = classes
    reference = trained(stream(training), held_out=held_out)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    options = {"held_out": held_out, "checkpoints": folder, "checkpoint_every": 2}
    with pytest.raises(RuntimeError):
        trained(stream(training), callback=stop_at(last), **options)
    check_same(trained(stream(training), resume=True, **options), reference)


def test_another_stream_is_refused(classes, tmp_path):
    training, _ = classes
    trained(stream(training), checkpoints=tmp_path)
    for other in (stream(training, seed=1), stream(training, window=2), stream(replace(training, missing="mean"))):
        with pytest.raises(CheckpointError, match=r"data was .*, now"):
            trained(other, checkpoints=tmp_path, resume=True)


def test_a_range_test_takes_the_first_batches(classes):
    training, _ = classes
    history = trained(stream(training), rule="descent", epochs=2)
    assert history.range_test is not None
    assert history.loss_fell


def test_labels_and_another_batch_size_beside_a_stream_are_refused(classes):
    training, _ = classes
    with pytest.raises(ValueError, match="the stimuli are a stream, which holds its targets; pass no labels"):
        trained(stream(training), labels=LABELS)
    with pytest.raises(ValueError, match="batch_size = 7, but the batches of the stream have 60 stimuli; pass none"):
        trained(stream(training), batch_size=7)


def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Uses a sparse file of 400 MB, of which a few windows are read."""
    array = np.lib.format.open_memmap(tmp_path / "stimuli.npy", "w+", np.float32, (1_000_000, 100))
    del array
    np.save(tmp_path / "labels.npy", np.arange(1_000_000, dtype=np.int64) % 3)
    table = open_table(tmp_path / "stimuli.npy", tmp_path / "labels.npy")
    network = RateNetwork(10, 100, 3, seed=0, dtype="float32")
    gc.collect()
    tracemalloc.start()
    try:
        with pytest.raises(RuntimeError):
            train(network, network.initial_weights(), Stream(table, 200, seed=0, window=50), callback=stop_at(30))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60e6
