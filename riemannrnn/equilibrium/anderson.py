"""Anderson acceleration, with a separate history for each stimulus."""

from dataclasses import dataclass
from typing import final

from array_api_compat import device

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointMap
from riemannrnn.equilibrium.iteration import Evaluated, Iterate, Iteration
from riemannrnn.network.activations import into

REGULARISATION = 1e-2
"""Tikhonov weight of the small least-squares problems, in units of the root of machine epsilon times their trace."""

RESTART = 2.0
"""A row with a residual above its best by this factor drops its history and takes a plain step."""


@final
@dataclass(frozen=True)
class Anderson(Iteration):
    """Anderson acceleration of type II (Walker & Ni, SIAM J. Numer. Anal. 49, 2011), safeguarded by restarts.

    With residuals F = image − s and images T, the next state is T − Σ γ_j ΔT_j, where γ minimises ‖F − Σ γ_j ΔF_j‖ over the
    last `memory` differences ΔF_j of successive residuals. The residuals and images are stored, and the Gram matrix of the
    residuals; an iteration computes one row of it.

    Parameters
    ----------
    memory
        Number of differences kept for each stimulus, at least 1.

    Raises
    ------
    ValueError
        For a memory below 1.
    """

    memory: int = 4

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise ValueError(f"memory = {self.memory} is below 1; without any, use Picard")

    @property
    def name(self) -> str:
        return "anderson"

    def start(self, state: Array) -> Iterate:
        xp = namespace_of(state)
        nothing = xp.zeros((state.shape[0], 0, 0), dtype=state.dtype, device=device(state))
        return Iterate(state, (xp.full_like(state[:, 0], xp.inf), nothing, xp.zeros_like(state[:, :0])))

    def update(self, equation: FixedPointMap, iterate: Iterate, evaluated: Evaluated, tolerance: float) -> Iterate:
        image, residual, size = evaluated
        xp = namespace_of(image)
        best, gram, valid, *history = iterate.memory
        kept = len(history) // 2
        residuals, images = [residual, *history[:kept]], [image, *history[kept:]]
        gram = _remember(gram, residuals)
        if not kept:
            return Iterate(into(iterate.state, xp.add, image, 0.0), (size, gram, valid, residual, image))
        kept_rows = xp.astype(size <= RESTART * best, gram.dtype)[:, None]
        valid = xp.concat([kept_rows, kept_rows * valid], axis=1)
        coefficients = _coefficients(gram, valid)
        # The oldest arrays, or otherwise new arrays, are free for this update and then for the loop.
        full = kept == self.memory
        spare = (residuals[-1], images[-1]) if full else (xp.empty_like(image), xp.empty_like(image))
        state = image
        for index in range(kept):
            step = into(spare[0], xp.subtract, images[index + 1], images[index])
            step *= coefficients[:, index, None]
            state = into(iterate.state, xp.add, state, step)
        if full:
            gram, valid = gram[:, :-1, :-1], valid[:, :-1]
            residuals.pop(), images.pop()
        return Iterate(state, (xp.minimum(best, size), gram, valid, *residuals, *images), spare)


def _remember(gram: Array, residuals: list[Array]) -> Array:
    """Return the Gram matrix of the residuals, newest first; only its first row is computed."""
    xp = namespace_of(gram)
    count = len(residuals)
    longer = xp.empty((gram.shape[0], count, count), dtype=gram.dtype, device=device(gram))
    longer[:, 1:, 1:] = gram
    for index in range(count):
        longer[:, 0, index] = longer[:, index, 0] = xp.vecdot(residuals[0], residuals[index])
    return longer


def _coefficients(gram: Array, valid: Array) -> Array:
    """Return γ, newest first, shape (batch, differences), from a small system of normal equations for every stimulus.

    The systems are slightly regularised, and solved by elimination over the whole batch: a call of LAPACK for each stimulus
    would take as long as the products of the iteration. A stimulus without history gets zeros.
    """
    xp = namespace_of(gram)
    epsilon, smallest = (float(getattr(xp.finfo(gram.dtype), name)) for name in ("eps", "smallest_normal"))
    differences = gram[:, :-1, :] - gram[:, 1:, :]
    matrix = (differences[:, :, :-1] - differences[:, :, 1:]) * (valid[:, :, None] * valid[:, None, :])
    found = (gram[:, 0, :-1] - gram[:, 0, 1:]) * valid
    order = range(found.shape[1])
    weight = REGULARISATION * epsilon**0.5 * sum((matrix[:, k, k] for k in order[1:]), start=matrix[:, 0, 0])
    # A history whose weight underflows would make the matrix singular, so it is dropped. So is one that is not finite.
    usable = xp.isfinite(weight) & (weight > smallest)
    for k in order:
        matrix[:, k, k] += xp.where(usable, weight, 1.0)
    for k in order[:-1]:
        factors = matrix[:, k + 1 :, k] / matrix[:, k, k, None]
        matrix[:, k + 1 :, :] -= factors[:, :, None] * matrix[:, k, None, :]
        found[:, k + 1 :] -= factors * found[:, k, None]
    for k in reversed(order):
        found[:, k] /= matrix[:, k, k]
        if k:
            found[:, :k] -= matrix[:, :k, k] * found[:, k, None]
    return xp.where(usable[:, None], found, 0.0)
