"""Why a square matrix cannot be inverted in floating-point numbers: it is singular, ill-conditioned, or out of range."""

from math import inf

from array_api_compat import array_namespace

from manifolds.arrays import Array, machine_epsilon


def why_not_invertible(name: str, matrix: Array) -> tuple[str, str]:
    """Return what was found in a finite matrix M that could not be inverted, and the cause, for an error message.

    The condition number σ_max / σ_min is the product of σ_max and 1/σ_min. The larger factor is the cause: M is close to the
    singular matrices, or its entries are large. If the condition number is moderate, M⁻¹ is out of the range of the dtype.

    Parameters
    ----------
    name
        Name of M in the message.
    matrix
        M, finite, shape (n, n).
    """
    largest, ratio = _singular_values(matrix)
    smallest, epsilon = ratio * largest, machine_epsilon(matrix)
    if ratio > matrix.shape[0] * epsilon:
        found = f"{name} has singular values from {smallest:.3g} to {largest:.3g}"
        return found, f"a number in the calculation of its inverse is too large or too small for {matrix.dtype}"
    if smallest * largest <= 1:
        return f"σ_min({name}) = {smallest:.3g}", f"the point lies on the singular set det({name}) = 0 to working precision"
    condition = 1 / ratio if ratio > 0 else inf
    return (
        f"{name} has the condition number {condition:.3g}, with σ_min = {smallest:.3g} and σ_max = {largest:.3g}",
        f"its entries are so large that its inverse has no correct digit: the bound is 1/ε = {1 / epsilon:.3g}",
    )


def _singular_values(matrix: Array) -> tuple[float, float]:
    """Return σ_max and σ_min / σ_max. The matrix is scaled first to avoid overflow."""
    xp = array_namespace(matrix)
    size = float(xp.max(xp.abs(matrix)))
    if size == 0:
        return 0.0, 0.0
    values = xp.linalg.svdvals(matrix / size)
    largest, smallest = float(xp.max(values)), float(xp.min(values))
    return size * largest, smallest / largest
