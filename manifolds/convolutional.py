"""Convolutions that are stable by construction: local kernels with a monotone matrix at every frequency."""

from typing import final

import numpy as np
from array_api_compat import array_namespace

from manifolds.arrays import Array
from manifolds.charts import Identity
from manifolds.errors import OutsideManifoldError
from manifolds.kernels import (
    Shape,
    centred,
    identity_kernel,
    padded,
    reflected,
    spectrum,
    transposed_product,
    transposed_product_gradient,
)
from manifolds.points import Point, vector_of
from manifolds.product import ProductManifold
from manifolds.pullback import PullbackManifold
from manifolds.weighted import Weighted


@final
class ConvolutionalMonotone(ProductManifold):
    """Points (A, P, ε) of kernels and scales, which represent the convolution W with I − W = E (m I + AᵀA + P − Pᵀ).

    E = diag(exp ε) has a scale for each channel. The symmetric part of E⁻¹ (I − W) is at least m > 0 at every point and on a
    grid of every size. Hence each stimulus of a network with slopes at most 1 has exactly one fixed point, and it is stable.

    A has the support k × k, so W has the support (2 k − 1) × (2 k − 1). P has the support l × l, where l = k if k is odd
    and k + 1 otherwise. Their arrays have a row for each output channel, shapes (C, C k k) and (C, C l l). `kernels` returns
    them with the shapes (C, C, k, k) and (C, C, l, l). The metric is Euclidean in A, P and ε,
    divided by s². The default s = 1 / C keeps the steps of an optimiser such as Adam small: changes of equal sign add up
    over the inputs of a channel. Different points may represent the same W.

    Parameters
    ----------
    channels
        C.
    support
        k.
    margin
        m, positive: a lower bound of the eigenvalues of the symmetric part of E⁻¹ (I − W).
    scale
        s: how fast kernels and scales change for steps of equal length. Default: 1 / C.
    seed, like, validate
        See `WeightManifold`.

    Raises
    ------
    ValueError
        For a number of channels or a support below 1, a margin outside (0, 1), or a scale that is not positive.

    References
    ----------
    Winston and Kolter, *Monotone operator equilibrium networks*, NeurIPS 2020, section 3; Kaszkurewicz and Bhaya, *Matrix
    Diagonal Stability in Systems and Computation*, Birkhäuser 2000, chapter 2.

    Examples
    --------
    >>> from manifolds import ConvolutionalMonotone
    >>> m = ConvolutionalMonotone(channels=2, seed=0)
    >>> point = m.random_point()
    >>> m.weights(point).shape, m.certificate(point, (8, 8)) >= 0.1 - 1e-9
    ((2, 2, 5, 5), True)
    """

    def __init__(
        self,
        channels: int,
        support: int = 3,
        margin: float = 0.1,
        scale: float | None = None,
        *,
        seed: int | np.random.Generator | None = None,
        like: Array | None = None,
        validate: bool = False,
    ) -> None:
        scale = 1 / max(channels, 1) if scale is None else scale
        if channels < 1 or support < 1:
            raise ValueError(f"channels = {channels} and support = {support} are not both positive; pass 1 or more")
        if not (0 < margin < 1 and scale > 0):
            raise ValueError(f"margin = {margin} and scale = {scale}; pass a margin between 0 and 1 and a positive scale")
        self.channels, self.support, self.margin = channels, (support, support), margin
        odd = 2 * (support // 2) + 1
        self.skew_support = odd, odd
        generator = np.random.default_rng(seed)
        widths = {"symmetric": channels * support**2, "skew": channels * odd**2, "scales": 1}
        sizes = {name: (channels, width) for name, width in widths.items()}
        super().__init__(
            {
                name: Weighted(PullbackManifold(Identity(), each, seed=generator, like=like, validate=validate), scale)
                for name, each in sizes.items()
            }
        )
        self.stable_by_construction, self.weights_layout, self.separate = True, 1, False

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"channels": self.channels, "support": self.support, "margin": self.margin, "dimension": self.dim}

    def promises(self, names: tuple[str, ...]) -> bool:
        return True

    def random_point(self) -> Point:
        """Return a point near the origin, W = 0, with normal entries of standard deviation 0.5 / √(C k k) in A and P."""
        first, second, scales = super().random_point()
        return first + self.point_at(self._origin(first))[0], second, scales / self.channels**0.5

    def point_at(self, weights: Array) -> Point:
        """Return the point (A, P, 0) for a convolution with a symmetric part that couples no two positions, such as W = 0.

        A is a Cholesky factor at one position. Other convolutions need a spectral factor of support k, which is rare.

        Raises
        ------
        OutsideManifoldError
            If the symmetric part couples positions or is above 1 − m, or if the skew part has a larger support than k.
        """
        xp, rows = array_namespace(weights), (self.channels, -1)
        weights = centred(weights, self._product_support) if weights.shape[2] > self._product_support[0] else weights
        weights = padded(weights, self._product_support)
        complement = identity_kernel(self.channels, self._product_support, weights) - weights
        skew, symmetric = (complement - reflected(complement)) / 2, (complement + reflected(complement)) / 2
        pointwise = centred(symmetric, (1, 1))
        local = centred(skew, self.skew_support)
        coupled = float(xp.max(xp.abs(symmetric - padded(pointwise, self._product_support))))
        outside = float(xp.max(xp.abs(skew - padded(local, self._product_support))))
        smallest = float(xp.min(xp.linalg.eigvalsh(pointwise[:, :, 0, 0])))
        if coupled > 0 or outside > 0 or not smallest > self.margin:
            raise OutsideManifoldError(
                f"the symmetric part of W couples positions by {coupled:.3g}, its skew part reaches outside the support by "
                f"{outside:.3g}, and the smallest eigenvalue of the symmetric part of I − W is {smallest:.3g}",
                f"a start needs 0, 0 and a number above the margin {self.margin:g}",
                "Start at W = 0, or at random_point()",
            )
        factor = xp.linalg.cholesky(pointwise[:, :, 0, 0] - self.margin * xp.eye(self.channels, dtype=weights.dtype)).T
        first = padded(xp.reshape(factor, (self.channels, self.channels, 1, 1)), self.support)
        return xp.reshape(first, rows), xp.reshape(local / 2, rows), xp.zeros_like(first[:, 0, 0, :1])

    def representable(self, weights: Array) -> Array:
        """Return the part of a convolution that `point_at` takes.

        This is its skew part within the support of P, and its symmetric part at one position.

        Parameters
        ----------
        weights
            Kernels of shape (C, C, 2 k − 1, 2 k − 1).
        """
        skew, symmetric = (weights - reflected(weights)) / 2, (weights + reflected(weights)) / 2
        local, pointwise = centred(skew, self.skew_support), centred(symmetric, (1, 1))
        return padded(local, self._product_support) + padded(pointwise, self._product_support)

    def kernels(self, point: Point) -> tuple[Array, Array]:
        """Return A, shape (C, C, k, k), and P, shape (C, C, l, l)."""
        xp, channels = array_namespace(point[0]), (self.channels, self.channels)
        first, second = ((*channels, *support) for support in (self.support, self.skew_support))
        return xp.reshape(point[0], first), xp.reshape(point[1], second)

    def scales(self, point: Point) -> Array:
        """Return exp ε, the diagonal of E, shape (C, 1)."""
        return array_namespace(point[2]).exp(point[2])

    def weights(self, point: Point) -> Array:
        """Return the kernels of W, shape (C, C, 2 k − 1, 2 k − 1)."""
        complement = self._complement(point)
        return identity_kernel(self.channels, self._product_support, complement) - complement

    def velocity(self, point: Point, tangent_vector: Point) -> Array:
        """Return the change of W along (a, p, v), −E (aᵀA + Aᵀa + p − pᵀ) − diag(v) (I − W), with the shape of W."""
        first, _ = self.kernels(point)
        change, turn = self.kernels(tangent_vector)
        product = transposed_product(change, first)
        inner_change = product + reflected(product) + padded(turn - reflected(turn), self._product_support)
        return -_of_rows(self.scales(point)) * inner_change - _of_rows(tangent_vector[2]) * self._complement(point)

    def pull_back(self, point: Point, gradient: Array) -> Point:
        """Return the Euclidean gradient in (A, P, ε), given the gradient G in the kernels of W."""
        inner = -_of_rows(self.scales(point)) * gradient
        growth = _row_sums(-gradient * self._complement(point))
        return vector_of([*self._pulled_back(self.kernels(point)[0], inner), growth])

    def pull_back_hessian(self, point: Point, gradient: Array, hessian: Array, tangent_vector: Point) -> Point:
        """Return the change of `pull_back` along (a, p, v), given G and its change H along the velocity of W."""
        scales, growth = _of_rows(self.scales(point)), _of_rows(tangent_vector[2])
        first, change = self.kernels(point)[0], self.kernels(tangent_vector)[0]
        from_hessian, turn = self._pulled_back(first, -scales * (hessian + growth * gradient))
        from_change, _ = self._pulled_back(change, -scales * gradient)
        grown = gradient * self.velocity(point, tangent_vector) - hessian * self._complement(point)
        return vector_of([from_hessian + from_change, turn, _row_sums(grown)])

    def certificate(self, point: Point, shape: Shape) -> float:
        """Return the smallest eigenvalue of the symmetric part of E⁻¹ (I − W) on a grid of H × W positions, in float64.

        It is the smallest eigenvalue over the C × C matrices of all frequencies, computed from the weights themselves. By
        construction it is at least m, up to rounding of the weights.
        """
        xp = array_namespace(point[0])
        weights = xp.astype(self.weights(point), xp.float64)
        complement = identity_kernel(self.channels, self._product_support, weights) - weights
        values = spectrum(complement / _of_rows(xp.astype(self.scales(point), xp.float64)), shape)
        return float(xp.min(xp.linalg.eigvalsh((values + xp.conj(xp.matrix_transpose(values))) / 2)))

    @property
    def _product_support(self) -> Shape:
        return 2 * self.support[0] - 1, 2 * self.support[1] - 1

    def _origin(self, like: Array) -> Array:
        zeros = array_namespace(like).zeros_like
        return zeros(identity_kernel(self.channels, self._product_support, like))

    def _complement(self, point: Point) -> Array:
        """Return the kernels of I − W."""
        first, second = self.kernels(point)
        positive = transposed_product(first, first) + self.margin * identity_kernel(self.channels, self._product_support, first)
        return _of_rows(self.scales(point)) * (positive + padded(second - reflected(second), self._product_support))

    def _pulled_back(self, first: Array, gradient: Array) -> tuple[Array, Array]:
        """Return the gradients in A and P, given the gradient in the kernel of AᵀA + P − Pᵀ."""
        local, xp = centred(gradient, self.skew_support), array_namespace(gradient)
        in_first = transposed_product_gradient(gradient + reflected(gradient), first)
        rows = (self.channels, -1)
        return xp.reshape(in_first, rows), xp.reshape(local - reflected(local), rows)


def _of_rows(numbers: Array) -> Array:
    """Return numbers of the output channels, shape (C, 1), in a shape that broadcasts over kernels."""
    return numbers[:, :, None, None]


def _row_sums(kernels: Array) -> Array:
    return array_namespace(kernels).sum(kernels, axis=(1, 2, 3))[:, None]
