"""A recurrent layer of a stack: how many units, how they are connected, and how they read what is below."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from manifolds import Array
from manifolds.kernels import Shape
from riemannrnn.network import Activation, Connectivity, Convolution, ConvolutionalReadIn, LinearMap, MeanPooling
from riemannrnn.network.pooling import ImageShape


@dataclass(frozen=True)
class Layer:
    """A recurrent layer of a `Stack`, r = f(W r + V s + b + Σ V_j r_j), where s is the rates of the layer below.

    Parameters
    ----------
    n_units
        Number of units.
    activation
        f: a name, an `Activation`, or a function written with `autograd.numpy`. Default: the activation of the stack.
    connectivity
        How parameters act as W. Default: they are W.
    skips
        The numbers j of layers further below that also drive this layer. The lowest layer has number 0.
    time_constants
        τ > 0 of each unit, shape (n_units,); stability depends on it. Default: all are 1.
    read_in
        How parameters act as V. Default: they are V.
    pooling
        The means that the layers above and the outputs read in the place of the rates. Default: they read the rates.
    signs, inhibitory
        Dale's law, as for `RateNetwork`.

    Raises
    ------
    ValueError
        For a number of units below 1.
    """

    n_units: int
    activation: str | Activation | Callable[[Array], Array] | None = None
    connectivity: Connectivity | None = None
    skips: tuple[int, ...] = ()
    time_constants: Array | None = field(default=None, compare=False)
    read_in: LinearMap | None = None
    pooling: MeanPooling | None = None
    signs: Array | None = field(default=None, compare=False)
    inhibitory: float | None = None

    def __post_init__(self) -> None:
        if self.n_units < 1:
            raise ValueError(f"n_units = {self.n_units} is below 1; a layer needs at least one unit")

    @classmethod
    def convolution(
        cls,
        image: ImageShape,
        channels: int,
        support: int | Shape = 5,
        *,
        read_in: int = 3,
        stride: int = 1,
        padding: int | None = None,
        pool: int | Shape = 1,
        activation: str | Activation | Callable[[Array], Array] | None = None,
        skips: tuple[int, ...] = (),
    ) -> Self:
        """Return a layer of images: recurrent weights, read-in and bias are the same at every position.

        `image` is what the next layer reads.

        Parameters
        ----------
        image
            Height, width and channels of what the layer reads.
        channels, support
            Of the recurrent weights: see `Convolution`.
        read_in, stride, padding
            Of the kernels of the read-in: see `ConvolutionalReadIn`.
        pool
            Height and width of the windows whose means are read above, or one number for both. 1: the rates are read.
        activation, skips
            As for `Layer`.

        Raises
        ------
        ValueError
            For sizes that do not fit the image.

        Examples
        --------
        >>> from riemannrnn import Layer
        >>> first = Layer.convolution((28, 28, 1), channels=16, pool=2)
        >>> first.n_units, first.image
        (12544, (14, 14, 16))
        >>> Layer.convolution(first.image, channels=32, stride=2).image
        (7, 7, 32)
        """
        read = ConvolutionalReadIn(image, channels, read_in, stride, padding)
        connectivity = Convolution(channels, read.shape[:2], support)
        pooling = MeanPooling(read.shape, pool)
        return cls(connectivity.n_units, activation, connectivity, skips, read_in=read, pooling=pooling)

    @property
    def image(self) -> ImageShape | None:
        """Height, width and channels of the means that are read above; None without pooling."""
        return None if self.pooling is None else self.pooling.shape
