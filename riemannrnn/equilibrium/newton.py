"""Newton–Krylov: r ← r + (I − G W)⁻¹ (f(W r + x) − r), with linear systems solved without forming a matrix."""

from dataclasses import dataclass
from typing import final

import numpy as np
from array_api_compat import array_namespace, is_numpy_array

from manifolds import Array
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap
from riemannrnn.equilibrium.iteration import Evaluated, Iterate, Iteration
from riemannrnn.equilibrium.krylov import solve_rows
from riemannrnn.norms import row_norms

FORCING = 0.1
"""Tolerance of the inner systems relative to the residual; it tightens as the residual falls (Eisenstat & Walker 1996)."""

DIRECT, ROWS = 128, 32
"""Up to this many units the inner systems are solved by LAPACK, this many at a time, if `max_krylov` allows exact solutions."""


@final
@dataclass(frozen=True)
class Newton(Iteration):
    """Newton's method with Krylov inner solves and a line search on the residual of each stimulus.

    It finds unstable fixed points as easily as stable ones; check `stability()`.

    Parameters
    ----------
    max_krylov
        Most inner products with G W in a Newton step, at least 1; n of them solve exactly.

    Raises
    ------
    ValueError
        For a smaller number.
    """

    max_krylov: int = 60

    def __post_init__(self) -> None:
        if self.max_krylov < 1:
            raise ValueError(f"max_krylov = {self.max_krylov} is below 1, which takes no step; 60 suits most networks")

    @property
    def name(self) -> str:
        return "newton"

    def update(self, equation: FixedPointMap, iterate: Iterate, evaluated: Evaluated, tolerance: float) -> Iterate:
        image, residual, size = evaluated
        xp = array_namespace(image)
        if not isinstance(equation, FixedPointEquation):
            raise TypeError(f"Newton needs the gains of a FixedPointEquation; {type(equation).__name__} has none")
        gain = equation.slope(equation.inputs(iterate.state), image)
        aim = xp.maximum(size * xp.minimum(size, FORCING * xp.ones_like(size)), 0.5 * tolerance * xp.ones_like(size))
        products = min(self.max_krylov, residual.shape[1])
        step = _solved_directly(equation, gain, residual) if products == residual.shape[1] <= DIRECT else None
        if step is None:
            step = solve_rows(lambda rows: rows - gain * equation.operator.apply(rows), residual, aim, products)
        return Iterate(_backtracked(equation, iterate.state, step, size))


def _solved_directly(equation: FixedPointEquation, gain: Array, residual: Array) -> Array | None:
    """Return (I − G W)⁻¹ b for every row by LAPACK, or None on a device, without a stored W, or where a matrix is singular."""
    if not is_numpy_array(residual) or not equation.operator.formed:
        return None
    step = np.empty_like(residual)
    weights, units = equation.operator.matrix, np.arange(residual.shape[1])
    for start in range(0, residual.shape[0], ROWS):
        rows = slice(start, start + ROWS)
        matrices = -gain[rows, :, None] * weights
        matrices[:, units, units] += 1
        try:
            step[rows] = np.linalg.solve(matrices, residual[rows, :, None])[:, :, 0]
        except np.linalg.LinAlgError:
            return None
    return step


def _backtracked(equation: FixedPointEquation, state: Array, step: Array, size: Array, halvings: int = 6) -> Array:
    """Halve the step of every row until its residual falls (Armijo on the residual norm)."""
    xp = array_namespace(state)
    length = xp.ones_like(size)
    for _ in range(halvings):
        trial = state + length[:, None] * step
        accepted = row_norms(equation.image(trial) - trial) <= (1 - 1e-4 * length) * size
        if bool(xp.all(accepted)):
            return trial
        length = xp.where(accepted, length, 0.5 * length)
    return state + length[:, None] * step
