"""Excitatory and inhibitory units as one argument: in Python, in configuration files, in estimators and in saved models."""

import array_api_strict as strict
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from manifolds import Identity, PullbackManifold, Resolvent
from riemannrnn import FixedPointClassifier, FixedPointRegressor, Layer, LowRank, RateNetwork, Stack, load_model, train
from riemannrnn.cli.config import parse_config
from riemannrnn.cli.training_run import prepare
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.models.architecture import described, network_of
from riemannrnn.network import Dense
from riemannrnn.rules.descent import Descent
from riemannrnn.settings import SettingError

SIGNS = np.array([1, -1, 1, 1, -1, 1, 1, 1, -1, 1])
STIMULI = np.random.default_rng(0).standard_normal((30, 4))
LABELS = (STIMULI[:, 0] > 0).astype(int)


def network(**options):
    return RateNetwork(10, 4, 2, seed=0, **{"signs": SIGNS, **options})


def obeys(weights, signs=SIGNS):
    """Tell whether all weights are not zero and have the sign of their column."""
    return bool((np.asarray(weights) * signs > 0).all())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, {"rule": "descent", "learning_rate": 0.3}, {"manifold": "dale", "rule": "momentum", "learning_rate": 0.1}]
)
def test_training_keeps_the_signs(dtype, options):
    net = network(dtype=dtype)
    history = train(net, net.initial_weights(), STIMULI.astype(dtype), LABELS, epochs=20, seed=0, **options)
    assert obeys(net.initial_weights())
    assert obeys(history.weights)
    assert history.weights.dtype == dtype
    assert history.loss[-1] < history.loss[0]


@pytest.mark.parametrize("options", [{}, {"manifold": "dale", "rule": "adam", "learning_rate": 0.05}])
def test_training_of_a_stack_keeps_the_signs(options):
    stack = Stack([Layer(8, inhibitory=0.25), Layer(5, signs=[1, 1, -1, 1, -1])], n_inputs=4, n_outputs=2, seed=0)
    history = train(stack, stack.initial_parameters(), STIMULI, LABELS, epochs=5, seed=0, **options)
    assert obeys(history.parameters["layers.0.recurrent"], [1] * 6 + [-1] * 2)
    assert obeys(history.parameters["layers.1.recurrent"], [1, 1, -1, 1, -1])
    assert history.loss[-1] < history.loss[0]


def test_a_share_makes_the_last_units_inhibitory():
    assert_array_equal(RateNetwork(10, inhibitory=0.2).signs[0], [1] * 8 + [-1] * 2)
    assert_array_equal(RateNetwork(10, inhibitory=0).signs[0], np.ones(10))
    assert_array_equal(RateNetwork(3, inhibitory=1).signs[0], -np.ones(3))
    assert RateNetwork(10).signs == (None,)
    assert "inhibitory: 3" in repr(network())
    assert "inhibitory: 2 → any signs" in repr(Stack([Layer(8, inhibitory=0.25), 3], n_inputs=4))
    assert "inhibitory" not in repr(RateNetwork(10))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_initial_weights_have_the_radius_and_are_balanced(share):
    net = RateNetwork(100, inhibitory=share, seed=1)
    weights = net.initial_weights(0.7)
    assert np.abs(np.linalg.eigvals(weights)).max() == pytest.approx(0.7)
    if 0 < share < 1:
        assert abs(weights.sum()) < 0.1 * np.abs(weights).sum()


def test_a_network_of_another_backend():
    there = RateNetwork(10, 4, 2, seed=0, signs=SIGNS, backend=strict)
    weights = there.initial_weights()
    assert_array_equal(np.asarray(weights), network().initial_weights())
    assert bool(strict.all(there.fixed_points(weights, strict.asarray(STIMULI)).converged))
    with pytest.raises(ValueError, match="unit 0 is excitatory"):
        there.fixed_points(-weights, strict.asarray(STIMULI))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signs": SIGNS, "inhibitory": 0.2}, "signs and inhibitory both say which units are inhibitory; pass one of them"),
        ({"signs": SIGNS[:9]}, r"the signs have shape \(9,\), but there are 10 units"),
        ({"signs": 2 * SIGNS}, "the sign 2 of unit 0 is neither 1 nor −1"),
        ({"signs": np.full(10, np.nan)}, "the sign nan of unit 0"),
        ({"inhibitory": 1.2}, "inhibitory = 1.2 is not a share"),
        ({"inhibitory": -0.1}, "inhibitory = -0.1 is not a share"),
        ({"inhibitory": float("nan")}, "inhibitory = nan is not a share"),
        ({"inhibitory": True}, "inhibitory = True is not a share"),
        ({"inhibitory": 0.04}, "inhibitory = 0.04 of 10 units is less than half a unit"),
        ({"inhibitory": 0.2, "connectivity": LowRank(2)}, "LowRank.* has no weights from one unit to another"),
    ],
)
def test_impossible_signs(options, message):
    for make in (lambda: RateNetwork(10, **options), lambda: Stack([Layer(10, **options)], n_inputs=4)):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"manifold": "resolvent"},
            "manifold 'resolvent' does not keep the signs of excitatory and inhibitory units; choose 'dale'",
        ),
        ({"manifold": "low-rank"}, "manifold 'low-rank' does not keep the signs"),
        ({"rule": "dW3"}, "rule = 'dW3' does not keep the signs .* choose one of descent, momentum, adam"),
        ({"rule": "kfac"}, "rule = 'kfac' does not keep the signs"),
        (
            {"rule": Descent(PullbackManifold(Identity(), 10)), "learning_rate": 5.0},
            "is (exc|inh)[a-z]+, but one of its weights",
        ),
        (
            {"manifold": PullbackManifold(Resolvent(), 10), "learning_rate": 0.5},
            "is (exc|inh)[a-z]+, but one of its weights",
        ),
    ],
)
def test_what_does_not_keep_the_signs_is_refused(options, message):
    net = network()
    with pytest.raises(ValueError, match=message):
        train(net, net.initial_weights(), STIMULI, LABELS, epochs=5, guard=False, **options)


def test_manifolds_by_name_of_a_stack():
    stack = Stack([Layer(10, signs=SIGNS), 5], n_inputs=4, n_outputs=2, seed=0)
    with pytest.raises(ValueError, match="manifold 'monotone' does not keep the signs"):
        train(stack, stack.initial_parameters(), STIMULI, LABELS, rule="adam", manifold="monotone")


def test_weights_against_the_signs_are_refused():
    net = network()
    weights = net.initial_weights()
    weights[3, 4] = 0.25
    message = "unit 4 is inhibitory, but one of its weights is 0.25; pass weights with the signs of their units"
    with pytest.raises(ValueError, match=message):
        net.fixed_points(weights, STIMULI)
    with pytest.raises(ValueError, match=message):
        net.respond(weights, net.prepare(STIMULI))
    with pytest.raises(ValueError, match=message):
        Stack([Layer(10, signs=SIGNS)], n_inputs=4, trained=("input",), parameters={"layers.0.recurrent": weights})
    with pytest.raises(ValueError, match=message):
        train(net, weights, STIMULI, LABELS)
    weights[3, 4] = 0.0
    assert net.fixed_points(weights, STIMULI).converged.all()


def test_the_manifold_of_signed_weights_has_their_signs():
    weights = network().initial_weights()
    placed = CATALOGUE["dale"].placed(weights)
    assert placed.weights is weights
    manifold = placed.manifold
    assert obeys(manifold.retraction(weights, -3 * weights))
    free = np.random.default_rng(0).standard_normal((10, 10))
    assert obeys(CATALOGUE["dale"].placed(free).weights, [1, 1, 1, 1, -1] * 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [network, lambda **options: Stack([Layer(10, signs=SIGNS), 3], 4, 2, seed=0, **options)])
def test_saved_models_keep_the_signs(make, dtype, tmp_path):
    net, stimuli = make(dtype=dtype), STIMULI.astype(dtype)
    again = network_of(described(net))
    assert_array_equal(again.signs[0], SIGNS)
    assert again.signs[0].dtype == dtype
    start = net.initial_weights() if isinstance(net, RateNetwork) else net.initial_parameters()
    history = train(net, start, stimuli, LABELS, epochs=3)
    history.model.save(tmp_path / "model.npz")
    model = load_model(tmp_path / "model.npz")
    assert_array_equal(model.network.signs[0], SIGNS)
    assert_array_equal(model.predict(stimuli), history.model.predict(stimuli))
    further = train(model.network, model, stimuli, LABELS, epochs=1)
    assert obeys(further.parameters["layers.0.recurrent"])


def test_models_without_signs_that_were_saved_before():
    tree = described(RateNetwork(10, 4, 2, seed=0, connectivity=Dense()))
    del tree["arguments"]["signs"]
    assert network_of(tree).signs == (None,)


@pytest.mark.parametrize("estimator", [FixedPointClassifier, FixedPointRegressor])
@pytest.mark.parametrize("options", [{"signs": SIGNS}, {"signs": SIGNS.tolist()}, {"inhibitory": 0.3}])
def test_estimators(estimator, options):
    model = estimator(n_units=10, epochs=3, random_state=0, **options).fit(STIMULI, LABELS)
    assert obeys(model.weights_, SIGNS if "signs" in options else [1] * 7 + [-1] * 3)
    assert_array_equal(np.sign(model.weights_[0]), model.network_.signs[0])
    assert model.fixed_points(STIMULI).converged.all()


def test_estimators_of_several_layers():
    model = FixedPointClassifier(layers=[10, 5], inhibitory=0.2, epochs=2, random_state=0).fit(STIMULI, LABELS)
    assert obeys(model.parameters_["layers.1.recurrent"], [1, 1, 1, 1, -1])
    with pytest.raises(ValueError, match="signs belong to the units of one layer; pass inhibitory"):
        FixedPointClassifier(layers=[10, 5], signs=SIGNS).fit(STIMULI, LABELS)
    with pytest.raises(ValueError, match="'monotone' does not keep the signs"):
        FixedPointClassifier(n_units=10, signs=SIGNS, manifold="monotone").fit(STIMULI, LABELS)
    with pytest.raises(ValueError, match="rule = 'dW3' does not keep the signs"):
        FixedPointClassifier(n_units=10, signs=SIGNS, rule="dW3").fit(STIMULI, LABELS)


@pytest.mark.parametrize(
    ("table", "signs"),
    [
        ({"units": 10, "inhibitory": 0.2}, [[1] * 8 + [-1] * 2]),
        ({"units": 10, "signs": SIGNS.tolist()}, [SIGNS]),
        ({"units": 10, "inhibitory": 0.2, "trained": ["recurrent", "readout"]}, [[1] * 8 + [-1] * 2]),
        (
            {"inhibitory": 0.5, "layers": [{"units": 4}, {"units": 3, "signs": [-1, 1, 1]}, {"units": 2, "inhibitory": 0.0}]},
            [[1, 1, -1, -1], [-1, 1, 1], [1, 1]],
        ),
    ],
)
def test_configuration(table, signs):
    training = prepare(parse_config({"network": table, "data": {"training_size": 50}}))
    assert training.config.train.manifold == "dale"
    assert training.config.train.guard
    for found, expected in zip(training.network.signs, signs, strict=True):
        assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"network": {"inhibitory": 1.5}}, "network.inhibitory = 1.5: it has to be below 1"),
        ({"network": {"units": 3, "signs": [1, 0, 1]}}, "the sign 0.0 of unit 1 is neither 1 nor −1"),
        (
            {"network": {"signs": [1, -1], "layers": [{"units": 2}]}},
            r"network.signs: .* write the signs into \[\[network.layers\]\]",
        ),
        ({"network": {"inhibitory": 0.2}, "train": {"manifold": "monotone"}}, "'monotone' does not keep the signs"),
        ({"network": {"inhibitory": 0.2}, "train": {"rule": "dW1"}}, "rule = 'dW1' does not keep the signs"),
    ],
)
def test_impossible_configurations(tables, message):
    with pytest.raises(SettingError, match=message):
        prepare(parse_config({"data": {"training_size": 50}, **tables}))
