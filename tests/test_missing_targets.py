"""Missing targets: the loss and its derivatives equal the results of the problem without these targets."""

import array_api_strict as strict
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weighted import assert_equal, learn

from riemannrnn import AutogradLoss, CrossEntropy, FixedPointCost, RateNetwork, SquaredError

UNITS = 4
ROUNDING = {np.float32: 1e-4, np.float64: 1e-11}


def masked_error(outputs, targets):
    """Squared error that replaces missing targets before it computes with them."""
    return 0.5 * anp.sum((outputs - anp.where(anp.isnan(targets), outputs, targets)) ** 2, axis=1)


def late_masked_error(outputs, targets):
    """The wrong order: its gradients are NaN."""
    return 0.5 * anp.sum(anp.where(anp.isnan(targets), 0.0, (outputs - targets) ** 2), axis=1)


def problem(seed, m, k, share, dtype=np.float64, repeats=0):
    """Rates, two readouts, and targets with missing entries, including whole rows and columns."""
    generator = np.random.default_rng(seed)
    targets = generator.standard_normal((m, repeats, k) if repeats else (m, k)).astype(dtype)
    targets[generator.random(targets.shape) < share] = np.nan
    targets[generator.random(m) < share / 2] = np.nan
    targets[..., generator.random(k) < share / 2] = np.nan
    targets[0, ..., 0] = 0.3
    return (
        generator,
        targets,
        generator.standard_normal((m, UNITS)).astype(dtype),
        generator.standard_normal((2, k, UNITS)).astype(dtype),
    )


def by_hand(targets, rates, readout, direction, weights):
    """The same as `learn`, for one observed target at a time."""
    value, gradient, hessian, total = 0.0, np.zeros(readout.shape), np.zeros(readout.shape), 0.0
    for row, vectors in enumerate(targets if targets.ndim == 3 else targets[:, None, :]):
        for vector in vectors:
            total += weights[row] * (not np.isnan(vector).all())
            for unit in np.flatnonzero(~np.isnan(vector)):
                error = float(rates[row].astype(float) @ readout[unit]) - float(vector[unit])
                value += weights[row] * error**2 / 2
                gradient[unit] += weights[row] * error * rates[row]
                hessian[unit] += weights[row] * (rates[row].astype(float) @ direction[unit]) * rates[row]
    return value / total, gradient / total, hessian / total


sizes = st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 5), st.floats(0, 0.95)


@settings(max_examples=40, deadline=None)
@given(*sizes, st.sampled_from([np.float32, np.float64]), st.integers(0, 4), st.booleans())
def test_squared_error_without_the_missing_targets(seed, m, k, share, dtype, repeats, weighted):
    generator, targets, rates, readouts = problem(seed, m, k, share, dtype, repeats)
    weights = generator.random(m) + 0.1 if weighted else np.ones(m)
    loss = SquaredError(targets, weights=weights if weighted else None)
    loss.check(m, k)
    outputs = rates @ readouts[0].T
    for result in (loss.value(outputs), loss.gradient(outputs), loss.hessian(outputs, outputs)):
        assert result.dtype == dtype
    missing = np.isnan(targets if repeats else targets[:, None, :]).all(axis=1)
    assert (loss.gradient(outputs)[missing] == 0).all()
    assert (loss.hessian(outputs, outputs)[missing] == 0).all()
    found, expected = learn(loss, rates, *readouts), by_hand(targets, rates, *readouts, weights)
    assert_equal(found, expected, rtol=ROUNDING[dtype] * 10)


@settings(max_examples=30, deadline=None)
@given(*sizes, st.integers(0, 3))
def test_derivatives_against_finite_differences(seed, m, k, share, repeats):
    generator, targets, rates, readouts = problem(seed, m, k, share, repeats=repeats)
    labels = generator.integers(-1, k, m)
    labels[0] = 0
    outputs, step = rates @ readouts[0].T, 1e-5
    vectors = generator.standard_normal(outputs.shape)
    losses = [SquaredError(targets), CrossEntropy(labels)] if set(labels.tolist()) != {-1, 1} else [SquaredError(targets)]
    if not repeats:
        losses.append(AutogradLoss(masked_error, targets))
    for loss in losses:
        ahead, behind = outputs + step * vectors, outputs - step * vectors
        slope = (loss.value(ahead) - loss.value(behind)) / (2 * step)
        np.testing.assert_allclose(np.sum(loss.gradient(outputs) * vectors, axis=1), slope, rtol=1e-6, atol=1e-8)
        bend = (loss.gradient(ahead) - loss.gradient(behind)) / (2 * step)
        np.testing.assert_allclose(loss.hessian(outputs, vectors), bend, rtol=1e-6, atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(*sizes, st.sampled_from([np.float32, np.float64]))
def test_completely_missing_rows_and_columns_can_be_left_out(seed, m, k, share, dtype):
    _, targets, rates, readouts = problem(seed, m, k, share, dtype)
    rows, columns = ~np.isnan(targets).all(axis=1), ~np.isnan(targets).all(axis=0)
    value, gradient, hessian = learn(SquaredError(targets), rates, *readouts)
    fewer = SquaredError(targets[rows][:, columns])
    expected = learn(fewer, rates[rows], *readouts[:, columns])
    assert_equal((value, gradient[columns], hessian[columns]), expected, rtol=ROUNDING[dtype])
    assert not gradient[~columns].any()
    own = AutogradLoss(masked_error, targets)
    assert_equal((value, gradient, hessian), learn(own, rates, *readouts), rtol=ROUNDING[dtype])


@settings(max_examples=20, deadline=None)
@given(*sizes, st.integers(0, 3), st.booleans(), st.sampled_from([np.float32, np.float64, np.int64]))
def test_targets_of_some_units(seed, m, k, share, repeats, masked, dtype):
    """Units are given by their indices in any order, or by a mask. They equal targets of all units, with NaN for the others."""
    generator, targets, rates, readouts = problem(seed, m, k, share, repeats=repeats)
    chosen = generator.permutation(k)[: generator.integers(1, k + 1)]
    units = np.isin(np.arange(k), chosen) if masked else chosen
    some = targets[..., units] if dtype is not np.int64 else np.round(np.nan_to_num(targets[..., units])).astype(np.int64)
    some = some.astype(dtype)
    some[0, ..., 0] = 1
    everything = np.full(targets.shape, np.nan)
    everything[..., units] = some
    rates, readouts = (each.astype(np.float64 if dtype is np.int64 else dtype) for each in (rates, readouts))
    loss, expected = SquaredError(some, units=units), SquaredError(everything.astype(rates.dtype))
    loss.check(m, k)
    for one, other in zip(learn(loss, rates, *readouts), learn(expected, rates, *readouts), strict=True):
        np.testing.assert_array_equal(one, other)
    rows = np.array([0])
    outputs = rates[rows] @ readouts[0].T
    np.testing.assert_array_equal(loss.take(rows).gradient(outputs), expected.take(rows).gradient(outputs))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(2, 5), st.sampled_from([np.int8, np.int64]))
def test_cross_entropy_without_the_missing_labels(seed, m, k, dtype):
    generator, _, rates, readouts = problem(seed, m, k, 0)
    labels = generator.integers(-1, k, m).astype(dtype)
    labels[0] = 0
    known = labels >= 0
    loss, expected = CrossEntropy(labels), CrossEntropy(labels[known])
    loss.check(m, k)
    assert_equal(learn(loss, rates, *readouts), learn(expected, rates[known], *readouts))
    outputs = rates @ readouts[0].T
    assert not loss.value(outputs)[~known].any()
    np.testing.assert_array_equal(loss.correct(outputs), known & (outputs.argmax(axis=1) == labels))


def test_outputs_that_are_not_finite_and_not_observed_are_harmless():
    outputs = np.array([[np.inf, 1.0], [2.0, 1.0], [np.nan, np.inf]])
    targets = np.array([[np.nan, 0.0], [1.0, 1.0], [np.nan, np.nan]])
    for loss in (SquaredError(targets), CrossEntropy([-1, 0, -1]), SquaredError(targets[:, 1:], units=[1])):
        value, gradient, hessian = loss.value(outputs), loss.gradient(outputs), loss.hessian(outputs, outputs)
        assert value[2] == 0
        assert not gradient[2].any()
        assert not hessian[2].any()
        assert gradient[0, 0] == hessian[0, 0] == 0
        assert np.isfinite(value).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_strict_arrays(dtype):
    generator, targets, rates, readouts = problem(3, 6, 4, 0.4, dtype, repeats=3)
    labels, units = np.array([0, -1, 3, 2, -1, 1]), [2, 0, 3]
    outputs, vectors = rates @ readouts[0].T, generator.standard_normal((6, 4)).astype(dtype)
    makers = {
        "masked": (SquaredError, targets[:, 0, :]),
        "repeats": (SquaredError, targets),
        "units": (lambda some: SquaredError(some, units=units), targets[..., units]),
        "integers": (SquaredError, np.arange(24).reshape(6, 4)),
        "labels": (CrossEntropy, labels),
    }
    rows = np.array([3, 1])
    for make, data in makers.values():
        here, there = make(data), make(strict.asarray(data))
        for found, expected in (
            (there.value(strict.asarray(outputs)), here.value(outputs)),
            (there.gradient(strict.asarray(outputs)), here.gradient(outputs)),
            (there.hessian(strict.asarray(outputs), strict.asarray(vectors)), here.hessian(outputs, vectors)),
            (there.take(strict.asarray(rows)).value(strict.asarray(outputs[rows])), here.value(outputs)[rows]),
        ):
            assert found.dtype == getattr(strict, dtype)
            np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6)


def test_a_network_without_the_unit(generator):
    """A unit that is never observed does not count in the cost of the weights, its gradient and its Hessian."""
    network = RateNetwork(8, 3, 4, seed=0)
    smaller = RateNetwork(8, 3, 3, seed=0)
    smaller.input_weights, smaller.readout = network.input_weights, network.readout[[0, 1, 3]]
    stimuli, targets = generator.standard_normal((6, 3)), generator.standard_normal((6, 4))
    targets[:, 2] = np.nan
    targets[1, 0] = targets[4, 3] = np.nan
    W, V = network.initial_weights(0.7), generator.standard_normal((8, 8))
    masked, fewer = FixedPointCost(network, stimuli, SquaredError(targets)), SquaredError(targets[:, [0, 1, 3]])
    without = FixedPointCost(smaller, stimuli, fewer)
    some = FixedPointCost(network, stimuli, SquaredError(targets[:, [0, 1, 3]], units=[0, 1, 3]))
    for each in (masked, some):
        assert each(W) == pytest.approx(without(W), rel=1e-13)
        np.testing.assert_allclose(each.gradient(W), without.gradient(W), rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(each.hessian(W, V), without.hessian(W, V), rtol=1e-9, atol=1e-12)


def test_missing_targets_are_printed():
    assert repr(SquaredError([[1.0, np.nan], [0.0, 2.0]])).endswith("missing: 1)")
    assert "missing" not in repr(SquaredError([[1.0, 1.0]]))
    assert repr(CrossEntropy([0, -1, 2])) == "CrossEntropy(labels: 3, from: 0, to: 2, missing: 1)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SquaredError([[np.nan, np.nan]]), "no stimulus has both an observed target"),
        (lambda: CrossEntropy([-1, -1]), "no stimulus has both an observed target"),
        (lambda: AutogradLoss(masked_error, [[np.nan]]), "no stimulus has both an observed target"),
        (lambda: SquaredError([1.0, 2.0]), r"targets have shape \(2,\); pass one row for each stimulus"),
        (lambda: SquaredError([[1.0, np.inf]]).check(1, 2), "row 0 of the targets holds infinity; repair it, or mark"),
        (lambda: SquaredError([[np.nan, 0.0], [-np.inf, np.nan]]).check(2, 2), "row 1 of the targets holds infinity"),
        (lambda: SquaredError(np.ones((2, 2)), units=[0, 0]), "different indices of 0 or more, or a mask"),
        (lambda: SquaredError(np.ones((2, 2)), units=[0, -1]), "different indices of 0 or more, or a mask"),
        (lambda: SquaredError(np.ones((2, 2)), units=[0.0, 1.0]), "different indices of 0 or more, or a mask"),
        (lambda: SquaredError(np.ones((2, 2)), units=[0, 3]).check(2, 3), "do not fit 3 outputs: the largest is 3"),
        (lambda: SquaredError(np.ones((2, 1)), units=[True, False]).check(2, 3), "of 2; pass .* a mask with 3 entries"),
        (lambda: SquaredError(np.ones((2, 2)), units=[0]).check(2, 3), r"outputs \(2, 3\), of which 1 have targets; make"),
        (lambda: CrossEntropy([-1, 1, 1]), "labels are -1 and 1 only, .*number the classes from 0"),
        (lambda: CrossEntropy([0, -2]).check(2, 2), "label -2 of stimulus 1 .*, or -1 for a missing label"),
        (lambda: CrossEntropy([0.0, np.nan]), "pass one integer a stimulus, and -1 where the label is missing"),
    ],
)
def test_targets_that_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_function_that_masks_too_late_is_named():
    loss, outputs = AutogradLoss(late_masked_error, np.array([[1.0, 2.0], [np.nan, 1.0]])), np.zeros((2, 2))
    np.testing.assert_allclose(loss.value(outputs), [2.5, 0.5])
    with pytest.raises(ValueError, match=r"derivative is NaN for stimulus 1, whose targets hold NaN; replace the NaN before"):
        loss.gradient(outputs)
    with pytest.raises(ValueError, match="loss or its derivative is NaN for stimulus 1"):
        AutogradLoss(lambda y, t: anp.sum(y - t, axis=1), loss.targets).value(outputs)


def test_a_batch_of_stimuli_without_targets():
    targets = np.array([[1.0, 2.0], [np.nan, np.nan]])
    outputs = np.ones((1, 2))
    for loss in (SquaredError(targets), AutogradLoss(masked_error, targets), CrossEntropy([0, -1])):
        part = loss.take(np.array([1]))
        np.testing.assert_array_equal(part.value(outputs), [0])
        np.testing.assert_array_equal(part.gradient(outputs), 0 * outputs)
        np.testing.assert_array_equal(part.hessian(outputs, outputs), 0 * outputs)
        np.testing.assert_array_equal(part.shares(np.array([True]), np.float64), [0])


def test_a_function_never_sees_a_stimulus_without_targets(generator):
    """A function without any treatment of missing targets then has the right derivatives."""
    targets, outputs = generator.standard_normal((4, 2)), generator.standard_normal((4, 2))
    targets[[0, 2]] = np.nan
    loss = AutogradLoss(lambda y, t: anp.sum((y - t) ** 4, axis=1), targets)
    expected = AutogradLoss(lambda y, t: anp.sum((y - t) ** 4, axis=1), targets[[1, 3]])
    for call in (lambda one, y: one.value(y), lambda one, y: one.gradient(y), lambda one, y: one.hessian(y, y)):
        np.testing.assert_array_equal(call(loss, outputs)[[1, 3]], call(expected, outputs[[1, 3]]))
        assert not call(loss, outputs)[[0, 2]].any()
