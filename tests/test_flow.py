"""If there are several fixed points, the dynamics determine which is found, independently of the rest of the batch."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from riemannrnn import runtime
from riemannrnn.equilibrium import Picard, solve_fixed_points
from riemannrnn.equilibrium.iteration import iterate_rows
from riemannrnn.network import ACTIVATIONS

TWO = np.array([[2.0]])
"""r = tanh(2 r) has the stable solutions ±.9575, and the unstable solution 0."""


def multistable(seed, n=12, radius=2.2, rows=6, dtype=np.float64):
    generator = np.random.default_rng(seed)
    weights = (radius * generator.standard_normal((n, n)) / n**0.5).astype(dtype)
    return weights, generator.standard_normal((rows, n)).astype(dtype)


@pytest.mark.parametrize("solver", ["auto", "flow"])
@pytest.mark.parametrize("start", [0.5, 1e-3, -0.2, 3.0])
def test_the_dynamics_choose_the_fixed_point(solver, start):
    found = solve_fixed_points(TWO, np.zeros((1, 1)), "tanh", solver=solver, initial_rates=np.array([[start]]))
    assert found.rates[0, 0] == pytest.approx(np.sign(start) * 0.95750402, abs=1e-7)
    assert found.stability()[0] < 0


@pytest.mark.parametrize("solver", ["auto", "flow", "picard", "anderson", "newton"])
def test_a_start_at_a_fixed_point_is_returned_unchanged(solver):
    """Includes an unstable fixed point, and one with a residual just below the tolerance."""
    unstable = solve_fixed_points(TWO, np.zeros((1, 1)), solver=solver, initial_rates=np.zeros((1, 1)))
    assert unstable.rates[0, 0] == 0
    assert unstable.iterations[0] == 0
    weights, drive = multistable(1)
    close = solve_fixed_points(weights, drive, solver="flow", tolerance=1e-12, on_failure="mask")
    rows = close.converged
    start = close.rates[rows] + 1e-11
    again = solve_fixed_points(weights, drive[rows], solver=solver, initial_rates=start, tolerance=1e-9)
    np.testing.assert_array_equal(again.rates, start)


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
def test_the_flow_agrees_with_an_integrator_of_another_library(activation):
    weights, drive = multistable(3, rows=4)
    f = ACTIVATIONS[activation].function
    found = solve_fixed_points(0.6 * weights, drive, activation, solver="flow", on_failure="mask")
    for row in range(4):
        x = drive[row]
        path = solve_ivp(lambda _, r, x=x: f(0.6 * weights @ r + x) - r, (0, 400), f(x), rtol=1e-9, atol=1e-12)
        settled = np.linalg.norm(f(0.6 * weights @ path.y[:, -1] + x) - path.y[:, -1]) < 1e-7
        assert bool(found.converged[row]) == settled
        if settled:
            np.testing.assert_allclose(found.rates[row], path.y[:, -1], atol=1e-6)


def test_rates_that_oscillate_do_not_converge_under_the_flow():
    """Uses two rotating units: the only fixed point, 0, is unstable."""
    weights = np.array([[1.5, -3.0], [3.0, 1.5]])
    found = solve_fixed_points(
        weights, np.zeros((1, 2)), solver="flow", initial_rates=np.full((1, 2), 0.1), on_failure="mask", max_iterations=300
    )
    assert not found.converged[0]


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("seed", range(8))
def test_stable_points_that_relaxation_reaches_are_found(activation, seed):
    """It is found again alone, and in another order."""
    generator = np.random.default_rng([7, seed])
    n, radius = int(generator.integers(1, 40)), generator.uniform(0, 2.2)
    weights, drive = multistable(generator, n, radius)
    with np.errstate(all="ignore"):
        slow = solve_fixed_points(weights, drive, activation, solver=Picard(0.05), max_iterations=20_000, on_failure="mask")
        reached = slow.converged & (np.nan_to_num(slow.stability(), nan=1) < 0)
    found = solve_fixed_points(weights, drive, activation, on_failure="mask")
    assert (found.stability()[reached] < 0).all()
    order = generator.permutation(len(drive))
    permuted = solve_fixed_points(weights, drive[order], activation, on_failure="mask")
    stable = reached[order]
    np.testing.assert_allclose(permuted.rates[stable], found.rates[order][stable], atol=1e-6)
    for row in np.flatnonzero(reached)[:2]:
        alone = solve_fixed_points(weights, drive[row : row + 1], activation)
        np.testing.assert_allclose(alone.rates[0], found.rates[row], atol=1e-6)


def test_no_core_changes_a_fixed_point(monkeypatch):
    """More cores mean more chunks of rows. If the dynamics settle, every chunk gives the same solution of a row."""
    weights, drive = multistable(5, n=20, radius=2.0, rows=400)
    whole = solve_fixed_points(weights, drive, on_failure="mask")
    monkeypatch.setattr(runtime, "WORTHWHILE", 0)
    monkeypatch.setattr(runtime, "cores", lambda: 6)
    parts = solve_fixed_points(weights, drive, on_failure="mask")
    settled = solve_fixed_points(weights, drive, solver="flow", max_iterations=100, on_failure="mask").converged
    assert settled.sum() > 100
    np.testing.assert_allclose(parts.rates[settled], whole.rates[settled], atol=1e-7)


def test_single_precision_stays_single():
    weights, drive = multistable(2, dtype=np.float32)
    found = solve_fixed_points(weights, drive, solver="flow", on_failure="mask")
    assert found.rates.dtype == found.residual.dtype == np.float32
    assert found.converged.any()


@pytest.mark.parametrize(("size", "granted"), [(4e6, True), (1e9, False)])
def test_the_rounding_of_large_weights_is_not_a_failure(size, granted):
    """Two inputs of a unit cancel, so the rounding of W r exceeds the tolerance; up to 10 tolerances are allowed."""
    from riemannrnn.equilibrium.equation import FixedPointEquation
    from riemannrnn.equilibrium.solution import certified
    from riemannrnn.network import Dense
    from riemannrnn.network.activations import as_activation

    second = np.linspace(0.2, 0.6, 50)
    first = second + 0.1 / size  # equal up to rounding
    drive = np.stack(
        [np.arctanh(first) - size * (first.astype(np.longdouble) - second).astype(float), np.arctanh(second)], axis=1
    )
    state = np.stack([np.nextafter(first, 1), second], axis=1)
    weights = np.array([[size, -size], [0.0, 0.0]])
    equation = FixedPointEquation(Dense().bind(weights), drive, as_activation("tanh"))
    found = certified(equation, state, np.zeros(50, int), 1e-10)
    beyond = found.residual > 1.01e-10
    assert beyond.sum() > 20
    assert found.converged[beyond].all() == granted
    assert found.converged[beyond].any() == granted


def test_no_state_is_worse_than_the_start_if_the_iterations_are_exhausted():
    """The plain iteration moves on a circle that is larger than the distance of the start."""
    from riemannrnn.equilibrium.equation import FixedPointEquation
    from riemannrnn.network import Dense
    from riemannrnn.network.activations import as_activation

    equation = FixedPointEquation(Dense().bind(-2 * np.eye(3)), np.zeros((1, 3)), as_activation("tanh"))
    start = np.full((1, 3), 1e-3)
    outcome = iterate_rows(Picard(), equation, start, 1e-12, 50)
    assert not outcome.converged[0]
    np.testing.assert_array_equal(outcome.state, start)
