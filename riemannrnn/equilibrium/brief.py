"""Problems so small that plain iteration takes less time than measuring a sample and deciding."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, nan

from array_api_compat import is_numpy_array

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointEquation, Work, take_rows
from riemannrnn.equilibrium.factors import Knowledge
from riemannrnn.equilibrium.probe import iterations_needed
from riemannrnn.equilibrium.solution import CERTIFICATE_MARGIN, Solution, certified
from riemannrnn.equilibrium.solver import Prepared, Problem
from riemannrnn.equilibrium.tuning import TUNING
from riemannrnn.norms import largest_norm


def brief_iterations(problem: Problem) -> int:
    """Return how many plain iterations take about as long as measuring, deciding and starting; 0 if there are too few.

    The time of an iteration is counted in multiplications: a fixed number for its function calls, and some for each entry of
    the state. It depends only on the shape of the batch.
    """
    drive, operator = problem.equation.drive, problem.equation.operator
    if not is_numpy_array(drive) or operator.matrix_free or problem.max_iterations < TUNING.brief_budget:
        return 0
    rows, units = drive.shape
    iteration = TUNING.call_work + rows * units * (units + TUNING.entry_work)
    saved = TUNING.brief_work + TUNING.factor_products * units**3
    count = min(int(saved / iteration), TUNING.most_brief, problem.max_iterations // 2)
    return count if count >= TUNING.fewest_brief else 0


@dataclass
class Brief(Prepared):
    """A predicted number of plain iterations for all rows, and the automatic solver for rows that they do not solve.

    A few iterations show how fast residuals fall. The iterations that the tolerance then needs follow, without computing
    residuals between them. Plain iteration reaches the fixed point at which the dynamics settle; the automatic solver looks for
    the same.

    Parameters
    ----------
    problem
        The problem.
    iterations
        The most plain iterations.
    further
        Prepares the solver for the remaining rows, given their problem.
    """

    problem: Problem
    iterations: int
    further: Callable[[Problem], Prepared]
    _rest: Prepared | None = field(default=None, init=False)
    _settled: bool = field(default=False, init=False)
    """Whether residuals fell for long enough to continue from the states reached."""

    @property
    def name(self) -> str:
        return "auto (plain iteration)" if self._rest is None else self._rest.name

    @property
    def knowledge(self) -> Knowledge | None:
        return None if self._rest is None else self._rest.knowledge

    def solve(self, rows: slice) -> Solution:
        equation, state = self.problem.take(rows)
        if self.problem.start is None:
            return self._iterated(equation, state)
        solution = self._certified(equation, state, 0)  # a start that is a solution is returned unchanged
        unsolved = solution.unsolved(equation)
        left = namespace_of(state).nonzero(unsolved)[0]
        if not left.shape[0]:
            return solution
        return solution.completed(self._iterated(equation.take(left), take_rows(state, left)), unsolved)

    def finish(self, solution: Solution) -> Solution:
        """Return the solution, with the remaining rows solved by the automatic solver."""
        equation, xp = self.problem.equation, namespace_of(solution.state)
        unsolved = solution.unsolved(equation)
        left = xp.nonzero(unsolved)[0]
        if not left.shape[0]:
            return solution
        begun = solution.state if self._settled else self.problem.start
        start = None if begun is None else take_rows(begun, left)
        budget = self.problem.max_iterations - int(xp.max(solution.iterations))
        self._rest = self.further(Problem(equation.take(left), start, self.problem.tolerance, budget))
        rest = self._rest.solve(slice(0, left.shape[0]))
        return solution.completed(self._rest.finish(rest), unsolved)

    def _iterated(self, equation: FixedPointEquation, state: Array) -> Solution:
        """Return the result of the predicted number of iterations, or the current state if too many are predicted.

        A prediction is trusted for at most as many iterations as were done before it. Then a new prediction is made.
        """
        aim, xp = CERTIFICATE_MARGIN * self.problem.tolerance, namespace_of(state)
        work = xp.empty_like(state), xp.empty_like(state)
        count, step = TUNING.brief_start, 1
        state, before = self._further(equation, state, count, work)
        known_at = count - 1  # the last iteration with a known residual
        while True:
            state, residual = self._further(equation, state, step, work)
            count += step
            rate = (residual / before) ** (1 / (count - 1 - known_at)) if residual > 0 else nan
            growing = not rate < 1
            needed = 0.0 if growing else max(iterations_needed(rate, rate * residual, aim), 0.0)
            # Residuals of adjoints often grow at first. For fixed points this may mean that there are several.
            if count + needed > self.iterations or (growing and (equation.nonlinear or count >= TUNING.brief_growth)):
                return self._certified(equation, state, count)
            self._settled, before, known_at, step = True, residual, count - 1, count
            if needed <= count and not growing:
                count += ceil(needed)
                state = equation.repeated(state, ceil(needed), work)
                solution = self._certified(equation, state, count)
                if bool(xp.all(solution.converged)) or count >= self.iterations:
                    return solution
                before, known_at, step = float(xp.max(solution.residual)), count, 2

    def _further(self, equation: FixedPointEquation, state: Array, count: int, work: Work) -> tuple[Array, float]:
        """Return the state after some iterations, and the largest residual of the previous state; NaN if one is not finite."""
        before = equation.repeated(state, count - 1, work)
        state = equation.image(before)
        return state, largest_norm(state - before)

    def _certified(self, equation: FixedPointEquation, state: Array, count: int) -> Solution:
        iterations = namespace_of(state).full(state.shape[:1], count, dtype=namespace_of(state).int64)
        return certified(equation, state, iterations, self.problem.tolerance)
