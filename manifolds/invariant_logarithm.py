"""Newton's step for the logarithm of the invariant metrics: products with matrices of the size of a point, and no others.

With K = X − Xᵀ a geodesic of velocity X arrives at F(X) = exp(Xᵀ) exp(K) times its start. The differential of F is

    exp(−Xᵀ) DF(X)[H] exp(−K) = ∫₀¹ exp(−s Xᵀ) Hᵀ exp(s Xᵀ) ds + ∫₀¹ exp(s K) (H − Hᵀ) exp(−s K) ds

(Higham, *Functions of Matrices*, 2008, section 10.2). To first order in X it is parallel transport along the geodesic, which is
an isometry. Its inverse is the preconditioner. What remains is the curvature, and GMRES takes few iterations.
"""

from math import ceil, log2
from typing import final

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from manifolds.arrays import Array
from manifolds.errors import OutsideManifoldError
from manifolds.linear_algebra import chain, exponential_minus_identity

TERMS = 8
"""Terms of the series for the integrals, with an error of 1 / (TERMS + 1)!."""

LONGEST = 36.0
"""The exponential function of this is the inverse of the rounding error of float64."""

TRANSPORT_ERROR = 1e-2
"""Error of the parallel transport of the preconditioner."""

LEAST_TOLERANCE, MOST_TOLERANCE, MOST_ITERATIONS = 1e-5, 0.1, 50
"""Bounds of the relative residual of a Newton step, and iterations of GMRES. Within the bounds it is the relative miss."""


def newton_step(velocity: Array, miss: Array, relative_miss: float) -> Array:
    """Return H with DF(X)[H] = miss, approximately.

    Parameters
    ----------
    velocity
        X, NumPy, float64, shape (n, n).
    miss
        The target less F(X).
    relative_miss
        ‖miss‖ over the norm of the target.

    Raises
    ------
    OutsideManifoldError
        If ‖X‖₂ + ‖K‖₂ is not below `LONGEST`.
    """
    scale = np.max(np.abs(miss))
    velocity, target = velocity.astype(np.float32), (miss / scale).astype(np.float32)
    turn = velocity - velocity.T
    size, turn_size = (float(np.linalg.norm(each, 2)) for each in (velocity, turn))
    if not size + turn_size < LONGEST:
        raise OutsideManifoldError(
            f"a velocity of spectral norm {size:.3g}",
            "rounding leaves no digit of the end of its geodesic",
            "Use nearer points",
        )
    stretched, turned = _Average(velocity.T, size), _Average(-turn, turn_size)
    orders = _orders(size + turn_size)

    def back(matrix: Array) -> Array:
        """Return Y(1) of Ẏ = −½ ([K, Y] + [Yᵀ, X]) from the matrix: parallel transport from the end to the start."""
        term = total = matrix
        for order in range(1, orders + 1):
            transposed = term.T
            change = chain(turn, term) - chain(term, turn) + chain(transposed, velocity) - chain(velocity, transposed)
            term = -change / (2 * order)
            total = total + term
        return total

    def differential(flat: Array) -> Array:
        H = flat.reshape(target.shape)
        return back(stretched(H.T) + turned(H - H.T)).reshape(-1)

    operator = LinearOperator((target.size, target.size), matvec=differential, dtype=np.float32)
    right_side = back(chain(stretched.backwards, target, turned.forwards)).reshape(-1)
    tolerance = min(max(relative_miss, LEAST_TOLERANCE), MOST_TOLERANCE)
    step, _ = gmres(operator, right_side, rtol=tolerance, restart=min(target.size, MOST_ITERATIONS), maxiter=1)
    return step.reshape(miss.shape).astype(np.float64) * scale


def _orders(size: float) -> int:
    """Return the number of terms after which those of exp(size) are below the error of the transport."""
    order, term = 0, 1.0
    while term > TRANSPORT_ERROR:
        order += 1
        term *= size / order
    return order


@final
class _Average:
    """The map H ↦ ∫₀¹ exp(−s A) H exp(s A) ds, and exp(∓A).

    The integral over an interval of length 1 / 2^k is a series of brackets. Each doubling of the interval takes two products.

    Parameters
    ----------
    matrix
        A.
    size
        ‖A‖₂.

    Attributes
    ----------
    backwards, forwards
        exp(−A) and exp(A).
    """

    def __init__(self, matrix: Array, size: float) -> None:
        halvings = max(0, ceil(log2(2 * size))) if size > 0 else 0
        self._part, identity = matrix / 2**halvings, np.eye(len(matrix), dtype=matrix.dtype)
        backwards, forwards = (identity + exponential_minus_identity(sign * self._part) for sign in (-1, 1))
        self._doublings: list[tuple[Array, Array]] = []
        for _ in range(halvings):
            self._doublings.append((backwards, forwards))
            backwards, forwards = chain(backwards, backwards), chain(forwards, forwards)
        self.backwards, self.forwards = backwards, forwards

    def __call__(self, matrix: Array) -> Array:
        term = total = matrix
        for order in range(1, TERMS):
            term = (chain(term, self._part) - chain(self._part, term)) / (order + 1)
            total = total + term
        for backwards, forwards in self._doublings:
            total = (total + chain(backwards, total, forwards)) / 2
        return total
