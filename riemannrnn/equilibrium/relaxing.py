"""Which fixed point of several: the one that the dynamics reach from the start, row by row."""

from collections.abc import Iterator
from functools import cache
from typing import Protocol

import numpy as np
from array_api_compat import device

from manifolds import Array
from manifolds.arrays import identity_like
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointEquation, Rows, take_rows
from riemannrnn.equilibrium.flow import follow, spread, stable_rows
from riemannrnn.equilibrium.solution import Solution
from riemannrnn.equilibrium.stages import Stage
from riemannrnn.network.activations import Activation, check_slopes
from riemannrnn.network.connectivity import Dense
from riemannrnn.norms import row_norms

FLOW_STEPS, PATIENCE = 300, 10
"""Steps of the integration for rows in doubt, and rounds of it without progress after which a row is given up."""

REACH = 3.0
"""A solution is as far from a relaxed state as its residual and the contraction of the sample allow, up to this factor."""

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

    def last_resorts(self) -> Iterator[Stage]:
        """Yield stages for rows that the dynamics bring to no fixed point."""


def relaxed_solution(plan: Strategy, rows: slice) -> Solution:
    """Return for each row the fixed point at which the dynamics settle, as far as they settle.

    Where the plain iteration contracts, the chord map goes on from a few plain iterations. Its solution is kept if it is as
    near as the contraction allows and, where this is slow, if it is stable. The dynamics of all other rows are integrated.
    Rows for which they reach no fixed point keep the solution that they have, or get one by the stages of last resort.
    """
    equation, start = plan.taken(rows)
    xp, everything = namespace_of(start), _indices(rows, start)
    settled = plan.staged(rows, plan.settling_stages(), plan.budget)
    solution = settled
    if plan.rate < 1:
        solution = _completed(plan, settled, everything, plan.contracting_stages(), settled.inputs)
    doubtful = ~_as_relaxed(plan, equation, settled, solution)
    left = xp.nonzero(doubtful)[0]
    budget = _left(plan, solution, left, FLOW_STEPS)
    if budget > 0:
        followed = follow(equation.take(left), take_rows(start, left), plan.tolerance, budget, PATIENCE)
        arrived = xp.nonzero(followed.converged)[0]
        if arrived.shape[0]:
            solution = solution.completed(followed.take(arrived), spread(followed.converged, doubtful))
    return _completed(plan, solution, everything, plan.last_resorts())


def _completed(
    plan: Strategy, solution: Solution, rows: Array, stages: Iterator[Stage], inputs: Array | None = None
) -> Solution:
    """Return a solution whose unsolved rows are solved by more stages."""
    xp = namespace_of(rows)
    left = xp.nonzero(~solution.converged)[0]
    budget = _left(plan, solution, left, plan.budget)
    if budget == 0:
        return solution
    begun = None if inputs is None else take_rows(inputs, left)
    return solution.completed(plan.staged(take_rows(rows, left), stages, budget, begun))


def _left(plan: Strategy, solution: Solution, rows: Array, most: int) -> int:
    """Return how many iterations of the budget are left for some rows, at most this many; 0 if there are no rows."""
    if rows.shape[0] == 0:
        return 0
    spent = int(namespace_of(rows).max(take_rows(solution.iterations, rows)))
    return max(min(most, plan.budget - spent), 0)


def _as_relaxed(plan: Strategy, equation: FixedPointEquation, settled: Solution, solution: Solution) -> Array:
    """Tell for each row whether the solution is the one at which the relaxation settles, as far as is known, shape (batch,)."""
    if not plan.rate < 1:
        return settled.converged
    xp, distance = namespace_of(settled.state), row_norms(solution.state - settled.state)
    near = settled.converged | (distance <= REACH * settled.residual / (1 - plan.rate))
    near = near & solution.converged
    if plan.rate < CHECKED or not bool(xp.any(near)):
        return near
    contracting = near & (settled.converged | _contracting(equation, settled, solution))
    return contracting | stable_rows(equation, solution.gains, near & ~contracting)


def _contracting(equation: FixedPointEquation, settled: Solution, solution: Solution) -> Array:
    """Tell for each row whether v ↦ G T v, begun at the residual of the relaxed state, gets shorter and shorter, shape (batch,).

    G T then has no eigenvalue of modulus above 1 that shows, which is enough for stability.
    """
    vector = equation.respond(settled.inputs) - settled.state
    lengths = []
    for _ in range(2):
        for _ in range(POWERS):
            vector = solution.gains * equation.operator(vector)
        lengths.append(row_norms(vector))
    return lengths[1] < CLEARLY**POWERS * lengths[0]


def _indices(rows: slice, like: Array) -> Array:
    return namespace_of(like).arange(rows.start, rows.stop, device=device(like))


def has_unique_solutions(equation: FixedPointEquation) -> bool:
    """Tell whether every row is certain to have one fixed point: f has slopes in [0, 1] and I − sym W is positive definite.

    The test is sufficient, not necessary. It takes one Cholesky factor of dense weights.
    """
    operator, activation = equation.operator, equation.activation
    if not isinstance(activation, Activation) or not isinstance(operator.connectivity, Dense) or not _is_monotone(activation):
        return False
    weights = operator.parameters
    xp = namespace_of(weights)
    symmetric = (weights + weights.T) / 2
    if float(xp.linalg.matrix_norm(symmetric)) < 1 - STRICTLY:
        return True
    try:
        factor = xp.linalg.cholesky((1 - STRICTLY) * identity_like(weights) - symmetric)
    except np.linalg.LinAlgError:
        return False
    return bool(xp.all(xp.isfinite(factor)))


@cache
def _is_monotone(activation: Activation) -> bool:
    try:
        check_slopes(activation)
    except ValueError:
        return False
    return True
