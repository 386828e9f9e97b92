"""Pooling: the means of windows of an image."""

from dataclasses import dataclass
from math import prod
from typing import final

from manifolds import Array
from riemannrnn.backend import namespace_of

ImageShape = tuple[int, int, int]
"""Height, width and channels. Images are rows of H W C numbers, the channels of a position next to each other."""


@final
@dataclass(frozen=True)
class MeanPooling:
    """The means over windows of size × size positions, channel by channel: a linear map before a readout.

    Parameters
    ----------
    image
        Height, width and channels of the rates.
    size
        Height and width of a window, or one number for both. They divide the height and width of the image.

    Raises
    ------
    ValueError
        For a size that does not divide the image.
    """

    image: ImageShape
    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", tuple(self.image))
        height, width = self.window
        if min(height, width) < 1 or self.image[0] % height or self.image[1] % width:
            raise ValueError(f"windows of {height} × {width} do not divide an image of {self.image}; choose sizes that do")

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of a window."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def shape(self) -> ImageShape:
        """Height, width and channels of the means."""
        return self.image[0] // self.window[0], self.image[1] // self.window[1], self.image[2]

    def apply(self, rows: Array) -> Array:
        """Return the means, shape (batch, H W C) to (batch, H′ W′ C)."""
        if self.window == (1, 1):
            return rows
        xp, (height, width, channels) = namespace_of(rows), self.shape
        windows = xp.reshape(rows, (rows.shape[0], height, self.window[0], width, self.window[1], channels))
        return xp.reshape(xp.mean(windows, axis=(2, 4)), (rows.shape[0], height * width * channels))

    def transpose(self, covectors: Array) -> Array:
        """Return the transposed map of each row, shape (batch, H′ W′ C) to (batch, H W C)."""
        if self.window == (1, 1):
            return covectors
        xp, (height, width, channels) = namespace_of(covectors), self.shape
        spread = xp.reshape(covectors / prod(self.window), (covectors.shape[0], height, 1, width, 1, channels))
        spread = xp.broadcast_to(spread, (covectors.shape[0], height, self.window[0], width, self.window[1], channels))
        return xp.reshape(spread, (covectors.shape[0], prod(spread.shape[1:])))
