"""Small problems: a predicted number of plain iterations, and the treatment of rows that they do not solve."""

import array_api_strict
import numpy as np
import pytest

from riemannrnn import solve_fixed_points
from riemannrnn.equilibrium.brief import Brief, brief_iterations
from riemannrnn.equilibrium.equation import FixedPointEquation
from riemannrnn.equilibrium.implicit import Implicit
from riemannrnn.equilibrium.solver import Problem
from riemannrnn.network.activations import as_activation
from riemannrnn.network.dense import Dense, DenseOperator

PLAIN = "auto (plain iteration)"


def network(generator, n=30, batch=20, radius=0.5, dtype=np.float64):
    weights = radius * generator.standard_normal((n, n)) / n**0.5
    return weights.astype(dtype), generator.standard_normal((batch, n)).astype(dtype)


def problem(weights, drive, most=1000):
    return Problem(FixedPointEquation(Dense().bind(weights), drive, as_activation("tanh")), None, 1e-5, most)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("radius", [0.0, 0.3, 0.9])
def test_small_problems_are_solved_by_plain_iteration(generator, radius, dtype):
    weights, drive = network(generator, radius=radius, dtype=dtype)
    found = solve_fixed_points(weights, drive)
    assert found.solver == PLAIN
    assert found.converged.all()
    assert found.rates.dtype == dtype
    expected = solve_fixed_points(weights, drive, solver="newton")
    np.testing.assert_allclose(found.rates, expected.rates, atol=20 * found.tolerance)
    adjoints = Implicit(found).solve_adjoint(drive)
    assert adjoints.solver == PLAIN
    np.testing.assert_allclose(adjoints.state, Implicit(expected, "newton").adjoint(drive), rtol=1e-4, atol=1e-4)


def test_the_number_of_products_is_close_to_a_plain_loop(generator, monkeypatch):
    weights, drive = network(generator, radius=0.7)
    iterations = int(solve_fixed_points(weights, drive, solver="picard").iterations.max())
    products, apply = [], DenseOperator.apply

    def counted(self, *arguments):
        products.append(1)
        return apply(self, *arguments)

    monkeypatch.setattr(DenseOperator, "apply", counted)
    assert solve_fixed_points(weights, drive).solver == PLAIN
    assert len(products) <= iterations + 4


def test_remaining_rows_are_solved_by_the_automatic_solver(generator):
    """A few stimuli in the steep range of tanh contract slowly; the others are saturated."""
    weights, drive = network(generator, n=60, batch=40, radius=1.05)
    drive[5:] *= 10
    drive[:5] *= 1e-2
    found = solve_fixed_points(weights, drive, on_failure="mask")
    assert found.solver != PLAIN
    assert found.converged.all()
    alone = solve_fixed_points(weights, drive[:5], on_failure="mask")
    np.testing.assert_allclose(found.rates[:5], alone.rates, atol=1e-6)


def test_a_start_at_a_solution_is_returned_unchanged(generator):
    weights, drive = network(generator)
    rates = solve_fixed_points(weights, drive).rates
    rates[3] = 0
    again = solve_fixed_points(weights, drive, initial_rates=rates)
    others = np.arange(len(drive)) != 3
    np.testing.assert_array_equal(again.rates[others], rates[others])
    assert not again.iterations[others].any()
    assert again.converged.all()
    assert again.iterations[3] > 0


def test_adjoints_whose_residuals_grow_at_first_are_solved_by_plain_iteration(generator):
    """A feedforward chain of units: the residual of the adjoint grows for as long as the signal grows."""
    n = 12
    weights = np.diag(np.full(n - 1, 1.5), 1)
    found = solve_fixed_points(weights, 1e-3 * np.ones((2, n)))
    adjoints = Implicit(found).solve_adjoint(np.eye(n)[:2])
    assert adjoints.solver == PLAIN
    assert adjoints.converged.all()


def test_stimuli_that_are_not_finite_harm_no_other(generator):
    weights, drive = network(generator)
    drive[2] = np.nan
    found = solve_fixed_points(weights, drive, on_failure="mask")
    np.testing.assert_array_equal(found.converged, np.arange(len(drive)) != 2)


def test_the_number_of_iterations_depends_only_on_the_size(generator):
    few, many = network(generator), network(generator, n=100, batch=512)
    assert brief_iterations(problem(*few)) > 100
    assert brief_iterations(problem(few[0], 5 * few[1])) == brief_iterations(problem(*few))
    assert brief_iterations(problem(*many)) == 0
    assert brief_iterations(problem(*few, most=60)) == 0  # the maps need them
    strict = [array_api_strict.asarray(each) for each in few]
    assert brief_iterations(problem(*strict)) == 0


def test_no_more_iterations_than_allowed(generator):
    weights, drive = network(generator, radius=0.95)
    brief = Brief(problem(weights, drive), 20, lambda rest: None)
    assert int(brief.solve(slice(0, len(drive))).iterations.max()) <= 20
