"""Weights of stimuli: they equal repeated rows, and a mini-batch uses the mean weight of the data set."""

import array_api_strict as strict
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weighted import assert_equal, learn, repeated

from riemannrnn import AutogradLoss, CrossEntropy, Loss, SquaredError

UNITS, OUTPUTS = 5, 3


def quartic(outputs, targets):
    """A user-defined loss."""
    return anp.sum((outputs - targets) ** 4, axis=1)


LOSSES = {
    "squared error": (lambda generator, m: generator.standard_normal((m, OUTPUTS)), SquaredError),
    "cross-entropy": (lambda generator, m: generator.integers(0, OUTPUTS, m), CrossEntropy),
    "loss of one's own": (
        lambda generator, m: generator.standard_normal((m, OUTPUTS)),
        lambda targets, **options: AutogradLoss(quartic, targets, **options),
    ),
}


def problem(kind, seed, m):
    generator = np.random.default_rng(seed)
    targets, make = LOSSES[kind][0](generator, m), LOSSES[kind][1]
    rates = generator.standard_normal((m, UNITS))
    readouts = generator.standard_normal((2, OUTPUTS, UNITS))
    return generator, make, targets, rates, readouts


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(LOSSES)), st.integers(0, 10**6), st.integers(1, 12), st.floats(0.01, 100))
def test_weights_equal_repeated_rows(kind, seed, m, unit):
    """This includes stimuli without a fixed point, and any unit of the weights."""
    generator, make, targets, rates, readouts = problem(kind, seed, m)
    counts, found = generator.integers(0, 4, m), generator.random(m) < 0.7
    counts[0] += 1
    weighted = make(targets, weights=unit * counts)
    more_targets, more_rates, more_found = repeated(counts, targets, rates, found)
    assert_equal(learn(weighted, rates, *readouts), learn(make(more_targets), more_rates, *readouts))
    assert_equal(learn(weighted, rates, *readouts, found), learn(make(more_targets), more_rates, *readouts, more_found))
    np.testing.assert_array_equal(repeated(counts, weighted.lost(found))[0], ~more_found)
    assert weighted.lost(found).sum() == np.count_nonzero(~found & (counts > 0))


@pytest.mark.parametrize("kind", LOSSES)
def test_equal_weights_are_no_weights(kind):
    _, make, targets, rates, readouts = problem(kind, 0, 7)
    plain = make(targets)
    assert plain.relative_weights is None
    assert make(targets, weights=[3] * 7).relative_weights is None
    found = np.arange(7) != 2
    np.testing.assert_array_equal(plain.shares(found, np.float32), found.astype(np.float32) / 6)
    np.testing.assert_array_equal(plain.shares(~found & found, np.float64), np.zeros(7))
    np.testing.assert_array_equal(plain.lost(found), ~found)
    doubled = make(targets, weights=np.full(7, 0.3))
    for one, other in zip(learn(plain, rates, *readouts), learn(doubled, rates, *readouts), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", LOSSES)
def test_the_mean_of_all_batches_is_the_whole(kind):
    """Batches of equal size, with rows in any order; each is also a batch of a stream with a known mean weight."""
    generator, make, targets, rates, readouts = problem(kind, 1, 12)
    weights = generator.random(12)
    whole, order = make(targets, weights=weights), generator.permutation(12)
    parts = [(whole.take(rows), rows) for rows in order.reshape(4, 3)]
    means = [learn(part, rates[rows], *readouts) for part, rows in parts]
    assert_equal(tuple(sum(each) / 4 for each in zip(*means, strict=True)), learn(whole, rates, *readouts))
    for part, rows in parts:
        streamed = make(targets[rows], weights=weights[rows], mean_weight=weights.mean())
        np.testing.assert_allclose(streamed.relative_weights, part.relative_weights, rtol=1e-14)
        again = part.take(np.array([2, 0]))
        np.testing.assert_array_equal(again.relative_weights, part.relative_weights[[2, 0]])


def test_a_batch_without_weight_has_no_share():
    batch = SquaredError(np.ones((3, 2)), weights=[0, 0, 1]).take(np.array([0, 1]))
    np.testing.assert_array_equal(batch.shares(np.array([True, False]), np.float64), [0, 0])
    np.testing.assert_array_equal(batch.lost(np.array([True, False])), [False, False])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["squared error", "cross-entropy"])
def test_on_strict_arrays(kind, dtype):
    generator, make, targets, _, _ = problem(kind, 2, 6)
    weights, found = generator.random(6).astype(dtype), np.array([1, 1, 0, 1, 0, 1], bool)
    here, there = make(targets, weights=weights), make(strict.asarray(targets), weights=strict.asarray(weights))
    listed = make(strict.asarray(targets), weights=weights.tolist())
    for loss in (there, listed, there.take(strict.asarray([4, 0, 1, 2, 3, 5]))):
        shares = loss.shares(strict.asarray(found), getattr(strict, np.dtype(dtype).name))
        assert shares.dtype == getattr(strict, np.dtype(dtype).name)
    np.testing.assert_allclose(np.asarray(there.shares(strict.asarray(found), strict.float64)), here.shares(found, np.float64))
    np.testing.assert_array_equal(np.asarray(there.lost(strict.asarray(found))), here.lost(found))


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1.0, -1.0, 1.0]}, r"weight -1\.0 of stimulus 1 is negative or not finite"),
        ({"weights": [1.0, 1.0, np.nan]}, "weight nan of stimulus 2"),
        ({"weights": [np.inf, 1.0, 1.0]}, "weight inf of stimulus 0"),
        ({"weights": [1.0, 1.0]}, r"the weights have shape \(2,\), but there are 3 stimuli"),
        ({"weights": np.ones((3, 1))}, r"the weights have shape \(3, 1\), but there are 3 stimuli"),
        ({"weights": [0, 0, 0]}, "no stimulus has both an observed target and a weight above zero"),
        ({"mean_weight": 0.0}, r"mean_weight = 0\.0 is not positive"),
        ({"mean_weight": np.nan}, "mean_weight = nan is not positive"),
    ],
)
def test_invalid_weights(kind, options, message):
    _, make, targets, _, _ = problem(kind, 0, 3)
    with pytest.raises(ValueError, match=message):
        make(targets, **options)


def test_weights_of_another_library_are_refused():
    with pytest.raises(ValueError, match="weights of "):
        SquaredError(np.ones((2, 2)), weights=strict.asarray([1.0, 2.0]))


class Own(Loss):
    """A loss without weights."""

    def value(self, outputs):
        return 0 * outputs[:, 0]

    def gradient(self, outputs):
        return 0 * outputs

    def hessian(self, outputs, vectors):
        return 0 * vectors

    def take(self, rows):
        return self


def test_a_loss_by_a_subclass_has_equal_weights_and_no_accuracy():
    found = np.array([True, False])
    np.testing.assert_array_equal(Own().shares(found, np.float64), [1, 0])
    assert Own().correct(np.ones((2, 2))) is None
    assert SquaredError(np.ones((2, 2))).correct(np.ones((2, 2))) is None
