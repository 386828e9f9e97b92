"""Stability with a time constant for each unit, against all eigenvalues of T⁻¹ (−I + G W)."""

import array_api_strict as strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from riemannrnn import LowRank, solve_fixed_points
from riemannrnn.equilibrium import certificate, stability
from riemannrnn.equilibrium.certificate import abscissa_bound, check_margin, not_stable
from riemannrnn.equilibrium.stability import spectral_abscissa, survey_stability, unstable_stimuli
from riemannrnn.network import Dense
from riemannrnn.network.low_rank import LowRankOperator

TIMES = ["equal", "two groups", "three groups", "all different", "one slow unit"]


def times_of(kind, n, generator):
    """Return time constants, in a unit of time in which they are not of order 1."""
    levels = {"equal": [3.0], "two groups": [1.0, 4.0], "three groups": [0.5, 1.0, 7.0]}
    slow = np.where(np.arange(n) == n // 2, 30.0, 1.0)
    if kind in levels:
        return 0.02 * generator.choice(levels[kind], n)
    return 0.02 * (slow if kind == "one slow unit" else generator.uniform(0.3, 9, n))


def problem(connectivity, n, seed, dtype=np.float64, batch=4):
    """Return an operator, its matrix, and gains, some of which are 0."""
    generator = np.random.default_rng(seed)
    gains = (generator.random((batch, n)) * (generator.random((batch, n)) < 0.9)).astype(dtype)
    if connectivity == "low rank":
        k = int(generator.integers(1, min(n, 4) + 1))
        point = generator.standard_normal((n, k)), 2 * generator.random(k) / n**0.5, generator.standard_normal((k, n))
        point = tuple(part.astype(dtype) for part in point)
        return LowRank(k).bind(point), (point[0] * point[1]) @ point[2], gains, generator
    weights = 1.5 * generator.standard_normal((n, n)) / n**0.5
    weights = (weights + weights.T) / 2 if connectivity == "symmetric" else weights
    return Dense().bind(weights.astype(dtype)), weights.astype(dtype), gains, generator


def every_abscissa(weights, gains, times):
    jacobians = (gains.astype(float)[:, :, None] * weights.astype(float) - np.eye(len(weights))) / times[:, None]
    return np.linalg.eigvals(jacobians).real.max(axis=1)


networks = (
    st.sampled_from(["dense", "symmetric", "low rank"]),
    st.integers(1, 60),
    st.sampled_from(TIMES),
    st.integers(0, 10**6),
)


@settings(max_examples=60, deadline=None)
@given(*networks, st.sampled_from([np.float32, np.float64]))
def test_all_eigenvalues(connectivity, n, kind, seed, dtype):
    operator, weights, gains, generator = problem(connectivity, n, seed, dtype)
    times = times_of(kind, n, generator)
    every, unit = every_abscissa(weights, gains, times), 1 / times.min()
    error = (5e-3 if dtype == np.float32 else 1e-7) * unit
    for each in (operator, operator.transpose):
        expected = every if each is operator else every_abscissa(weights.T, gains, times)
        found = spectral_abscissa(each, gains, times)
        assert found.dtype == dtype
        assert_allclose(found, expected, atol=error)
    assert survey_stability(operator, gains, times)[0] == pytest.approx(every.max(), abs=error)
    for limit in (0.0, -0.3 / times.max()):
        clear = np.abs(every - limit) > error
        for find in (unstable_stimuli, lambda operator, gains, limit, times: not_stable(operator, gains, -limit, times)):
            worst, rows = find(operator, gains, limit, times)
            assert_array_equal(np.isin(np.arange(len(gains)), rows)[clear], every[clear] >= limit)
            assert worst >= every.max() - error
    bound = abscissa_bound(operator, gains, times)
    assert bound >= every.max() - error
    if connectivity == "symmetric" and kind == "equal":
        assert bound <= max(abscissa_bound(operator, np.max(gains, axis=0, keepdims=True), times), -1 / times.max()) + error


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(["dense", "low rank"]), st.integers(65, 90), st.sampled_from(TIMES), st.integers(0, 10**6))
def test_krylov_spaces(connectivity, n, kind, seed):
    operator, weights, gains, generator = problem(connectivity, n, seed, batch=6)
    times = times_of(kind, n, generator)
    every, error = every_abscissa(weights, gains, times), 1e-6 / times.min()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stability, "DENSE_LIMIT", 0)
        assert_allclose(spectral_abscissa(operator, gains, times), every, atol=error)
        assert survey_stability(operator, gains, times)[0] == pytest.approx(every.max(), abs=error)
        _, rows = unstable_stimuli(operator, gains, -0.2 / times.max(), times)
    clear = np.abs(every + 0.2 / times.max()) > error
    assert_array_equal(np.isin(np.arange(6), rows)[clear], every[clear] >= -0.2 / times.max())


def test_all_eigenvalues_are_rarely_needed(monkeypatch):
    operator, weights, gains, generator = problem("dense", 100, 0, batch=30)
    times, left, dense = times_of("all different", 100, generator), [], stability._dense
    monkeypatch.setattr(stability, "DENSE_LIMIT", 0)
    monkeypatch.setattr(stability, "_dense", lambda rest: left.append(len(rest)) or dense(rest))
    assert_allclose(spectral_abscissa(operator, gains, times), every_abscissa(weights, gains, times), atol=1e-6 / times.min())
    assert sum(left) <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_time_constants_are_a_unit_of_time(dtype):
    operator, _, gains, _ = problem("dense", 12, 0, dtype)
    plain = spectral_abscissa(operator, gains)
    assert_array_equal(spectral_abscissa(operator, gains, np.ones(12)), plain)
    assert_array_equal(spectral_abscissa(operator, gains, [4] * 12), plain / 4)
    assert survey_stability(operator, gains, np.full(12, 0.5))[0] == pytest.approx(2 * plain.max(), rel=1e-6)


def test_low_rank_needs_no_matrix_for_a_few_groups(monkeypatch):
    operator, weights, gains, generator = problem("low rank", 40, 3)
    monkeypatch.setattr(LowRankOperator, "matrix", property(lambda self: pytest.fail("all entries of W were computed")))
    for kind in ("equal", "two groups", "three groups"):
        times = times_of(kind, 40, generator)
        assert_allclose(spectral_abscissa(operator, gains, times), every_abscissa(weights, gains, times), atol=1e-9)


def test_a_group_smaller_than_the_rank(generator):
    """The eigenvalue of this group in the reduced matrices would be one that the network does not have."""
    point = np.eye(6)[:, :2], np.array([-3.0, -3.0]), np.eye(6)[:2]
    times = np.array([5.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    found = spectral_abscissa(LowRank(2).bind(point), np.ones((1, 6)), times)
    assert_allclose(found, -0.8)  # for the unit with the time constant 5: (−1 − 3) / 5
    assert_allclose(found, every_abscissa(point[0] * point[1] @ point[2], np.ones((1, 6)), times))


def test_the_bound_spares_eigenvalues(monkeypatch):
    asked = []
    monkeypatch.setattr(certificate, "unstable_stimuli", lambda *arguments: asked.append(1) or (0.0, np.arange(0)))
    operator, gains, times = Dense().bind(0.5 * np.eye(3)), np.ones((2, 3)), np.array([0.1, 1.0, 10.0])
    worst, rows = not_stable(operator, gains, 0.049, times)
    assert (worst, len(rows), asked) == (pytest.approx(-0.05), 0, [])
    not_stable(operator, gains, 0.051, times)
    assert asked == [1]
    assert abscissa_bound(Dense().bind(3 * np.eye(3)), gains, times) == pytest.approx(20)
    assert np.isnan(abscissa_bound(operator, -gains, times))


def test_of_the_dynamics(generator):
    """Compares with the Jacobian of the velocities by finite differences, at fixed points of a network."""
    weights, drive = 1.2 * generator.standard_normal((9, 9)) / 3, generator.standard_normal((5, 9))
    times, found = generator.uniform(0.01, 0.2, 9), solve_fixed_points(weights, drive, solver="newton")
    h = 1e-6
    for rates, x, abscissa in zip(found.rates, drive, found.stability(times), strict=True):
        moved = rates + h * np.concatenate([np.eye(9), -np.eye(9)])
        velocity = (-moved + np.tanh(moved @ weights.T + x)) / times
        jacobian = (velocity[:9] - velocity[9:]).T / (2 * h)
        assert abscissa == pytest.approx(np.linalg.eigvals(jacobian).real.max(), rel=1e-5)
    lost = solve_fixed_points(weights, np.where(np.arange(5)[:, None] == 1, np.nan, drive), on_failure="mask")
    assert_array_equal(np.isnan(lost.stability(times)), np.arange(5) == 1)


@pytest.mark.parametrize("connectivity", ["dense", "low rank"])
def test_on_strict_arrays(connectivity, monkeypatch):
    operator, weights, gains, generator = problem(connectivity, 70, 1)
    there = type(operator)(
        tuple(map(strict.asarray, operator.parameters)) if connectivity == "low rank" else strict.asarray(weights)
    )
    monkeypatch.setattr(stability, "DENSE_LIMIT", 0)
    for kind in TIMES:
        times = times_of(kind, 70, generator)
        every = every_abscissa(weights, gains, times)
        for given_times in (strict.asarray(times), times.tolist()):
            found = spectral_abscissa(there, strict.asarray(gains), given_times)
            assert_allclose(np.asarray(found), every, atol=1e-6 / times.min())
        _, rows = not_stable(there, strict.asarray(gains), 0.0, strict.asarray(times))
        assert_array_equal(np.asarray(rows), np.flatnonzero(every >= 0))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.floats(0, 5), st.floats(0, 20), st.floats(0, 3), st.integers(0, 10**6))
def test_diagonally_stable_weights_are_stable_for_all_time_constants(n, spread, skew, decades, seed):
    """I − W = E (S + K), any gains in [0, 1], and time constants over up to six decades."""
    generator = np.random.default_rng(seed)
    factor, K = generator.standard_normal((2, n, n)) / n**0.5
    M = factor @ factor.T + 0.1 * np.eye(n) + skew * (K - K.T)
    weights = np.eye(n) - np.exp(spread * generator.uniform(-1, 1, n))[:, None] * M
    gains = generator.random((5, n)) * (generator.random((5, n)) < 0.8)
    gains[0] = 1
    times = 10 ** generator.uniform(-decades, decades, n)
    jacobians = (gains[:, :, None] * weights - np.eye(n)) / times[:, None]
    rounding = 1e-13 * np.linalg.norm(jacobians, axis=(1, 2))
    assert (np.linalg.eigvals(jacobians).real.max(axis=1) < rounding).all()
    found = spectral_abscissa(Dense().bind(weights), gains, times)
    assert (found < rounding + 1e-13 / times.min()).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.floats(0, 20), st.floats(0, 3), st.integers(0, 10**6))
def test_monotone_weights_keep_a_rate_for_all_time_constants(n, skew, decades, seed):
    """The bound (λ − 1) / max τ with λ = max(λ_max(sym W), 0) holds for all gains in [0, 1]."""
    generator = np.random.default_rng(seed)
    factor, K = generator.standard_normal((2, n, n)) / n**0.5
    weights = np.eye(n) - (factor @ factor.T + 0.1 * np.eye(n) + skew * (K - K.T))
    rate = 1 - max(np.linalg.eigvalsh((weights + weights.T) / 2)[-1], 0.0)
    times, gains = 10 ** generator.uniform(-decades, decades, n), generator.random((5, n))
    bound = abscissa_bound(Dense().bind(weights), gains, times)
    assert bound <= -rate / times.max() * (1 - 1e-12)
    norms = np.linalg.norm((gains[:, :, None] * weights - np.eye(n)) / times[:, None], axis=(1, 2))
    assert (every_abscissa(weights, gains, times) <= bound + 1e-13 * norms).all()


def test_other_weights_may_lose_stability():
    """An excitatory and an inhibitory unit: stable with equal time constants, but not with slow inhibition."""
    weights, gains = np.array([[1.5, -1.0], [1.0, 0.0]]), np.ones((1, 2))
    assert spectral_abscissa(Dense().bind(weights), gains)[0] == pytest.approx(-0.25)
    assert spectral_abscissa(Dense().bind(weights), gains, [1.0, 4.0])[0] > 0.1
    assert np.linalg.eigvalsh(np.eye(2) - (weights + weights.T) / 2)[0] < 0


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1.0, 2.0], r"the time constants have shape \(2,\), but there are 3 units; pass one time constant for each unit"),
        (2.0, r"the time constants have shape \(\), but there are 3 units"),
        ([1.0, 0.0, 1.0], r"the time constant 0\.0 of unit 1 is not positive and finite; pass times above 0"),
        ([1.0, 1.0, -2.0], r"the time constant -2\.0 of unit 2"),
        ([np.nan, 1.0, 1.0], "the time constant nan of unit 0"),
        ([1.0, np.inf, 1.0], "the time constant inf of unit 1"),
        (strict.ones(3), "time constants of "),
    ],
)
def test_invalid_time_constants(times, message):
    operator, gains = Dense().bind(np.eye(3)), np.ones((1, 3))
    for call in (spectral_abscissa, survey_stability, abscissa_bound):
        with pytest.raises(ValueError, match=message):
            call(operator, gains, time_constants=times)


def test_margins_are_below_the_rate_of_the_slowest_unit():
    check_margin("stable", 4.9, slowest=0.2)
    check_margin("stable", None, slowest=0.2)
    with pytest.raises(ValueError, match=r"stable = 5\.0 is outside \[0, 5\): .* choose a small margin such as 0\.05"):
        check_margin("stable", 5.0, slowest=0.2)
