"""What the automatic solver is made of: each stage takes some rows as far as it can, and certifies where they are."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, row_norms
from riemannrnn.equilibrium.iteration import Outcome, Solver, iterate_rows
from riemannrnn.equilibrium.solution import CERTIFICATE_MARGIN, Solution, certified, judged

INPUT_MARGIN = 0.2
"""Maps of the inputs are iterated to this fraction of the tolerance, their residual being that of inputs, not of rates."""

CERTIFICATIONS = 3
"""How often a map of the inputs is taken up again, to a tighter residual, for rows that missed the tolerance in the rates."""

SINGLE_AIM = 2e-6
"""Residual of an input, root mean square, to which float32 iterates before float64 takes over; ten times its rounding."""

CORRECTION_AIM, CORRECTIONS = 1e-3, 4
"""A correction is solved to this relative residual; so many in a row at most."""


@dataclass(frozen=True)
class Stage(ABC):
    """A way to solve some rows, with a number of iterations that it may use."""

    iterations: int

    @abstractmethod
    def run(
        self, equation: FixedPointEquation, rows: Array, start: Array, inputs: Array | None, tolerance: float, budget: int
    ) -> Solution:
        """Solve.

        Parameters
        ----------
        equation
            The equation of these rows.
        rows
            Their indices in the batch that the stage was made for.
        start, inputs
            States and inputs to start from; the inputs are None where only states are needed.
        tolerance, budget
            Residual that is wanted, and iterations at most.
        """


@dataclass(frozen=True)
class DirectStage(Stage):
    """A solver on the equation itself."""

    solver: Solver

    def run(
        self, equation: FixedPointEquation, rows: Array, start: Array, inputs: Array | None, tolerance: float, budget: int
    ) -> Solution:
        outcome = iterate_rows(self.solver, equation, start, CERTIFICATE_MARGIN * tolerance, budget)
        return certified(equation, outcome.state, outcome.iterations, tolerance)


@dataclass(frozen=True)
class MapStage(Stage):
    """A solver on a map of the inputs."""

    solver: Solver
    fixed_point_map: FixedPointMap

    def run(
        self, equation: FixedPointEquation, rows: Array, start: Array, inputs: Array | None, tolerance: float, budget: int
    ) -> Solution:
        xp = array_namespace(start)
        inputs = equation.drive if inputs is None else inputs
        fixed_point_map, aim = self.fixed_point_map.take(rows), INPUT_MARGIN * tolerance
        iterations = xp.zeros(inputs.shape[0], dtype=xp.int64, device=device(inputs))
        for _ in range(CERTIFICATIONS):
            inner = iterate_rows(self.solver, fixed_point_map, inputs, aim, budget)
            inputs, iterations = inner.state, iterations + inner.iterations
            solution = certified(equation, equation.respond(inputs), iterations, tolerance)
            missed = inner.converged & ~solution.converged
            budget -= _most(inner)
            if budget <= 0 or not bool(xp.any(missed)):
                break
            aim = aim * 0.5 * tolerance / float(xp.max(xp.where(missed, solution.residual, tolerance)))
        return solution


@dataclass(frozen=True)
class MixedStage(Stage):
    """The chord map in float32, then corrections whose residuals are taken in float64 and which are solved in float32.

    With residual ρ = T φ(z) + d − z, the correction e of the inputs solves e = T (φ′(z) ∘ e) + ρ, Newton's equation: linear, so
    that float32 finds it to a relative precision of its own, by the same chord map. For a linear equation this is iterative
    refinement (Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, ch. 12).
    """

    solver: Solver
    chord: ChordMap
    """In float32."""

    def run(
        self, equation: FixedPointEquation, rows: Array, start: Array, inputs: Array | None, tolerance: float, budget: int
    ) -> Solution:
        xp = array_namespace(start)
        inputs = equation.drive if inputs is None else inputs
        chord = self.chord.take(rows)
        first = iterate_rows(self.solver, chord, _single(inputs), SINGLE_AIM * inputs.shape[1] ** 0.5, budget)
        budget -= _most(first)
        inputs, iterations = xp.astype(first.state, inputs.dtype), first.iterations
        for correction in range(CORRECTIONS + 1):
            state = equation.respond(inputs)
            reached = equation.inputs(state)
            solution = judged(equation, state, reached, iterations, tolerance)
            if correction == CORRECTIONS or budget <= 0 or bool(xp.all(solution.converged | ~first.converged)):
                return solution
            residual = reached - inputs
            scale = row_norms(residual)[:, None]
            scale = xp.where((scale > 0) & xp.isfinite(scale), scale, 1.0)
            going = (first.converged & ~solution.converged)[:, None]
            drive = xp.where(going, residual / scale, 0.0)
            linear = replace(chord.equation, drive=_single(drive), activation=_single(solution.gains))
            part = iterate_rows(self.solver, chord.at(linear), linear.drive, CORRECTION_AIM, budget)
            budget -= _most(part)
            step = xp.where(going, xp.astype(part.state, inputs.dtype) * scale, 0.0)
            inputs, iterations = inputs + step, iterations + xp.where(going[:, 0], part.iterations, 0)
        return solution


def _most(outcome: Outcome) -> int:
    """Return the iterations of the slowest row that arrived; those that did not must not use up what the others need."""
    xp = array_namespace(outcome.iterations)
    return int(xp.max(xp.where(outcome.converged, outcome.iterations, 0)))


def _single(array: Array) -> Array:
    xp = array_namespace(array)
    return xp.astype(array, xp.float32)
