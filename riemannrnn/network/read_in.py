"""The convolutional read-in of images."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import final

import numpy as np
from array_api_compat import device

from manifolds import Array
from manifolds.kernels import spectrum
from riemannrnn.backend import namespace_of
from riemannrnn.network.connectivity import shapes
from riemannrnn.network.pooling import ImageShape
from riemannrnn.runtime import product, summed


@final
@dataclass(frozen=True)
class ConvolutionalReadIn:
    """x = V s for images s: a convolution with zeros beyond the edges, which may skip positions.

    The drive of channel o at position p is Σ_{i,a,b} K_{oi}(a, b) s_i(stride p + (a, b) − padding). This is the convention of
    deep learning. The parameters are the kernels K, shape (C, channels of an image, k, k).

    Parameters
    ----------
    image
        Height, width and channels of an image.
    channels
        C, the channels of the drive.
    support
        k.
    stride
        Distance between positions of the image that are positions of the drive.
    padding
        Rows and columns of zeros beyond each edge. The default ⌊k/2⌋ keeps the size of an image for an odd support and
        stride 1.

    Raises
    ------
    ValueError
        For a size that is not positive, a negative padding, or a support larger than the padded image.
    """

    image: ImageShape
    channels: int
    support: int = 3
    stride: int = 1
    padding: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", tuple(self.image))
        if len(self.image) != 3 or min(*self.image, self.channels, self.support, self.stride) < 1 or self._border < 0:
            raise ValueError(f"{self} has a size that is not positive; pass (height, width, channels) and sizes of 1 or more")
        if min(self.shape[:2]) < 1:
            raise ValueError(
                f"support = {self.support} is larger than the image of {self.image[0]} × {self.image[1]} with a padding of "
                f"{self._border}; choose a smaller support or a larger padding"
            )

    @property
    def shape(self) -> ImageShape:
        """The shape of the drive: height, width and C."""
        height, width = ((size + 2 * self._border - self.support) // self.stride + 1 for size in self.image[:2])
        return height, width, self.channels

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """The shape of the parameters, (C, channels of an image, k, k)."""
        return self.channels, self.image[2], self.support, self.support

    def initial(self, generator: np.random.Generator) -> Array:
        """Return kernels of independent normal entries of variance 1 / (inputs of a unit)."""
        return generator.standard_normal(self.kernel_shape) / prod(self.kernel_shape[1:]) ** 0.5

    def parameter_shape(self, n_outputs: int, n_inputs: int) -> tuple[int, ...]:
        """Return `kernel_shape`, for as many units as the drive has numbers and sources as an image has.

        Raises
        ------
        ValueError
            For another number of units or sources.
        """
        if (n_outputs, n_inputs) != (prod(self.shape), prod(self.image)):
            raise ValueError(
                f"the read-in takes images of {self.image}, {prod(self.image)} numbers, to {self.shape}, {prod(self.shape)} "
                f"units, but its source has {n_inputs} and its layer {n_outputs}; make them equal"
            )
        return self.kernel_shape

    def n_biases(self, n_outputs: int) -> int:
        """Return C: the units of a channel have the same bias."""
        return self.channels

    def apply(self, kernels: Array, stimuli: Array) -> Array:
        """Return V s for each row s, shape (batch, H W channels) to (batch, H′ W′ C)."""
        self._check(kernels, stimuli, self.image)
        drives = product(self._patches(stimuli), self._columns(kernels).T)
        return namespace_of(drives).reshape(drives, (stimuli.shape[0], prod(self.shape)))

    def transpose(self, kernels: Array, covectors: Array) -> Array:
        """Return Vᵀ u for each row u, shape (batch, H′ W′ C) to (batch, H W channels)."""
        self._check(kernels, covectors, self.shape)
        xp, batch = namespace_of(covectors), covectors.shape[0]
        patches = xp.reshape(covectors, (-1, self.channels)) @ self._columns(kernels)
        patches = xp.reshape(patches, (batch, *self.shape[:2], self.support**2, self.image[2]))
        images = xp.zeros((batch, *self._padded_image), dtype=covectors.dtype, device=device(covectors))
        for index, (rows, columns) in enumerate(self._windows()):
            images[:, rows, columns, :] += patches[:, :, :, index, :]
        height, width, border = *self.image[:2], self._border
        return xp.reshape(images[:, border : border + height, border : border + width, :], (batch, prod(self.image)))

    def gradient(self, covectors: Array, stimuli: Array) -> Array:
        """Return the gradient of Σ ⟨u, V s⟩ in the kernels, the sum over stimuli, shape (C, channels of an image, k, k)."""
        xp = namespace_of(stimuli)

        def of_rows(covectors: Array, stimuli: Array) -> Array:
            return xp.reshape(covectors, (-1, self.channels)).T @ self._patches(stimuli)

        entries = summed(of_rows, covectors, stimuli)
        entries = xp.reshape(entries, (self.channels, self.support, self.support, self.image[2]))
        return xp.permute_dims(entries, (0, 3, 1, 2))

    def norm(self, kernels: Array) -> float:
        """Return an upper bound of ‖V‖₂: the largest singular value of the circular convolution of the padded image.

        V is a part of that convolution: it takes images with zeros beyond the edges, and some of the positions.
        """
        xp = namespace_of(kernels)
        return float(xp.max(xp.linalg.svdvals(spectrum(xp.astype(kernels, xp.float64), self._padded_image[:2]))))

    @property
    def _border(self) -> int:
        return self.support // 2 if self.padding is None else self.padding

    @property
    def _padded_image(self) -> ImageShape:
        height, width = (size + 2 * self._border for size in self.image[:2])
        return height, width, self.image[2]

    def _columns(self, kernels: Array) -> Array:
        """Return the kernels with a row for each channel of the drive, in the order of patches."""
        xp = namespace_of(kernels)
        return xp.reshape(xp.permute_dims(kernels, (0, 2, 3, 1)), (self.channels, -1))

    def _patches(self, stimuli: Array) -> Array:
        """Return the inputs of each position of the drive, shape (batch H′ W′, k k channels of an image)."""
        xp, batch, border = namespace_of(stimuli), stimuli.shape[0], self._border
        height, width, _ = self.image
        images = xp.zeros((batch, *self._padded_image), dtype=stimuli.dtype, device=device(stimuli))
        images[:, border : border + height, border : border + width, :] = xp.reshape(stimuli, (batch, *self.image))
        patches = xp.concat([images[:, rows, columns, :] for rows, columns in self._windows()], axis=3)
        return xp.reshape(patches, (batch * prod(self.shape[:2]), patches.shape[-1]))

    def _windows(self) -> Iterator[tuple[slice, slice]]:
        """Yield for each entry of a kernel the rows and columns of the padded image that it multiplies."""
        for row in range(self.support):
            for column in range(self.support):
                starts_and_counts = zip((row, column), self.shape[:2], strict=True)
                rows, columns = (
                    slice(start, start + self.stride * (count - 1) + 1, self.stride) for start, count in starts_and_counts
                )
                yield rows, columns

    def _check(self, kernels: Array, rows: Array, shape: ImageShape) -> None:
        if shapes(kernels) != self.kernel_shape:
            raise ValueError(f"the kernels have shape {shapes(kernels)}; pass {self.kernel_shape}")
        if rows.ndim != 2 or rows.shape[1] != prod(shape):
            raise ValueError(
                f"the rows have shape {tuple(rows.shape)}; images of {shape} are rows of {prod(shape)} numbers, "
                f"pass (batch, {prod(shape)})"
            )
