"""The automatic solver: it measures a sample of the batch, decides, and runs the chosen steps for all rows."""

from dataclasses import dataclass
from typing import final, get_args

from array_api_compat import device

from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.brief import Brief, brief_iterations
from riemannrnn.equilibrium.decision import Method, Precision, Situation, decide
from riemannrnn.equilibrium.factors import Factors, Knowledge
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.probe import measured, unmeasured
from riemannrnn.equilibrium.relaxing import completed, has_unique_solutions, relaxed_solution
from riemannrnn.equilibrium.runner import Runner
from riemannrnn.equilibrium.solution import Solution, quiet
from riemannrnn.equilibrium.solver import Prepared, Problem, Solver


@final
@dataclass(frozen=True)
class Automatic(Solver):
    """Chooses by measurements on a sample of the batch; the name of the solver in its results says what it chose.

    Parameters
    ----------
    method
        "any" finds for each stimulus the fixed point at which the dynamics settle, as far as they settle. A stimulus for which
        they do not settle may get another fixed point, which can depend on the other stimuli and on rounding.
        "chord" or "splitting" (Peaceman–Rachford) uses only this map, with gains that the stimuli share: if there are several
        fixed points, the result can depend on the batch. Stimuli that a map leaves unsolved go on to plain and then to averaged
        iterations, so no stimulus fails if these converge.
    precision
        For float64 problems: "mixed" iterates the chord map in float32, and corrects and certifies in float64; "native" does
        everything in float64.

    Raises
    ------
    ValueError
        For an unknown method or precision.
    """

    method: Method = "any"
    precision: Precision = "mixed"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("method", self.method, get_args(Method)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in known:
                raise ValueError(f"{name} = {value!r} is unknown; choose one of {', '.join(known)}")

    @property
    def name(self) -> str:
        return "auto" if self.method == "any" else self.method

    def prepare(self, problem: Problem, known: Knowledge | None = None) -> Prepared:
        """Prepare plain iterations for a small problem. For others measure, decide, and form the factor, on all cores."""
        if problem.equation.drive.shape[0] == 0:  # an empty batch has no sample
            return Picard().prepare(problem)
        iterations = 0 if self.method != "any" or (known and known.factors.formed) else brief_iterations(problem)
        if iterations:
            return Brief(problem, iterations, lambda rest: self.strategy(rest, known))
        return self.strategy(problem, known)

    def strategy(self, problem: Problem, known: Knowledge | None) -> "Strategy":
        """Measure, decide, and form the factor that every row needs."""
        with quiet():
            strategy = Strategy(self, problem, known)
            strategy.form()
        return strategy


class Strategy(Prepared):
    """The four parts of the automatic solver, combined for one problem.

    `measured` measures a sample of the batch. `decide` chooses steps from the measurements. `Factors` forms what the rows
    share. `Runner` solves rows by the steps: each step continues with the rows that the previous step left, from their starts.

    A row of a nonlinear equation may have several fixed points, unless `has_unique_solutions` excludes it. `relaxed_solution`
    then chooses the fixed point at which the dynamics settle.

    Parameters
    ----------
    solver, problem
        The method and the precision, and the problem.
    known
        Results for another equation with the same T or its transpose.
    """

    def __init__(self, solver: Automatic, problem: Problem, known: Knowledge | None = None) -> None:
        self._solver, self._together, equation = solver, 0, problem.equation
        if solver.method == "splitting":  # it needs no measurement
            self.probe = unmeasured(problem)
        else:
            self.probe = measured(problem, known and known.probe)
        several = solver.method == "any" and equation.nonlinear
        situation = Situation(
            rate=self.probe.rate,
            left=self.probe.left,
            rows=equation.drive.shape[0],
            units=equation.drive.shape[1],
            factor_rows=equation.operator.factor_rows(equation.drive.shape[1]),
            budget=problem.max_iterations,
            nonlinear=equation.nonlinear,
            unique=not several or has_unique_solutions(equation),
            divisible=equation.operator.divisible,
            factored=known is not None and known.factors.formed,
            method=solver.method,
            precision=solver.precision,
        )
        self.decision = decide(situation)
        factors = Factors(equation, self.probe.gain, self.decision.blocks, known and known.factors)
        self._runner = Runner(problem, self.decision, factors)

    def form(self) -> None:
        """Form the factor of the first step, unless plain iterations precede it."""
        if not self.decision.plain:
            next(self._runner.stages(self.decision.steps), None)

    def solve(self, rows: slice) -> Solution:
        if self.decision.situation.unique:
            return self._runner.run(self.decision.steps, rows, self._runner.problem.max_iterations)
        return relaxed_solution(self._runner, rows)

    def finish(self, solution: Solution) -> Solution:
        """Return the solution of the whole batch. Rows that are left are solved together, from all chunks."""
        if self.decision.situation.unique:
            return solution
        before, xp = solution.converged, namespace_of(solution.converged)
        everything = xp.arange(before.shape[0], device=device(before))
        solution = completed(self._runner, solution, everything, self.decision.shared)
        self._together = int(xp.count_nonzero(solution.converged & ~before))
        return solution

    @property
    def name(self) -> str:
        """The solver, its first step, and how many stimuli were solved in the end with gains that they share."""
        factors = self._runner.factors
        chosen = self.decision.description(factors.formed, factors.has("single"))
        together = f", {self._together} with gains that they share" if self._together else ""
        return f"{self._solver.name} ({chosen}{together})"

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge(self.probe, self._runner.factors)
