"""Small training runs that several tests share."""

import numpy as np

from manifolds.points import arrays_of
from riemannrnn import RateNetwork, SquaredError, train
from riemannrnn.data import load_digits

N = 12
DIGITS = load_digits().split(100, seed=0)[0]
NETWORK = RateNetwork(N, 64, 10, seed=0)


def run(network=NETWORK, weights=None, **options):
    """Train for eight steps; the last batch of each epoch has ten stimuli instead of thirty."""
    settings = {"rule": "dW3", "learning_rate": 0.05, "batch_size": 30, "epochs": 2, "seed": 0, "checkpoint_every": 3}
    stimuli = DIGITS.stimuli.astype(network.dtype)
    held_out = stimuli[:30], DIGITS.labels[:30]
    weights = network.initial_weights(0.3) if weights is None else weights
    return train(network, weights, stimuli, DIGITS.labels, **(settings | {"held_out": held_out, "evaluate_every": 2} | options))


def fold(**options):
    """Train a unit r = (w r + x)² whose two fixed points meet where w x = 1/4, with a batch for each of four drives x.

    Weaker drives let w grow further than stronger drives allow.
    """
    network = RateNetwork(1, activation="power-law", seed=0)
    stimuli = np.array([[0.4], [0.43], [0.47], [0.5]])
    settings = {"rule": "dW1", "learning_rate": 0.5, "batch_size": 1, "epochs": 4, "seed": 0} | options
    return train(network, np.array([[0.1]]), stimuli, SquaredError(np.full((4, 1), 2.0)), **settings)


def check_same(history, reference):
    """Check that two histories agree to the bit, except for NaN."""
    for name, values in reference.records().items():
        np.testing.assert_array_equal(getattr(history, name), values, err_msg=name)
    for ours, theirs in zip(arrays_of(history.weights), arrays_of(reference.weights), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert history.guard_reasons == reference.guard_reasons
    assert (history.stopped, history.converged) == (reference.stopped, reference.converged)
