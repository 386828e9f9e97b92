"""Adjoints and tangents: their own convergence, and inexact ones by Neumann series."""

import numpy as np
import pytest
from cases import fixed_point_problem as problem

from riemannrnn import FixedPointCost, FixedPointError, Neumann, RateNetwork, SquaredError, solve_fixed_points
from riemannrnn.equilibrium import Implicit


@pytest.mark.parametrize("terms", [1, 2, 5])
def test_neumann_derivatives_are_the_truncated_series(terms):
    weights, drive = problem()
    found = solve_fixed_points(weights, drive)
    expected, term = 0.0, found.gains * drive
    for _ in range(terms):
        expected, term = expected + term, found.gains * (term @ weights)
    implicit = Implicit(found, Neumann(terms))
    np.testing.assert_allclose(implicit.adjoint(drive), expected, rtol=1e-12, atol=1e-13)
    solution = implicit.solve_adjoint(drive)
    assert not solution.converged.any()
    assert solution.status[0].startswith(f"Not converged in {terms - 1} iterations")
    scale = np.abs(found.gains * drive).max() * 40**0.5
    np.testing.assert_allclose(solution.residual, np.linalg.norm(term, axis=1) / scale, rtol=1e-8)


def test_neumann_is_for_derivatives_only():
    weights, drive = problem()
    with pytest.raises(ValueError, match=r"neumann\(1\) does not find fixed points"):
        solve_fixed_points(weights, drive, solver=Neumann())
    with pytest.raises(ValueError, match="terms = 0 is below 1"):
        Neumann(0)
    network = RateNetwork(40, None, None, seed=0)
    cost = FixedPointCost(network, drive, SquaredError(0 * drive), adjoint_solver=Neumann(3))
    exact = FixedPointCost(network, drive, SquaredError(0 * drive))
    one, other = cost.gradient(weights), exact.gradient(weights)
    assert 1e-3 < np.linalg.norm(one - other) / np.linalg.norm(other) < 1


def test_adjoints_have_their_own_verdict():
    weights, drive = problem(radius=0.5)
    found = solve_fixed_points(weights, drive)
    good = Implicit(found).solve_adjoint(drive)
    assert good.converged.all()
    assert good.solver.startswith("auto (")
    assert good.status[0].startswith("Converged in ")
    bad = Implicit(found, "picard", max_iterations=2)
    assert not bad.solve_adjoint(drive).converged.any()
    assert not bad.solve_tangent(weights).converged.any()
    with pytest.raises(FixedPointError, match="the adjoint of 200 of 200 stimuli is not solved"):
        bad.adjoint(drive)
