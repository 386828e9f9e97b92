"""Trained models: predictions in the form of the targets, and files that give the same bits or raise an error."""

import subprocess
import sys
from dataclasses import replace

import autograd.numpy as anp
import numpy as np
import pytest
from runs import DIGITS, run

from manifolds.points import arrays_of
from riemannrnn import (
    Convolution,
    FixedPointError,
    Layer,
    LowRank,
    RateNetwork,
    SquaredError,
    Stack,
    TrainedModel,
    load_model,
    power_law,
    train,
)
from riemannrnn.data import Standardisation
from riemannrnn.models import Labels, ModelFileError, Numbers, register_connectivity
from riemannrnn.network import ACTIVATIONS, Activation, Dense
from riemannrnn.training import History

N_INPUTS, N_OUTPUTS = 4, 3
STIMULI = np.random.default_rng(0).standard_normal((5, N_INPUTS))
ACTIVATIONS_SAVED = {**ACTIVATIONS, "power law 1.5": power_law(1.5, 0.3)}
TIME_CONSTANTS = np.linspace(0.5, 2.0, 9)


def rate_network(activation, dtype):
    return RateNetwork(9, N_INPUTS, N_OUTPUTS, activation, 0, dtype, time_constants=TIME_CONSTANTS)


def low_rank(activation, dtype):
    return RateNetwork(9, N_INPUTS, N_OUTPUTS, activation, 0, dtype, connectivity=LowRank(2))


def convolution(activation, dtype):
    return RateNetwork(18, N_INPUTS, N_OUTPUTS, activation, 0, dtype, connectivity=Convolution(2, (3, 3)))


def stack(activation, dtype):
    layers = [Layer(8, time_constants=np.full(8, 2.0)), Layer(6, "relu"), Layer(5, skips=(0,))]
    return Stack(layers, N_INPUTS, N_OUTPUTS, activation, 0, dtype)


def paper_stack(activation, dtype):
    return Stack([Layer(8), Layer(6)], N_INPUTS, N_OUTPUTS, activation, 0, dtype, trained=("recurrent",))


def start(network, radius=0.3):
    if isinstance(network, RateNetwork):
        return network.initial_weights(radius)
    return network.flat(network.initial_parameters(radius))


def model_of(make, activation, dtype, **options):
    network = make(activation, dtype)
    standardisation = Standardisation(np.full(N_INPUTS, 0.1), np.full(N_INPUTS, 3.0), np.full(N_INPUTS, 0.2))
    answer = Labels(np.array(["left", "rest", "right"]), ("movement",))
    return TrainedModel(network, start(network), answer, standardisation, tuple("abcd"), **options)


MODELS = {
    f"{make.__name__}, {name}, {dtype}": (make, activation, dtype)
    for make in (rate_network, low_rank, convolution, stack, paper_stack)
    for name, activation in ACTIVATIONS_SAVED.items()
    for dtype in ("float32", "float64")
}

LOADED = """
import sys
import numpy as np
from riemannrnn import load_model
stimuli = np.load(sys.argv[1])
results = {}
for number, path in enumerate(sys.argv[3:]):
    model = load_model(path)
    given = stimuli.astype(model.network.dtype)
    results[f"outputs{number}"] = model.respond(given).outputs
    results[f"labels{number}"] = model.predict(given)
    results[f"stability{number}"] = model.stability(given)
np.savez(sys.argv[2], **results)
"""


def test_a_fresh_process_predicts_the_same_bits(tmp_path):
    np.save(tmp_path / "stimuli.npy", STIMULI)
    models = {name: model_of(*arguments) for name, arguments in MODELS.items()}
    paths = [tmp_path / f"{number}.npz" for number in range(len(models))]
    for path, model in zip(paths, models.values(), strict=True):
        model.save(path)
    arguments = [tmp_path / "stimuli.npy", tmp_path / "results.npz", *paths]
    subprocess.run([sys.executable, "-W", "error", "-c", LOADED, *map(str, arguments)], check=True)
    with np.load(tmp_path / "results.npz") as results:
        for number, (name, model) in enumerate(models.items()):
            given = STIMULI.astype(model.network.dtype)
            outputs = model.respond(given).outputs
            assert outputs.dtype == model.network.dtype
            np.testing.assert_array_equal(results[f"outputs{number}"], outputs, name)
            np.testing.assert_array_equal(results[f"labels{number}"], model.predict(given), name)
            np.testing.assert_array_equal(results[f"stability{number}"], model.stability(given), name)


@pytest.mark.parametrize("make", [rate_network, low_rank, convolution, stack, paper_stack])
def test_a_loaded_model_is_the_model(tmp_path, make):
    model = model_of(make, "tanh", "float32", provenance={"rule": "Adam"})
    model.save(tmp_path / "model.npz")
    for loaded in (load_model(tmp_path / "model.npz"), load_model(tmp_path)):
        assert repr(loaded) == repr(model)
        assert (loaded.inputs, loaded.provenance, loaded.solving) == (model.inputs, model.provenance, model.solving)
        assert loaded.parameters.keys() == model.parameters.keys()
        for mine, theirs in zip(arrays_of(start(loaded.network)), arrays_of(start(model.network)), strict=True):
            np.testing.assert_array_equal(mine, theirs)  # the seed is kept
            assert mine.dtype == theirs.dtype == np.float32
        loaded.save(tmp_path / "again.npz")
        assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "model.npz").read_bytes()


def test_the_file_is_read_by_numpy_without_pickle(tmp_path):
    model = model_of(rate_network, "tanh", "float64")
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        assert any(arrays[name].shape == (9, 9) and (arrays[name] == model.weights).all() for name in arrays.files)


def test_labels_and_targets_come_back_as_they_were_given():
    history = run(epochs=1)
    labels = history.model.predict(DIGITS.stimuli)
    assert labels.dtype == np.int64
    assert labels.shape == (100,)
    assert history.model.provenance["rule"] == history.rule
    texts = replace(history.model, answer=Labels(np.array([f"digit {k}" for k in range(10)])))
    assert texts.predict(DIGITS.stimuli).tolist() == [f"digit {k}" for k in labels]
    numbers = replace(history.model, answer=Numbers(np.full(10, 3.0), np.full(10, 2.0)))
    outputs = history.model.respond(DIGITS.stimuli).outputs
    np.testing.assert_allclose(numbers.predict(DIGITS.stimuli), 3 + 2 * outputs)
    np.testing.assert_allclose(numbers.answer.encode(numbers.predict(DIGITS.stimuli)), outputs, atol=1e-12)


def test_a_regression_predicts_its_targets():
    network = RateNetwork(20, N_INPUTS, 1, seed=0)
    targets = np.sin(STIMULI[:, :1])
    history = train(network, network.initial_weights(), STIMULI, SquaredError(targets), epochs=300, seed=0)
    assert np.abs(history.model.predict(STIMULI) - targets).max() < 0.2


def test_training_continues_from_a_file(tmp_path):
    first = run(epochs=1)
    first.model.save(tmp_path / "model.npz")
    model = load_model(tmp_path / "model.npz")
    weights = model.parameters["layers.0.recurrent"]
    mine = run(network=model.network, weights=weights, epochs=1)
    theirs = run(weights=first.weights, epochs=1)
    np.testing.assert_array_equal(mine.weights, theirs.weights)
    assert mine.loss == theirs.loss


def test_flips_at_two_hundred_offsets_are_refused(tmp_path):
    path = tmp_path / "model.npz"
    model_of(stack, "tanh", "float64").save(path)
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    edges = [0, 1, *range(len(content) - 110, len(content))]  # including the mark, the checksum and the end of the zip file
    for place in [*edges, *generator.integers(0, len(content), 200 - len(edges)).tolist()]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(bytes(flipped))
        with pytest.raises(ModelFileError, match=r"model\.npz is (damaged|not a model): "):
            load_model(path)


@pytest.mark.parametrize("length", [0, 1, 50, 300, -1, -100])
def test_a_cut_file_is_refused(tmp_path, length):
    path = tmp_path / "model.npz"
    model_of(rate_network, "tanh", "float64").save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelFileError, match=r"model\.npz is not a model: "):
        load_model(path)


def test_foreign_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.eye(2))
    with pytest.raises(ModelFileError, match=r"other\.npz is not a model: it does not end with 'riemannrnn model 1'"):
        load_model(tmp_path / "other.npz")
    with pytest.raises(ModelFileError, match="cannot be read: No such file or directory"):
        load_model(tmp_path / "none.npz")
    with pytest.raises(ModelFileError, match=r"model\.npz cannot be read: No such file or directory"):
        load_model(tmp_path)


def test_a_file_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(RateNetwork, "arguments", lambda self: {"n_units": 9, "parameters": {}, "flavour": 1})
    model_of(rate_network, "tanh", "float64").save(tmp_path / "model.npz")
    with pytest.raises(ModelFileError, match=r"cannot be understood .*flavour.*: another version of riemannrnn wrote it"):
        load_model(tmp_path / "model.npz")


def test_a_custom_activation_must_be_registered(tmp_path, monkeypatch):
    swish = Activation.from_function(lambda z: z / (1 + anp.exp(-z)), "swish")
    model = model_of(rate_network, swish, "float64")
    with pytest.raises(ModelFileError, match=r"cannot be saved: activation 'swish' .*register_activation"):
        model.save(tmp_path / "model.npz")
    assert not (tmp_path / "model.npz").exists()
    monkeypatch.setitem(ACTIVATIONS, "swish", swish)
    model.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(load_model(tmp_path / "model.npz").predict(STIMULI), model.predict(STIMULI))
    monkeypatch.setitem(ACTIVATIONS, "swish", Activation.from_function(anp.sin, "swish"))
    with pytest.raises(ModelFileError, match="'swish' is not the function that the model was trained with"):
        load_model(tmp_path / "model.npz")
    monkeypatch.delitem(ACTIVATIONS, "swish")
    with pytest.raises(ModelFileError, match="'swish' is not known; register the function"):
        load_model(tmp_path / "model.npz")


def test_a_custom_connectivity_must_be_registered(tmp_path, monkeypatch):
    class Own:
        def __init__(self, label):
            self.label = label

        def __getattr__(self, name):
            return getattr(Dense(), name)

    network = RateNetwork(9, N_INPUTS, N_OUTPUTS, seed=0, connectivity=Own("a"))
    model = TrainedModel(network, network.initial_weights(), Numbers())
    with pytest.raises(ModelFileError, match="connectivity 'Own' is a class of your own"):
        model.save(tmp_path / "model.npz")
    monkeypatch.setattr("riemannrnn.models.architecture.CONNECTIVITIES", {"Dense": Dense})
    register_connectivity(Own)
    with pytest.raises(ValueError, match="connectivity 'Own' exists already"):
        register_connectivity(Own)
    model.save(tmp_path / "model.npz")
    loaded = load_model(tmp_path / "model.npz")
    assert loaded.network.connectivity.label == "a"
    np.testing.assert_array_equal(loaded.predict(STIMULI), model.predict(STIMULI))


def test_stimuli_that_do_not_fit_are_refused():
    model = model_of(rate_network, "tanh", "float64")
    with pytest.raises(ValueError, match=r"the stimuli have shape \(5, 3\); this model takes \(batch, 4\)"):
        model.predict(STIMULI[:, :3])
    holes = STIMULI.copy()
    holes[0, 0] = np.nan
    filled = STIMULI.copy()
    filled[0, 0] = 0.2
    np.testing.assert_array_equal(model.respond(holes).outputs, model.respond(filled).outputs)
    with pytest.raises(ValueError, match="NaN or infinity, and the model has nothing to put in its place"):
        replace(model, standardisation=None).predict(holes)


def test_a_stimulus_without_a_fixed_point_is_named():
    model = model_of(rate_network, "power-law", "float64")
    runaway = replace(model, weights=5.0 * np.ones((9, 9)), standardisation=None)
    assert not runaway.respond(STIMULI).converged.all()
    with pytest.raises(FixedPointError):
        runaway.predict(STIMULI)


def test_a_custom_history_has_no_model():
    with pytest.raises(ValueError, match="this history has no network"):
        _ = History(np.eye(2)).model


def test_custom_fixed_parameters():
    read_in = np.arange(36.0).reshape(9, 4)
    network = RateNetwork(9, N_INPUTS, N_OUTPUTS, seed=0, parameters={"layers.0.input": read_in})
    assert (network.input_weights == read_in).all()
    assert (network.readout == RateNetwork(9, N_INPUTS, N_OUTPUTS, seed=0).readout).all()
    with pytest.raises(ValueError, match=r"'readout' has shape \(9, 4\) and dtype float64, but \(3, 9\)"):
        RateNetwork(9, N_INPUTS, N_OUTPUTS, parameters={"readout": read_in})
    with pytest.raises(ValueError, match=r"the fixed parameter 'layers\.0\.bias' is unknown; .* are layers\.0\.input"):
        RateNetwork(9, N_INPUTS, N_OUTPUTS, parameters={"layers.0.bias": read_in})


def test_the_same_rule_continues_from_its_point(tmp_path):
    """The weights alone are outside the monotone manifold without scales."""
    options = {"rule": None, "learning_rate": None, "epochs": 30}
    first = run(**options)
    first.model.save(tmp_path / "model.npz")
    model = load_model(tmp_path / "model.npz")
    second = run(network=model.network, weights=model, **(options | {"epochs": 2}))
    assert max(second.loss[:4]) < min(first.loss[:4])
    np.testing.assert_array_equal(run(network=model.network, weights=model, **(options | {"epochs": 0})).weights, first.weights)
