"""The resolvent chart of convolutions with global kernels: diagonal in frequency."""

from math import inf, sqrt
from typing import NamedTuple, final

import numpy as np
from array_api_compat import array_namespace, device

from manifolds.arrays import Array, machine_epsilon
from manifolds.charts import Chart, Retraction
from manifolds.errors import SingularPointError
from manifolds.kernels import Shape, identity_kernel, kernel_gradient, spectrum
from manifolds.linear_algebra import eigenvalues
from manifolds.points import PointCache


@final
class SpectralResolvent(Chart):
    """The chart φ(W) = √(H W) (I − W)⁻¹ of global kernels of convolutions: `Resolvent` on the weights that commute with shifts.

    A point is a kernel of shape (C, C, H, W), and so are its coordinates. With B̂ = I − Ŵ and Â = B̂⁻¹ at each frequency,
    Dφ[V] is the kernel of √(H W) Â V̂ Â. The chart `Resolvent` has the same metric on the n × n matrices. The gradient is the
    kernel of B̂ B̂ᴴ ∇^ B̂ᴴ B̂ / H W. Every operation takes a C × C matrix for each frequency.

    Parameters
    ----------
    grid
        H and W.

    Raises
    ------
    SingularPointError
        From methods that need (I − Ŵ)⁻¹, if this matrix is singular to working precision at some frequency.

    Examples
    --------
    >>> import numpy as np
    >>> from manifolds import SpectralResolvent
    >>> chart = SpectralResolvent((4, 5))
    >>> W = np.zeros((2, 2, 4, 5))
    >>> round(float(np.linalg.norm(chart.value(W))) ** 2, 9)  # of the identity on 40 units
    40.0
    """

    thread_safe = True

    def __init__(self, grid: Shape) -> None:
        self.grid = grid
        self._size = sqrt(grid[0] * grid[1])
        self._at = PointCache(self._pair)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"grid": self.grid}

    def value(self, point: Array) -> Array:
        return self._size * self._kernels(self._at(point).inverse)

    def inverse(self, coordinates: Array) -> Array:
        xp = array_namespace(coordinates)
        complement = self._kernels(xp.linalg.inv(spectrum(coordinates, self.grid)))
        return self._identity(coordinates) - self._size * complement

    def differential(self, point: Array, vector: Array) -> Array:
        inverse = self._at(point).inverse
        return self._size * self._between(inverse, vector, inverse)

    def adjoint(self, point: Array, coordinates: Array) -> Array:
        inverse = _adjoint(self._at(point).inverse)
        return self._size * self._between(inverse, coordinates, inverse)

    def inverse_differential(self, point: Array, coordinates: Array) -> Array:
        complement = self._at(point).complement
        return self._between(complement, coordinates, complement) / self._size

    def inverse_adjoint(self, point: Array, covector: Array) -> Array:
        complement = _adjoint(self._at(point).complement)
        return self._between(complement, covector, complement) / self._size

    def inverse_adjoint_derivative(self, point: Array, vector: Array, covector: Array) -> Array:
        complement, change = _adjoint(self._at(point).complement), _adjoint(spectrum(vector, self.grid))
        both = self._between(change, covector, complement) + self._between(complement, covector, change)
        return -both / self._size

    def exponential(self, point: Array, vector: Array) -> Array:
        """Return the kernel of W + B̂ (B̂ + V̂)⁻¹ V̂, which equals I − (I + V̂ Â)⁻¹ B̂ but has no cancellation."""
        xp, values = array_namespace(point), spectrum(vector, self.grid)
        complement = self._at(point).complement
        return point + self._kernels(complement @ xp.linalg.solve(complement + values, values))

    def difference(self, point: Array, other: Array) -> Array:
        """Return √(H W) Â′ (W′ − W) Â, by the second resolvent identity."""
        return self._size * self._between(self._at(other).inverse, other - point, self._at(point).inverse)

    def exit_time(self, point: Array, vector: Array, retraction: Retraction) -> float:
        """Return the first t at which I + t V̂ Â (geodesic) or I − t V̂ Â (straight line) is singular at a frequency."""
        values = spectrum(vector, self.grid) @ self._at(point).inverse
        xp, rates = array_namespace(point), eigenvalues(values)
        rates = rates if retraction == "additive" else -rates
        sizes, epsilon = xp.abs(rates), machine_epsilon(point)
        real = xp.abs(xp.imag(rates)) <= epsilon**0.5 * sizes
        fastest = float(xp.max(xp.where(real, xp.real(rates), 0.0)))
        return 1 / fastest if fastest > epsilon * float(xp.max(sizes)) else inf

    def exit_time_bound(self, point: Array, vector: Array, retraction: Retraction) -> float:
        """Return 1 over the largest norm of V̂ Â at any frequency."""
        values = spectrum(vector, self.grid) @ self._at(point).inverse
        xp = array_namespace(point)
        largest = float(xp.max(xp.linalg.matrix_norm(values)))
        return 1 / largest if largest > 0 else inf

    def edge_distance(self, point: Array) -> float:
        """Return the smallest σ_min(Â) over frequencies; times √2 if −ω is another frequency, because it changes with ω."""
        xp, inverse = array_namespace(point), self._at(point).inverse
        sizes = xp.linalg.svdvals(inverse)[..., -1]
        rows = xp.arange(self.grid[0], device=device(point))
        columns = xp.arange(sizes.shape[1], device=device(point))
        alone = ((2 * rows) % self.grid[0] == 0)[:, None] & ((2 * columns) % self.grid[1] == 0)
        return float(xp.min(xp.where(alone, sizes, sqrt(2) * sizes)))

    def origin(self, like: Array) -> Array:
        return self._size * self._identity(like)

    def _pair(self, point: Array) -> "_Pair":
        xp, values = array_namespace(point), spectrum(self._identity(point) - point, self.grid)
        try:
            inverse = xp.linalg.inv(values)
        except np.linalg.LinAlgError:
            inverse = xp.nan * values
        limit = 1 / machine_epsilon(point)
        if not float(xp.max(xp.linalg.matrix_norm(values) * xp.linalg.matrix_norm(inverse))) < limit:
            raise SingularPointError(
                "I − Ŵ is singular to working precision at some frequency",
                "the chart (I − W)⁻¹ does not exist there",
                "Start from smaller kernels",
            )
        return _Pair(values, inverse)

    def _between(self, left: Array, kernels: Array, right: Array) -> Array:
        return self._kernels(left @ spectrum(kernels, self.grid) @ right)

    def _identity(self, like: Array) -> Array:
        return identity_kernel(like.shape[0], self.grid, like)

    def _kernels(self, values: Array) -> Array:
        xp, channels = array_namespace(values), values.shape[-1]
        like = xp.empty((channels, channels, *self.grid), dtype=xp.real(values).dtype, device=device(values))
        return kernel_gradient(values, like, self.grid)


class _Pair(NamedTuple):
    """B̂ and Â."""

    complement: Array
    inverse: Array


def _adjoint(values: Array) -> Array:
    xp = array_namespace(values)
    return xp.conj(xp.matrix_transpose(values))
