"""The spectral abscissa and its survey, against all eigenvalues of all stimuli."""

import array_api_strict as strict
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from manifolds.linear_algebra import inverse_by_blocks
from riemannrnn.equilibrium import arnoldi, stability
from riemannrnn.equilibrium.stability import spectral_abscissa, survey_stability, unstable_stimuli
from riemannrnn.network import Dense

KINDS = ["disc", "outlier", "inhibition", "rotation", "feedforward"]


def problem(kind, radius, units, batch, seed=0, dtype=np.float64):
    generator = np.random.default_rng(seed)
    weights = radius * generator.standard_normal((units, units)) / units**0.5
    direction = np.outer(weights[0], weights[0]) / max(weights[0] @ weights[0], 1e-300)
    if kind == "outlier":  # one direction decides
        weights += 2.2 * direction
    if kind == "inhibition":
        weights -= 30 * direction
    if kind == "rotation":  # the rightmost eigenvalues are far from the real axis
        half = units // 2
        weights[:half, half : 2 * half] += 3 * np.eye(half)
        weights[half : 2 * half, :half] -= 3 * np.eye(half)
    if kind == "feedforward":  # far from normal
        weights += np.diag(np.full(units - 1, 2.0), 1)
    gains = generator.uniform(0.2, 1.0, (batch, units)) * generator.uniform(0.5, 1.0, (batch, 1))
    return weights.astype(dtype), gains.astype(dtype)


def every_abscissa(weights, gains):
    return np.linalg.eigvals(gains.astype(float)[:, :, None] * weights.astype(float)).real.max(axis=1) - 1


@pytest.mark.parametrize("units", [3, 60, 90])
@pytest.mark.parametrize("radius", [0.3, 0.9, 1.3])
@pytest.mark.parametrize("kind", KINDS)
def test_survey_finds_the_worst_and_counts_the_unstable(units, radius, kind):
    weights, gains = problem(kind, radius, units, 80, seed=units)
    every = every_abscissa(weights, gains)
    worst, unstable = survey_stability(Dense().bind(weights), gains)
    assert_allclose(worst, every.max(), atol=1e-8)
    assert unstable == np.count_nonzero(every >= 0)
    if kind == "outlier" and units == 90 and radius == 0.3:
        assert 0 < unstable < 80


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.floats(0, 3), st.integers(65, 100), st.integers(1, 40), st.integers(0, 10**6))
@example("disc", 1.1125369292536007e-308, 65, 1, 0)  # the reciprocal of a Krylov vector overflows
def test_survey_of_any_network(kind, radius, units, batch, seed):
    weights, gains = problem(kind, radius, units, batch, seed)
    every = every_abscissa(weights, gains)
    worst, unstable = survey_stability(Dense().bind(weights), gains)
    assert_allclose(worst, every.max(), atol=1e-6)
    # If an abscissa is 0 up to rounding, either count is right.
    assert np.count_nonzero(every >= 1e-6) <= unstable <= np.count_nonzero(every >= -1e-6)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.floats(0.5, 3), st.floats(-0.8, 0.2), st.integers(65, 100), st.integers(0, 10**6))
def test_unstable_stimuli_are_those_beyond_the_limit(kind, radius, limit, units, seed):
    weights, gains = problem(kind, radius, units, 30, seed)
    every = every_abscissa(weights, gains)
    _, rows = unstable_stimuli(Dense().bind(weights), gains, limit)
    found = np.isin(np.arange(30), rows)
    clear = np.abs(every - limit) > 1e-6  # otherwise either result is right
    np.testing.assert_array_equal(found[clear], every[clear] >= limit)


def test_stimuli_far_from_the_limit_need_no_more_digits(monkeypatch):
    """Short Krylov spaces leave errors that are small compared with the distance from the limit."""
    weights, gains = problem("feedforward", 0.9, 100, 60)
    every = every_abscissa(weights, gains)
    monkeypatch.setattr(stability, "DENSE_LIMIT", 0)
    monkeypatch.setattr(arnoldi, "SHIFTED_STEPS", 12)
    left = []
    dense = stability._dense
    monkeypatch.setattr(stability, "_dense", lambda rest: left.append(len(rest)) or dense(rest))
    limit = every.max() + 0.1
    _, rows = unstable_stimuli(Dense().bind(weights), gains, limit)
    assert len(rows) == 0
    assert sum(left) == 0
    assert spectral_abscissa(Dense().bind(weights), gains).max() == pytest.approx(every.max(), abs=1e-6)
    assert sum(left) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_survey_puts_the_edge_between_any_two_stimuli(kind):
    """Weights are scaled so that half of the stimuli are just stable and half are just unstable."""
    weights, gains = problem(kind, 0.9, 120, 60)
    rightmost = np.sort(every_abscissa(weights, gains)) + 1
    weights = weights / (rightmost[29:31].mean())
    assert survey_stability(Dense().bind(weights), gains)[1] == 30


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 1e-4), (np.float64, 1e-8)])
@pytest.mark.parametrize("batch", [0, 1, 2, 130])
@pytest.mark.parametrize("kind", KINDS)
def test_abscissa_without_all_eigenvalues(kind, batch, dtype, error, monkeypatch):
    weights, gains = problem(kind, 1.1, 90, batch, dtype=dtype)
    expected = every_abscissa(weights, gains)
    monkeypatch.setattr(stability, "DENSE_LIMIT", 0)
    found = spectral_abscissa(Dense().bind(weights), gains)
    assert found.dtype == dtype
    assert_allclose(found, expected, atol=error)


@pytest.mark.parametrize("batch", [1, 20])
def test_abscissa_on_strict_arrays(batch, monkeypatch):
    weights, gains = problem("disc", 1.1, 70, batch)
    monkeypatch.setattr(stability, "DENSE_LIMIT", 0)
    there = strict.asarray(weights), strict.asarray(gains)
    assert_allclose(np.asarray(spectral_abscissa(Dense().bind(there[0]), there[1])), every_abscissa(weights, gains), atol=1e-8)
    assert survey_stability(Dense().bind(there[0]), there[1]) == pytest.approx(survey_stability(Dense().bind(weights), gains))


@pytest.mark.parametrize("units", [1, 2, 5, 30, 70])
def test_abscissa_of_small_and_of_silent_networks(units, monkeypatch):
    weights, gains = problem("disc", 1.1, units, 3)
    gains[1] = 0
    monkeypatch.setattr(stability, "DENSE_LIMIT", 0)
    monkeypatch.setattr(stability, "SURVEY_DENSE_LIMIT", 0)
    assert_allclose(spectral_abscissa(Dense().bind(weights), gains), every_abscissa(weights, gains), atol=1e-9)
    assert_allclose(survey_stability(Dense().bind(weights), gains)[0], every_abscissa(weights, gains).max(), atol=1e-9)
    assert survey_stability(Dense().bind(weights), 0 * gains) == (-1.0, 0)


def test_all_eigenvalues_are_rarely_needed(monkeypatch):
    weights, gains = problem("disc", 1.1, 100, 50)
    monkeypatch.setattr(stability, "DENSE_LIMIT", 0)
    left = []
    dense = stability._dense
    monkeypatch.setattr(stability, "_dense", lambda rest: left.append(len(rest)) or dense(rest))
    survey_stability(Dense().bind(weights), gains)
    assert sum(left) <= 1


def test_inverses_of_a_stack(generator):
    stack = np.eye(75) - 0.5 * generator.standard_normal((3, 75, 75)) / 75**0.5
    assert_allclose(inverse_by_blocks(stack, smallest=arnoldi.LEAF), np.linalg.inv(stack), atol=1e-12)


@pytest.mark.parametrize("fault", ["singular", "inaccurate"])
def test_a_bad_inverse_costs_time_but_no_accuracy(fault, monkeypatch):
    weights, gains = problem("disc", 1.1, 90, 4)

    def bad(stack, **_):
        if fault == "singular":
            raise np.linalg.LinAlgError
        return np.linalg.inv(stack) + 0.1

    monkeypatch.setattr(arnoldi, "inverse_by_blocks", bad)
    monkeypatch.setattr(stability, "DENSE_LIMIT", 0)
    assert_allclose(spectral_abscissa(Dense().bind(weights), gains), every_abscissa(weights, gains), atol=1e-9)


def test_the_worst_is_found_if_the_screening_does_not_decide(monkeypatch):
    """The estimates are in reverse order, and all signs are decided."""
    weights, gains = problem("disc", 0.5, 70, 80)
    every = every_abscissa(weights, gains)
    misled = np.stack([-every, np.full(80, -10.0), np.full(80, 0.99)])
    monkeypatch.setattr(stability, "_screen", lambda *_: misled)
    worst, unstable = survey_stability(Dense().bind(weights), gains)
    assert (worst, unstable) == (pytest.approx(every.max(), abs=1e-8), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_of_the_screening_hold_the_eigenvalue(kind):
    weights, gains = problem(kind, 1.1, 120, 60, seed=2)
    _, lower, upper = arnoldi.plain(lambda vectors: gains * (vectors @ weights.T), gains)
    rightmost = every_abscissa(weights, gains) + 1
    assert (lower - 1e-9 <= rightmost).all()
    assert (rightmost <= upper + 1e-9).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("values", [[0.5, 1.25, -2.0], [-3.0, -0.75, -2.0]])
def test_three_steps_are_all_there_is(dtype, values):
    """The Krylov space is complete; its remaining dimensions must not add an eigenvalue 0."""
    weights, gains = np.diag(np.repeat(values, 30)).astype(dtype), np.ones((3, 90), dtype)
    estimate, lower, upper = arnoldi.plain(lambda vectors: gains * (vectors @ weights.T), gains)
    assert_allclose(estimate, max(values), rtol=1e-5)
    assert_allclose(lower, upper)


def test_many_units_of_few_eigenvalues_all_negative():
    n = 300
    gains = np.ones((2, n))
    for weights, rightmost in ((-np.eye(n), -1.0), (-np.eye(n) / 2 - np.ones((n, n)) / n, -0.5)):
        assert_allclose(spectral_abscissa(Dense().bind(weights), gains), rightmost - 1)
        assert_allclose(survey_stability(Dense().bind(weights), gains)[0], rightmost - 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_jordan_block_is_left_to_all_eigenvalues(dtype):
    """Its Ritz pairs have tiny residuals far from its only eigenvalue, 0."""
    weights = np.diag(np.full(89, 2.0), 1).astype(dtype)
    assert survey_stability(Dense().bind(weights), np.full((3, 90), 0.7, dtype)) == (-1.0, 0)


def test_eigenvalues_left_of_the_screening_are_rejected(monkeypatch):
    weights, gains = problem("outlier", 0.5, 90, 4)
    monkeypatch.setattr(stability, "DENSE_LIMIT", 0)
    monkeypatch.setattr(stability, "_shifted", lambda rest, shift, margin: np.stack([shift - 1, 0 * shift]))
    assert_allclose(spectral_abscissa(Dense().bind(weights), gains), every_abscissa(weights, gains), atol=1e-9)
