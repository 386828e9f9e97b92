"""Kernels of circular convolutions: products, transposes, and the matrix of each frequency.

A kernel K has shape (outputs, inputs, height, width). It represents the map z(x) = Σ_d K(d) r(x − d) on a grid of positions
with periodic edges. Entry (a, b) of an axis of length k belongs to the offset a − ⌊k/2⌋. The product of two maps has the
convolution of their kernels as its kernel.
"""

from math import pi

from array_api_compat import array_namespace, device

from manifolds.arrays import Array

Shape = tuple[int, int]
"""Height and width, of a grid or of a kernel."""


def spectrum(kernels: Array, shape: Shape) -> Array:
    """Return K̂(ω) = Σ_d K(d) exp(−i ω·d) at the frequencies of the real Fourier transform, shape (H, ⌊W/2⌋ + 1, o, i).

    Offsets that agree on the grid are added. The cost is one product, H W/2 × k² × o i. For global kernels, as large as
    the grid, Fourier transforms are used instead.

    Parameters
    ----------
    kernels
        Shape (o, i, height, width).
    shape
        H and W of the grid.
    """
    xp = array_namespace(kernels)
    outputs, inputs, height, width = kernels.shape
    if (height, width) == tuple(shape):
        values = xp.fft.rfftn(xp.fft.ifftshift(kernels, axes=(2, 3)), axes=(2, 3))
        return xp.permute_dims(values, (2, 3, 0, 1))
    waves = _waves(kernels, shape)
    entries = xp.reshape(kernels, (outputs * inputs, height * width))
    values = waves @ xp.astype(entries.T, waves.dtype)
    return xp.reshape(values, (*half(shape), outputs, inputs))


def kernel_gradient(gradient: Array, like: Array, shape: Shape) -> Array:
    """Return the gradient in the kernels of a map, given Û r̂ᴴ, the products of covectors and inputs at each frequency.

    It is the adjoint of `spectrum` for the inner product (1 / H W) Σ_ω ⟨·, ·⟩ over all frequencies. For kernels as large as
    the grid it is the inverse of `spectrum`.

    Parameters
    ----------
    gradient
        Shape (H, ⌊W/2⌋ + 1, o, i).
    like
        The kernels, shape (o, i, height, width).
    shape
        H and W of the grid.
    """
    xp = array_namespace(gradient)
    outputs, inputs, height, width = like.shape
    if (height, width) == tuple(shape):
        values = xp.fft.irfftn(xp.permute_dims(gradient, (2, 3, 0, 1)), s=shape, axes=(2, 3))
        return xp.fft.fftshift(values, axes=(2, 3))
    weighted = xp.reshape(frequency_weights(like, shape) * gradient, (-1, outputs * inputs))
    entries = xp.conj(_waves(like, shape)).T @ weighted
    return xp.reshape(xp.real(entries).T, like.shape)


def frequency_weights(like: Array, shape: Shape) -> Array:
    """Return the multiplicity of each frequency in the full transform divided by H W, shape (1, ⌊W/2⌋ + 1, 1, 1)."""
    xp, (height, width) = array_namespace(like), shape
    weights = xp.full((1, width // 2 + 1, 1, 1), 2 / (height * width), dtype=like.dtype, device=device(like))
    weights[:, 0, ...] /= 2
    if width % 2 == 0:
        weights[:, -1, ...] /= 2
    return weights


def half(shape: Shape) -> Shape:
    """Return the numbers of frequencies of the real Fourier transform."""
    return shape[0], shape[1] // 2 + 1


def reflected(kernels: Array) -> Array:
    """Return the kernel of the transposed map, K(−d)ᵀ, for odd heights and widths."""
    xp = array_namespace(kernels)
    return xp.flip(xp.permute_dims(kernels, (1, 0, 2, 3)), axis=(2, 3))


def transposed_product(first: Array, second: Array) -> Array:
    """Return the kernel of FᵀS of the maps of two kernels: Σ_m F(m)ᵀ S(m + d), shape (i, j, 2 k − 1, 2 l − 1).

    Parameters
    ----------
    first, second
        Shapes (m, i, k, l) and (m, j, k, l).
    """
    xp = array_namespace(first)
    middle, inputs, height, width = first.shape
    outputs = second.shape[1]
    left = xp.reshape(first, (middle, inputs * height * width))
    pairs = left.T @ xp.reshape(second, (middle, outputs * height * width))
    pairs = xp.reshape(pairs, (inputs, height, width, outputs, height, width))
    size = (inputs, outputs, 2 * height - 1, 2 * width - 1)
    product = xp.zeros(size, dtype=first.dtype, device=device(first))
    for row in range(height):
        for column in range(width):
            product[_window(row, column, height, width)] += pairs[:, row, column, ...]
    return product


def transposed_product_gradient(gradient: Array, second: Array) -> Array:
    """Return the gradient in F of ⟨G, FᵀS⟩ for the kernel G = `gradient`, with the shape of F, (m, i, k, l)."""
    xp = array_namespace(gradient)
    middle, outputs, height, width = second.shape
    inputs = gradient.shape[0]
    entries = xp.reshape(second, (middle, outputs * height * width))
    columns = [
        entries @ xp.reshape(gradient[_window(row, column, height, width)], (inputs, -1)).T
        for row in range(height)
        for column in range(width)
    ]
    return xp.reshape(xp.stack(columns, axis=2), (middle, inputs, height, width))


def centred(kernels: Array, support: Shape) -> Array:
    """Return the entries of a kernel around its centre as a kernel of a smaller support."""
    top, left = ((size - kept) // 2 for size, kept in zip(kernels.shape[2:], support, strict=True))
    return kernels[:, :, top : top + support[0], left : left + support[1]]


def padded(kernels: Array, support: Shape) -> Array:
    """Return a kernel with a larger support: the entries surrounded by zeros."""
    xp = array_namespace(kernels)
    result = xp.zeros((*kernels.shape[:2], *support), dtype=kernels.dtype, device=device(kernels))
    top, left = ((size - kept) // 2 for size, kept in zip(support, kernels.shape[2:], strict=True))
    result[:, :, top : top + kernels.shape[2], left : left + kernels.shape[3]] = kernels
    return result


def identity_kernel(channels: int, support: Shape, like: Array) -> Array:
    """Return the kernel of the identity, shape (channels, channels, height, width), with the dtype and device of an array."""
    xp = array_namespace(like)
    result = xp.zeros((channels, channels, *support), dtype=like.dtype, device=device(like))
    result[:, :, support[0] // 2, support[1] // 2] = xp.eye(channels, dtype=like.dtype, device=device(like))
    return result


def _window(row: int, column: int, height: int, width: int) -> tuple[slice, ...]:
    """Return the offsets of the product that an entry of the first kernel contributes to, with all entries of the second."""
    rows, columns = height - 1 - row, width - 1 - column
    return slice(None), slice(None), slice(rows, rows + height), slice(columns, columns + width)


def _waves(kernels: Array, shape: Shape) -> Array:
    """Return exp(−i ω·d) for each frequency ω and offset d of a kernel, shape (frequencies, offsets), complex."""
    xp = array_namespace(kernels)
    dtype = xp.complex64 if kernels.dtype == xp.float32 else xp.complex128

    def along(size: int, frequencies: int, taps: int) -> Array:
        frequency, tap = (xp.arange(count, device=device(kernels)) for count in (frequencies, taps))
        turns = (frequency[:, None] * (tap - taps // 2)) % size  # integers, so no digit is lost
        return xp.exp(xp.astype(turns, xp.complex128) * (-2j * pi / size))

    (height, width), (_, columns) = kernels.shape[2:], half(shape)
    rows = along(shape[0], shape[0], height)[:, None, :, None]
    waves = rows * along(shape[1], columns, width)[None, :, None, :]
    return xp.astype(xp.reshape(waves, (-1, height * width)), dtype)
