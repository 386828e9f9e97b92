"""The choice among several fixed points: for each row the fixed point that the dynamics reach from the start."""

from functools import cache

from array_api_compat import device

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.decision import Steps
from riemannrnn.equilibrium.diagonal_lyapunov import unique_by_rows
from riemannrnn.equilibrium.equation import FixedPointEquation, finite_rows, take_rows
from riemannrnn.equilibrium.flow import follow, linear_between, spread, stable_rows
from riemannrnn.equilibrium.iteration import iterated
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.runner import Runner
from riemannrnn.equilibrium.solution import Solution
from riemannrnn.equilibrium.tuning import TUNING
from riemannrnn.network.activations import Activation, check_slopes
from riemannrnn.norms import row_norms


def relaxed_solution(runner: Runner, rows: slice) -> Solution:
    """Return for each row the fixed point at which the dynamics settle, as far as they settle.

    If the plain iteration contracts, the chord map continues after a few plain iterations. Its solution is accepted if the map
    is nearly linear from this state to the solution and, for a slow contraction, if the solution is stable. The dynamics of all
    other rows are integrated. Rows for which the dynamics reach no fixed point keep their solution, or are solved by stages
    that treat each row separately.
    """
    problem, decision = runner.problem, runner.decision
    equation, start = problem.take(rows)
    xp, everything = namespace_of(start), _indices(rows, start)
    settled = runner.run(decision.settling, rows, problem.max_iterations)
    solution = settled
    if decision.situation.contracting:
        solution = completed(runner, settled, everything, decision.contracting, settled.inputs)
    solution, doubtful = _compared(runner, equation, settled, solution)
    left = xp.nonzero(doubtful)[0]
    budget = _left(runner, solution, left, TUNING.flow_steps)
    if budget > 0:
        followed = follow(equation.take(left), take_rows(start, left), problem.tolerance, budget, TUNING.patience)
        arrived = xp.nonzero(followed.converged)[0]
        if arrived.shape[0]:
            solution = solution.completed(followed.take(arrived), spread(followed.converged, doubtful))
    return completed(runner, solution, everything, decision.separate)


def completed(runner: Runner, solution: Solution, rows: Array, steps: Steps, inputs: Array | None = None) -> Solution:
    """Return a solution with its unsolved rows solved by more steps, if their drives are finite."""
    xp = namespace_of(rows)
    hopeful = ~solution.converged & finite_rows(take_rows(runner.problem.equation.drive, rows))
    left = xp.nonzero(hopeful)[0]
    budget = _left(runner, solution, left, runner.problem.max_iterations)
    if budget == 0:
        return solution
    begun = None if inputs is None else take_rows(inputs, left)
    return solution.completed(runner.run(steps, take_rows(rows, left), budget, begun), hopeful)


def _left(runner: Runner, solution: Solution, rows: Array, most: int) -> int:
    """Return the number of remaining iterations of the budget for some rows, at most `most`; 0 without rows."""
    if rows.shape[0] == 0:
        return 0
    spent = int(namespace_of(rows).max(take_rows(solution.iterations, rows)))
    return max(min(most, runner.problem.max_iterations - spent), 0)


def _compared(runner: Runner, equation: FixedPointEquation, settled: Solution, solution: Solution) -> tuple[Solution, Array]:
    """Return the solution, and which of its rows may not be the fixed point of the relaxation, shape (batch,).

    A row is accepted if the map is nearly linear between its relaxed state and its solution. The others are relaxed further. If
    the relaxation converges, its result replaces the solution.
    """
    xp = namespace_of(settled.state)
    if not runner.decision.situation.contracting:
        return solution, ~settled.converged
    doubtful = solution.converged & ~settled.converged & ~linear_between(equation, settled.inputs, settled.residual, solution)
    for _ in range(TUNING.further_rounds):
        left = xp.nonzero(doubtful)[0]
        if not left.shape[0]:
            break
        part, relaxed = equation.take(left), settled.take(left)
        further = iterated(Picard(), part, relaxed.state, runner.problem.tolerance, TUNING.further_iterations)
        settled = settled.completed(further, doubtful)
        arrived = xp.nonzero(further.converged)[0]
        if arrived.shape[0]:
            solution = solution.completed(further.take(arrived), spread(further.converged, doubtful))
        linear = linear_between(part, further.inputs, further.residual, solution.take(left))
        doubtful = spread(~(linear | further.converged), doubtful)
    sure = solution.converged & ~doubtful
    if runner.decision.situation.rate < TUNING.checked or not bool(xp.any(sure)):
        return solution, ~sure
    contracting = sure & (settled.converged | _contracting(equation, settled, solution))
    return solution, ~(contracting | stable_rows(equation, solution.gains, sure & ~contracting))


def _contracting(equation: FixedPointEquation, settled: Solution, solution: Solution) -> Array:
    """Tell for each row whether v ↦ G T v shortens the residual of the relaxed state more and more, shape (batch,).

    Then G T shows no eigenvalue with modulus above 1, which suffices for stability.
    """
    vector = equation.respond(settled.inputs) - settled.state
    lengths = []
    for _ in range(2):
        for _ in range(TUNING.powers):
            vector = solution.gains * equation.operator.apply(vector)
        lengths.append(row_norms(vector))
    return lengths[1] < TUNING.clearly**TUNING.powers * lengths[0]


def _indices(rows: slice, like: Array) -> Array:
    return namespace_of(like).arange(rows.start, rows.stop, device=device(like))


def has_unique_solutions(equation: FixedPointEquation) -> bool:
    """Tell whether every row is certain to have one fixed point.

    That is so if f has slopes in [0, 1], and the symmetric part of I − W, or of I − W with scaled rows, is positive definite.
    The test is sufficient, not necessary.
    """
    activation, operator = equation.activation, equation.operator
    if not (isinstance(activation, Activation) and _is_monotone(activation)):
        return False
    return operator.numerical_abscissa_below(1 - TUNING.strictly) or unique_by_rows(operator)


@cache
def _is_monotone(activation: Activation) -> bool:
    try:
        check_slopes(activation)
    except ValueError:
        return False
    return True
