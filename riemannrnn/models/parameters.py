"""The parameters of a network by their place: the layers and the readout."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from manifolds import Array
from manifolds.points import Point


@dataclass(frozen=True)
class LayerParameters:
    """The parameters of a layer, r = f(W r + V s + b + Σ V_j r_j); also a gradient with respect to them, or their change.

    Attributes
    ----------
    recurrent
        W, in the form of the layer's connectivity.
    inputs
        V, as the read-in of the layer takes it; a dense V has shape (n, units below). None: the source is the drive of the
        units, without a read-in.
    bias
        b, shape (n,), or a number for each channel of an image; None if there is none.
    skips
        V_j, shape (n, units of layer j), by the number of the lower layer.
    """

    recurrent: Point = None
    inputs: Array | None = None
    bias: Array | None = None
    skips: Mapping[int, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkParameters:
    """The parameters of a network; also a gradient or a change, with None for parameters that are not trained.

    Attributes
    ----------
    layers
        The parameters of each layer, from the lowest.
    readout, readout_bias
        C and c of the outputs y = C r + c, shapes (outputs, units) and (outputs,), where the units are means if rates are
        pooled. None: the outputs are the rates, or have no bias.
    """

    layers: tuple[LayerParameters, ...]
    readout: Array | None = None
    readout_bias: Array | None = None


def connections(parameters: LayerParameters, number: int) -> dict[int, Array]:
    """Return V_lj of layer l = `number` by the number j of the lower layer; stimuli have the number −1."""
    direct = {} if parameters.inputs is None else {number - 1: parameters.inputs}
    return {**direct, **parameters.skips}


def layer_number(name: str) -> int:
    """Return the number of the layer that a parameter belongs to, from its name."""
    return int(name.split(".")[1])


def parameter_kind(name: str) -> str:
    """Return the kind of a parameter, of `PARTS`, from its name."""
    if name.startswith("readout"):
        return "readout"
    part = name.split(".")[2]
    return "input" if part == "from" else part
