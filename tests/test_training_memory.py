"""Training frees what a step computed before the next step, and looks at many stimuli in chunks."""

import gc
import tracemalloc

import numpy as np
import pytest
from runs import DIGITS, run

from riemannrnn import Layer, Stack, train
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.models import chunks
from riemannrnn.training.stepping import Stepper


@pytest.fixture
def no_collector():
    """Count the evaluations that are alive beyond those of other tests, while no garbage is collected."""

    def alive():
        return sum(isinstance(each, Evaluation) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    others = alive()
    yield lambda: alive() - others
    gc.enable()


GUARDED = {"rule": "dW3", "learning_rate": 0.1, "guard": True}


@pytest.mark.parametrize("options", [{"rule": None, "learning_rate": None}, GUARDED], ids=["default", "guarded"])
def test_the_arrays_of_a_step_are_freed_after_it(no_collector, options):
    alive = []
    assert not run(**options, epochs=3, callback=lambda step, history: alive.append(no_collector())).failed
    assert alive == [0] * 12


def test_no_trial_of_a_rate_keeps_the_arrays_of_its_batches(no_collector, monkeypatch):
    counts = []
    take = Stepper.take

    def watched(*arguments):
        counts.append(no_collector())
        return take(*arguments)

    monkeypatch.setattr(Stepper, "take", watched)
    history = run(rule="adam", learning_rate=None, epochs=1, batch_size=10)
    assert history.range_test.steps > 2
    assert max(counts) <= 5  # of the run, the sample, the first batch at the start, and this batch


def test_a_run_looks_back_in_chunks(monkeypatch):
    stimuli, labels = DIGITS.stimuli, DIGITS.labels
    stack = Stack([Layer(40)], 64, 10, seed=0)
    options = {"batch_size": 20, "epochs": 1, "seed": 0, "progress": False, "rule": "adam", "learning_rate": 1e-12}
    rows, respond = [], Stack.respond

    def watched(self, parameters, batch, *rest):
        rows.append(batch.shape[0])
        return respond(self, parameters, batch, *rest)

    monkeypatch.setattr(Stack, "respond", watched)
    start = stack.initial_parameters()
    sentences = []
    for size in (2**24, 30 * 40 * 8):
        monkeypatch.setattr(chunks, "CHUNK_BYTES", size)
        rows.clear()
        history = train(stack, start, stimuli, labels, **options)
        sentences.append(history.stopped)
        assert max(rows) == (100 if size == 2**24 else 30)
    assert sentences[0] == sentences[1]


def test_training_on_images_holds_few_arrays_of_a_batch(monkeypatch):
    """A batch has 0.5 MB of rates, of which the solver, the response and the adjoints hold about 30 arrays."""
    shape, batch = (16, 16), 64
    stack = Stack([Layer.convolution((*shape, 1), 8, pool=4)], 256, 10, "relu", 0, np.float32)
    array = batch * stack.units[0] * 4
    monkeypatch.setattr(chunks, "CHUNK_BYTES", array)
    stimuli = np.random.default_rng(0).standard_normal((10 * batch, 256)).astype(np.float32)
    labels = np.random.default_rng(0).integers(10, size=10 * batch)
    options = {"batch_size": batch, "epochs": 1, "seed": 0, "progress": False}
    train(stack, stack.initial_parameters(), stimuli[:64], labels[:64], **options)  # what is imported then is not counted
    tracemalloc.start()
    try:
        train(stack, stack.initial_parameters(), stimuli, labels, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 35 * array
