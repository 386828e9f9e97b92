"""Certified solutions of the equation, a row each, and how parts of a batch are put together."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from threading import Lock
from typing import Self

import numpy as np
from array_api_compat import device

from manifolds import Array
from manifolds.arrays import to_numpy
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointEquation, Rows, finite_rows, take_rows
from riemannrnn.norms import norms_in_range, row_norms

CERTIFICATE_MARGIN = 0.8
"""States are iterated to this fraction of the tolerance: recomputed in another product, a residual differs by rounding."""

ROUNDING = 4
"""A residual below this many machine epsilons times ‖s‖ is rounding and counts as converged whatever the tolerance."""

PRODUCT_ROUNDING, MOST_ROUNDING = 8, 400
"""How many roundings of its product the residual of a unit may hold, and how many epsilons of ‖s‖ the whole. Of exact fixed
points under trained weights, rounded to float32, units hold 1.4 to 1.7 in the root mean square, one in a thousand 6 to 8."""

MOST_TOLERANCES = 10
"""Where the rounding of T s explains it, a residual may be up to this many tolerances."""

LARGEST_ERROR = 0.01
"""Largest residual or rounding of a solution relative to ‖b‖, s = G T s + b, beyond the tolerance. Where ‖s‖ > 1e13 ‖b‖ in
float64, 2e4 ‖b‖ in float32, rounding exceeds this: I − G T is singular to working precision, whatever the residual."""


@dataclass(frozen=True)
class Solution:
    """States of s = φ(T s + d), certified. `FixedPoints` and `LinearSolution` are solutions with more facts.

    Attributes
    ----------
    state, inputs, gains
        s, T s + d, and φ′ there, shape (batch, n).
    residual, iterations
        ‖φ(T s + d) − s‖, NaN where T s + d is not finite, infinite if unsolved and above the root of the largest
        number, and the iterations it took, shape (batch,).
    converged
        Whether the residual is at most the tolerance or at rounding, and the row is not singular, shape (batch,).
    singular
        Whether the residual is at rounding, but the rounding hides b of the linearised equation s = G T s + b, shape (batch,).
    """

    state: Array
    inputs: Array
    gains: Array
    residual: Array
    converged: Array
    singular: Array
    iterations: Array

    def unsolved(self, equation: FixedPointEquation) -> Array:
        """Tell which rows another solver may still solve, shape (batch,): a singular linear equation has no other solution."""
        return ~self.converged if equation.nonlinear else ~(self.converged | self.singular)

    def take(self, rows: Rows) -> Self:
        """Return some of the rows."""
        return replace(self, **{field.name: take_rows(getattr(self, field.name), rows) for field in fields(Solution)})

    def completed(self, rest: "Solution", again: Array | None = None) -> Self:
        """Return this solution with the rows that `again` marks, in order, replaced by those of `rest`; iterations add up.

        Without a mark they are all that have not converged.
        """
        xp = namespace_of(self.state)
        kept = self.converged if again is None else ~again
        count = xp.arange(kept.shape[0], device=device(self.state))
        behind = count.shape[0] - 1 + xp.cumulative_sum(xp.astype(~kept, count.dtype))
        source = xp.where(kept, count, behind)
        merged = {
            field.name: take_rows(xp.concat([getattr(self, field.name), getattr(rest, field.name)]), source)
            for field in fields(Solution)
        }
        merged["iterations"] = merged["iterations"] + xp.where(kept, 0, self.iterations)
        return replace(self, **merged)

    def sentences(self, tolerance: float) -> list[str]:
        """Return the result of each row in words, given the tolerance that was asked for."""
        # Moved at once: from a device, number by number would take as long as the solution.
        rows = zip(*(to_numpy(array) for array in (self.residual, self.converged, self.singular, self.iterations)), strict=True)
        return [_sentence(float(size), bool(good), bool(bad), int(count), tolerance) for size, good, bad, count in rows]


def _sentence(residual: float, converged: bool, singular: bool, iterations: int, tolerance: float) -> str:
    if converged:
        return f"Converged in {iterations} iterations to a residual of {residual:.1e}."
    if singular:
        return f"Not converged in {iterations} iterations: I − G W is singular to working precision at the state reached."
    if np.isfinite(residual):
        return f"Not converged in {iterations} iterations: the residual is {residual:.1e}, asked for was {tolerance:.1e}."
    if iterations == 0:
        return "Diverged at the start: the drive or the initial state holds NaN or infinity, or its image overflows."
    return f"Diverged within {iterations} iterations: the state reached is not finite."


class Collected:
    """The solution of all rows, put together as chunks of them are solved: no chunk is kept for longer than it takes.

    The solution of a single chunk is the whole, and is not copied.

    Parameters
    ----------
    equation
        Of all the rows.
    """

    def __init__(self, equation: FixedPointEquation) -> None:
        self._equation, self._lock = equation, Lock()
        self._single: Solution | None = None

    def add(self, rows: slice, part: Solution) -> None:
        """Put the solution of consecutive rows in its place."""
        if rows.start == 0 and rows.stop == self._equation.drive.shape[0]:
            self._single = part
            return
        with self._lock:
            whole = self._room
        for name in self._names:
            getattr(whole, name)[rows, ...] = getattr(part, name)

    @property
    def whole(self) -> Solution:
        """The solution of all rows."""
        return self._single or self._room

    @cached_property
    def _room(self) -> Solution:
        equation = self._equation
        drive, xp = equation.drive, namespace_of(equation.drive)
        rows = drive[:, 0]
        return Solution(
            state=xp.empty_like(drive),
            inputs=xp.empty_like(drive),
            gains=xp.empty_like(drive) if equation.nonlinear else equation.activation,
            residual=xp.empty_like(rows),
            converged=xp.empty_like(rows, dtype=xp.bool),
            singular=xp.empty_like(rows, dtype=xp.bool),
            iterations=xp.empty_like(rows, dtype=xp.int64),
        )

    @property
    def _names(self) -> list[str]:
        # Gains that are given are there already.
        return [field.name for field in fields(Solution) if self._equation.nonlinear or field.name != "gains"]


def certified(equation: FixedPointEquation, state: Array, iterations: Array, tolerance: float) -> Solution:
    """Compute the residual, undamped, at states that are to be returned."""
    return judged(equation, state, equation.inputs(state), iterations, tolerance)


def judged(equation: FixedPointEquation, state: Array, inputs: Array, iterations: Array, tolerance: float) -> Solution:
    """Return the solution whose states are these, the inputs T s + d there being known."""
    xp = namespace_of(inputs)
    image = equation.respond(inputs)
    gains, difference = equation.slope(inputs, image), image - state
    residual, _, largest = norms_in_range(difference)
    unit, _, reach = norms_in_range(state, float(xp.finfo(state.dtype).eps))
    # Where the largest residual and rounding are within the tolerance, so is every row, and none is singular.
    if max(largest, ROUNDING * reach) <= tolerance and bool(xp.all(finite_rows(inputs))):
        converged = xp.ones_like(residual, dtype=xp.bool)
        return Solution(state, inputs, gains, residual, converged, ~converged, iterations)
    converged = is_converged(state, residual, tolerance, unit=unit)
    close = ~converged & is_converged(state, residual, MOST_TOLERANCES * tolerance, MOST_ROUNDING, unit)
    if bool(xp.any(close)):
        unexplained = xp.abs(difference) - _rounding(equation, gains, state)
        unexplained = row_norms(xp.where(unexplained < 0, 0.0, unexplained))
        converged = converged | (close & is_converged(state, unexplained, tolerance))
    # A saturated unit answers an infinite drive with a finite rate, whose derivatives would be NaN.
    finite = finite_rows(inputs)
    converged, residual = converged & finite, xp.where(finite, residual, xp.nan)
    # A state with a larger residual runs away. Its gains would spoil the mean gain that the other rows share.
    residual = xp.where(converged | ~(residual > float(xp.finfo(state.dtype).max) ** 0.5), residual, xp.inf)
    error = xp.maximum(residual, ROUNDING * unit)
    singular = converged & _is_hiding(equation, inputs, image, gains, error, tolerance)
    return Solution(state, inputs, gains, residual, converged & ~singular, singular, iterations)


def _is_hiding(
    equation: FixedPointEquation, inputs: Array, image: Array, gains: Array, error: Array, tolerance: float
) -> Array:
    """Tell for each row whether an error of the equation exceeds the tolerance and hides b of s = G T s + b, shape (batch,).

    Some matrix within rounding of I − G T is solved by any s that is large enough, so a small residual relative to ‖s‖ proves
    nothing: where the rounding of T s is as large as b, s depends on the rounding and not on b.
    """
    xp = namespace_of(error)
    hiding = error > tolerance
    if bool(xp.any(hiding)):
        hiding &= error > tolerance + LARGEST_ERROR * row_norms(equation.source(inputs, image, gains))
    return hiding


def _rounding(equation: FixedPointEquation, gains: Array, state: Array) -> Array:
    """Return the part of the residual of each unit that the rounding of T s may cause, shape (batch, n).

    The terms of (T s)_i are ‖T_i‖ ‖s‖ / n in the root mean square, so that their sum, however small it is itself, is known to
    about machine epsilon times ‖T_i‖ ‖s‖ / √n. Saturated units, and those of small weights, are granted nothing.
    """
    n = state.shape[1]
    share = PRODUCT_ROUNDING * namespace_of(state).abs(gains) * equation.operator.row_norms
    share *= unit_rounding(state)[:, None] / n**0.5
    return share


def is_converged(
    state: Array, residual: Array, tolerance: float, rounding: float = ROUNDING, unit: Array | None = None
) -> Array:
    """Tell for each row whether its residual is at most the tolerance and this many machine epsilons times ‖s‖.

    `unit` is what `unit_rounding` returns for the states, if it is known.
    """
    bound = tolerance + rounding * (unit_rounding(state) if unit is None else unit)
    # An infinite state would certify any residual.
    return (residual <= bound) & namespace_of(state).isfinite(bound)


def unit_rounding(state: Array) -> Array:
    """Return machine epsilon times ‖s‖ for each row, shape (batch,), finite if the state is."""
    return row_norms(state, float(namespace_of(state).finfo(state.dtype).eps))


def quiet() -> np.errstate:
    """Return the context in which what is not finite is reported by its status, not by a warning."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")
