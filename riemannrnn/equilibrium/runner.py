"""Running the chosen steps: each continues with the rows that the previous step left unsolved."""

from collections.abc import Iterator
from dataclasses import dataclass

from array_api_compat import device

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.decision import Decision, Step, Steps
from riemannrnn.equilibrium.equation import Rows, take_rows
from riemannrnn.equilibrium.factors import Factors, MapName
from riemannrnn.equilibrium.probe import initial_inputs, progress
from riemannrnn.equilibrium.solution import Solution, certified
from riemannrnn.equilibrium.solver import Problem
from riemannrnn.equilibrium.stages import DirectStage, MapStage, MixedStage, RecentredStage, Stage
from riemannrnn.equilibrium.tuning import TUNING
from riemannrnn.norms import row_norms


@dataclass(frozen=True)
class Runner:
    """Solves rows of a problem by steps.

    Parameters
    ----------
    problem
        The problem.
    decision
        The steps for rows of every kind.
    factors
        The maps that the steps iterate.
    """

    problem: Problem
    decision: Decision
    factors: Factors

    def run(self, steps: Steps, rows: Rows, budget: int, inputs: Array | None = None) -> Solution:
        """Return the solution of some rows.

        Parameters
        ----------
        steps, rows, budget
            The steps in order, the rows, and the most iterations.
        inputs
            The start for maps of the inputs, shape (rows, n). Default: the drive, or inputs close to the start of the problem
            if there is one.
        """
        xp, tolerance = namespace_of(self.problem.equation.drive), self.problem.tolerance
        equation, start = self.problem.take(rows)
        solution: Solution | None = None
        left = xp.arange(rows.start, rows.stop, device=device(start)) if isinstance(rows, slice) else rows
        state, spent, stages = start, 0, self.stages(steps)
        stage, best = next(stages, None), xp.full_like(start[:, 0], xp.inf)
        while spent < budget and stage is not None:
            if inputs is None and stage.takes_inputs:
                cold = self.problem.start is None and solution is None
                inputs = equation.drive if cold else initial_inputs(equation, state, start)
            chosen = rows if solution is None else left
            part = stage.run(equation, chosen, start, inputs, tolerance, min(stage.iterations, budget - spent))
            solution = part if solution is None else solution.completed(part, solution.unsolved(self.problem.equation))
            spent += stage.iterations
            again = xp.nonzero(part.unsolved(self.problem.equation))[0]
            if not again.shape[0]:
                return solution
            equation = equation.take(again)
            left, start, state = (take_rows(array, again) for array in (left, start, part.state))
            residual, before = take_rows(part.residual, again), take_rows(best, again)
            near = residual < xp.minimum(TUNING.near * row_norms(state), 0.5 * before)
            best = xp.minimum(residual, before)
            if inputs is not None:  # rows far from a solution start from the same inputs again
                inputs = xp.where(near[:, None], take_rows(part.inputs, again), take_rows(inputs, again))
            if not (stage.repeated and 2 * int(xp.count_nonzero(near)) > again.shape[0]):
                stage = next(stages, None)
        return solution or certified(equation, start, xp.zeros_like(left), tolerance)

    def stages(self, steps: Steps) -> Iterator[Stage]:
        """Yield the stages of steps; each factor is formed when needed. Steps without an existing map are left out."""
        for step in steps:
            if (stage := self._stage(step)) is not None:
                yield stage

    def _stage(self, step: Step) -> Stage | None:
        name: MapName
        match step.on:
            case "recentred":
                return RecentredStage(step.iterations)
            case "equation":
                there = step.needs is None or self.factors.get(step.needs) is not None
                return DirectStage(step.iterations, step.solver) if there else self._otherwise(step)
            case "better" | "other":
                better, other = self.factors.ranked(self._progress)
                name = better if step.on == "better" else other
            case _:
                name = step.on
        fixed_point_map = self.factors.get(name)
        if fixed_point_map is None:
            return self._otherwise(step)
        if name == "single":
            return MixedStage(step.iterations, step.solver, fixed_point_map)
        return MapStage(step.iterations, step.solver, fixed_point_map, step.repeated, step.patience)

    def _otherwise(self, step: Step) -> Stage | None:
        return None if step.otherwise is None else self._stage(step.otherwise)

    def _progress(self, fixed_point_map: ChordMap) -> float:
        return progress(fixed_point_map, self.problem)
