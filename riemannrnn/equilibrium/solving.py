"""Solving the equation for a whole batch: by one solver or automatically, on all cores, and certified."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from array_api_compat import array_namespace

from manifolds import Array
from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.auto import Plan
from riemannrnn.equilibrium.chunks import map_chunks
from riemannrnn.equilibrium.equation import FixedPointEquation, row_norms, take_rows
from riemannrnn.equilibrium.iteration import Outcome, Solver, is_converged, iterate_rows
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.picard import Picard

SOLVERS: dict[str, Solver] = {"picard": Picard(), "anderson": Anderson(), "newton": Newton()}
"""The solvers known by name, besides "auto"."""


@dataclass(frozen=True)
class Solution:
    """States of s = φ(T s + d), certified, a row each.

    Attributes
    ----------
    state, inputs, gains
        s, T s + d, and φ′ there, shape (batch, n).
    residual, converged, iterations
        ‖φ(T s + d) − s‖, whether it is at most the tolerance or at rounding, and the iterations it took, shape (batch,).
    """

    state: Array
    inputs: Array
    gains: Array
    residual: Array
    converged: Array
    iterations: Array


def joined(parts: Sequence[Solution]) -> Solution:
    """Return the solution of all rows from those of consecutive chunks."""
    if len(parts) == 1:
        return parts[0]
    xp = array_namespace(parts[0].state)
    return Solution(*(xp.concat([getattr(part, field.name) for part in parts]) for field in fields(Solution)))


def solve_equation(
    equation: FixedPointEquation, start: Array | None, solver: str | Solver, tolerance: float, max_iterations: int
) -> Solution:
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
    Solution
        The states reached, certified.

    Raises
    ------
    ValueError
        For an unknown solver, naming those known.
    """
    with quiet():
        solve = _chosen(equation, start, solver, tolerance, max_iterations)

    def solve_and_certify(rows: Array) -> Solution:
        with quiet():  # once more, because every thread has settings of its own
            return _certified(equation.take(rows), solve(rows), tolerance)

    return joined(map_chunks(solve_and_certify, equation.drive))


def quiet() -> np.errstate:
    """Return the context in which what is not finite is reported by its status, not by a warning."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def _certified(equation: FixedPointEquation, outcome: Outcome, tolerance: float) -> Solution:
    """Recompute the residual, undamped, at the states that are returned."""
    inputs = equation.inputs(outcome.state)
    image = equation.respond(inputs)
    residual = row_norms(image - outcome.state)
    gains = equation.slope(inputs, image)
    return Solution(
        outcome.state, inputs, gains, residual, is_converged(outcome.state, residual, tolerance), outcome.iterations
    )


def _chosen(
    equation: FixedPointEquation, start: Array | None, solver: str | Solver, tolerance: float, max_iterations: int
) -> Callable[[Array], Outcome]:
    """Return what solves the equation for some of its rows."""
    if solver == "auto":
        return Plan(equation, start, tolerance, max_iterations).solve
    if isinstance(solver, str):
        if solver not in SOLVERS:
            raise ValueError(f"solver {solver!r} is unknown; choose one of auto, {', '.join(SOLVERS)}")
        solver = SOLVERS[solver]
    chosen = solver

    def solve(rows: Array) -> Outcome:
        part = equation.take(rows)
        first = part.respond(part.drive) if start is None else take_rows(start, rows)
        return iterate_rows(chosen, part, first, tolerance, max_iterations)

    return solve
