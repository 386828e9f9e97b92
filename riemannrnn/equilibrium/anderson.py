"""Anderson acceleration, each stimulus with a history of its own."""

from dataclasses import dataclass
from typing import final

from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.equation import FixedPointMap
from riemannrnn.equilibrium.iteration import Evaluated, Iterate, Solver

REGULARISATION = 1e-2
"""Tikhonov weight of the small least-squares problems, in units of the root of machine epsilon times their trace."""

RESTART = 2.0
"""A row whose residual exceeds its best by this factor drops its history and takes a plain step."""


@final
@dataclass(frozen=True)
class Anderson(Solver):
    """Anderson acceleration of type II (Walker & Ni, SIAM J. Numer. Anal. 49, 2011), safeguarded by restarts.

    With F = image − s, the next state is image − ΔT γ where γ minimises ‖F − ΔF γ‖ over the last `memory` differences ΔF of F
    and ΔT of the images.

    Parameters
    ----------
    memory
        Number of differences kept for each stimulus, at least 1.

    Raises
    ------
    ValueError
        For a smaller memory.
    """

    memory: int = 4

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise ValueError(f"memory = {self.memory} is below 1; without any, use Picard")

    @property
    def name(self) -> str:
        return "anderson"

    def start(self, state: Array) -> Iterate:
        return Iterate(state)

    def update(self, equation: FixedPointMap, iterate: Iterate, evaluated: Evaluated, tolerance: float) -> Iterate:
        image, residual, size = evaluated
        if not iterate.memory:
            return Iterate(image, (residual, image, size))
        xp = array_namespace(image)
        last_residual, last_image, best, *history = iterate.memory
        restart = size > RESTART * best
        best = xp.minimum(best, size)
        gram, valid, changes, image_changes = self._remember(history, residual - last_residual, image - last_image, restart)
        projections = xp.stack([xp.vecdot(change, residual) for change in changes], axis=1) * valid
        coefficients = _solve_regularised(gram * valid[:, :, None] * valid[:, None, :], projections)
        state = image
        for index, change in enumerate(image_changes):
            state = state - coefficients[:, index, None] * change
        return Iterate(state, (residual, image, best, gram, valid, *changes, *image_changes))

    def _remember(
        self, history: list[Array], change: Array, image_change: Array, restart: Array
    ) -> tuple[Array, Array, list[Array], list[Array]]:
        """Put the newest differences first and drop the oldest; of their Gram matrix only the newest row is computed."""
        xp = array_namespace(change)
        kept = (len(history) - 2) // 2 if history else 0
        used = min(kept, self.memory - 1)
        changes = [change, *history[2 : 2 + used]]
        image_changes = [image_change, *history[2 + kept : 2 + kept + used]]
        row = xp.stack([xp.vecdot(change, other) for other in changes], axis=1)
        newest = xp.astype(~restart, change.dtype)[:, None]
        if not used:
            return row[:, :, None], newest, changes, image_changes
        older = xp.concat([row[:, 1:, None], history[0][:, :used, :used]], axis=2)
        gram = xp.concat([row[:, None, :], older], axis=1)
        return gram, xp.concat([newest, newest * history[1][:, :used]], axis=1), changes, image_changes


def _solve_regularised(gram: Array, projections: Array) -> Array:
    """Solve the normal equations of every row, slightly regularised; a row without history gets zeros."""
    xp = array_namespace(gram)
    size = gram.shape[1]
    trace = xp.sum(xp.linalg.diagonal(gram), axis=1)[:, None, None]
    epsilon = float(xp.finfo(gram.dtype).eps)
    weight = REGULARISATION * epsilon**0.5 * trace
    # A weight that underflows would leave the matrix singular; so little history is none.
    weight = xp.where(weight > float(xp.finfo(gram.dtype).smallest_normal), weight, 1.0)
    # A row that is not finite would make the factorisation of the whole batch fail.
    finite = xp.isfinite(trace)
    identity = xp.eye(size, dtype=gram.dtype, device=device(gram))
    matrix = xp.where(finite, gram + weight * identity, identity)
    return xp.linalg.solve(matrix, xp.where(finite, projections[:, :, None], 0.0))[:, :, 0]
