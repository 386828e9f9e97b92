"""`riemannrnn train` with layers of images: it learns, promises stability, goes on to the bit, and says what does not fit."""

import tomllib

import numpy as np
import pytest
import xarray as xr
from test_cli import names, run
from test_train_command import assert_same_bits, interrupt

from riemannrnn import Layer, Stack, load_model, train
from riemannrnn.analysis import read_run
from riemannrnn.cli.config import parse_config
from riemannrnn.cli.training_run import prepare
from riemannrnn.data import load_digits
from riemannrnn.run_folder import write_toml
from riemannrnn.settings import SettingError
from riemannrnn.training import StabilityGuard

IMAGES = {
    "network": {"layers": [{"channels": 3, "pool": 2}, {"channels": 4, "support": 3, "pool": 2}], "dtype": "float32"},
    "data": {"training_size": 120},
    "train": {"batch_size": 20, "epochs": 4, "checkpoint_every": 2, "learning_rate": 0.1, "evaluate_every": 24},
}


def begin(parent, **changes):
    """Run the command; return the result and the run folder."""
    parent.mkdir(parents=True, exist_ok=True)
    write_toml(parent / "images.toml", IMAGES | {table: IMAGES[table] | values for table, values in changes.items()})
    result = run("train", "--config", parent / "images.toml", "--output", parent / "runs")
    return result, next(iter((parent / "runs").glob("train-*")), None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    result, folder = begin(tmp_path_factory.mktemp("images"))
    assert result.exit_code == 0, result.output
    assert "always stable" in result.stdout
    return folder


def test_the_run_is_that_of_train_with_its_defaults_and_learns(folder):
    learned, held_out = load_digits(np.float32).split(120, 1677, seed=0)
    first = Layer.convolution((8, 8, 1), 3, 5, pool=2)
    stack = Stack([first, Layer.convolution(first.image, 4, 3, pool=2)], 64, 10, seed=0, dtype="float32")
    history = train(
        stack,
        stack.initial_parameters(),
        learned.stimuli,
        learned.labels,
        learning_rate=0.1,
        batch_size=20,
        epochs=4,
        seed=0,
        evaluate_every=24,
        held_out=(held_out.stimuli, held_out.labels),
    )
    with xr.open_dataset(folder / "history.nc") as written:
        assert written["loss"].values.tolist() == history.loss
    assert history.loss[-1] < 0.9 * history.loss[0]
    assert names(folder) >= ["checkpoints", "config.toml", "history.nc", "model.npz", "path.h5", "path.layers.1.recurrent.h5"]
    written = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))["train"]
    chosen = {"manifold": "monotone", "rule": "adam", "learning_rate": 0.1, "schedule": "warm-up", "guard": False}
    assert written.items() >= chosen.items()


@pytest.mark.parametrize(("method", "step"), [("_take_step", 7)])
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path, folder, method, step):
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, method, step)
        stopped, half = begin(tmp_path)
    assert stopped.exit_code == 130, stopped.output
    result = run("train", "--resume", half)
    assert result.exit_code == 0, result.output
    assert_same_bits(half, folder)


def test_the_saved_model_answers_as_the_run_did(folder):
    model, digits = load_model(folder), load_digits(np.float32)
    with np.load(folder / "weights.npz") as arrays:
        network = model.network
        outputs = network.respond(dict(arrays), network.prepare(digits.stimuli[:9])).outputs
    np.testing.assert_array_equal(model.predict(digits.stimuli[:9]), outputs.argmax(1))
    assert network.layers[0].image == (4, 4, 3)


def test_training_goes_on_from_the_saved_model(folder):
    model, digits = load_model(folder), load_digits(np.float32)
    further = train(model.network, model, digits.stimuli[:40], digits.labels[:40], batch_size=20, epochs=1, seed=0)
    with xr.open_dataset(folder / "history.nc") as history:
        assert further.loss[0] < np.mean(history["loss"][:6])


def test_the_path_of_kernels_is_analysed(folder):
    for name in ("layers.0.recurrent", "layers.1.recurrent"):
        with read_run(folder, name) as path:
            assert path.of_kernels
            assert path[0].ndim == 4
        result = run("geodesics", folder, "--parameter", name, "--animation", "none")
        assert result.exit_code == 0, result.output
        assert "length, euclidean" in result.stdout
    refused = run("geodesics", folder, "--metric", "monotone", "--animation", "none")
    assert refused.exit_code != 0
    assert "measures matrices" in refused.stderr


def test_a_guard_keeps_kernels_stable_that_no_manifold_does():
    layers = [{"channels": 2, "stride": 2, "support": 3, "pool": 4}]
    settings = {"manifold": "euclidean", "rule": "adam", "learning_rate": 0.1, "batch_size": 10, "epochs": 1}
    config = {"network": {"layers": layers, "radius": 1.0}, "data": {"training_size": 30}, "train": settings}
    training = prepare(parse_config(config))
    assert training.config.train.guard
    learned = training.sets.training
    arguments = training.network, training.weights, learned.stimuli, learned.labels, training.rule, 0.1, 10, 1, 0
    history = train(*arguments, guard=StabilityGuard(0.05))
    assert history.guard_reasons
    assert np.nanmax(history.abscissa) < -0.05


GLOBAL = [{"channels": 2, "support": 8, "pool": 2}]


@pytest.mark.parametrize(
    "manifold", ["spectral-monotone", "spectral-resolvent", "resolvent", "euclidean", "convolutional-monotone"]
)
@pytest.mark.parametrize("rule", ["adam", "descent"])
def test_every_manifold_of_kernels_learns_by_its_name(manifold, rule):
    odd = [{"channels": 2, "support": 3, "pool": 2}]
    layers = odd if manifold in ("convolutional-monotone", "euclidean") else GLOBAL
    settings = {"manifold": manifold, "rule": rule, "learning_rate": 0.02 if rule == "adam" else 0.5, "guard": False}
    config = parse_config({"network": {"layers": layers}, "data": IMAGES["data"], "train": IMAGES["train"] | settings})
    training = prepare(config)
    assert training.promised == (manifold in ("spectral-monotone", "convolutional-monotone"))
    history = train(
        training.network,
        training.weights,
        training.sets.training.stimuli,
        training.sets.training.labels,
        training.rule,
        settings["learning_rate"],
        20,
        4,
        0,
        guard=False,
        solver="splitting",
    )
    assert not history.failed, history.stopped
    assert np.mean(history.loss[-6:]) < np.mean(history.loss[:6])


def refused(layers=None, **changes):
    tables = {"network": {"layers": layers or IMAGES["network"]["layers"]}, "data": IMAGES["data"], "train": IMAGES["train"]}
    with pytest.raises(SettingError) as error:
        prepare(parse_config({name: table | changes.get(name, {}) for name, table in tables.items()}))
    return str(error.value)


def test_what_does_not_fit_is_refused_by_its_key(tmp_path):
    assert "network.layers[0]: windows of 3 × 3 do not divide" in refused([{"channels": 2, "pool": 3}])
    assert "network.layers[0].units = 7: a layer with channels has a unit for each" in refused([{"channels": 2, "units": 7}])
    assert "network.layers[1].channels = 2" in refused([{"units": 7}, {"channels": 2}])
    assert "network.layers[0].stride = 2: it belongs to a layer of images" in refused([{"units": 7, "stride": 2}])
    assert "data.shape = [8, 9, 1] is not the shape of the stimuli, which have 64" in refused(data={"shape": [8, 9, 1]})
    assert "'spectral-monotone': the parameter 'layers.0.recurrent': the kernels of this manifold are as large" in refused(
        train={"manifold": "spectral-monotone"}
    )
    assert "has no form for the weights of Convolution" in refused(train={"manifold": "scaled-monotone"})
    assert "an odd support, and these have 4 × 4" in refused([{"channels": 2, "support": 4}])
    assert "is one of the parameters of Convolution, and these weights are a matrix" in refused(
        [{"units": 7}], train={"manifold": "convolutional-monotone"}
    )


def test_images_in_a_file_need_a_shape(tmp_path):
    digits = load_digits()
    np.savez(tmp_path / "images.npz", x=digits.stimuli[:100].reshape(100, -1), y=digits.labels[:100])
    data = {"file": str(tmp_path / "images.npz"), "target": "y", "inputs": "x", "training_size": None}
    tables = {"network": IMAGES["network"], "data": {name: value for name, value in data.items() if value}}
    with pytest.raises(SettingError, match=r"network.layers\[0\].channels = 3: .* write data.shape"):
        prepare(parse_config(tables))
    tables["data"] = tables["data"] | {"shape": [4, 16, 1], "standardise": False}
    layers = [{"channels": 3, "pool": 2}, {"channels": 4, "support": 3, "stride": 2}]
    tables["network"] = tables["network"] | {"layers": layers}
    assert prepare(parse_config(tables)).network.layers[0].image == (2, 8, 3)
