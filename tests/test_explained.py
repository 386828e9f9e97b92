"""Explained variance with missing responses and repeats, against simulations with a known signal."""

import array_api_strict as strict
import numpy as np
import pytest
from sklearn.metrics import r2_score

from riemannrnn.analysis import (
    explainable_variance_explained,
    noise_ceiling,
    noise_power,
    normalized_correlation,
    r_squared,
    signal_power,
)

STIMULI, UNITS, SIGMA = 40, 3000, 0.8
"""Units are independent repetitions of one experiment, so a mean over units estimates an expected value."""


def simulate(repeats="different", seed=0, noise="equal"):
    """Return responses with NaN, the signal of each unit, and the two independent parts whose sum is the signal."""
    generator = np.random.default_rng(seed)
    parts = generator.standard_normal((2, STIMULI, UNITS)) * np.array([1.0, 0.5])[:, None, None]
    signal = parts.sum(axis=0) + 2
    spread = SIGMA if noise == "equal" else SIGMA * np.sqrt(np.abs(signal) / np.abs(signal).mean())
    responses = (
        signal[:, None, :] + generator.standard_normal((STIMULI, 6, UNITS)) * np.broadcast_to(spread, signal.shape)[:, None]
    )
    if repeats == "different":
        numbers = generator.integers(0, 6, (STIMULI, 1, UNITS))
        responses = np.where(np.arange(6)[:, None] < numbers, responses, np.nan)
    return responses, signal, parts[0] + 2


def close(values, expected):
    """Check that the mean over units equals an expected value, within four standard errors."""
    error = values.std() / len(values) ** 0.5
    assert np.mean(values) == pytest.approx(expected, abs=4 * error)
    assert error < 0.02


@pytest.mark.parametrize("noise", ["equal", "grows with the signal"])
@pytest.mark.parametrize("repeats", ["equal", "different"])
def test_power_is_not_biased(repeats, noise):
    responses, signal, _ = simulate(repeats, noise=noise)
    measured = ~np.isnan(responses).all(axis=1)
    true_power = np.array([each[those].var() for each, those in zip(signal.T, measured.T, strict=True)])
    close(noise_power(responses), SIGMA**2)
    close(signal_power(responses) - true_power, 0)


def test_signal_power_of_equal_repeats_agrees_with_sahani_and_linden():
    responses, _, _ = simulate("equal")
    n = responses.shape[1]
    theirs = (n * responses.mean(axis=1).var(axis=0) - responses.var(axis=0).mean(axis=0)) / (n - 1)
    ours = signal_power(responses)
    close(ours - theirs, 0)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.999


@pytest.mark.parametrize("noise", ["equal", "grows with the signal"])
@pytest.mark.parametrize("repeats", ["equal", "different"])
def test_the_true_signal_explains_all_that_can_be_explained(repeats, noise):
    responses, signal, part = simulate(repeats, seed=1, noise=noise)
    ceiling = noise_ceiling(responses)
    assert 0.5 < ceiling.mean() < 0.95
    assert np.mean(r_squared(responses, signal)) == pytest.approx(ceiling.mean(), abs=0.01)
    assert np.mean(explainable_variance_explained(responses, signal)) == pytest.approx(1, abs=0.01)
    assert np.mean(normalized_correlation(responses, signal)) == pytest.approx(1, abs=0.01)
    without_noise = np.where(np.isnan(responses).all(axis=1), np.nan, signal)
    share, correlation = r_squared(without_noise, part), normalized_correlation(without_noise, part, np.zeros(UNITS))
    assert 0.75 < share.mean() < 0.8 < correlation.mean() < 0.9
    assert np.mean(explainable_variance_explained(responses, part) - share) == pytest.approx(0, abs=0.01)
    assert np.mean(normalized_correlation(responses, part) - correlation) == pytest.approx(0, abs=0.01)
    opposite = normalized_correlation(responses, 3 - 5 * part)
    np.testing.assert_allclose(opposite, -normalized_correlation(responses, part), rtol=1e-10)


def test_noise_that_is_estimated_from_other_responses():
    responses, signal, _ = simulate("equal")
    single, known = responses[:, 0, :], np.full(UNITS, SIGMA**2)
    assert np.mean(explainable_variance_explained(single, signal, known)) == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(noise_ceiling(responses, noise_power(responses)), noise_ceiling(responses))


def test_every_unit_by_its_own_measured_stimuli():
    responses, signal, _ = simulate()
    responses[:3, :, 0] = np.nan
    single = responses[:, 1, :]
    for unit in (0, 1, 2):
        those = ~np.isnan(single[:, unit])
        expected = r2_score(single[those, unit], signal[those, unit])
        assert r_squared(single[:, : unit + 1], signal[:, : unit + 1])[unit] == pytest.approx(expected, rel=1e-12)
        means = np.array([np.nanmean(row) if len(row) else np.nan for row in (r[~np.isnan(r)] for r in responses[:, :, unit])])
        those = ~np.isnan(means)
        assert r_squared(responses, signal)[unit] == pytest.approx(r2_score(means[those], signal[those, unit]), rel=1e-12)
        gone = np.where(those[:, None], signal[:, unit : unit + 1], np.nan)  # no prediction is needed without a response
        assert r_squared(responses[:, :, unit : unit + 1], gone)[0] == pytest.approx(r_squared(responses, signal)[unit])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_strict_arrays(dtype):
    responses, signal, part = (each[..., :20].astype(dtype) for each in simulate())
    for measure, predictions in (
        (noise_power, ()),
        (signal_power, ()),
        (noise_ceiling, ()),
        (r_squared, (part,)),
        (explainable_variance_explained, (signal,)),
        (normalized_correlation, (part,)),
    ):
        found = measure(strict.asarray(responses), *map(strict.asarray, predictions))
        assert found.dtype == getattr(strict, dtype)
        expected = measure(responses, *predictions)
        assert expected.dtype == dtype
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4)


def test_units_with_too_little_signal():
    """Never measured, measured once, without variance, never repeated, and only with noise."""
    responses = np.full((4, 2, 5), np.nan)
    responses[0, 0, 1] = 1.0
    responses[..., 2] = 3.0
    responses[:, 0, 3] = [1, 2, 3, 5]
    responses[..., 4] = [[5, -5], [4, -4], [3, -3], [-2, 2.5]]
    predictions = np.arange(20.0).reshape(4, 5)
    np.testing.assert_array_equal(np.isnan(r_squared(responses, predictions)), [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(np.isnan(noise_power(responses)), [1, 1, 0, 1, 0])
    np.testing.assert_array_equal(np.isnan(noise_ceiling(responses)), [1, 1, 1, 1, 0])
    assert noise_ceiling(responses)[4] < 0
    assert signal_power(responses)[4] < 0
    for measure in (explainable_variance_explained, normalized_correlation):
        assert np.isnan(measure(responses, predictions)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: noise_power(y[:, 0]), r"shape \(4, 2\), but noise is estimated from repeats; pass the shape"),
        (lambda y: noise_ceiling(y[:, 0]), "noise is estimated from repeats"),
        (lambda y: noise_ceiling(y, np.ones(3)), r"noise power has shape \(3,\), but there are 2 units"),
        (
            lambda y: r_squared(y, y[:, 0, :1]),
            r"predictions have shape \(4, 1\), but the responses are of 4 stimuli and 2 units",
        ),
        (lambda y: r_squared(y, np.full((4, 2), np.nan)), "some predictions of measured responses are NaN or infinite"),
        (lambda y: r_squared(y[0, 0], y[0, 0]), r"responses have shape \(2,\) and dtype float64"),
        (lambda y: r_squared(y.astype(int), y[:, 0]), "dtype int64; pass floating-point numbers"),
        (lambda y: noise_power(np.where(y > 0, np.inf, y)), "of the responses holds infinity; repair it, or mark"),
        (lambda y: r_squared(y, strict.ones((4, 2))), "predictions of "),
    ],
)
def test_arrays_that_do_not_fit(call, message, generator):
    with pytest.raises(ValueError, match=message):
        call(generator.standard_normal((4, 3, 2)))
