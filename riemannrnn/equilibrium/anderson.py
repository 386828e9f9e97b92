"""Anderson acceleration, each stimulus with a history of its own."""

from dataclasses import dataclass
from typing import final

from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.equation import FixedPointMap
from riemannrnn.equilibrium.iteration import Evaluated, Iterate, Iteration
from riemannrnn.network.activations import into

REGULARISATION = 1e-2
"""Tikhonov weight of the small least-squares problems, in units of the root of machine epsilon times their trace."""

RESTART = 2.0
"""A row whose residual exceeds its best by this factor drops its history and takes a plain step."""


@final
@dataclass(frozen=True)
class Anderson(Iteration):
    """Anderson acceleration of type II (Walker & Ni, SIAM J. Numer. Anal. 49, 2011), safeguarded by restarts.

    With residuals F = image − s and images T, the next state is T − Σ γ_j ΔT_j where γ minimises ‖F − Σ γ_j ΔF_j‖ over the last
    `memory` differences ΔF_j of successive residuals. Residuals and images themselves are kept, and of the residuals the
    Gram matrix: a difference is formed of numbers, never of arrays.

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
        xp = array_namespace(state)
        nothing = xp.zeros((state.shape[0], 0, 0), dtype=state.dtype, device=device(state))
        return Iterate(state, (xp.full_like(state[:, 0], xp.inf), nothing, xp.zeros_like(state[:, :0])))

    def update(self, equation: FixedPointMap, iterate: Iterate, evaluated: Evaluated, tolerance: float) -> Iterate:
        image, residual, size = evaluated
        xp = array_namespace(image)
        best, gram, valid, *history = iterate.memory
        kept = len(history) // 2
        residuals, images = [residual, *history[:kept]], [image, *history[kept:]]
        gram, valid = _remember(gram, valid, residuals, size > RESTART * best)
        if not kept:
            return Iterate(into(iterate.state, xp.add, image, 0.0), (size, gram, valid, residual, image))
        weights = _weights(gram, valid)
        full = kept == self.memory
        # What is forgotten now, or else new arrays, is free to work in and then for the loop.
        spare = (residuals.pop(), images[-1]) if full else (xp.empty_like(image), xp.empty_like(image))
        state = into(iterate.state, xp.multiply, image, weights[:, 0, None])
        for index, older in enumerate(images[1:], start=1):
            state += into(spare[0], xp.multiply, older, weights[:, index, None])
        if full:
            images.pop()
            gram, valid = gram[:, :-1, :-1], valid[:, :-1]
        return Iterate(state, (xp.minimum(best, size), gram, valid, *residuals, *images), spare)


def _remember(gram: Array, valid: Array, residuals: list[Array], restart: Array) -> tuple[Array, Array]:
    """Return the Gram matrix of the residuals, newest first, of which only a row is computed, and which differences count."""
    xp = array_namespace(gram)
    row = xp.stack([xp.vecdot(residuals[0], other) for other in residuals], axis=1)
    gram = xp.concat([row[:, None, :], xp.concat([row[:, 1:, None], gram], axis=2)], axis=1)
    if len(residuals) == 1:
        return gram, valid
    newest = xp.astype(~restart, gram.dtype)[:, None]
    return gram, xp.concat([newest, newest * valid], axis=1)


def _weights(gram: Array, valid: Array) -> Array:
    """Return what each image counts in the next state, newest first, shape (batch, images); they sum to one."""
    xp = array_namespace(gram)
    # With the batch as last axis, every operation below runs over long contiguous vectors.
    gram = xp.asarray(xp.permute_dims(gram, (1, 2, 0)), copy=True)
    valid = xp.asarray(xp.permute_dims(valid, (1, 0)), copy=True)
    differences = gram[:-1, :, :] - gram[1:, :, :]
    differences = (differences[:, :-1, :] - differences[:, 1:, :]) * (valid[:, None, :] * valid[None, :, :])
    coefficients = _solve_regularised(differences, (gram[0, :-1, :] - gram[0, 1:, :]) * valid)
    nothing = xp.zeros_like(gram[0, :1, :])
    weights = xp.concat([nothing + 1, coefficients], axis=0) - xp.concat([coefficients, nothing], axis=0)
    return xp.permute_dims(weights, (1, 0))


def _solve_regularised(matrices: Array, right_hand_sides: Array) -> Array:
    """Solve a small system of normal equations for every stimulus, slightly regularised, by elimination.

    The stimuli are the last axis, and both arrays are overwritten. A call of LAPACK for each would take as long as the products
    of the iteration. A stimulus without history gets zeros.
    """
    xp = array_namespace(matrices)
    epsilon, smallest = (float(getattr(xp.finfo(matrices.dtype), name)) for name in ("eps", "smallest_normal"))
    order = range(matrices.shape[0])
    weight = REGULARISATION * epsilon**0.5 * sum((matrices[k, k, :] for k in order), start=xp.zeros_like(matrices[0, 0, :]))
    # A weight that underflows would leave the matrix singular; so little history is none. Nor is one that is not finite.
    usable = xp.isfinite(weight) & (weight > smallest)
    matrices[...] = xp.where(usable, matrices, 0.0)
    right_hand_sides[...] = xp.where(usable, right_hand_sides, 0.0)
    for k in order:
        matrices[k, k, :] += xp.where(usable, weight, 1.0)
    for k in order:
        factors = matrices[k + 1 :, k, :] / matrices[k, k, :]
        matrices[k + 1 :, :, :] -= factors[:, None, :] * matrices[k, :, :]
        right_hand_sides[k + 1 :, :] -= factors * right_hand_sides[k, :]
    for k in reversed(order):
        right_hand_sides[k, :] /= matrices[k, k, :]
        right_hand_sides[:k, :] -= matrices[:k, k, :] * right_hand_sides[k, :]
    return right_hand_sides
