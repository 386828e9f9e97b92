"""The Jacobians of the dynamics T ṙ = −r + f(W r + x) at fixed points, in a form for computing stability."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from manifolds.arrays import to_numpy
from riemannrnn.backend import as_array, check_backend
from riemannrnn.network.operator import Operator


@dataclass(frozen=True)
class Jacobians:
    """A = K G W + I − K for each stimulus, K = T⁻¹ min T, where the time constants T = diag(τ) may differ between units.

    The Jacobian of the dynamics is T⁻¹ (−I + G W) = (A − I) / min T. So a fixed point is stable if all eigenvalues of A have a
    real part below 1. With equal time constants A is G W.

    Attributes
    ----------
    operator
        W, the recurrent weights.
    gains
        The diagonals of K G, shape (batch, n).
    offset
        The diagonal of I − K, shape (n,).
    fastest
        min T.
    """

    operator: Operator
    gains: Array
    offset: Array
    fastest: float

    @classmethod
    def of(cls, operator: Operator, gains: Array, time_constants: Any = None) -> Self:
        """Return the Jacobians for gains of shape (batch, n) and time constants of shape (n,), by default all 1.

        Raises
        ------
        ValueError
            For invalid time constants, as in `checked_time_constants`.
        """
        xp = array_namespace(gains)
        if time_constants is None:
            return cls(operator, gains, xp.zeros(gains.shape[1], dtype=gains.dtype, device=device(gains)), 1.0)
        times = checked_time_constants(time_constants, gains)
        fastest = float(xp.min(times))
        speed = fastest / times
        return cls(operator, gains * xp.astype(speed, gains.dtype), xp.astype(1 - speed, gains.dtype), fastest)

    def abscissa(self, rightmost: Any) -> Any:
        """Return the spectral abscissa of the dynamics from the rightmost real part of the eigenvalues of A."""
        return (rightmost - 1) / self.fastest

    def edge(self, limit: float) -> float:
        """Return the real part of an eigenvalue of A for which the spectral abscissa of the dynamics equals a limit."""
        return 1 + limit * self.fastest

    def product(self, vectors: Array, gains: Array) -> Array:
        """Return A v for some of the gains, with one vector v for each, shape (batch, n)."""
        return gains * self.operator.apply(vectors) + self.offset * vectors

    def on_host(self) -> "Matrices":
        """Return the Jacobians in NumPy, with all entries of W."""
        return Matrices(*map(to_numpy, (self.operator.matrix, self.gains, self.offset)))

    def reduced(self) -> tuple[Array, float] | None:
        """Return small matrices that have the eigenvalues of A, and the largest eigenvalue that they may lack.

        The units fall into groups with equal time constants. Group a has n_a units, the entry d_a of I − K, and the reduced
        Jacobian N_a that its gains alone give, shape (k, k). `Operator.reduced_jacobians` is linear in the gains, so

            det(λ I − A) = Π (λ − d_a)^n_a det(I − Σ N_a / (λ − d_a)),

        where Π (λ − d_a)^k det(I − Σ N_a / (λ − d_a)) = det(λ I − M) for the matrix M of blocks M_ab = N_a + d_a I δ_ab. If
        every group has k units or more, A has the eigenvalues of M, and d_a where a group has more than k.

        Returns
        -------
        tuple or None
            M for each stimulus, a NumPy array of shape (batch, k groups, k groups), and the largest such d_a, −∞ if there is
            none. None if the operator has no reduced Jacobians, or if M is not smaller than A or a group is smaller than k.
        """
        whole = self.operator.reduced_jacobians(self.gains)
        if whole is None:
            return None
        levels, group, counts = np.unique(to_numpy(self.offset), return_inverse=True, return_counts=True)
        size, groups = whole.shape[1], len(levels)
        lacking = float(levels[counts > size].max(initial=-np.inf))
        if groups == 1:
            return to_numpy(whole), lacking
        if size * groups >= len(group) or counts.min() < size:
            return None
        xp = array_namespace(self.gains)
        members = (xp.asarray(group == each, device=device(self.gains)) for each in range(groups))
        parts = [self.operator.reduced_jacobians(xp.where(those, self.gains, 0.0)) for those in members]
        matrices = np.concatenate([np.tile(to_numpy(part), (1, 1, groups)) for part in parts], axis=1)
        diagonal = np.arange(size * groups)
        matrices[:, diagonal, diagonal] += np.repeat(levels, size)
        return matrices, lacking


@dataclass(frozen=True)
class Matrices:
    """A = diag(g) W + diag(d) for each stimulus, as NumPy arrays: weights (n, n), gains (batch, n) and offset (n,)."""

    weights: Array
    gains: Array
    offset: Array

    def __len__(self) -> int:
        return len(self.gains)

    def take(self, rows: Any) -> "Matrices":
        """Return the matrices of some stimuli."""
        return replace(self, gains=self.gains[rows])

    def stack(self, rows: Any = slice(None)) -> Array:
        """Return the matrices of some stimuli as arrays, shape (batch, n, n)."""
        stack = self.gains[rows, :, None] * self.weights
        if self.offset.any():
            diagonal = np.arange(len(self.offset))
            stack[:, diagonal, diagonal] += self.offset
        return stack

    def times(self, vectors: Array) -> Array:
        """Return A v for several vectors v of each stimulus, shape (batch, several, n)."""
        return self.gains[:, None, :] * (vectors @ self.weights.T) + self.offset * vectors


def checked_time_constants(time_constants: Any, like: Array) -> Array:
    """Return time constants as an array of shape (n,), where `like` has shape (batch, n).

    Raises
    ------
    ValueError
        For time constants of another shape, or that are not positive and finite; (`BackendError`) for another backend.
    """
    xp, n = array_namespace(like), like.shape[1]
    times = as_array("time constants", time_constants, "float64", backend=xp)
    check_backend("time constants", times, xp)
    if times.shape != (n,):
        raise ValueError(
            f"the time constants have shape {tuple(times.shape)}, but there are {n} units; pass one time constant for each unit"
        )
    valid = xp.isfinite(times) & (times > 0)
    if not bool(xp.all(valid)):
        unit = int(xp.nonzero(~valid)[0][0])
        raise ValueError(
            f"the time constant {float(times[unit])} of unit {unit} is not positive and finite; pass times above 0"
        )
    return xp.astype(times, xp.float64)
