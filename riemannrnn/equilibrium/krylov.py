"""Krylov solution of one linear system for each row, all rows in lock-step."""

from collections.abc import Callable

from array_api_compat import array_namespace

from manifolds import Array
from riemannrnn.norms import row_norms

REPEATED = 10
"""An image adds a direction only if its part outside the span of earlier images exceeds this many machine epsilons."""


def solve_rows(operator: Callable[[Array], Array], right_hand_side: Array, tolerance: Array, max_iterations: int) -> Array:
    """Solve (A x = b) for every row by GCR, a form of GMRES in which the residual is always available.

    Parameters
    ----------
    operator
        The map X ↦ A X on rows, shape (batch, n) to (batch, n).
    right_hand_side
        b, shape (batch, n).
    tolerance
        Norm of the residual to reach, shape (batch,).
    max_iterations
        Most products with the operator; also the number of stored directions.

    Returns
    -------
    Array
        x, shape (batch, n). Rows that did not reach the tolerance have their best approximation.

    References
    ----------
    Eisenstat, Elman & Schultz, SIAM J. Numer. Anal. 20, 1983.
    """
    xp = array_namespace(right_hand_side)
    epsilon = float(xp.finfo(right_hand_side.dtype).eps)
    solution = xp.zeros_like(right_hand_side)
    length = row_norms(right_hand_side)
    length = xp.where(length > 0, length, 1.0)  # scaling by it avoids overflow of squares
    residual, tolerance = right_hand_side / length[:, None], tolerance / length
    directions: list[Array] = []
    images: list[Array] = []
    for _ in range(max_iterations):
        if not bool(xp.any(row_norms(residual) > tolerance)):  # False for NaN: such rows cannot improve
            break
        direction, image = residual, operator(residual)
        before = row_norms(image)
        for known_direction, known_image in zip(directions, images, strict=True):
            overlap = xp.vecdot(known_image, image)[:, None]
            image = image - overlap * known_image
            direction = direction - overlap * known_direction
        size = row_norms(image)
        new = size > REPEATED * epsilon * before
        if not bool(xp.any(new)):
            break
        size = xp.where(new, size, xp.inf)[:, None]  # the other rows get a zero direction
        direction, image = direction / size, image / size
        step = xp.vecdot(image, residual)[:, None]
        solution = solution + step * direction
        residual = residual - step * image
        directions.append(direction)
        images.append(image)
    return length[:, None] * solution
