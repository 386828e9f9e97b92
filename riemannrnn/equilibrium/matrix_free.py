"""The rightmost eigenvalues of G W if only products with W are available, as for a convolution with many units."""

from math import isnan, nan

import numpy as np

from manifolds import Array
from manifolds.arrays import machine_epsilon
from riemannrnn.equilibrium.arnoldi import PLAIN_STEPS, plain
from riemannrnn.equilibrium.equation import take_rows
from riemannrnn.equilibrium.jacobians import Jacobians

MOST_STEPS = 8 * PLAIN_STEPS
"""The largest dimension of a Krylov space; the dimension is doubled until the eigenvalue is known."""

BASIS_BYTES = 2**28
"""Memory of the bases that are held at a time."""


def rightmost_by_products(jacobians: Jacobians, edge: float = nan) -> Array:
    """Return the real part of the rightmost eigenvalue of A for each stimulus, shape (batch,), a NumPy array.

    Plain Arnoldi steps in Krylov spaces of 24, 48, 96 and 192 dimensions give an estimate and an interval. A stimulus leaves
    is finished when its interval is narrower than √ε, with ε the rounding of the dtype, or is on one side of the edge. The
    intervals are empirical, not proven bounds (see `arnoldi.plain`).

    Parameters
    ----------
    jacobians
        A, which is G W with equal time constants.
    edge
        A value; it suffices to know on which side of it an eigenvalue is. A stimulus that stays undecided gets the upper end of
        its interval.
    """
    gains = jacobians.gains
    batch, n = gains.shape
    estimate, lower, upper = np.empty((3, batch))
    rest, steps = np.arange(batch), PLAIN_STEPS
    while rest.size and steps <= MOST_STEPS:
        size = max(1, BASIS_BYTES // (n * (steps + 1) * gains.dtype.itemsize))
        for start in range(0, rest.size, size):
            rows = rest[start : start + size]
            estimate[rows], lower[rows], upper[rows] = _interval(jacobians, take_rows(gains, rows), steps)
        width = machine_epsilon(gains) ** 0.5 * np.maximum(np.abs(estimate), 1)
        decided = (upper - estimate <= width) & (estimate - lower <= width) | (lower >= edge) | (upper < edge)
        rest, steps = np.flatnonzero(~decided), 2 * steps
    if not isnan(edge):
        estimate[rest] = upper[rest]
    return estimate


def _interval(jacobians: Jacobians, gains: Array, steps: int) -> tuple[Array, Array, Array]:
    return plain(lambda vectors: jacobians.product(vectors, gains), gains, steps)
