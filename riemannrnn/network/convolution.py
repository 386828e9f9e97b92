"""Convolutional connectivity: units on a grid of positions, with the same weights from each position to its neighbours."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import final

import numpy as np
from array_api_compat import device, is_numpy_array
from scipy import fft

from manifolds import Array
from manifolds.kernels import Shape, frequency_weights, kernel_gradient, spectrum
from manifolds.points import map_arrays
from riemannrnn.backend import namespace_of
from riemannrnn.network.activations import into
from riemannrnn.network.connectivity import shapes
from riemannrnn.network.operator import Operator, to_single
from riemannrnn.runtime import parts

BLOCK_BYTES, FEWEST_BLOCK_ROWS = 2**20, 16
"""Size of blocks of rows with Fourier transforms that stay in cache; and the smallest block."""


@final
@dataclass(frozen=True)
class Convolution:
    """W is a convolution of C channels on a grid with periodic edges: θ is its kernel, shape (C, C, k, l).

    The drive of channel o at position x is Σ_{i,d} θ_{oi}(d) r_i(x − d). Entry (a, b) of a kernel belongs to the offset
    (a − ⌊k/2⌋, b − ⌊l/2⌋). A support as large as the grid makes the kernels global: W is then any map that commutes with
    shifts.

    The n = H W C units are ordered like an image of shape (H, W, C), the channels of a position next to each other. The
    products at each frequency read this order without a copy. The Fourier transform makes W block-diagonal, a C × C matrix for
    each frequency. Every operation costs O(H W log(H W) C + H W C²) for each stimulus, and no n × n matrix is formed.

    Parameters
    ----------
    channels
        C.
    shape
        H and W of the grid.
    support
        Height and width k and l of the kernels, or one number for both.

    Raises
    ------
    ValueError
        For a size below 1.
    """

    channels: int
    shape: Shape
    support: int | Shape = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if len(self.shape) != 2 or min(self.channels, *self.shape, *self.kernel_shape) < 1:
            raise ValueError(
                f"channels = {self.channels}, shape = {self.shape} and support = {self.support} are not all positive; pass a "
                "number of channels, a height and a width, and the size of the kernels, each 1 or more"
            )

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """The shape of the parameters, (C, C, k, l)."""
        support = (self.support, self.support) if isinstance(self.support, int) else tuple(self.support)
        return self.channels, self.channels, *support

    @property
    def n_units(self) -> int:
        """H W C."""
        return prod(self.shape) * self.channels

    def bind(self, parameters: Array) -> "ConvolutionOperator":
        """Return the operator of kernels, with their Fourier transform."""
        return ConvolutionOperator(parameters, grid=self.shape, symbol=spectrum(parameters, self.shape))

    def check(self, parameters: Array, n: int) -> None:
        """Check that the parameters are kernels of this shape, and that n = H W C."""
        if shapes(parameters) != self.kernel_shape:
            raise ValueError(
                f"the weights have shape {shapes(parameters)}; pass kernels of shape {self.kernel_shape} for {self}"
            )
        if n != self.n_units:
            raise ValueError(
                f"the network has {n} units, but a grid of {self.shape} with {self.channels} channels has {self.n_units}; "
                "make them equal"
            )

    def initial(self, n: int, radius: float, generator: np.random.Generator) -> Array:
        """Return kernels of independent normal entries of variance radius² / (C k l)."""
        kernel_shape = self.kernel_shape
        if n != self.n_units:
            raise ValueError(f"the network has {n} units, {self} has {self.n_units}; make them equal")
        return radius * (generator.standard_normal(kernel_shape) / prod(kernel_shape[1:]) ** 0.5)

    def scaled(self, parameters: Array, factor: float) -> Array:
        """Return the kernels times a factor."""
        return factor * parameters

    def change(self, vector: Array) -> Array:
        """Return the vector, kernels of the same shape."""
        return vector


@dataclass(frozen=True, eq=False)
class TranslationInvariantOperator(Operator):
    """A map that commutes with shifts of a periodic grid: a C × C matrix Ŵ(ω) for each frequency.

    Parameters
    ----------
    grid
        H and W.
    symbol
        Ŵ, also where T = Wᵀ, complex, shape (H, ⌊W/2⌋ + 1, C, C).
    """

    grid: Shape = (0, 0)
    symbol: Array = None

    matrix_free = True

    @property
    def channels(self) -> int:
        """C."""
        return int(self.symbol.shape[-1])

    def apply(self, rows: Array, out: Array | None = None) -> Array:
        result = namespace_of(rows).empty_like(rows) if out is None else out
        for block in self._blocks(rows):
            result[block, :] = self._inverse(self._product(self._transform(rows[block, :])))
        return result

    def accumulate(self, adjoints: Array, rates: Array) -> Array:
        """Return the gradient in the parameters, from Û R̂ᴴ at each frequency, summed over stimuli."""
        if self.transposed:
            adjoints, rates = rates, adjoints
        xp = namespace_of(rates)
        total = xp.zeros_like(self.symbol)
        for block in self._blocks(rates):
            left, right = self._transform(adjoints[block, :]), self._transform(rates[block, :])
            total += xp.permute_dims(left, (1, 2, 3, 0)) @ xp.permute_dims(xp.conj(right), (1, 2, 0, 3))
        return self._in_parameters(total)

    def propagator(self, gain: Array) -> "FrequencyOperator":
        """Return the operator of (I − Ŵ Ḡ)⁻¹ Ŵ at each frequency, or of its transpose, for a gain of each channel.

        Raises
        ------
        ValueError
            If the gains of the units of a channel differ.
        """
        gains = self._of_channels(gain, "gains")
        xp = namespace_of(gain)
        identity = xp.eye(self.channels, dtype=self.symbol.dtype, device=device(self.symbol))
        solved = xp.linalg.solve(identity - self.symbol * xp.astype(gains, self.symbol.dtype), self.symbol)
        return FrequencyOperator(solved, self.transposed, grid=self.grid, symbol=solved)

    def factor_rows(self, n: int) -> int:
        """Return C: at each frequency there is a system of C equations, and a product with a C × C matrix for each row."""
        return self.channels

    def shared_gains(self, gains: Array) -> Array:
        """Return the mean over stimuli and over the units of a channel, shape (n,)."""
        xp = namespace_of(gains)
        means = xp.mean(xp.reshape(super().shared_gains(gains), (-1, self.channels)), axis=0)
        return self._of_units(means)

    @cached_property
    def row_norms(self) -> Array:
        """The norms of the rows of T, by Parseval's theorem; all units of a channel have the same."""
        xp = namespace_of(self.symbol)
        squares = xp.real(self.symbol) ** 2 + xp.imag(self.symbol) ** 2
        squares = xp.sum(frequency_weights(squares, self.grid) * squares, axis=(0, 1))
        return self._of_units(xp.sqrt(xp.sum(squares, axis=0 if self.transposed else 1)))

    def numerical_abscissa(self, scales: Array) -> float:
        """Return the largest eigenvalue of the symmetric part of D T D, from a C × C matrix of each frequency in float64.

        Where the scales of the units of a channel differ, it is a bound: D is replaced by the largest scale of each channel,
        and a negative eigenvalue by 0.
        """
        xp = namespace_of(scales)
        by_channel = xp.reshape(xp.abs(scales), (-1, self.channels))
        most = xp.max(by_channel, axis=0)
        exact = bool(xp.all(by_channel == most))
        hermitian = self._hermitian(most)
        largest = float(xp.max(xp.linalg.eigvalsh(hermitian))) if bool(xp.all(xp.isfinite(most))) else float("inf")
        return largest if exact else max(largest, 0.0)

    def numerical_abscissa_below(self, limit: float) -> bool:
        """Tell whether limit · I − sym T̂ is positive definite at each frequency, by a Cholesky factor of each, in float64."""
        xp = namespace_of(self.symbol)
        hermitian = self._hermitian(None)
        identity = xp.eye(self.channels, dtype=hermitian.dtype, device=device(hermitian))
        try:
            factors = xp.linalg.cholesky(limit * identity - hermitian)
        except np.linalg.LinAlgError:
            return False
        return bool(xp.all(xp.isfinite(factors)))

    def spectral_norm(self, scales: Array, shift: float = 0.0) -> float:
        """Return ‖D (T + a I) D⁻¹‖₂, the largest singular value of a C × C matrix of each frequency, in float64.

        Raises
        ------
        ValueError
            If the scales of the units of a channel differ.
        """
        xp = namespace_of(self.symbol)
        symbol = xp.astype(self.symbol, xp.complex128)
        if self.transposed:
            symbol = xp.conj(xp.matrix_transpose(symbol))
        identity = xp.eye(self.channels, dtype=symbol.dtype, device=device(symbol))
        by_channel = xp.astype(self._of_channels(scales, "scales"), symbol.dtype)
        return float(xp.max(xp.linalg.svdvals(by_channel[:, None] * (symbol + shift * identity) / by_channel)))

    def single(self) -> "TranslationInvariantOperator":
        xp = namespace_of(self.symbol)
        return replace(self, parameters=self._single_parameters(), symbol=xp.astype(self.symbol, xp.complex64))

    @abstractmethod
    def _in_parameters(self, products: Array) -> Array:
        """Return the gradient in the parameters from Û R̂ᴴ summed over stimuli, shape (H, ⌊W/2⌋ + 1, C, C)."""

    @abstractmethod
    def _single_parameters(self) -> Array:
        """Return the parameters in single precision."""

    @cached_property
    def _right_factor(self) -> Array:
        """T̂ᵀ, by which rows are multiplied from the right."""
        xp = namespace_of(self.symbol)
        return xp.conj(self.symbol) if self.transposed else xp.matrix_transpose(self.symbol)

    def _product(self, transforms: Array) -> Array:
        """Return T̂ r̂ for the transforms of rows, shape (rows, H, ⌊W/2⌋ + 1, C)."""
        xp = namespace_of(transforms)
        result = xp.empty_like(transforms)
        by_frequency = xp.permute_dims(result, (1, 2, 0, 3))  # a view, so that no order of the units is copied
        into(by_frequency, xp.matmul, xp.permute_dims(transforms, (1, 2, 0, 3)), self._right_factor)
        return result

    def _transform(self, rows: Array) -> Array:
        images = namespace_of(rows).reshape(rows, (rows.shape[0], *self.grid, self.channels))
        if is_numpy_array(rows):
            return fft.rfftn(images, axes=(1, 2), workers=parts())
        return namespace_of(rows).fft.rfftn(images, axes=(1, 2))

    def _inverse(self, transforms: Array) -> Array:
        xp = namespace_of(transforms)
        if is_numpy_array(transforms):
            images = fft.irfftn(transforms, s=self.grid, axes=(1, 2), overwrite_x=True, workers=parts())
        else:
            images = xp.fft.irfftn(transforms, s=self.grid, axes=(1, 2))
        return xp.reshape(images, (transforms.shape[0], prod(images.shape[1:])))

    def _hermitian(self, scales: Array | None) -> Array:
        """Return the Hermitian part of D Ŵ D at each frequency, complex128."""
        xp = namespace_of(self.symbol)
        symbol = xp.astype(self.symbol, xp.complex128)
        if scales is not None:
            by_channel = xp.astype(scales, symbol.dtype)
            symbol = by_channel[:, None] * symbol * by_channel
        return (symbol + xp.conj(xp.matrix_transpose(symbol))) / 2

    def _of_channels(self, values: Array, name: str) -> Array:
        """Return one number for each channel, shape (C,), from those of its units, shape (n,), which must be equal."""
        xp = namespace_of(values)
        by_channel = xp.reshape(values, (-1, self.channels))
        if not bool(xp.all(by_channel == by_channel[0, :])):
            raise ValueError(
                f"the {name} of the units of a channel differ, but a convolution has the same at each position; pass the "
                "result of shared_gains, or a number for each channel repeated at each position"
            )
        return by_channel[0, :]

    def _of_units(self, values: Array) -> Array:
        """Return numbers of the channels, shape (C,), for each unit, shape (n,)."""
        xp = namespace_of(values)
        return xp.reshape(xp.broadcast_to(values, (prod(self.grid), self.channels)), (-1,))

    def _blocks(self, rows: Array) -> Iterator[slice]:
        """Yield blocks of rows with transforms that stay in cache; on a device, all rows in one block."""
        count, row_bytes = rows.shape[0], prod(rows.shape[1:]) * rows.dtype.itemsize if is_numpy_array(rows) else 0
        size = max(FEWEST_BLOCK_ROWS, BLOCK_BYTES // row_bytes) if row_bytes else max(count, 1)
        return (slice(start, min(start + size, count)) for start in range(0, count, size))


@final
@dataclass(frozen=True, eq=False)
class ConvolutionOperator(TranslationInvariantOperator):
    """The operator of kernels, or its transpose. Their Fourier transform is computed once, when they are bound."""

    def _in_parameters(self, products: Array) -> Array:
        return kernel_gradient(products, self.parameters, self.grid)

    def _single_parameters(self) -> Array:
        return map_arrays(to_single, self.parameters)


@final
@dataclass(frozen=True, eq=False)
class FrequencyOperator(TranslationInvariantOperator):
    """An operator with its matrices Ŵ(ω) as parameters, such as the propagator of a convolution, which has a global kernel."""

    def _in_parameters(self, products: Array) -> Array:
        weights = frequency_weights(namespace_of(products).real(products), self.grid)
        return namespace_of(products).astype(weights, products.dtype) * products

    def _single_parameters(self) -> Array:
        xp = namespace_of(self.parameters)
        return xp.astype(self.parameters, xp.complex64)
