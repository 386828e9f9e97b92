"""Trained models answer many stimuli in chunks, and say the same as about all at once."""

import tracemalloc
from dataclasses import fields, replace

import numpy as np
import pytest

from riemannrnn import FixedPointError, Layer, RateNetwork, Stack, TrainedModel
from riemannrnn.equilibrium.solution import Solution
from riemannrnn.models import Labels, chunks

STIMULI = np.random.default_rng(0).standard_normal((25, 16)).astype(np.float32)


def model_of(**options):
    """Return a model of a layer of images below a dense layer."""
    image = Layer.convolution((4, 4, 1), 2, pool=2)
    stack = Stack([image, Layer(5, "relu")], 16, 3, "tanh", 0, np.float32)
    return TrainedModel(stack, stack.flat(stack.initial_parameters(0.8)), Labels(np.array(["a", "b", "c"])), **options)


@pytest.fixture(params=[10, 25, 1])
def rows(request, monkeypatch):
    """The stimuli of a chunk, while a row of the largest layer has 4 × 4 × 2 numbers."""
    whole = answers(model_of(), STIMULI)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", request.param * 32 * 4)
    return request.param, whole


def answers(model, stimuli):
    return model.respond(stimuli), model.predict(stimuli), model.stability(stimuli)


def test_chunks_say_the_same_as_all_stimuli_at_once(rows):
    size, (response, labels, stability) = rows
    model = model_of()
    found, found_labels, found_stability = answers(model, STIMULI)
    np.testing.assert_array_equal(found_labels, labels)
    np.testing.assert_allclose(found_stability, stability, rtol=1e-5)
    np.testing.assert_allclose(found.outputs, response.outputs, atol=1e-3)
    assert found.outputs.dtype == found_stability.dtype == np.float32
    assert [part.batch.shape[0] for part in model.responses(STIMULI)] == [size] * (25 // size) + [25 % size] * (25 % size > 0)
    for layer, expected in zip(found.layers, response.layers, strict=True):
        for each in fields(Solution):
            mine, theirs = getattr(layer, each.name), getattr(expected, each.name)
            assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype), each.name
        assert layer.converged.all()
        assert (layer.residual <= layer.tolerance).all()
        np.testing.assert_allclose(layer.rates, expected.rates, atol=1e-3)


def test_a_response_in_chunks_has_the_bits_of_its_chunks_and_the_same_derivatives(rows):
    size, (response, *_) = rows
    model = model_of()
    found = model.respond(STIMULI)
    parts = [model.respond(STIMULI[start : start + size]) for start in range(0, 25, size)]
    np.testing.assert_array_equal(found.layers[0].rates, np.concatenate([part.layers[0].rates for part in parts]))
    errors = np.ones_like(response.outputs)
    gradients = []
    for each in (response, found):
        _, adjoints = each.adjoints(each.pull_back(errors))
        gradients.append(model.network.named(each.gradient(adjoints, errors))["layers.0.recurrent"])
    np.testing.assert_allclose(*gradients, atol=1e-3 * np.abs(gradients[0]).max())


def test_no_stimuli_have_no_answers():
    model = model_of()
    assert model.respond(STIMULI[:0]).outputs.shape == (0, 3)
    assert model.predict(STIMULI[:0]).shape == model.stability(STIMULI[:0]).shape == (0,)


def test_an_error_counts_the_stimuli_of_all_chunks(monkeypatch):
    network = RateNetwork(9, 16, 3, "power-law", 0, np.float32)
    runaway = TrainedModel(network, 5.0 * np.ones((9, 9), np.float32), Labels(np.arange(3)))
    stimuli = np.where(np.arange(25)[:, None] % 7 == 3, STIMULI, 0.0).astype(np.float32)
    with pytest.raises(FixedPointError) as whole:
        runaway.predict(stimuli)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 9 * 4 * 2)
    for answer in (runaway.predict, runaway.stability):
        with pytest.raises(FixedPointError) as error:
            answer(stimuli)
        assert str(error.value).partition(";")[0] == str(whole.value).partition(";")[0]
        assert error.value.fixed_points.rates.shape == (25, 9)
    assert "of 25 stimuli" in str(whole.value)


def test_the_memory_of_predictions_does_not_grow_with_the_rates(monkeypatch):
    """All rates have 8 MB, and the rates of one chunk have 0.1 MB."""
    layer = Layer.convolution((16, 16, 1), 8)
    stack = Stack([layer], 256, 3, "relu", 0, np.float32)
    model = TrainedModel(stack, stack.flat(stack.initial_parameters()), Labels(np.arange(3)))
    stimuli = np.random.default_rng(0).standard_normal((1000, 256)).astype(np.float32)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 100_000)
    loose = replace(model, solving=replace(model.solving, tolerance=1e-2))
    tracemalloc.start()
    try:
        loose.predict(stimuli)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6
