"""Solving the equation for a whole batch on all cores, with a solver or the name of a solver."""

from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.auto import Automatic
from riemannrnn.equilibrium.factors import Knowledge
from riemannrnn.equilibrium.flow import Flow
from riemannrnn.equilibrium.monotone import PeacemanRachford
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.solution import Collected, Solution, quiet
from riemannrnn.equilibrium.solver import Prepared, Problem, Solver
from riemannrnn.runtime import held, map_chunks

_KNOWN = (Automatic(), Automatic("chord"), Automatic("splitting"), PeacemanRachford(), Picard(), Anderson(), Newton(), Flow())
SOLVERS: dict[str, Solver] = {solver.name: solver for solver in _KNOWN}
"""The solvers by name."""


def solver_of(solver: str | Solver) -> Solver:
    """Return a solver, or the solver with a name.

    Raises
    ------
    ValueError
        For an unknown name. The message lists the known names.
    """
    if not isinstance(solver, str):
        return solver
    if solver not in SOLVERS:
        raise ValueError(f"solver {solver!r} is unknown; choose one of {', '.join(SOLVERS)}")
    return SOLVERS[solver]


def solve_equation(problem: Problem, solver: str | Solver, known: Knowledge | None = None) -> tuple[Solution, Prepared]:
    """Solve s = φ(T s + d) on all cores.

    Parameters
    ----------
    problem
        The equation, the states at the start, and the required accuracy and work limit.
    solver
        As for `solve_fixed_points`.
    known
        Results for another equation with the same T or its transpose.

    Returns
    -------
    solution
        The final states, certified.
    prepared
        The prepared solver, with its name and its results about T.

    Raises
    ------
    ValueError
        For an unknown solver, or a solver of linear equations if fixed points are required.
    """
    equation, solver = problem.equation, solver_of(solver)
    if equation.nonlinear and not solver.nonlinear:
        raise ValueError(f"{solver.name} does not find fixed points; pass it for the adjoints alone, or choose an Iteration")
    if not equation.nonlinear and not solver.linear:
        solver = Automatic()
    with quiet(), held(equation.drive):
        prepared, collected = solver.prepare(problem, known), Collected(equation)
        map_chunks(lambda rows: collected.add(rows, prepared.solve(rows)), equation.drive)
        return prepared.finish(collected.whole), prepared
