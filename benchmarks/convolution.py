"""A convolution of an image, a step and a certificate, beside the Fourier transforms and products of one application."""

import statistics
from functools import partial
from typing import Any

import numpy as np
from scipy import fft

from benchmarks.records import Row
from benchmarks.timing import interleaved, ratio
from manifolds import Array, ConvolutionalMonotone
from riemannrnn import solve_fixed_points
from riemannrnn.equilibrium import Implicit
from riemannrnn.network import Convolution
from riemannrnn.runtime import divided_into

SHAPE, STIMULI, BLOCK = (28, 28), 128, 16


def convolution_row(channels: int, repeats: int, dtype: str = "float32", shape: tuple[int, int] = SHAPE) -> Row:
    """Measure on one core: T s of a batch, its lower limit, a step, and the certificate.

    A step consists of the fixed points of a rectifier network at a monotone point, the adjoints, and the gradient with respect
    to the point. The lower limit is the time of the Fourier transforms of the batch, there and back, and one product at each
    frequency.
    """
    manifold = ConvolutionalMonotone(channels, seed=0, like=np.empty(0, dtype))
    point = manifold.random_point()
    connectivity = Convolution(channels, shape, 5)
    kernels = manifold.weights(point)
    operator = connectivity.bind(kernels)
    rows = np.random.default_rng(0).standard_normal((STIMULI, connectivity.n_units)).astype(dtype)
    runs = {
        "apply": partial(operator.apply, rows),
        "limit": partial(limit, rows.reshape(STIMULI, *shape, channels), operator.symbol),
        "bind": partial(connectivity.bind, kernels),
        "step": partial(step, manifold, point, connectivity, rows),
        "certificate": partial(manifold.certificate, point, shape),
    }
    with divided_into(1):
        times = interleaved(runs, repeats, {"step": min(repeats, 3)})
    milliseconds = {name: 1e3 * statistics.median(each) for name, each in times.items()}
    setting = {"channels": channels, "height": shape[0], "width": shape[1], "stimuli": STIMULI, "dtype": dtype}
    return setting | milliseconds | {"apply_over_limit": ratio(times["apply"], times["limit"])}


def limit(images: Array, symbol: Array) -> None:
    """Do only the Fourier transforms and the products of an application, in blocks that stay in cache."""
    for start in range(0, len(images), BLOCK):
        transforms = fft.rfftn(images[start : start + BLOCK], axes=(1, 2))
        products = np.empty_like(transforms)
        np.matmul(transforms.transpose(1, 2, 0, 3), symbol, out=products.transpose(1, 2, 0, 3))
        fft.irfftn(products, s=images.shape[1:3], axes=(1, 2), overwrite_x=True)


def step(manifold: ConvolutionalMonotone, point: Any, connectivity: Convolution, drive: Array) -> Any:
    """Return the gradient of half the sum of squared rates with respect to the point, at a tolerance of 1e-3."""
    kernels = manifold.weights(point)
    found = solve_fixed_points(kernels, drive, "relu", connectivity=connectivity, solver="splitting", tolerance=1e-3)
    implicit = Implicit(found, solver="splitting", tolerance=1e-2)
    return manifold.pull_back(point, implicit.gradient(implicit.adjoint(found.rates)))
