"""A user-defined solver, and the declared abilities of solvers."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from cases import fixed_point_problem as problem

from riemannrnn import FixedPointError, Neumann, PeacemanRachford, solve_fixed_points
from riemannrnn.equilibrium import Flow, Implicit, Picard, Prepared, Problem, Solver
from riemannrnn.equilibrium.iteration import iterated
from riemannrnn.equilibrium.solving import SOLVERS


@dataclass(frozen=True)
class Counted(Prepared):
    """Plain iteration, with a record of the calls."""

    problem: Problem
    calls: list
    name = "counted"

    def solve(self, rows):
        self.calls.append(rows)
        equation, start = self.problem.take(rows)
        return iterated(Picard(), equation, start, self.problem.tolerance, self.problem.max_iterations)

    def finish(self, solution):
        self.calls.append(solution.state.shape)
        return solution


class Own(Solver):
    """A solver with only the two required methods."""

    name = "own"

    def __init__(self):
        self.calls = []

    def prepare(self, problem, known=None):
        self.calls.append("prepare")
        return Counted(problem, self.calls)


class Truncated(Own):
    """A solver that stops early and declares it."""

    exact: ClassVar[bool] = False

    def prepare(self, problem, known=None):
        return Counted(Problem(problem.equation, problem.start, problem.tolerance, 1), self.calls)


def test_a_custom_solver_finds_fixed_points_and_derivatives():
    weights, drive = problem(n=20, batch=30, radius=0.5)
    solver, expected = Own(), solve_fixed_points(weights, drive)
    found = solve_fixed_points(weights, drive, solver=solver)
    np.testing.assert_allclose(found.rates, expected.rates, atol=1e-9)
    assert found.solver == "counted"
    assert found.known is None
    assert solver.calls[0] == "prepare"
    assert solver.calls.count("prepare") == 1
    assert solver.calls[-1] == drive.shape
    rows = sorted(row for call in solver.calls[1:-1] for row in range(*call.indices(30)))
    assert rows == list(range(30))
    np.testing.assert_allclose(Implicit(found, solver).adjoint(drive), Implicit(expected).adjoint(drive), atol=1e-8)


def test_a_truncated_solver_need_not_converge():
    weights, drive = problem(n=20, batch=30, radius=0.5)
    found = solve_fixed_points(weights, drive)
    inexact = Implicit(found, Truncated())
    assert not inexact.solve_adjoint(drive).converged.any()
    assert np.isfinite(inexact.adjoint(drive)).all()
    with pytest.raises(FixedPointError, match="the adjoint of 30 of 30 stimuli is not solved"):
        Implicit(found, Picard(), max_iterations=1).adjoint(drive)


def test_declarations_of_the_known_solvers():
    declared = {solver: (solver.nonlinear, solver.linear, solver.exact) for solver in (*SOLVERS.values(), Neumann())}
    others = {solver: facts for solver, facts in declared.items() if facts != (True, True, True)}
    assert others == {Flow(): (True, False, True), Neumann(): (False, True, False)}


def test_a_solver_of_fixed_points_only_uses_the_automatic_solver_for_linear_equations():
    weights, drive = problem(n=20, batch=30, radius=0.5)
    found = solve_fixed_points(weights, drive, solver="flow")
    assert Implicit(found, "flow").solve_adjoint(drive).solver.startswith("auto (")


@pytest.mark.parametrize("solver", [*SOLVERS, PeacemanRachford(np.ones(20)), Own()], ids=[*SOLVERS, "scaled", "own"])
def test_without_stimuli_there_is_nothing_to_solve(solver):
    weights, drive = problem(n=20, batch=30, radius=0.1)
    found = solve_fixed_points(weights, drive[:0], solver=solver)
    assert found.rates.shape == (0, 20)
    assert Implicit(found, solver).adjoint(drive[:0]).shape == (0, 20)
