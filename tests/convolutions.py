"""Convolutions that several tests share, and their dense weights."""

import numpy as np

from riemannrnn.network import Convolution


def dense(connectivity: Convolution, kernels: np.ndarray) -> np.ndarray:
    """Return W, entry by entry from the definition of a circular convolution."""
    (height, width), channels = connectivity.shape, connectivity.channels
    rows, columns = kernels.shape[2:]
    weights = np.zeros((height, width, channels, height, width, channels), kernels.dtype)
    for x, y, a, b in np.ndindex(height, width, rows, columns):
        source = (x - a + rows // 2) % height, (y - b + columns // 2) % width
        weights[x, y, :, source[0], source[1], :] += kernels[:, :, a, b]
    return weights.reshape(connectivity.n_units, connectivity.n_units)


def tied(connectivity: Convolution, gradient: np.ndarray) -> np.ndarray:
    """Return the gradient in the kernels, given the gradient in the dense weights: the adjoint of `dense`."""
    (height, width), channels = connectivity.shape, connectivity.channels
    by_unit = gradient.reshape(height, width, channels, height, width, channels)
    result = np.zeros(connectivity.kernel_shape)
    rows, columns = result.shape[2:]
    for x, y, a, b in np.ndindex(height, width, rows, columns):
        source = (x - a + rows // 2) % height, (y - b + columns // 2) % width
        result[:, :, a, b] += by_unit[x, y, :, source[0], source[1], :]
    return result


CONVOLUTIONS = {
    "even": Convolution(3, (4, 6)),
    "odd": Convolution(3, (5, 3)),
    "one channel": Convolution(1, (5, 4)),
    "wide kernels": Convolution(2, (4, 5), 5),
    "even kernels": Convolution(2, (4, 4), (2, 4)),
    "wrapped kernels": Convolution(2, (3, 2), 5),
    "global kernels": Convolution(2, (4, 3), (4, 3)),
    "a row": Convolution(3, (1, 4)),
}
"""Grids and kernels of every kind."""
