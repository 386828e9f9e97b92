"""Certified solutions of the equation, one for each row, and how parts of a batch are combined."""

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
from riemannrnn.norms import largest_norm, norms_in_range, row_norms

CERTIFICATE_MARGIN = 0.8
"""States are iterated to this fraction of the tolerance: the residual of a recomputed product differs by rounding."""

ROUNDING = 4
"""A residual below this many machine epsilons times ‖s‖ is rounding, and counts as converged for every tolerance."""

PRODUCT_ROUNDING, MOST_ROUNDING = 8, 400
"""Allowed roundings of its product in the residual of a unit, and allowed epsilons of ‖s‖ in the whole. For exact fixed points
under trained weights, rounded to float32, units have 1.4 to 1.7 in the root mean square, and one in a thousand has 6 to 8."""

MOST_TOLERANCES = 10
"""If the rounding of T s explains it, a residual may be up to this many tolerances."""

LARGEST_ERROR = 0.01
"""Largest residual or rounding of a solution relative to ‖b‖, s = G T s + b, in addition to the tolerance. If ‖s‖ > 1e13 ‖b‖ in
float64, or 2e4 ‖b‖ in float32, rounding exceeds this: I − G T is singular to working precision, for any residual."""


@dataclass(frozen=True)
class Solution:
    """Certified states of s = φ(T s + d). `FixedPoints` and `LinearSolution` are solutions with more information.

    Attributes
    ----------
    state, inputs, gains
        s, T s + d, and φ′ at T s + d, shape (batch, n).
    residual, iterations
        ‖φ(T s + d) − s‖, NaN if T s + d is not finite, infinite if unsolved and above the root of the largest number; and the
        number of iterations, shape (batch,).
    converged
        Whether the residual is at most the tolerance or at rounding, and the row is not singular, shape (batch,).
    singular
        Whether the residual is at rounding, but rounding hides b of the linearised equation s = G T s + b, shape (batch,).
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
        """Return this solution with the rows marked by `again` replaced, in order, by the rows of `rest`; iterations are added.

        Default: all rows that have not converged.
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
        """Return the result of each row as a sentence, given the requested tolerance."""
        # All at once: from a device, a transfer number by number would take as long as the solution.
        rows = zip(*(to_numpy(array) for array in (self.residual, self.converged, self.singular, self.iterations)), strict=True)
        return [_sentence(float(size), bool(good), bool(bad), int(count), tolerance) for size, good, bad, count in rows]


def _sentence(residual: float, converged: bool, singular: bool, iterations: int, tolerance: float) -> str:
    if converged:
        return f"Converged in {iterations} iterations to a residual of {residual:.1e}."
    if singular:
        return f"Not converged in {iterations} iterations: I − G W is singular to working precision at the state reached."
    if np.isfinite(residual):
        return f"Not converged in {iterations} iterations: the residual {residual:.1e} is above the tolerance {tolerance:.1e}."
    if iterations == 0:
        return "Diverged at the start: the drive or the initial state holds NaN or infinity, or its image overflows."
    return f"Diverged within {iterations} iterations: the state reached is not finite."


class Collected:
    """The solution of all rows, combined as chunks are solved; no chunk is kept longer than necessary.

    The solution of a single chunk is the whole solution, and is not copied.

    Parameters
    ----------
    equation
        The equation of all rows.
    """

    def __init__(self, equation: FixedPointEquation) -> None:
        self._equation, self._lock = equation, Lock()
        self._single: Solution | None = None

    def add(self, rows: slice, part: Solution) -> None:
        """Store the solution of consecutive rows at its place."""
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
        # Given gains exist already.
        return [field.name for field in fields(Solution) if self._equation.nonlinear or field.name != "gains"]


def certified(equation: FixedPointEquation, state: Array, iterations: Array, tolerance: float) -> Solution:
    """Compute the undamped residual of the states to return."""
    return judged(equation, state, equation.inputs(state), iterations, tolerance)


def judged(equation: FixedPointEquation, state: Array, inputs: Array, iterations: Array, tolerance: float) -> Solution:
    """Return the solution with these states, given their inputs T s + d."""
    xp = namespace_of(inputs)
    image = equation.respond(inputs)
    gains, difference = equation.slope(inputs, image), image - state
    residual, _, largest = norms_in_range(difference)
    reach = largest_norm(state, float(xp.finfo(state.dtype).eps))
    # If the largest residual and rounding are within the tolerance, every row has converged, and none is singular.
    if max(largest, ROUNDING * reach) <= tolerance and bool(xp.all(xp.isfinite(inputs))):
        converged = xp.ones_like(residual, dtype=xp.bool)
        return Solution(state, inputs, gains, residual, converged, ~converged, iterations)
    unit = unit_rounding(state)
    converged = is_converged(state, residual, tolerance, unit=unit)
    close = ~converged & is_converged(state, residual, MOST_TOLERANCES * tolerance, MOST_ROUNDING, unit)
    if bool(xp.any(close)):
        unexplained = xp.abs(difference) - _rounding(equation, gains, state)
        unexplained = row_norms(xp.where(unexplained < 0, 0.0, unexplained))
        converged = converged | (close & is_converged(state, unexplained, tolerance))
    # With an infinite drive a saturated unit has a finite rate, but its derivatives would be NaN.
    finite = finite_rows(inputs)
    converged, residual = converged & finite, xp.where(finite, residual, xp.nan)
    # A state with a larger residual diverges. Its gains would spoil the mean gain of the other rows.
    residual = xp.where(converged | ~(residual > float(xp.finfo(state.dtype).max) ** 0.5), residual, xp.inf)
    error = xp.maximum(residual, ROUNDING * unit)
    singular = converged & _is_hiding(equation, inputs, image, gains, error, tolerance)
    return Solution(state, inputs, gains, residual, converged & ~singular, singular, iterations)


def _is_hiding(
    equation: FixedPointEquation, inputs: Array, image: Array, gains: Array, error: Array, tolerance: float
) -> Array:
    """Tell for each row whether an error of the equation exceeds the tolerance and hides b of s = G T s + b, shape (batch,).

    Some matrix within rounding of I − G T is solved by every large enough s, so a small residual relative to ‖s‖ proves
    nothing: if the rounding of T s is as large as b, s depends on the rounding and not on b.
    """
    xp = namespace_of(error)
    hiding = error > tolerance
    if bool(xp.any(hiding)):
        hiding &= error > tolerance + LARGEST_ERROR * row_norms(equation.source(inputs, image, gains))
    return hiding


def _rounding(equation: FixedPointEquation, gains: Array, state: Array) -> Array:
    """Return the part of the residual of each unit that rounding of T s may cause, shape (batch, n).

    The terms of (T s)_i have the root mean square ‖T_i‖ ‖s‖ / n. Their sum, however small, is therefore known to about machine
    epsilon times ‖T_i‖ ‖s‖ / √n. For saturated units and units with small weights this part is zero or small.
    """
    n = state.shape[1]
    share = PRODUCT_ROUNDING * namespace_of(state).abs(gains) * equation.operator.row_norms
    share *= unit_rounding(state)[:, None] / n**0.5
    return share


def is_converged(
    state: Array, residual: Array, tolerance: float, rounding: float = ROUNDING, unit: Array | None = None
) -> Array:
    """Tell for each row whether its residual is at most the tolerance and this many machine epsilons times ‖s‖.

    `unit` is the result of `unit_rounding` for the states, if it is known.
    """
    bound = tolerance + rounding * (unit_rounding(state) if unit is None else unit)
    # Relative to an infinite state every residual would be small.
    return (residual <= bound) & namespace_of(state).isfinite(bound)


def unit_rounding(state: Array) -> Array:
    """Return machine epsilon times ‖s‖ for each row, shape (batch,), finite if the state is."""
    return row_norms(state, float(namespace_of(state).finfo(state.dtype).eps))


def quiet() -> np.errstate:
    """Return a context in which values that are not finite cause no warning; the status reports them."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")
