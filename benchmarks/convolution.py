"""A convolution of images, a step and a certificate, beside the Fourier transforms and products, and torch's convolution."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np
from scipy import fft
from scipy.optimize import nnls

from benchmarks.records import Row
from benchmarks.timing import interleaved, ratio
from manifolds import Array, ConvolutionalMonotone
from riemannrnn import solve_fixed_points
from riemannrnn.equilibrium import Implicit
from riemannrnn.network import Convolution
from riemannrnn.runtime import one_core

SHAPE, STIMULI, BLOCK, SUPPORT = (28, 28), 128, 16, 5
"""The usual grid and batch; images whose transforms stay in cache; and height and width of the kernels."""

SHAPES, CHANNELS = ((28, 28), (14, 14), (56, 56)), (16, 32, 54)

Work = Callable[[], Any]


def convolution_row(channels: int, repeats: int, dtype: str = "float32", shape: tuple[int, int] = SHAPE) -> Row:
    """Measure the processor time of T s of a batch, its lower limit, torch's convolution, a step, and the certificate.

    A step is fixed points of a rectifier at a monotone point, the adjoint, and the gradient in the point. The limit is what the
    Fourier transforms of the batch, there and back, and one product at each frequency take. All have one thread. A batch has
    as many positions on every grid.
    """
    manifold = ConvolutionalMonotone(channels, seed=0, like=np.empty(0, dtype))
    point = manifold.random_point()
    connectivity = Convolution(channels, shape, SUPPORT)
    kernels = manifold.weights(point)
    operator = connectivity.bind(kernels)
    stimuli = max(1, STIMULI * prod(SHAPE) // prod(shape))
    rows = np.random.default_rng(0).standard_normal((stimuli, connectivity.n_units)).astype(dtype)
    runs: dict[str, Work] = {
        "apply": partial(operator.apply, rows),
        "limit": partial(limit, rows.reshape(stimuli, *shape, channels), operator.symbol),
        "bind": partial(connectivity.bind, kernels),
        "step": partial(step, manifold, point, connectivity, rows),
        "certificate": partial(manifold.certificate, point, shape),
    }
    if find_spec("torch"):
        runs |= {f"torch {name}": run for name, run in torch_runs(kernels, rows, shape).items()}
    with one_core():
        times = interleaved(runs, repeats, {"step": min(repeats, 3)}, time.process_time)
    milliseconds = {name: 1e3 * statistics.median(each) for name, each in times.items()}
    layouts = [name for name in times if name.startswith("torch")]
    row = {"channels": channels, "height": shape[0], "width": shape[1], "stimuli": stimuli, "dtype": dtype}
    row |= {name: each for name, each in milliseconds.items() if name not in layouts}
    row["apply_over_limit"] = ratio(times["apply"], times["limit"])
    if layouts:
        fastest = min(layouts, key=milliseconds.__getitem__)
        row |= {"torch": milliseconds[fastest], "torch_over_apply": ratio(times[fastest], times["apply"])}
    return row


def torch_runs(kernels: Array, rows: Array, shape: tuple[int, int]) -> dict[str, Callable[[], Array]]:
    """Return the same convolution by torch on one thread, for each order of its arrays; each returns images (batch, C, H, W).

    Torch correlates, so that it is given the reflected kernels.
    """
    import torch

    torch.set_num_threads(1)
    weights = torch.from_numpy(np.ascontiguousarray(kernels[:, :, ::-1, ::-1]))
    images = torch.from_numpy(rows.reshape(len(rows), *shape, -1)).permute(0, 3, 1, 2)
    border = [kernels.shape[-1] // 2] * 2 + [kernels.shape[-2] // 2] * 2

    def convolve(images: Any, weights: Any) -> Array:
        with torch.no_grad():
            wrapped = torch.nn.functional.pad(images, border, mode="circular")
            return torch.nn.functional.conv2d(wrapped, weights).numpy()

    orders = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
    return {
        name: partial(convolve, images.contiguous(memory_format=order), weights.contiguous(memory_format=order))
        for name, order in orders.items()
    }


def growth(rows: list[Row]) -> tuple[float, float, float]:
    """Return a and b of the time a H W log₂(H W) C + b H W C² of an application to a stimulus, and the largest misfit.

    The squares of the relative misfits are the least, with a and b not negative.

    Returns
    -------
    a, b
        In nanoseconds.
    misfit
        Largest relative deviation of a time.
    """
    positions, channels = (np.array(each, float) for each in zip(*((_positions(row), row["channels"]) for row in rows)))
    times = np.array([1e6 * row["apply"] / row["stimuli"] for row in rows])
    terms = np.stack([positions * np.log2(positions) * channels, positions * channels**2], axis=1) / times[:, None]
    factors, _ = nnls(terms, np.ones(len(rows)))
    return float(factors[0]), float(factors[1]), float(np.abs(terms @ factors - 1).max())


def _positions(row: Row) -> int:
    return int(row["height"] * row["width"])


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
