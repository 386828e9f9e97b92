"""Choosing a solver: the automatic strategy, cheap iterations first and sturdier ones for the stimuli that they leave."""

import numpy as np
from array_api_compat import array_namespace

from manifolds import Array
from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation, row_norms, take_rows
from riemannrnn.equilibrium.iteration import Outcome, Solver, is_converged, iterate_rows
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.picard import Picard

SOLVERS: dict[str, Solver] = {"picard": Picard(), "anderson": Anderson(), "newton": Newton()}
"""The solvers known by name, besides "auto"."""

TRIAL_ITERATIONS = 8
"""Plain iterations before the automatic strategy judges: enough to see the contraction and the mean gain."""

CHORD_ITERATIONS = 60
"""Iterations of the chord map before what is left goes to Newton: where it has not converged by then it seldom will."""

NEWTON_ITERATIONS = 20
"""Newton steps at most: it converges within a dozen or wanders."""

CHORD_MARGIN = 0.2
"""The chord map is iterated to this fraction of the tolerance, its residual being that of the inputs, not of the rates."""


def solve_equation(
    equation: FixedPointEquation, start: Array, solver: str | Solver, tolerance: float, max_iterations: int
) -> Outcome:
    """Solve s = φ(T s + d) by one solver, or for "auto" by the strategy of this module.

    Raises
    ------
    ValueError
        For an unknown solver, naming those known.
    """
    if solver == "auto":
        return _solve_automatically(equation, start, tolerance, max_iterations)
    if isinstance(solver, str):
        if solver not in SOLVERS:
            raise ValueError(f"solver {solver!r} is unknown; choose one of auto, {', '.join(SOLVERS)}")
        solver = SOLVERS[solver]
    return iterate_rows(solver, equation, start, tolerance, max_iterations)


def _solve_automatically(equation: FixedPointEquation, start: Array, tolerance: float, budget: int) -> Outcome:
    """Picard first; then the chord map with Anderson acceleration; then Newton, each for the rows the one before left."""
    outcome = iterate_rows(Picard(), equation, start, tolerance, min(TRIAL_ITERATIONS, budget))
    for stage in (_chord, _newton):
        left = array_namespace(start).nonzero(~outcome.converged)[0]
        spent = TRIAL_ITERATIONS if stage is _chord else TRIAL_ITERATIONS + CHORD_ITERATIONS
        if left.shape[0] == 0 or budget <= spent:
            break
        state = _finite_or(take_rows(outcome.state, left), take_rows(start, left))
        outcome = outcome.completed(stage(equation.take(left), state, tolerance, budget - spent))
    return outcome


def _chord(equation: FixedPointEquation, state: Array, tolerance: float, budget: int) -> Outcome:
    xp = array_namespace(state)
    with np.errstate(over="ignore", invalid="ignore"):
        inputs = equation.inputs(state)
        gain = xp.mean(equation.gain(inputs), axis=0)
    try:
        chord = ChordMap.build(equation, gain)
    except np.linalg.LinAlgError:
        return Outcome(state, xp.zeros(state.shape[0], dtype=xp.int64), xp.zeros(state.shape[0], dtype=xp.bool))
    inner = iterate_rows(Anderson(), chord, inputs, CHORD_MARGIN * tolerance, min(CHORD_ITERATIONS, budget))
    with np.errstate(over="ignore", invalid="ignore"):
        solution = equation.respond(inner.state)
        residual = row_norms(equation.image(solution) - solution)
    # The chord's own residual bounds that of the equation only up to a factor, so it is measured, and rows that miss go on.
    return Outcome(solution, inner.iterations, is_converged(solution, residual, tolerance))


def _newton(equation: FixedPointEquation, state: Array, tolerance: float, budget: int) -> Outcome:
    return iterate_rows(Newton(), equation, state, tolerance, min(NEWTON_ITERATIONS, budget))


def _finite_or(state: Array, fallback: Array) -> Array:
    xp = array_namespace(state)
    return xp.where(xp.isfinite(row_norms(state))[:, None], state, fallback)
