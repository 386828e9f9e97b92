"""Choosing a solver: a sample of the batch is iterated, its contraction measured, and a plan made that all rows follow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, log
from threading import Lock

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

SAMPLE_ROWS, SAMPLE_ITERATIONS = 32, 6
"""Plain iterations of about so many rows, spread over the batch, show the contraction and the mean gain."""

CHORD_ITERATIONS = 10
"""Plain iterations that take as long as the accelerated ones of a problem that contracts well."""

FACTOR_PRODUCTS = 3.0
"""The factor of the chord map takes as long as so many products of an n × n matrix with itself."""

TRIAL_ITERATIONS = 10
"""Where the sample does not contract, the accelerated maps compete on it for so many iterations; the better goes first."""

ACCELERATED_ITERATIONS = 60
"""Iterations of each accelerated map."""

FAST, UNACCELERATED_ITERATIONS = 0.6, 15
"""Where the plain iteration contracts faster than this the chord map needs no acceleration, and no more iterations."""

MEMORY = 2
"""Differences that Anderson acceleration keeps on a map that contracts; on others, as many as by default."""

CLOSE = 0.3
"""A state whose residual is below this share of its norm is near enough to a fixed point to start from."""

INPUT_MARGIN = 0.2
"""Maps of the inputs are iterated to this fraction of the tolerance, their residual being that of inputs, not of rates."""

CERTIFICATIONS = 3
"""How often a map of the inputs is taken up again, to a tighter residual, for rows that missed the tolerance in the rates."""


@dataclass(frozen=True)
class _Stage:
    """One solver, on the equation itself or on a map of its inputs, for so many iterations."""

    solver: Solver
    fixed_point_map: FixedPointMap | None
    iterations: int


class Plan:
    """What a sample of the batch says should be done, and the doing of it for any rows.

    Where the plain iteration contracts fast, nothing is factored. Where it contracts, the chord map with Anderson acceleration
    is quickest. Where it does not, the chord map and Peaceman–Rachford splitting compete on the sample. The last resort for
    fixed points is averaged splitting, slow but sturdy; for a linear equation it is the direct solution by Krylov steps. A
    later stage gets the rows that the one before left, from where they started: no row changes branch by a detour.
    """

    def __init__(self, equation: FixedPointEquation, start: Array | None, tolerance: float, budget: int) -> None:
        self.equation, self.tolerance, self.budget = equation, tolerance, budget
        self.cold = start is None
        self.start = start = equation.respond(equation.drive) if start is None else start
        xp = array_namespace(start)
        self._lock, self._maps = Lock(), dict[str, FixedPointMap | None]()
        self.sample = xp.arange(0, start.shape[0], 1 + (start.shape[0] - 1) // SAMPLE_ROWS, device=device(start))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            self.rate, self.left = self._contraction()
        worthwhile = CHORD_ITERATIONS + FACTOR_PRODUCTS * start.shape[1] / max(start.shape[0], 1)
        self.plain = SAMPLE_ITERATIONS + 2 * int(self.left) if self.left <= worthwhile else 0

    def solve(self, rows: Array) -> Outcome:
        """Return the outcome for some of the rows."""
        xp = array_namespace(self.start)
        equation, start = self.equation.take(rows), take_rows(self.start, rows)
        outcome = iterate_rows(Picard(), equation, start, self.tolerance, min(self.plain, self.budget))
        spent = self.plain
        if spent >= self.budget or bool(xp.all(outcome.converged)):
            return outcome
        inputs = equation.drive if self.cold else _initial_inputs(equation, outcome.state, start)
        stages = self._stages()
        while spent < self.budget and not bool(xp.all(outcome.converged)):
            stage = next(stages, None)
            if stage is None:
                break
            left = xp.nonzero(~outcome.converged)[0]
            allowed = min(stage.iterations, self.budget - spent)
            rest = equation.take(left)
            if stage.fixed_point_map is None:
                part = iterate_rows(stage.solver, rest, take_rows(start, left), self.tolerance, allowed)
            else:
                chosen = stage.fixed_point_map.take(take_rows(rows, left))
                part = _iterate_inputs(stage.solver, chosen, rest, take_rows(inputs, left), self.tolerance, allowed)
            outcome = outcome.completed(part)
            spent += stage.iterations
        return outcome

    def _stages(self) -> Iterator[_Stage]:
        """Yield what follows the plain iteration, each factor formed when its turn comes."""
        order = [self._chord, self._splitting]
        if self.rate < FAST and self._chord() is not None:
            yield _Stage(Picard(), self._chord(), UNACCELERATED_ITERATIONS)
        elif self.rate < 1 and self._chord() is not None:
            yield _Stage(Anderson(MEMORY), self._chord(), ACCELERATED_ITERATIONS)
            order = [self._splitting]
        else:
            order = sorted(order, key=self._progress)
        for build in order:
            fixed_point_map = build()
            if fixed_point_map is not None:
                yield _Stage(Anderson(), fixed_point_map, ACCELERATED_ITERATIONS)
        splitting = self._splitting() if self.equation.nonlinear else None
        if splitting is None:
            yield _Stage(Newton(self.start.shape[1]), None, self.budget)
        else:
            yield _Stage(Picard(0.5), splitting, self.budget)

    def _chord(self) -> FixedPointMap | None:
        return self._built("chord", lambda: ChordMap.build(self.equation, self.gain))

    def _splitting(self) -> FixedPointMap | None:
        return self._built("splitting", lambda: PeacemanRachfordMap.build(self.equation))

    def _built(self, name: str, build: Callable[[], FixedPointMap]) -> FixedPointMap | None:
        """Return a map, formed once for all threads; None if its factor does not exist."""
        with self._lock:
            if name not in self._maps:
                try:
                    self._maps[name] = build()
                except np.linalg.LinAlgError:
                    self._maps[name] = None
            return self._maps[name]

    def _contraction(self) -> tuple[float, float]:
        """Rate at which the plain iteration of the sample contracts, of the slowest row, and how many more it would need."""
        xp = array_namespace(self.start)
        equation, state = self.equation.take(self.sample), take_rows(self.start, self.sample)
        sizes = []
        for _ in range(SAMPLE_ITERATIONS):
            image = equation.image(state)
            sizes.append(row_norms(image - state))
            state = image
        self.gain = _mean_gain(equation, state)
        before, after = sizes[-3], sizes[-1]
        wanted = after > self.tolerance
        if not bool(xp.any(wanted)):
            return 0.0, 0.0
        rate = float(xp.max(xp.where(wanted, after / before, 0.0))) ** 0.5
        if not rate < 1:
            return inf, inf
        return rate, log(float(xp.max(after)) / max(self.tolerance, 1e-300)) / -log(max(rate, 1e-3))

    def _progress(self, build: Callable[[], FixedPointMap | None]) -> float:
        """Return the mean logarithm of the residual that a map reaches on the sample."""
        xp = array_namespace(self.start)
        fixed_point_map = build()
        if fixed_point_map is None:
            return inf
        rest, start = self.equation.take(self.sample), take_rows(self.start, self.sample)
        inputs = _initial_inputs(rest, start, start)
        part = _iterate_inputs(Anderson(), fixed_point_map.take(self.sample), rest, inputs, self.tolerance, TRIAL_ITERATIONS)
        with np.errstate(over="ignore", invalid="ignore"):
            residual = row_norms(rest.image(part.state) - part.state)
        return float(xp.mean(xp.log(xp.where(xp.isfinite(residual), residual, 1.0) + 0.1 * self.tolerance)))


def _mean_gain(equation: FixedPointEquation, state: Array) -> Array:
    """Return the mean of φ′ over rows, shape (n,)."""
    xp = array_namespace(state)
    with np.errstate(over="ignore", invalid="ignore"):
        inputs = equation.inputs(state)
        gains = equation.slope(inputs, equation.respond(inputs))
    return xp.mean(xp.where(xp.isfinite(gains), gains, 0.0), axis=0)


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
    candidates = (start,) if state is start else (start, state)
    with np.errstate(over="ignore", invalid="ignore"):
        for candidate in candidates:
            candidate_inputs = equation.inputs(candidate)
            residual = row_norms(equation.respond(candidate_inputs) - candidate) / row_norms(candidate)
            closer = residual < misfit
            inputs = xp.where(closer[:, None], candidate_inputs, inputs)
            misfit = xp.where(closer, residual, misfit)
    return inputs
