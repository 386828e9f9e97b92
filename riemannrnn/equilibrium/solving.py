"""Solving the equation for a whole batch: by one solver or automatically, on all cores, and certified."""

from collections.abc import Callable
from contextlib import nullcontext

from manifolds import Array
from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.auto import Plan
from riemannrnn.equilibrium.chunks import map_chunks, one_blas_thread, worthwhile
from riemannrnn.equilibrium.equation import FixedPointEquation, take_rows
from riemannrnn.equilibrium.iteration import Solver, iterate_rows
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.solution import CERTIFICATE_MARGIN, Solution, certified, joined, quiet

SOLVERS: dict[str, Solver] = {"picard": Picard(), "anderson": Anderson(), "newton": Newton()}
"""The solvers known by name, besides "auto"."""


def solve_equation(
    equation: FixedPointEquation, start: Array | None, solver: str | Solver, tolerance: float, max_iterations: int
) -> tuple[Solution, str]:
    """Solve s = φ(T s + d) by one solver, or for "auto" by the strategy of `Plan`, on all cores.

    Parameters
    ----------
    equation
        The equation.
    start
        Where to start, shape (batch, n); φ(d) by default.
    solver, tolerance, max_iterations
        As for `solve_fixed_points`.

    Returns
    -------
    solution
        The states reached, certified.
    solver
        The name of the solver, and of "auto" what it picked.

    Raises
    ------
    ValueError
        For an unknown solver, naming those known.
    """
    # BLAS threads wait for their next product in a busy loop, and would take a core from the chunks that follow.
    with quiet(), one_blas_thread() if worthwhile(equation.drive) else nullcontext():
        solve, name = _chosen(equation, start, solver, tolerance, max_iterations)

    def solve_quietly(rows: Array) -> Solution:
        with quiet():  # once more, because every thread has settings of its own
            return solve(rows)

    return joined(map_chunks(solve_quietly, equation.drive)), name


def _chosen(
    equation: FixedPointEquation, start: Array | None, solver: str | Solver, tolerance: float, max_iterations: int
) -> tuple[Callable[[Array], Solution], str]:
    """Return what solves the equation for some of its rows, and its name."""
    if solver == "auto" and equation.drive.shape[0] == 0:  # no sample to plan by
        solver = "picard"
    if solver == "auto":
        plan = Plan(equation, start, tolerance, max_iterations)
        return plan.solve, f"auto ({plan.description})"
    if isinstance(solver, str):
        if solver not in SOLVERS:
            raise ValueError(f"solver {solver!r} is unknown; choose one of auto, {', '.join(SOLVERS)}")
        solver = SOLVERS[solver]
    chosen = solver

    def solve(rows: Array) -> Solution:
        part = equation.take(rows)
        first = part.respond(part.drive) if start is None else take_rows(start, rows)
        outcome = iterate_rows(chosen, part, first, CERTIFICATE_MARGIN * tolerance, max_iterations)
        return certified(part, outcome.state, outcome.iterations, tolerance)

    return solve, solver.name
