"""The layers of a configuration: dense layers, and layers of images."""

from collections.abc import Sequence
from dataclasses import fields
from math import prod

from riemannrnn.cli.config import LayerTable
from riemannrnn.models import Layer
from riemannrnn.network.pooling import ImageShape
from riemannrnn.settings import SettingError

OF_IMAGES = ("support", "read_in", "stride", "pool")
"""Keys of a layer that belong to layers with channels."""


def image_of(shape: tuple[int, ...] | None, usual: ImageShape | None, n_inputs: int) -> ImageShape | None:
    """Return height, width and channels of the stimuli, or None if nothing tells them.

    Parameters
    ----------
    shape
        `data.shape`.
    usual
        The shape of bundled data.
    n_inputs
        Length of a stimulus.

    Raises
    ------
    SettingError
        For a shape of another number of sizes than 3, or with another product.
    """
    if shape is None:
        return usual
    if len(shape) != 3 or prod(shape) != n_inputs:
        raise SettingError(
            f"data.shape = {list(shape)} is not the shape of the stimuli, which have {n_inputs} numbers; write their height, "
            f"width and channels, three numbers whose product is {n_inputs}"
        )
    height, width, channels = shape
    return height, width, channels


def layers_of(tables: Sequence[LayerTable], image: ImageShape | None) -> list[Layer]:
    """Return the layers of a stack, each layer of images on top of the image below it.

    Parameters
    ----------
    tables
        The layers of the configuration, from the lowest.
    image
        Height, width and channels of the stimuli; None if they are not images.

    Raises
    ------
    SettingError
        For a layer of images without an image below, or sizes that do not fit. The error names the layer.
    """
    layers: list[Layer] = []
    for number, table in enumerate(tables):
        name = f"network.layers[{number}]"
        if table.channels is None:
            _refuse_keys(table, name)
            layers.append(Layer(table.units, table.activation, skips=table.skips))
            image = None
            continue
        if table.units != LayerTable.units:
            raise SettingError(
                f"{name}.units = {table.units}: a layer with channels has a unit for each position and channel; leave it out"
            )
        if image is None:
            below = "the stimuli have no known shape; write data.shape = [height, width, channels]"
            below = below if number == 0 else f"layer {number - 1} has no channels; give it channels, or leave these out"
            raise SettingError(f"{name}.channels = {table.channels}: a layer of images reads an image, and {below}")
        try:
            layer = Layer.convolution(
                image,
                table.channels,
                table.support,
                read_in=table.read_in,
                stride=table.stride,
                pool=table.pool,
                activation=table.activation,
                skips=table.skips,
            )
        except ValueError as error:
            raise SettingError(f"{name}: {error}") from error
        layers.append(layer)
        image = layer.image
    return layers


def _refuse_keys(table: LayerTable, name: str) -> None:
    defaults = {each.name: each.default for each in fields(LayerTable)}
    for key in OF_IMAGES:
        if getattr(table, key) != defaults[key]:
            raise SettingError(
                f"{name}.{key} = {getattr(table, key)}: it belongs to a layer of images; write its channels, too"
            )
