"""Networks whose recurrent weights are not trained: no manifold promises that they are stable."""

import numpy as np
import pytest

from riemannrnn import Layer, SquaredError, Stack, train
from riemannrnn.training.guard import UnstableStartError

STIMULI = np.random.default_rng(0).uniform(0.1, 1, (20, 3))
TARGETS = SquaredError(np.full((20, 4), 0.3))


def stack(weights, activation="tanh"):
    return Stack([Layer(4, activation=activation)], 3, trained=("input",), parameters={"layers.0.recurrent": weights}, seed=0)


def test_the_guard_looks_at_fixed_weights():
    unstable = stack(3 * np.eye(4))
    with pytest.raises(UnstableStartError, match="no fixed point that is stable"):
        train(unstable, {"layers.0.input": np.zeros((4, 3))}, STIMULI, TARGETS)


def test_a_power_law_has_no_promise_to_break():
    net = stack(np.zeros((4, 4)), "power-law")
    history = train(net, {"layers.0.input": np.ones((4, 3))}, STIMULI, TARGETS, epochs=30, seed=0)
    assert history.loss[-1] < history.loss[0]
