"""Solving the equation for a whole batch: by one solver or automatically, on all cores, and certified."""

from collections.abc import Callable

from manifolds import Array
from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.auto import Automatic, Plan
from riemannrnn.equilibrium.equation import FixedPointEquation, take_rows
from riemannrnn.equilibrium.flow import Flow, follow
from riemannrnn.equilibrium.iteration import Iteration, Solver, iterate_rows
from riemannrnn.equilibrium.monotone import PeacemanRachford
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.solution import CERTIFICATE_MARGIN, Collected, Solution, certified, quiet
from riemannrnn.runtime import held, map_chunks

_KNOWN = (Automatic(), Automatic("chord"), Automatic("splitting"), PeacemanRachford(), Picard(), Anderson(), Newton(), Flow())
SOLVERS: dict[str, Solver] = {solver.name: solver for solver in _KNOWN}
"""The solvers known by name."""


def solve_equation(
    equation: FixedPointEquation,
    start: Array | None,
    solver: str | Solver,
    tolerance: float,
    max_iterations: int,
    known: Plan | None = None,
) -> tuple[Solution, str, Plan | None]:
    """Solve s = φ(T s + d) by an iteration, or by the strategy of `Plan`, on all cores.

    Parameters
    ----------
    equation
        The equation.
    start
        Where to start, shape (batch, n); φ(d) by default.
    solver, tolerance, max_iterations
        As for `solve_fixed_points`.
    known
        A plan whose T is this one or its transpose.

    Returns
    -------
    solution
        The states reached, certified.
    solver
        The name of the solver, and where it is automatic what it picked.
    plan
        What an automatic solver learnt; None from others.

    Raises
    ------
    ValueError
        For an unknown solver, naming those known, or one that is for linear equations alone.
    """
    with quiet(), held(equation.drive):
        solve, name, plan = _chosen(equation, start, solver, tolerance, max_iterations, known)
        collected = Collected(equation)

        map_chunks(lambda rows: collected.add(rows, solve(rows)), equation.drive)
        if plan is None:
            return collected.whole, name, None
        solution = plan.finished(collected.whole)
        return solution, f"{name} ({plan.description})", plan


def _chosen(
    equation: FixedPointEquation,
    start: Array | None,
    solver: str | Solver,
    tolerance: float,
    max_iterations: int,
    known: Plan | None,
) -> tuple[Callable[[slice], Solution], str, Plan | None]:
    """Return what solves the equation for some of its rows, its name, and its plan if it has one."""
    if isinstance(solver, str):
        if solver not in SOLVERS:
            raise ValueError(f"solver {solver!r} is unknown; choose one of {', '.join(SOLVERS)}")
        solver = SOLVERS[solver]
    if isinstance(solver, Automatic | PeacemanRachford) and equation.drive.shape[0] == 0:  # no sample to plan by
        solver = Picard()
    if isinstance(solver, Flow) and not equation.nonlinear:  # a linear equation has one solution, which any solver may find
        solver = Automatic()
    if isinstance(solver, Automatic):
        plan = Plan(equation, start, tolerance, max_iterations, solver, known).prepare()
        return plan.solve, solver.name, plan
    if isinstance(solver, PeacemanRachford):
        stated = solver.prepare(equation, start, tolerance)
        return lambda rows: stated.solve(rows, max_iterations), f"{solver.name} (at most {stated.iterations} iterations)", None
    if isinstance(solver, Flow):
        first = equation.respond(equation.drive) if start is None else start
        return lambda rows: follow(equation.take(rows), first[rows, ...], tolerance, max_iterations), solver.name, None
    if not isinstance(solver, Iteration):
        raise ValueError(f"{solver.name} does not find fixed points; pass it for the adjoints alone, or choose an Iteration")
    iteration = solver

    def solve(rows: slice) -> Solution:
        part = equation.take(rows)
        first = part.respond(part.drive) if start is None else take_rows(start, rows)
        outcome = iterate_rows(iteration, part, first, CERTIFICATE_MARGIN * tolerance, max_iterations)
        return certified(part, outcome.state, outcome.iterations, tolerance)

    return solve, iteration.name, None
