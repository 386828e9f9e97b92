"""The loop that every solver shares: residuals, convergence of each stimulus, and leaving the batch when done."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.equation import FixedPointMap, row_norms, take_rows

COMPACTION_SHARE = 0.125
"""Converged rows leave the batch once they are this share of it: copying costs a pass through memory, so not one by one."""

ROUNDING = 4
"""A residual below this many machine epsilons times ‖s‖ is rounding and counts as converged whatever the tolerance."""


@dataclass(frozen=True)
class Iterate:
    """What one update sees and returns: the state s and whatever the solver remembers, one row a stimulus.

    Parameters
    ----------
    state
        s, shape (batch, n).
    memory
        The solver's own arrays, each with the batch as first axis.
    """

    state: Array
    memory: tuple[Array, ...] = ()

    def take(self, rows: Array) -> "Iterate":
        """Return some of the rows."""
        return Iterate(take_rows(self.state, rows), tuple(take_rows(array, rows) for array in self.memory))


class Evaluated(NamedTuple):
    """What the map makes of a batch of states, computed once for the loop and the solver.

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

    def take(self, rows: Array) -> "Evaluated":
        """Return some of the rows."""
        return Evaluated(*(take_rows(array, rows) for array in self))


class Solver(ABC):
    """A way to a fixed point: an update of a batch of states that knows nothing of convergence or of other rows."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the solver is called in results and on the command line."""

    @abstractmethod
    def start(self, state: Array) -> Iterate:
        """Return the first iterate."""

    @abstractmethod
    def update(self, equation: FixedPointMap, iterate: Iterate, evaluated: Evaluated, tolerance: float) -> Iterate:
        """Return the next iterate, given what the map makes of this one and the residual that is aimed at."""


@dataclass(frozen=True)
class Outcome:
    """States with the iterations each took and whether its residual came below tolerance, one row a stimulus."""

    state: Array
    iterations: Array
    converged: Array


def iterate_rows(solver: Solver, equation: FixedPointMap, state: Array, tolerance: float, max_iterations: int) -> Outcome:
    """Iterate every row until ‖image − s‖ ≤ tolerance, its residual is not finite, or the iterations are used up."""
    xp = array_namespace(state)
    rows = xp.arange(state.shape[0], device=device(state))
    iterate = solver.start(state)
    finished: list[tuple[Array, Array, Array, int]] = []
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging row is reported by its status, not by a warning
        for iteration in range(max_iterations + 1):
            image = equation.image(iterate.state)
            residual = image - iterate.state
            evaluated = Evaluated(image, residual, row_norms(residual))
            converged = is_converged(iterate.state, evaluated.size, tolerance)
            stopped = converged | ~xp.isfinite(evaluated.size)
            count = int(xp.count_nonzero(stopped))
            if count == rows.shape[0] or iteration == max_iterations:
                finished.append((rows, iterate.state, converged, iteration))
                break
            if count >= COMPACTION_SHARE * rows.shape[0] and count > 0:
                done, going = xp.nonzero(stopped)[0], xp.nonzero(~stopped)[0]
                finished.append((take_rows(rows, done), take_rows(iterate.state, done), take_rows(converged, done), iteration))
                rows, iterate, equation = take_rows(rows, going), iterate.take(going), equation.take(going)
                evaluated = evaluated.take(going)
            iterate = solver.update(equation, iterate, evaluated, tolerance)
    order = xp.argsort(xp.concat([rows for rows, _, _, _ in finished]))
    counts = [xp.full(rows.shape, number, dtype=order.dtype, device=device(state)) for rows, _, _, number in finished]
    return Outcome(
        take_rows(xp.concat([states for _, states, _, _ in finished]), order),
        take_rows(xp.concat(counts), order),
        take_rows(xp.concat([converged for _, _, converged, _ in finished]), order),
    )


def is_converged(state: Array, residual: Array, tolerance: float) -> Array:
    """Tell for each row whether its residual is at most the tolerance, or at the rounding of the state."""
    epsilon = float(array_namespace(state).finfo(state.dtype).eps)
    bound = tolerance + ROUNDING * epsilon * row_norms(state)
    # The norm of a state that runs away overflows before the state does, and infinity would certify any residual.
    return (residual <= bound) & array_namespace(state).isfinite(bound)
