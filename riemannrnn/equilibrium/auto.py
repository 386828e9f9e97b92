"""Choosing a solver: the automatic strategy, cheap iterations first and sturdier ones for the stimuli that they leave."""

from collections.abc import Callable

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, row_norms, take_rows
from riemannrnn.equilibrium.iteration import Outcome, Solver, is_converged, iterate_rows
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.splitting import PeacemanRachfordMap

SOLVERS: dict[str, Solver] = {"picard": Picard(), "anderson": Anderson(), "newton": Newton()}
"""The solvers known by name, besides "auto"."""

PLAIN_ITERATIONS = 8
"""Plain iterations before anything is factored: what contracts fast needs no more, and the rest shows its mean gain."""

TRIAL_ROWS, TRIAL_ITERATIONS = 32, 10
"""The accelerated maps compete on about this many rows for this many iterations; the better goes first."""

ACCELERATED_ITERATIONS = 60
"""Iterations of each accelerated map."""

CLOSE = 0.3
"""A state whose residual is below this share of its norm is near enough to a fixed point to start from."""

INPUT_MARGIN = 0.2
"""Maps of the inputs are iterated to this fraction of the tolerance, their residual being that of inputs, not of rates."""

CERTIFICATIONS = 3
"""How often a map of the inputs is taken up again, to a tighter residual, for rows that missed the tolerance in the rates."""


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
    """Plain iterations first; then the accelerated maps, the better of the two first; then a last resort.

    The chord map is quickest where all stimuli have similar gains, splitting where the weights are large. The last resort for
    fixed points is averaged splitting, slow but sturdy; for a linear equation it is the direct solution by Krylov steps. A
    later stage gets the rows that the one before left, from where they started: no stimulus changes branch by a detour.
    """
    xp = array_namespace(start)
    outcome = iterate_rows(Picard(), equation, start, tolerance, min(PLAIN_ITERATIONS, budget))
    if budget <= PLAIN_ITERATIONS or bool(xp.all(outcome.converged)):
        return outcome
    inputs = _initial_inputs(equation, outcome.state, start)
    maps = _ranked_maps(equation, inputs, tolerance)
    stages: list[tuple[Solver, FixedPointMap | None]] = [(Anderson(), fixed_point_map) for fixed_point_map in maps]
    splitting = [fixed_point_map for fixed_point_map in maps if isinstance(fixed_point_map, PeacemanRachfordMap)]
    last_resort = (Picard(0.5), splitting[0]) if splitting and equation.nonlinear else (Newton(start.shape[1]), None)
    spent = PLAIN_ITERATIONS
    for solver, fixed_point_map in (*stages, last_resort):
        left = xp.nonzero(~outcome.converged)[0]
        if left.shape[0] == 0 or budget <= spent:
            break
        final = (solver, fixed_point_map) == last_resort
        allowed = budget - spent if final else min(ACCELERATED_ITERATIONS, budget - spent)
        rest = equation.take(left)
        if fixed_point_map is None:
            part = iterate_rows(solver, rest, take_rows(start, left), tolerance, allowed)
        else:
            part = _iterate_inputs(solver, fixed_point_map.take(left), rest, take_rows(inputs, left), tolerance, allowed)
        outcome = outcome.completed(part)
        spent += ACCELERATED_ITERATIONS
    return outcome


def _ranked_maps(equation: FixedPointEquation, inputs: Array, tolerance: float) -> list[FixedPointMap]:
    """Return the chord and the splitting map, the one first that gets further on a sample of the rows."""
    xp = array_namespace(inputs)
    gains = equation.gain(inputs)
    gain = xp.mean(xp.where(xp.isfinite(gains), gains, 0.0), axis=0)
    builders: list[Callable[[], FixedPointMap]] = [
        lambda: ChordMap.build(equation, gain),
        lambda: PeacemanRachfordMap.build(equation),
    ]
    maps: list[FixedPointMap] = []
    for build in builders:
        try:
            maps.append(build())
        except np.linalg.LinAlgError:  # a factor that does not exist
            continue
    sample = xp.arange(0, inputs.shape[0], 1 + (inputs.shape[0] - 1) // TRIAL_ROWS, device=device(inputs))
    rest, begin = equation.take(sample), take_rows(inputs, sample)

    def progress(fixed_point_map: FixedPointMap) -> float:
        part = _iterate_inputs(Anderson(), fixed_point_map.take(sample), rest, begin, tolerance, TRIAL_ITERATIONS)
        with np.errstate(over="ignore", invalid="ignore"):
            residual = row_norms(rest.image(part.state) - part.state)
        digits = xp.log(xp.where(xp.isfinite(residual), residual, 1.0) + 0.1 * tolerance)
        return float(xp.mean(digits))

    return sorted(maps, key=progress)


def _iterate_inputs(
    solver: Solver,
    fixed_point_map: FixedPointMap,
    equation: FixedPointEquation,
    inputs: Array,
    tolerance: float,
    budget: int,
) -> Outcome:
    """Iterate a map of the inputs, and certify the states φ(inputs) that it ends in by the equation's own residual."""
    xp = array_namespace(inputs)
    aim = INPUT_MARGIN * tolerance
    iterations = xp.zeros(inputs.shape[0], dtype=xp.int64, device=device(inputs))
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(CERTIFICATIONS):
            inner = iterate_rows(solver, fixed_point_map, inputs, aim, budget)
            inputs, iterations = inner.state, iterations + inner.iterations
            state = equation.respond(inputs)
            residual = row_norms(equation.image(state) - state)
            converged = is_converged(state, residual, tolerance)
            missed = inner.converged & ~converged
            budget -= int(xp.max(inner.iterations))
            if budget <= 0 or not bool(xp.any(missed)):
                break
            aim = aim * 0.5 * tolerance / float(xp.max(xp.where(missed, residual, tolerance)))
    return Outcome(state, iterations, converged)


def _initial_inputs(equation: FixedPointEquation, state: Array, start: Array) -> Array:
    """Return where the maps of the inputs begin: at those of the state or the start, whichever is closer.

    Where neither is close, large weights would turn its error into inputs that saturate every unit, and the drive alone is the
    better beginning.
    """
    xp = array_namespace(start)
    inputs, misfit = equation.drive, xp.full_like(start[:, 0], CLOSE)
    with np.errstate(over="ignore", invalid="ignore"):
        for candidate in (start, state):
            candidate_inputs = equation.inputs(candidate)
            residual = row_norms(equation.respond(candidate_inputs) - candidate) / row_norms(candidate)
            closer = residual < misfit
            inputs = xp.where(closer[:, None], candidate_inputs, inputs)
            misfit = xp.where(closer, residual, misfit)
    return inputs
