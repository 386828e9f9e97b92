"""Fixed points of a batch: certified for each stimulus separately, with their stability."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riemannrnn import Anderson, FixedPointError, Newton, Picard, RateNetwork, solve_fixed_points
from riemannrnn.equilibrium import spectral_abscissa, stability
from riemannrnn.equilibrium.implicit import Implicit
from riemannrnn.equilibrium.solving import SOLVERS as SOLVERS_BY_NAME
from riemannrnn.network import ACTIVATIONS, Dense

SOLVERS = {
    "auto": "auto",
    "picard": "picard",
    "damped picard": Picard(damping=0.5),
    "anderson": "anderson",
    "long anderson": Anderson(memory=8),
    "newton": "newton",
    "short newton": Newton(max_krylov=3),
}
TOLERANCES = {np.float64: 1e-10, np.float32: 1e-5}
STABLE = 2 * np.array([[0.0, 1.0], [-1.0, 0.0]])
"""Rotation with eigenvalues ±2i: its fixed points are stable, and plain Picard diverges from them."""


def problem(n=8, batch=6, radius=0.5, dtype=np.float64, seed=0):
    generator = np.random.default_rng(seed)
    W = radius * generator.standard_normal((n, n)) / n**0.5
    return W.astype(dtype), (0.5 * generator.standard_normal((batch, n))).astype(dtype)


def test_weights_that_change_in_place_do_not_change_fixed_points():
    W, x = problem()
    fixed_points, adjoints = solve_fixed_points(W, x), Implicit(solve_fixed_points(W, x)).adjoint(x)
    stability = solve_fixed_points(W, x).stability()
    W *= 3
    np.testing.assert_array_equal(fixed_points.stability(), stability)
    np.testing.assert_array_equal(Implicit(fixed_points).adjoint(x), adjoints)


def residual(fixed_points, x, f):
    """Recompute ‖f(W r + x) − r‖ for one stimulus at a time."""
    W = fixed_points.weights
    return np.array([np.linalg.norm(f(W @ r + row) - r) for r, row in zip(fixed_points.rates, x, strict=True)])


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_reach_fixed_points(solver, name, dtype):
    W, x = problem(radius=0.3 if name == "power-law" else 0.6, dtype=dtype)
    f = ACTIVATIONS[name]
    result = solve_fixed_points(W, x, name, solver=SOLVERS[solver])
    assert np.all(result.converged)
    for array in (result.rates, result.gains, result.inputs, result.residual):
        assert array.dtype == dtype
    size = np.linalg.norm(result.rates, axis=1)
    rounding = 8 * np.finfo(dtype).eps * (1 + size)
    np.testing.assert_allclose(result.residual, residual(result, x, f.function), atol=rounding.max(), rtol=0)
    assert np.all(result.residual <= TOLERANCES[dtype] + rounding)
    np.testing.assert_allclose(result.gains, f.derivative(result.inputs, result.rates), atol=100 * TOLERANCES[dtype])
    np.testing.assert_allclose(result.inputs, result.rates @ W.T + x, atol=rounding.max())


def test_linear_fixed_points_agree_with_a_linear_solve():
    W, x = problem()
    expected = np.linalg.solve(np.eye(8) - W, x.T).T
    for solver in SOLVERS.values():
        np.testing.assert_allclose(solve_fixed_points(W, x, "identity", solver=solver).rates, expected, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS_BY_NAME)
@pytest.mark.parametrize("function", [lambda z: z, lambda z: z[...]], ids=["itself", "a view"])
def test_an_activation_may_answer_with_the_memory_of_its_inputs(solver, function):
    """Solvers change rates in place; this must not change the inputs, which may be the caller's stimuli."""
    W, x = problem(n=40, radius=0.4)
    x.flags.writeable = False

    def solved(function):
        activation = replace(ACTIVATIONS["identity"], function=function)
        return solve_fixed_points(W, x, activation, solver=solver)

    result, expected = solved(function), solved(lambda z: z + 0.0)
    np.testing.assert_allclose(result.rates, np.linalg.solve(np.eye(40) - W, x.T).T, atol=1e-9)
    np.testing.assert_array_equal(result.iterations, expected.iterations)


@pytest.mark.parametrize("solver", ["auto", "picard", "anderson", "newton"])
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_one_stimulus_that_fails_harms_no_other(solver, name, bad):
    W, x = problem(radius=0.3 if name == "power-law" else 0.6, batch=24)
    healthy = solve_fixed_points(W, x, name, solver=solver, max_iterations=300)
    x[3] = bad
    result = solve_fixed_points(W, x, name, solver=solver, on_failure="mask", max_iterations=300)
    others = np.arange(24) != 3
    assert np.all(result.converged[others])
    np.testing.assert_allclose(result.rates[others], healthy.rates[others], atol=1e-8)
    if np.isnan(bad):
        assert not result.converged[3]
    if result.converged[3]:  # a bounded activation has a fixed point there
        assert np.all(np.isfinite(result.rates[3]))
    stability = result.stability()
    np.testing.assert_array_equal(np.isnan(stability), ~result.converged)


def blow_up():
    """Two stimuli of a supralinear network; the second has no fixed point."""
    return np.array([[0.5]]), np.array([[0.1], [5.0]])


@pytest.mark.parametrize("solver", ["auto", "picard", "anderson", "newton"])
def test_policies(solver):
    W, x = blow_up()
    options = {"activation": "power-law", "solver": solver, "max_iterations": 200}
    with pytest.raises(FixedPointError, match=r"1 of 2 stimuli .* the first is stimulus 1: .*on_failure='mask'") as caught:
        solve_fixed_points(W, x, **options)
    masked = solve_fixed_points(W, x, on_failure="mask", **options)
    infinite = solve_fixed_points(W, x, on_failure="inf", **options)
    for result in (caught.value.fixed_points, masked, infinite):
        np.testing.assert_array_equal(result.converged, [True, False])
        assert result.rates[0, 0] == pytest.approx((0.5 * result.rates[0, 0] + 0.1) ** 2)
    assert np.isposinf(infinite.rates[1, 0])
    good, bad = masked.status
    assert good.startswith("Converged in ")
    assert good.endswith(".")
    assert bad.startswith(("Diverged within ", "Not converged in "))
    assert np.isnan(masked.stability()[1])


def test_status_gives_the_tolerance_and_the_residual():
    W, x = problem()
    result = solve_fixed_points(W, x, solver="picard", max_iterations=2, on_failure="mask")
    assert not np.any(result.converged)
    assert result.status[0] == (
        f"Not converged in 2 iterations: the residual {result.residual[0]:.1e} is above the tolerance 1.0e-10."
    )
    converged = solve_fixed_points(W, x, solver="picard")
    assert converged.status[1] == (
        f"Converged in {converged.iterations[1]} iterations to a residual of {converged.residual[1]:.1e}."
    )
    assert (converged.solver, converged.tolerance) == ("picard", 1e-10)


def test_picard_iterates_exactly_as_often_as_stated():
    """For one stimulus: the residual after k steps of r ← f(W r + x) is the reported residual of k iterations."""
    W, x = problem(batch=1)
    r = np.tanh(x)
    for count in range(6):
        result = solve_fixed_points(W, x, solver="picard", max_iterations=count, on_failure="mask")
        np.testing.assert_allclose(result.rates, r, rtol=1e-13)
        assert result.iterations[0] == count
        r = np.tanh(r @ W.T + x)


@pytest.mark.parametrize("solver", ["auto", "picard", "anderson", "newton"])
def test_warm_starts_need_no_iterations(solver):
    W, x = problem()
    cold = solve_fixed_points(W, x, solver=solver)
    warm = solve_fixed_points(W, x, solver=solver, initial_rates=cold.rates)
    assert np.all(warm.iterations == 0)
    assert np.all(cold.iterations > 0)
    np.testing.assert_array_equal(warm.rates, cold.rates)


def test_damping_reaches_stable_fixed_points_that_plain_picard_does_not():
    x = np.array([[0.1, 0.2]])
    with pytest.raises(FixedPointError):
        solve_fixed_points(STABLE, x, "identity", solver="picard")
    damped = solve_fixed_points(STABLE, x, "identity", solver=Picard(damping=0.2))
    np.testing.assert_allclose(damped.rates[0], np.linalg.solve(np.eye(2) - STABLE, x[0]), atol=1e-9)
    assert damped.stability()[0] == pytest.approx(-1)


def test_auto_solves_what_picard_cannot():
    W, x = problem(n=30, radius=1.5, batch=20)
    assert not np.all(solve_fixed_points(W, x, solver="picard", on_failure="mask", max_iterations=200).converged)
    assert np.all(solve_fixed_points(W, x).converged)


def test_the_history_of_a_row_may_underflow():
    """In float32 the squares of a small row's differences underflow while the other rows still iterate."""
    for seed in (11, 18, 25, 29):
        generator = np.random.default_rng(seed)
        W = (0.97 * generator.standard_normal((12, 12)) / 12**0.5).astype(np.float32)
        x = generator.standard_normal((40, 12)).astype(np.float32)
        x[0] *= 1e-18
        x[1] *= 1e-12
        x[2] = 1e-21 * np.eye(12)[0]
        result = solve_fixed_points(W, x, solver="anderson", max_iterations=300, on_failure="mask")
        assert np.all(result.converged[:3])


def test_a_tolerance_below_rounding_is_met_at_rounding():
    W, x = problem()
    result = solve_fixed_points(W, x, tolerance=0.0)
    assert np.all(result.converged)
    assert np.all(result.residual <= 4 * np.finfo(float).eps * np.linalg.norm(result.rates, axis=1))


def test_stability_by_hand():
    """f = tanh, W = 2, x = 0: the abscissa is −1 + 2 at r = 0, and −1 + 2 (1 − r²) at the other fixed points."""
    W, x = np.array([[2.0]]), np.zeros((3, 1))
    start = np.array([[0.0], [0.9], [-0.9]])
    result = solve_fixed_points(W, x, solver="newton", initial_rates=start)
    r = result.rates[1, 0]
    assert r == pytest.approx(np.tanh(2 * r), abs=1e-9)
    np.testing.assert_allclose(result.rates[:, 0], [0, r, -r], atol=1e-9)
    np.testing.assert_allclose(result.stability(), [1, *2 * [2 * (1 - r**2) - 1]], atol=1e-8)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_stability_dense_and_arpack_are_the_eigenvalues(dtype, monkeypatch):
    W, x = problem(n=20, radius=1.2, batch=5, dtype=dtype)
    result = solve_fixed_points(W, x, on_failure="mask")
    gains = np.asarray(result.gains, float)
    by_hand = [np.linalg.eigvals(np.diag(g) @ W - np.eye(20)).real.max() for g in gains]
    rounding = 100 * np.finfo(dtype).eps
    dense = spectral_abscissa(Dense().bind(W), result.gains)
    monkeypatch.setattr(stability, "DENSE_LIMIT", 1)
    krylov = spectral_abscissa(Dense().bind(W), result.gains)
    for found in (dense, krylov):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, by_hand, atol=rounding)


def test_arpack_does_not_settle_on_the_second_eigenvalue():
    """Uses weights for which ARPACK, asked only for the rightmost eigenvalue, returns another one."""
    generator = np.random.default_rng(59)
    W = 1.2 * generator.standard_normal((260, 260)) / 260**0.5
    gains = generator.uniform(0.2, 1, 260)
    expected = np.linalg.eigvals(gains[:, None] * W).real.max() - 1
    assert spectral_abscissa(Dense().bind(W), gains[None, :])[0] == pytest.approx(expected, abs=1e-9)


def test_silent_units_are_stable_beyond_the_dense_limit(monkeypatch):
    monkeypatch.setattr(stability, "DENSE_LIMIT", 1)
    W, x = problem(n=5)
    result = solve_fixed_points(W, -10 - np.abs(x[:, :5]), "relu")
    np.testing.assert_array_equal(result.rates, 0)
    np.testing.assert_allclose(result.stability(), -1)


def test_a_network_solves_for_its_own_drive(generator):
    network = RateNetwork(7, 3, 2, seed=0)
    W, stimuli = network.initial_weights(0.5), generator.standard_normal((4, 3))
    result = network.fixed_points(W, stimuli, solver="newton")
    expected = solve_fixed_points(W, stimuli @ network.input_weights.T, "tanh", solver="newton")
    np.testing.assert_array_equal(result.rates, expected.rates)
    np.testing.assert_array_equal(network.outputs(result.rates), result.rates @ network.readout.T)
    np.testing.assert_array_equal(W, RateNetwork(7, 3, 2, seed=0).initial_weights(0.5))
    assert not np.any(RateNetwork(7, 3, 2, seed=1).initial_weights(0.5) == W)
    assert RateNetwork(7, 3, 2, seed=0, dtype=np.float32).initial_weights().dtype == np.float32


def test_the_radius_of_initial_weights():
    for radius in (0.3, 1.0):
        W = RateNetwork(200, seed=0).initial_weights(radius)
        assert np.abs(np.linalg.eigvals(W)).max() == pytest.approx(radius, rel=0.15)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 12),
    batch=st.integers(1, 9),
    dtype=st.sampled_from(list(TOLERANCES)),
    radius=st.floats(0, 3),
    name=st.sampled_from(sorted(ACTIVATIONS)),
    solver=st.sampled_from(list(SOLVERS)),
    seed=st.integers(0, 2**31),
)
def test_certified_errors_are_within_their_bounds(n, batch, dtype, radius, name, solver, seed):
    W, x = problem(n, batch, radius, dtype, seed)
    before = W.copy(), x.copy()
    result = solve_fixed_points(W, x, name, solver=SOLVERS[solver], max_iterations=150, on_failure="mask")
    np.testing.assert_array_equal(W, before[0])
    np.testing.assert_array_equal(x, before[1])
    assert result.rates.shape == (batch, n)
    assert result.converged.shape == result.iterations.shape == result.residual.shape == (batch,)
    assert np.all((result.iterations >= 0) & (result.iterations <= 150))
    good = result.converged
    f = ACTIVATIONS[name].function
    honest = np.array([np.linalg.norm(f(W @ r + row) - r) for r, row in zip(result.rates[good], x[good], strict=True)])
    size = np.linalg.norm(result.rates[good], axis=1)
    cushion = 8 * np.finfo(dtype).eps * (1 + size) * (1 + np.linalg.norm(W))
    assert np.all(honest <= TOLERANCES[dtype] + cushion)
    abscissa = result.stability()
    np.testing.assert_array_equal(np.isnan(abscissa), ~good)
    assert len(result.status) == batch
    if radius == 0:
        assert np.all(good)
