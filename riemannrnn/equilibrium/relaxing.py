"""Which fixed point of several: the one that the dynamics reach from the start, row by row."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Protocol

from array_api_compat import device

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointEquation, Rows, finite_rows, take_rows
from riemannrnn.equilibrium.flow import follow, linear_between, spread, stable_rows
from riemannrnn.equilibrium.iteration import iterate_rows
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.solution import CERTIFICATE_MARGIN, Solution, certified
from riemannrnn.equilibrium.stages import Stage
from riemannrnn.network.activations import Activation, check_slopes
from riemannrnn.norms import row_norms

FLOW_STEPS, PATIENCE = 300, 10
"""Steps of the integration for rows in doubt, and rounds of it without progress after which a row is given up."""

FURTHER_ITERATIONS, FURTHER_ROUNDS = 8, 4
"""Plain iterations between two comparisons of a row in doubt, and how many times this is done before its flow is followed."""

CHECKED = 0.8
"""Where the sample contracts no faster than this, the stability of every solution is looked at."""

POWERS, CLEARLY = 4, 0.97
"""A solution is stable if vectors get shorter by this factor in each of the second of two series of this many products."""

STRICTLY = 1e-6
"""Weights count as monotone where I − sym W exceeds this multiple of the identity."""


class Strategy(Protocol):
    """What `relaxed_solution` needs of `riemannrnn.equilibrium.auto.Plan`."""

    equation: FixedPointEquation
    tolerance: float
    budget: int
    rate: float

    def taken(self, rows: Rows) -> tuple[FixedPointEquation, Array]:
        """Return the equation of some rows, and where they start."""

    def staged(self, rows: Rows, stages: Iterator[Stage], budget: int, inputs: Array | None = None) -> Solution:
        """Return the solution of some rows by stages."""

    def settling_stages(self) -> Iterator[Stage]:
        """Yield plain iterations."""

    def contracting_stages(self) -> Iterator[Stage]:
        """Yield the chord map."""

    def separate_stages(self) -> Iterator[Stage]:
        """Yield stages in which no row depends on another."""


def relaxed_solution(plan: Strategy, rows: slice) -> Solution:
    """Return for each row the fixed point at which the dynamics settle, as far as they settle.

    Where the plain iteration contracts, the chord map goes on from a few plain iterations. Its solution is kept if the map is
    close to linear from there to the solution and, where the contraction is slow, if the solution is stable. The dynamics of
    all other rows are integrated.
    Rows for which they reach no fixed point keep the solution that they have, or get one by stages that treat each row alone.
    """
    equation, start = plan.taken(rows)
    xp, everything = namespace_of(start), _indices(rows, start)
    settled = plan.staged(rows, plan.settling_stages(), plan.budget)
    solution = settled
    if plan.rate < 1:
        solution = completed(plan, settled, everything, plan.contracting_stages, settled.inputs)
    solution, doubtful = _compared(plan, equation, settled, solution)
    left = xp.nonzero(doubtful)[0]
    budget = _left(plan, solution, left, FLOW_STEPS)
    if budget > 0:
        followed = follow(equation.take(left), take_rows(start, left), plan.tolerance, budget, PATIENCE)
        arrived = xp.nonzero(followed.converged)[0]
        if arrived.shape[0]:
            solution = solution.completed(followed.take(arrived), spread(followed.converged, doubtful))
    return completed(plan, solution, everything, plan.separate_stages)


def completed(
    plan: Strategy, solution: Solution, rows: Array, stages: Callable[[], Iterator[Stage]], inputs: Array | None = None
) -> Solution:
    """Return a solution whose unsolved rows are solved by more stages, as far as their drives are finite."""
    xp = namespace_of(rows)
    hopeful = ~solution.converged & finite_rows(take_rows(plan.equation.drive, rows))
    left = xp.nonzero(hopeful)[0]
    budget = _left(plan, solution, left, plan.budget)
    if budget == 0:
        return solution
    begun = None if inputs is None else take_rows(inputs, left)
    return solution.completed(plan.staged(take_rows(rows, left), stages(), budget, begun), hopeful)


def _left(plan: Strategy, solution: Solution, rows: Array, most: int) -> int:
    """Return how many iterations of the budget are left for some rows, at most this many; 0 if there are no rows."""
    if rows.shape[0] == 0:
        return 0
    spent = int(namespace_of(rows).max(take_rows(solution.iterations, rows)))
    return max(min(most, plan.budget - spent), 0)


def _compared(plan: Strategy, equation: FixedPointEquation, settled: Solution, solution: Solution) -> tuple[Solution, Array]:
    """Return the solution and which rows of it may not be the one at which the relaxation settles, shape (batch,).

    A row is in no doubt if the map is close to linear between its relaxed state and its solution. The others are relaxed
    further. Where the relaxation converges, its result replaces the solution.
    """
    xp = namespace_of(settled.state)
    if not plan.rate < 1:
        return solution, ~settled.converged
    doubtful = solution.converged & ~settled.converged & ~linear_between(equation, settled.inputs, settled.residual, solution)
    for _ in range(FURTHER_ROUNDS):
        left = xp.nonzero(doubtful)[0]
        if not left.shape[0]:
            break
        part, relaxed = equation.take(left), settled.take(left)
        outcome = iterate_rows(Picard(), part, relaxed.state, CERTIFICATE_MARGIN * plan.tolerance, FURTHER_ITERATIONS)
        further = certified(part, outcome.state, outcome.iterations, plan.tolerance)
        settled = settled.completed(further, doubtful)
        arrived = xp.nonzero(further.converged)[0]
        if arrived.shape[0]:
            solution = solution.completed(further.take(arrived), spread(further.converged, doubtful))
        linear = linear_between(part, further.inputs, further.residual, solution.take(left))
        doubtful = spread(~(linear | further.converged), doubtful)
    sure = solution.converged & ~doubtful
    if plan.rate < CHECKED or not bool(xp.any(sure)):
        return solution, ~sure
    contracting = sure & (settled.converged | _contracting(equation, settled, solution))
    return solution, ~(contracting | stable_rows(equation, solution.gains, sure & ~contracting))


def _contracting(equation: FixedPointEquation, settled: Solution, solution: Solution) -> Array:
    """Tell for each row whether v ↦ G T v shortens the residual of the relaxed state more and more, shape (batch,).

    G T then has no eigenvalue of modulus above 1 that shows, which is enough for stability.
    """
    vector = equation.respond(settled.inputs) - settled.state
    lengths = []
    for _ in range(2):
        for _ in range(POWERS):
            vector = solution.gains * equation.operator.apply(vector)
        lengths.append(row_norms(vector))
    return lengths[1] < CLEARLY**POWERS * lengths[0]


def _indices(rows: slice, like: Array) -> Array:
    return namespace_of(like).arange(rows.start, rows.stop, device=device(like))


def has_unique_solutions(equation: FixedPointEquation) -> bool:
    """Tell whether every row is certain to have one fixed point: f has slopes in [0, 1] and I − sym W is positive definite.

    The test is sufficient, not necessary.
    """
    activation = equation.activation
    monotone = isinstance(activation, Activation) and _is_monotone(activation)
    return monotone and equation.operator.numerical_abscissa_below(1 - STRICTLY)


@cache
def _is_monotone(activation: Activation) -> bool:
    try:
        check_slopes(activation)
    except ValueError:
        return False
    return True
