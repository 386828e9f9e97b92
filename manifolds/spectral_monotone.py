"""The symmetric space of monotone weights that commute with shifts: closed forms at each frequency, with global kernels."""

from math import sqrt
from typing import NamedTuple, final

import numpy as np
from array_api_compat import array_namespace, device

from manifolds.arrays import Array, inner, machine_epsilon
from manifolds.base import WeightManifold
from manifolds.errors import InvalidArrayError, OutsideManifoldError
from manifolds.kernels import Shape, frequency_weights, identity_kernel, kernel_gradient, spectrum
from manifolds.points import PointCache, all_finite


@final
class SpectralMonotone(WeightManifold):
    """Global kernels of convolutions W that are monotone: `MonotoneManifold` on the weights that commute with shifts.

    A point is a kernel of shape (C, C, H, W), the parameters of a convolution whose support is the grid. The Fourier transform
    makes W block-diagonal, a C × C matrix Ŵ(ω) for each frequency. With B̂ = I − Ŵ, Ŝ its Hermitian part, and n = H W C,

        g_W(U, V) = Σ_ω tr(Ŝ⁻¹ Û Ŝ⁻¹ V̂ᴴ),    grad^ = Ŝ ∇^ Ŝ / H W.

    This is the metric of `MonotoneManifold` on the n × n matrices. Shifts of the grid are isometries of it, so the weights
    that commute with shifts are totally geodesic: the larger manifold has the same geodesics, distances and transports. They
    cost O(H W C³), and no n × n matrix is formed. A step makes local kernels global.

    Parameters
    ----------
    channels
        C.
    grid
        H and W.
    seed, like, validate
        See `WeightManifold`.

    Raises
    ------
    OutsideManifoldError
        If Ŝ of a point is not positive definite at some frequency, and for a step beyond the largest floating-point number.
    InvalidArrayError
        For a step that holds NaN or infinity.

    Examples
    --------
    >>> from manifolds import SpectralMonotone
    >>> m = SpectralMonotone(2, (4, 5), seed=0)
    >>> W = m.random_point()
    >>> V = m.random_tangent_vector(W)
    >>> W.shape, round(m.dist(W, m.exp(W, V)), 9)
    ((2, 2, 4, 5), 1.0)
    """

    stable_by_construction = True
    has_frame = True
    thread_safe = True

    def __init__(
        self,
        channels: int,
        grid: Shape,
        *,
        seed: int | np.random.Generator | None = None,
        like: Array | None = None,
        validate: bool = False,
    ) -> None:
        height, width = grid
        name = f"Monotone manifold of convolutions, {channels} channels on a grid of {height}×{width}"
        super().__init__(name, (channels, channels, height, width), seed=seed, like=like, validate=validate)
        self.grid: Shape = (height, width)
        self._positions = height * width
        self._at = PointCache(self._factor)
        self._along = PointCache(self._step)

    @property
    def typical_dist(self) -> float:
        """Return the norm of the identity on all units, √(H W C)."""
        return sqrt(self._positions * self.shape[0])

    def random_point(self) -> Array:
        """Return exp₀(Z), where the entries of Z are normal with standard deviation 0.5/√(H W C)."""
        sample = 0.5 / self.typical_dist * self.normal()
        return self.exp(array_namespace(sample).zeros_like(sample), sample)

    def certificate(self, point: Array) -> float:
        """Return the smallest eigenvalue of the symmetric part of I − W, over all frequencies, in float64."""
        xp = array_namespace(point)
        values = self._complement(xp.astype(point, xp.float64))
        return float(xp.min(xp.linalg.eigvalsh((values + _adjoint(values)) / 2)))

    def inner_product(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return g_W(U, V), the inner product in the frame."""
        self.check(point, tangent_vector_a, tangent_vector_b)
        a = self.to_frame(point, tangent_vector_a)
        return inner(a, a if tangent_vector_b is tangent_vector_a else self.to_frame(point, tangent_vector_b))

    def to_frame(self, point: Array, tangent_vector: Array) -> Array:
        """Return the kernel of √(H W) L⁻¹ V̂ L⁻ᴴ, with Ŝ = L Lᴴ: coordinates in which the metric is Euclidean."""
        self.check(point, tangent_vector)
        return self._positions**0.5 * self._kernels(self._in_frame(point, tangent_vector))

    def from_frame(self, point: Array, coordinates: Array) -> Array:
        """Return the tangent vector with these coordinates."""
        self.check(point, coordinates)
        return self._positions**-0.5 * self._out_of_frame(point, self._spectrum(coordinates))

    def frame_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return `to_frame` of the Riemannian gradient, from Lᴴ ∇^ L."""
        self.check(point, euclidean_gradient)
        root = self._at(point).root
        return self._positions**-0.5 * self._kernels(_adjoint(root) @ self._spectrum(euclidean_gradient) @ root)

    def euclidean_to_riemannian_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return the kernel of Ŝ ∇^ Ŝ / H W."""
        self.check(point, euclidean_gradient)
        S = self._at(point).symmetric
        return self._kernels(S @ self._spectrum(euclidean_gradient) @ S) / self._positions

    def euclidean_to_riemannian_hessian(
        self, point: Array, euclidean_gradient: Array, euclidean_hessian: Array, tangent_vector: Array
    ) -> Array:
        """Return the kernel of (Ŝ H Ŝ − ½ (V̂ᴴ ∇^ Ŝ + Ŝ ∇^ V̂ᴴ)) / H W, where H is the Euclidean Hessian along V."""
        self.check(point, euclidean_gradient, euclidean_hessian, tangent_vector)
        S, V = self._at(point).symmetric, _adjoint(self._spectrum(tangent_vector))
        gradient, hessian = self._spectrum(euclidean_gradient), self._spectrum(euclidean_hessian)
        return self._kernels(S @ hessian @ S - (V @ gradient @ S + S @ gradient @ V) / 2) / self._positions

    def retraction(self, point: Array, tangent_vector: Array) -> Array:
        """Return the exponential map, `exp`."""
        return self.exp(point, tangent_vector)

    def exp(self, point: Array, tangent_vector: Array) -> Array:
        """Return the W′ with B̂′ = L (I + T) (I − T)⁻¹ Lᴴ + K̂, where T = U tanh(Σ/2) Rᴴ for −L⁻¹ V̂ L⁻ᴴ = U Σ Rᴴ.

        If Ŝ′ would be singular in the dtype of the point, it is raised by the rounding error of W′, and W′ stays inside.
        """
        self.check(point, tangent_vector)
        step = self._along((point, tangent_vector))
        with np.errstate(all="ignore"):  # the check of the end finds overflow
            end = self.arrived(point - self._out_of_frame(point, step.relative_change()))
        try:
            self._at(end)
        except OutsideManifoldError:
            missing = self._rounding(end) - min(self.certificate(end), 0.0)
            return end - missing * identity_kernel(self.shape[0], self.grid, end)
        return end

    def log(self, point_a: Array, point_b: Array) -> Array:
        """Return the V with exp_W(V) = W′."""
        self.check(point_a, point_b)
        left, sizes, right = self._distance(point_a, point_b)
        return self._out_of_frame(point_a, -(left * sizes[..., None, :]) @ right)

    def dist(self, point_a: Array, point_b: Array) -> float:
        """Return 2 ‖artanh σ(T)‖ over all frequencies, T the Cayley transform of L⁻¹ (B̂′ − K̂) L⁻ᴴ."""
        self.check(point_a, point_b)
        xp, (_, sizes, _) = array_namespace(point_a), self._distance(point_a, point_b)
        weights = self._positions * frequency_weights(sizes, self.grid)[..., 0]
        return sqrt(float(xp.sum(weights * sizes**2)))

    def transport(self, point_a: Array, point_b: Array, tangent_vector_a: Array) -> Array:
        """Return the parallel transport along the geodesic between two points."""
        return self.parallel_transport(point_a, self.log(point_a, point_b), tangent_vector_a)

    def parallel_transport(self, point: Array, tangent_vector: Array, carried: Array) -> Array:
        """Return the kernel of L R₁ [U sech(Σ/2) Uᴴ] Y [R sech(Σ/2) Rᴴ] R₁ Lᴴ, with R₁ = (I − T)⁻¹ and Y in the frame."""
        self.check(point, tangent_vector, carried)
        step = self._along((point, tangent_vector))
        return self._out_of_frame(point, step.carried(self._in_frame(point, carried)))

    def _rounding(self, point: Array) -> float:
        """Return the rounding error of the smallest eigenvalue of Ŝ, √n ε times the largest norm of I − Ŵ."""
        largest = array_namespace(point).max(array_namespace(point).linalg.matrix_norm(self._complement(point)))
        return self.typical_dist * machine_epsilon(point) * float(largest)

    def _distance(self, point_a: Array, point_b: Array) -> tuple[Array, Array, Array]:
        """Return U, Σ and Rᴴ of the logarithm, as a change of B̂ in the frame."""
        factor, xp = self._at(point_a), array_namespace(point_a)
        self._at(point_b)  # it raises if W′ is not a point
        image = _framed(factor.root, self._complement(point_b) - factor.skew)
        identity = _identity_like(image)
        # (Z − I) (Z + I)⁻¹: a division from the right, as a solve of the transposed system.
        ratio = _adjoint(xp.linalg.solve(_adjoint(image + identity), _adjoint(image - identity)))
        left, sizes, right = xp.linalg.svd(ratio, full_matrices=False)
        return left, 2 * xp.atanh(sizes), right

    def _factor(self, point: Array) -> "_Factor":
        xp, complement = array_namespace(point), self._complement(point)
        symmetric = (complement + _adjoint(complement)) / 2
        try:
            root = xp.linalg.cholesky(symmetric)
            positive = bool(xp.all(xp.isfinite(root)))
        except np.linalg.LinAlgError:
            positive = False
        if not positive:
            raise OutsideManifoldError(
                f"the smallest eigenvalue of the symmetric part of I − W is {self.certificate(point):.3g}",
                "it is not positive, so W is not a monotone convolution",
                "Start at W = 0 or at random_point(), and take steps with exp",
            )
        return _Factor(root, symmetric, (complement - _adjoint(complement)) / 2)

    def _step(self, pair: tuple[Array, Array]) -> "_Step":
        change = -self._in_frame(*pair)
        if not all_finite(change):
            found = "the point or the tangent vector holds NaN or infinity"
            raise InvalidArrayError(found, "it has no geodesic", "Find the step that produced it")
        return _Step.along(change)

    def _in_frame(self, point: Array, tangent_vector: Array) -> Array:
        return _framed(self._at(point).root, self._spectrum(tangent_vector))

    def _out_of_frame(self, point: Array, values: Array) -> Array:
        root = self._at(point).root
        return self._kernels(root @ values @ _adjoint(root))

    def _complement(self, point: Array) -> Array:
        values = self._spectrum(point)
        return _identity_like(values) - values

    def _spectrum(self, kernels: Array) -> Array:
        return spectrum(kernels, self.grid)

    def _kernels(self, values: Array) -> Array:
        xp = array_namespace(values)
        like = xp.empty(self.shape, dtype=xp.real(values).dtype, device=device(values))
        return kernel_gradient(values, like, self.grid)


class _Factor(NamedTuple):
    """L, Ŝ = L Lᴴ and K̂ at each frequency."""

    root: Array
    symmetric: Array
    skew: Array


class _Step(NamedTuple):
    """A change U Σ Rᴴ of B̂ in the frame, with T = U tanh(Σ/2) Rᴴ.

    With N = (Uᴴ R − I) cosh(Σ/2) + exp(−Σ/2), (I − T)⁻¹ = R cosh(Σ/2) N⁻¹ Uᴴ. This avoids the cancellation in 1 − tanh(Σ/2).
    """

    left: Array
    halves: Array
    right: Array
    solved: Array

    @classmethod
    def along(cls, change: Array) -> "_Step":
        """Return the step along a change."""
        xp = array_namespace(change)
        left, sizes, right = xp.linalg.svd(change, full_matrices=False)
        halves, turn = sizes / 2, _adjoint(left) @ _adjoint(right)
        identity = _identity_like(turn)
        matrix = (turn - identity) * xp.cosh(halves)[..., None, :] + identity * xp.exp(-halves)[..., None, :]
        return cls(left, halves, right, xp.linalg.inv(matrix))

    def relative_change(self) -> Array:
        """Return (I + T) (I − T)⁻¹ − I = 2 U sinh(Σ/2) N⁻¹ Uᴴ."""
        sizes = 2 * array_namespace(self.halves).sinh(self.halves)
        return (self.left * sizes[..., None, :]) @ self.solved @ _adjoint(self.left)

    def carried(self, vector: Array) -> Array:
        """Return R₁ [U sech(Σ/2) Uᴴ] Y [R sech(Σ/2) Rᴴ] R₁ with R₁ = (I − T)⁻¹, for Y in the frame."""
        sizes = array_namespace(self.halves).cosh(self.halves)
        outer, inverse = _adjoint(self.right) * sizes[..., None, :], self.solved
        middle = _adjoint(self.left) @ vector @ _adjoint(self.right)
        return outer @ inverse @ (middle / sizes[..., :, None]) @ inverse @ _adjoint(self.left)


def _framed(root: Array, values: Array) -> Array:
    """Return L⁻¹ V̂ L⁻ᴴ."""
    solve = array_namespace(values).linalg.solve
    return _adjoint(solve(root, _adjoint(solve(root, values))))


def _adjoint(values: Array) -> Array:
    xp = array_namespace(values)
    return xp.conj(xp.matrix_transpose(values))


def _identity_like(values: Array) -> Array:
    return array_namespace(values).eye(values.shape[-1], dtype=values.dtype, device=device(values))
