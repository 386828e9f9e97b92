"""The loop of every solver: residuals, convergence of each stimulus, and removal of converged rows from the batch."""

from abc import abstractmethod
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from array_api_compat import device

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, Rows, Work, take_rows
from riemannrnn.equilibrium.solution import CERTIFICATE_MARGIN, ROUNDING, Solution, certified, is_converged
from riemannrnn.equilibrium.solver import Prepared, Problem, Solver
from riemannrnn.network.activations import into
from riemannrnn.norms import largest_norm, norms_in_range

if TYPE_CHECKING:
    from riemannrnn.equilibrium.factors import Knowledge

COMPACTION_SHARE = 0.25
"""Converged rows are removed when they are this share of the batch: a copy costs a pass through memory."""

TRACKED_FROM = 16
"""Iteration from which the state with the smallest residual is kept; earlier it would cost time in every solution."""

SAFE = 1.01
"""Safety factor for bounds that are computed in another order than the bounded numbers."""

PROGRESS = 0.9
"""A row is stopped, if a patience is given, unless its residual falls at least to this share."""


@dataclass(frozen=True)
class Iterate:
    """The input and output of an update: the state s and the solver's memory, one row for each stimulus.

    Parameters
    ----------
    state
        s, shape (batch, n).
    memory
        The solver's own arrays, each with the batch as first axis.
    spare
        Two arrays with the shape of the state for the loop to overwrite; without them it allocates new ones.
    """

    state: Array
    memory: tuple[Array, ...] = ()
    spare: Work | None = None

    def take(self, rows: Rows) -> "Iterate":
        """Return some of the rows."""
        return Iterate(take_rows(self.state, rows), tuple(take_rows(array, rows) for array in self.memory))


class Evaluated(NamedTuple):
    """The value of the map at a batch of states, computed once for the loop and the solver.

    Attributes
    ----------
    image
        The map's values, shape (batch, n).
    residual, size
        image − s, and its norm for each row, shape (batch,).
    """

    image: Array
    residual: Array
    size: Array

    def take(self, rows: Rows) -> "Evaluated":
        """Return some of the rows."""
        return Evaluated(*(take_rows(array, rows) for array in self))


class Iteration(Solver):
    """A solver with one iteration: an update of a batch of states, without knowledge of convergence or of other rows."""

    def prepare(self, problem: Problem, known: "Knowledge | None" = None) -> Prepared:
        return _Iterated(self, problem)

    def start(self, state: Array) -> Iterate:
        """Return the first iterate."""
        return Iterate(state)

    @abstractmethod
    def update(self, equation: FixedPointMap, iterate: Iterate, evaluated: Evaluated, tolerance: float) -> Iterate:
        """Return the next iterate, given the value of the map at this one and the tolerance.

        The solver owns the given arrays: it may overwrite them, keep them or return them as spare arrays.
        """

    def reached(self, iterate: Iterate, evaluated: Evaluated, best: Array) -> Array:
        """Return the states of rows that end without convergence: by default the states with the smallest residual."""
        return best

    def expected(self, iterate: Iterate, size: Array) -> Array:
        """Return the expected residual of the image, shape (batch,): by default the residual of the state."""
        return size

    def least_expected(self, least: float, before: float) -> float:
        """Return a lower bound of `expected`, for residuals of at least `least` now and at most `before` one iteration ago."""
        return least

    def reach(self, state: Array, travelled: float) -> float:
        """Return an upper bound of the norms of the states.

        Parameters
        ----------
        state
            The states, shape (batch, n).
        travelled
            The largest norm at the start, plus the largest residual of each iteration since then.
        """
        return largest_norm(state)


@dataclass(frozen=True)
class _Iterated(Prepared):
    """An iteration of the equation itself, from the start of each row."""

    solver: Iteration
    problem: Problem

    @property
    def name(self) -> str:
        return self.solver.name

    def solve(self, rows: slice) -> Solution:
        equation, state = self.problem.take(rows)
        return iterated(self.solver, equation, state, self.problem.tolerance, self.problem.max_iterations)


@dataclass(frozen=True)
class Outcome:
    """States, the iterations of each, and whether its residual is below the tolerance, one row for each stimulus."""

    state: Array
    iterations: Array
    converged: Array


def iterate_rows(
    solver: Iteration,
    equation: FixedPointMap,
    state: Array,
    tolerance: float,
    max_iterations: int,
    *,
    images: bool = False,
    patience: int | None = None,
) -> Outcome:
    """Iterate every row until ‖image − s‖ ≤ tolerance, its residual is not finite, or the iterations are used up.

    Iterations reuse the arrays of earlier iterations, as far as the solver returns them. The returned states are states with a
    known residual. A row that uses up its iterations gets the state with the smallest residual among the start and the
    iterates from `TRACKED_FROM` on.

    Parameters
    ----------
    solver, equation, state, tolerance, max_iterations
        The solver, the map, the states at the start, the residual to reach, and the most iterations.
    images
        Return the value of the map at the states, as soon as its expected residual is small enough. This saves a product. The
        caller certifies these images.
    patience
        Stop a row if its residual has fallen by less than `PROGRESS` requires in this many iterations.
    """
    xp = namespace_of(state)
    rows = xp.arange(state.shape[0], device=device(state))
    iterate = solver.start(xp.asarray(state, copy=True))
    finished: list[tuple[Array, Array, Array, int]] = []
    best, smallest = state, xp.full_like(state[:, 0], xp.inf)
    reference, before = smallest, inf
    travelled, rounding = largest_norm(state), SAFE * ROUNDING * float(xp.finfo(state.dtype).eps)
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging row is reported by its status, not by a warning
        for iteration in range(max_iterations + 1):
            evaluated, least, largest = _evaluated(equation, iterate)
            watched = (patience and iteration % patience == 0) or (iteration >= TRACKED_FROM and not images)
            if iteration < max_iterations and not (watched and iteration):
                # Bounds over all rows show that none can stop now, as in most iterations.
                expected = solver.least_expected(least, before) if images else least
                if expected > tolerance + rounding * solver.reach(iterate.state, travelled):
                    smallest = reference = evaluated.size if iteration == 0 else smallest
                    before, travelled = largest, travelled + largest
                    iterate = solver.update(equation, iterate, evaluated, tolerance)
                    continue
            size = solver.expected(iterate, evaluated.size) if images else evaluated.size
            converged = is_converged(iterate.state, size, tolerance)
            stopped = converged | ~xp.isfinite(evaluated.size)
            if iteration == 0:
                smallest = evaluated.size
            elif iteration >= TRACKED_FROM and not images:
                best = _better(iterate, evaluated, best, smallest)
                smallest = xp.where(evaluated.size < smallest, evaluated.size, smallest)
            if patience and iteration % patience == 0:
                stopped = stopped | ~(evaluated.size < PROGRESS * reference)
                reference = evaluated.size
            count = int(xp.count_nonzero(stopped))
            if count == rows.shape[0] or iteration == max_iterations:
                last = evaluated.image if images else _ended(solver, iterate, evaluated, best, smallest, converged)
                finished.append((rows, last, converged, iteration))
                break
            if count >= COMPACTION_SHARE * rows.shape[0] and count > 0:
                done, going = xp.nonzero(stopped)[0], xp.nonzero(~stopped)[0]
                ended = evaluated.image if images else _ended(solver, iterate, evaluated, best, smallest, converged)
                finished.append((take_rows(rows, done), take_rows(ended, done), take_rows(converged, done), iteration))
                rows, iterate, equation = take_rows(rows, going), iterate.take(going), equation.take(going)
                best, smallest, reference = (take_rows(each, going) for each in (best, smallest, reference))
                evaluated = evaluated.take(going)
            before, travelled = largest, travelled + largest
            iterate = solver.update(equation, iterate, evaluated, tolerance)
    if len(finished) == 1:
        return Outcome(last, xp.full_like(rows, iteration), converged)
    order = xp.argsort(xp.concat([rows for rows, _, _, _ in finished]))
    counts = [xp.full(rows.shape, number, dtype=order.dtype, device=device(state)) for rows, _, _, number in finished]
    return Outcome(
        take_rows(xp.concat([states for _, states, _, _ in finished]), order),
        take_rows(xp.concat(counts), order),
        take_rows(xp.concat([converged for _, _, converged, _ in finished]), order),
    )


def iterated(solver: Iteration, equation: FixedPointEquation, state: Array, tolerance: float, max_iterations: int) -> Solution:
    """Iterate every row of an equation from its state, and certify the final states."""
    outcome = iterate_rows(solver, equation, state, CERTIFICATE_MARGIN * tolerance, max_iterations)
    return certified(equation, outcome.state, outcome.iterations, tolerance)


def _ended(solver: Iteration, iterate: Iterate, evaluated: Evaluated, best: Array, smallest: Array, converged: Array) -> Array:
    """Return the result for rows that end in this iteration."""
    xp = namespace_of(best)
    if bool(xp.all(converged)):
        return iterate.state
    reached = solver.reached(iterate, evaluated, _better(iterate, evaluated, best, smallest))
    last = converged | ~xp.isfinite(evaluated.size)  # for a diverging row the state shows the divergence
    return xp.where(last[:, None], iterate.state, reached)


def _better(iterate: Iterate, evaluated: Evaluated, best: Array, smallest: Array) -> Array:
    """Return the states of this iteration if their residuals are the smallest so far, otherwise the best states before."""
    return namespace_of(best).where((evaluated.size < smallest)[:, None], iterate.state, best)


def _evaluated(equation: FixedPointMap, iterate: Iterate) -> tuple[Evaluated, float, float]:
    """Return the value of the map, and the smallest and the largest residual; NaN if a residual is not finite."""
    xp = namespace_of(iterate.state)
    work = iterate.spare or (xp.empty_like(iterate.state), xp.empty_like(iterate.state))
    image = equation.image(iterate.state, work)
    residual = into(work[1] if image is work[0] else work[0], xp.subtract, image, iterate.state)
    size, least, largest = norms_in_range(residual)
    return Evaluated(image, residual, size), least, largest
