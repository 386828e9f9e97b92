"""The stages of the automatic solver: each solves some rows as far as it can, and certifies their states."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.chord import ChordMap, CorrectedMap
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, Rows, finite_rows, take_rows
from riemannrnn.equilibrium.iteration import Iteration, Outcome, iterate_rows, iterated
from riemannrnn.equilibrium.solution import Solution, certified, judged
from riemannrnn.equilibrium.tuning import TUNING
from riemannrnn.network.operator import to_single
from riemannrnn.norms import row_norms


@dataclass(frozen=True)
class Stage(ABC):
    """A way to solve some rows within a number of iterations."""

    iterations: int

    takes_inputs: ClassVar[bool] = True
    """Whether it starts from inputs rather than from states."""

    @property
    def repeated(self) -> bool:
        """Whether it is repeated as long as it brings most of the rows closer."""
        return False

    @abstractmethod
    def run(
        self, equation: FixedPointEquation, rows: Rows, start: Array, inputs: Array | None, tolerance: float, budget: int
    ) -> Solution:
        """Return the solution of some rows.

        Parameters
        ----------
        equation
            The equation of these rows.
        rows
            The indices of the rows in the whole batch.
        start, inputs
            States and inputs at the start. The inputs may be None if the stage uses only states.
        tolerance, budget
            The largest residual of a row, and the most iterations.
        """


@dataclass(frozen=True)
class DirectStage(Stage):
    """A solver applied to the equation itself."""

    solver: Iteration
    takes_inputs: ClassVar[bool] = False

    def run(
        self, equation: FixedPointEquation, rows: Rows, start: Array, inputs: Array | None, tolerance: float, budget: int
    ) -> Solution:
        return iterated(self.solver, equation, start, tolerance, budget)


@dataclass(frozen=True)
class MapStage(Stage):
    """A solver applied to a map of the inputs.

    Parameters
    ----------
    iterations, solver, fixed_point_map
        The most iterations, the solver, and the map.
    repeated
        Whether the stage is repeated as long as it brings most of the rows closer.
    patience
        As for `iterate_rows`.
    """

    solver: Iteration
    fixed_point_map: FixedPointMap
    repeated: bool = True
    patience: int | None = None

    def run(
        self, equation: FixedPointEquation, rows: Rows, start: Array, inputs: Array | None, tolerance: float, budget: int
    ) -> Solution:
        inputs = equation.drive if inputs is None else inputs
        return self._certified(
            equation, self.fixed_point_map.take(rows), inputs, tolerance, TUNING.input_margin * tolerance, budget
        )

    def _certified(
        self,
        equation: FixedPointEquation,
        fixed_point_map: FixedPointMap,
        inputs: Array,
        tolerance: float,
        aim: float,
        budget: int,
        certifications: int = TUNING.certifications,
    ) -> Solution:
        """Iterate the inputs to the residual `aim`; continue to a smaller residual if the rates then miss the tolerance."""
        xp = namespace_of(inputs)
        inner = iterate_rows(self.solver, fixed_point_map, inputs, aim, budget, images=True, patience=self.patience)
        solution = certified(equation, equation.respond(inner.state, inner.state), inner.iterations, tolerance)
        missed = inner.converged & ~solution.converged & (solution.residual > tolerance)
        left = budget - _most(inner)
        if certifications == 1 or left <= 0 or not bool(xp.any(missed)):
            return solution
        aim = aim * 0.5 * tolerance / float(xp.max(xp.where(missed, solution.residual, tolerance)))
        again = xp.nonzero(missed)[0]
        part = (equation.take(again), fixed_point_map.take(again), take_rows(solution.inputs, again))
        rest = self._certified(*part, tolerance, aim, left, certifications - 1)
        return solution.completed(rest, missed)


@dataclass(frozen=True)
class RecentredStage(Stage):
    """The chord map with a gain that is chosen repeatedly: the mean over the remaining rows, at their states.

    If gains differ so much that their mean fits no row, the mean over the remaining rows fits these rows better in each round.
    For a single row this is Newton's method. The gains depend on which rows are solved together.
    """

    def run(
        self, equation: FixedPointEquation, rows: Rows, start: Array, inputs: Array | None, tolerance: float, budget: int
    ) -> Solution:
        xp = namespace_of(start)
        inputs = equation.drive if inputs is None else inputs
        solution: Solution | None = None
        for spent in range(0, budget, TUNING.round):
            chord = _recentred(equation, inputs)
            if chord is None:
                break
            stage = MapStage(TUNING.round, Anderson(), CorrectedMap(chord))
            part = stage.run(equation, slice(None), start, inputs, tolerance, min(TUNING.round, budget - spent))
            solution = part if solution is None else solution.completed(part)
            left = xp.nonzero(~part.converged)[0]
            inputs = take_rows(xp.where(finite_rows(part.inputs)[:, None], part.inputs, inputs), left)
            equation = equation.take(left)
        return solution or certified(equation, start, xp.zeros_like(start[:, 0], dtype=xp.int64), tolerance)


@dataclass(frozen=True)
class MixedStage(Stage):
    """The chord map in float32, then corrections with residuals computed in float64 and solved for in float32.

    With residual ρ = T φ(z) + d − z, the correction e of the inputs solves Newton's equation e = T (φ′(z) ∘ e) + ρ. It is
    linear, so the chord map in float32 finds it to float32 precision relative to its size. For a linear equation this is
    iterative refinement (Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, ch. 12).
    """

    solver: Iteration
    chord: ChordMap
    """In float32."""

    def run(
        self, equation: FixedPointEquation, rows: Rows, start: Array, inputs: Array | None, tolerance: float, budget: int
    ) -> Solution:
        xp = namespace_of(start)
        inputs = equation.drive if inputs is None else inputs
        chord = self.chord.take(rows)
        aim = TUNING.single_aim * inputs.shape[1] ** 0.5
        first = iterate_rows(self.solver, chord, to_single(inputs), aim, budget, images=True)
        budget -= _most(first)
        inputs, iterations, arrived = xp.astype(first.state, inputs.dtype), first.iterations, first.converged
        for correction in range(TUNING.corrections + 1):
            state = equation.respond(inputs)
            reached = equation.inputs(state)
            solution = judged(equation, state, reached, iterations, tolerance)
            if correction == TUNING.corrections or budget <= 0 or bool(xp.all(solution.converged | ~arrived)):
                return solution
            residual = reached - inputs
            scale = row_norms(residual)
            going = arrived & ~solution.converged & (scale > 0) & xp.isfinite(scale)
            if not bool(xp.any(going)):
                return solution
            residual /= xp.where(going, scale, xp.inf)[:, None]
            drive = to_single(residual) if bool(xp.all(going)) else xp.where(going[:, None], to_single(residual), 0.0)
            linear = replace(chord.equation, drive=drive, activation=to_single(solution.gains))
            wanted = TUNING.correction_margin * tolerance / float(xp.max(xp.where(going, scale, 0.0)))
            aim = min(max(wanted, TUNING.correction_aims[0]), TUNING.correction_aims[1])
            part = iterate_rows(self.solver, chord.at(linear), drive, aim, budget, images=True)
            budget -= _most(part)
            step = xp.astype(part.state, inputs.dtype)
            step *= scale[:, None]
            step += inputs
            inputs = step if bool(xp.all(going)) else xp.where(going[:, None], step, inputs)
            iterations = iterations + xp.where(going, part.iterations, 0)
            arrived = arrived & (part.converged | ~going)
        return solution


def _recentred(equation: FixedPointEquation, inputs: Array) -> ChordMap | None:
    """Return the chord map with the mean gain at the inputs; None if no row is finite, or the map has no factor."""
    inputs = take_rows(inputs, namespace_of(inputs).nonzero(finite_rows(inputs))[0])
    if inputs.shape[0] == 0:
        return None
    gains = equation.slope(inputs, equation.respond(inputs))
    try:
        return ChordMap.build(equation, equation.operator.shared_gains(gains))
    except np.linalg.LinAlgError:
        return None


def _most(outcome: Outcome) -> int:
    """Return the iterations of the slowest converged row; rows that did not converge must not use up the budget of others."""
    xp = namespace_of(outcome.iterations)
    return int(xp.max(xp.where(outcome.converged, outcome.iterations, 0)))
