"""The architecture of a network as plain values and arrays, which suffice to make an equal network."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from manifolds.points import map_arrays
from riemannrnn.backend import Namespace, to_backend
from riemannrnn.models.layer import Layer
from riemannrnn.models.model import Model
from riemannrnn.models.rate_network import RateNetwork
from riemannrnn.models.stack import Stack
from riemannrnn.network import (
    ACTIVATIONS,
    Activation,
    Connectivity,
    Convolution,
    ConvolutionalReadIn,
    Dense,
    DenseMap,
    LowRank,
    MeanPooling,
)
from riemannrnn.network.activations import FAMILIES

NETWORKS: dict[str, type[Model]] = {"RateNetwork": RateNetwork, "Stack": Stack}
"""The networks that can be saved, by name."""

CONNECTIVITIES: dict[str, type[Connectivity]] = {each.__name__: each for each in (Dense, LowRank, Convolution)}
"""The connectivities that can be saved, by name. The constructor of each takes its attributes as arguments."""

MAPS: dict[str, type] = {each.__name__: each for each in (DenseMap, ConvolutionalReadIn, MeanPooling)}
"""The read-ins and poolings that files can hold, by name. The constructor of each takes its attributes."""

PROBES = np.linspace(-3.0, 3.0, 7)
"""Inputs at which the values of an activation are saved, to recognise it when it is loaded."""


class ArchitectureError(ValueError):
    """A network cannot be described by plain values, or its description is not understood."""


def register_connectivity(connectivity: type[Connectivity]) -> type[Connectivity]:
    """Allow files to hold networks with a connectivity, under the name of its class; return the class.

    The constructor must take the attributes of an object by their names.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if connectivity.__name__ in CONNECTIVITIES:
        raise ValueError(f"connectivity {connectivity.__name__!r} exists already; give yours another name")
    CONNECTIVITIES[connectivity.__name__] = connectivity
    return connectivity


def described(network: Model) -> dict[str, Any]:
    """Return the architecture of a network as nested plain values and arrays.

    Raises
    ------
    ArchitectureError
        If the network, an activation or a connectivity is not known by name.
    """
    arguments = network.arguments()
    if "layers" in arguments:
        arguments["layers"] = [_plain(vars(each)) for each in arguments["layers"]]
    return {"class": _known("network", type(network), NETWORKS), "arguments": _plain(arguments)}


def network_of(tree: Mapping[str, Any], backend: str | Namespace = "numpy") -> Model:
    """Return the network with the architecture that `described` returned.

    Raises
    ------
    ArchitectureError
        If the network, an activation or a connectivity is unknown here, or differs from the described one.
    BackendError
        If the backend is not available.
    """
    arguments = _objects(tree["arguments"])
    if "layers" in arguments:
        arguments["layers"] = [Layer(**_objects(each)) for each in arguments["layers"]]
    there = partial(to_backend, backend=backend)
    arguments["parameters"] = {name: map_arrays(there, value) for name, value in arguments["parameters"].items()}
    made: Model = _found("network", tree["class"], NETWORKS)(**arguments, backend=backend)
    return made


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a network or a layer as plain values."""
    plain: dict[str, Callable[[Any], Any]] = {
        "activation": _activation,
        **{name: partial(_record, name, table) for name, table in _records().items()},
    }
    return {name: plain[name](value) if name in plain and value is not None else value for name, value in arguments.items()}


def _objects(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments from their plain form, the inverse of `_plain`."""
    made: dict[str, Callable[[Any], Any]] = {
        "activation": _same_activation,
        **{name: partial(_same_record, name, table) for name, table in _records().items()},
    }
    return {name: made[name](value) if name in made and value is not None else value for name, value in arguments.items()}


def _records() -> dict[str, Mapping[str, type]]:
    """Return the tables of the parts of a network or a layer that are classes with plain attributes, by argument."""
    return {"connectivity": CONNECTIVITIES, "read_in": MAPS, "pooling": MAPS}


def _record(what: str, table: Mapping[str, type], part: Any) -> dict[str, Any]:
    return {"class": _known(what, type(part), table), "arguments": dict(vars(part))}


def _same_record(what: str, table: Mapping[str, type], tree: Mapping[str, Any]) -> Any:
    return _found(what, tree["class"], table)(**tree["arguments"])


def _activation(activation: Activation) -> dict[str, Any]:
    known = ACTIVATIONS.get(activation.name)
    if not activation.arguments and activation != known:
        other = "another one is known by that name" if known else "no activation is known by that name"
        raise ArchitectureError(
            f"activation {activation.name!r} is a function of your own, which a file cannot hold: {other}; give it a name with "
            "riemannrnn.register_activation, here and where the model is loaded"
        )
    return {"name": activation.name, "arguments": activation.arguments, "values": activation.function(PROBES)}


def _same_activation(tree: Mapping[str, Any]) -> Activation:
    """Return the named activation, after a check that it has the values of the described one."""
    name, arguments = tree["name"], tree["arguments"]
    if name not in (FAMILIES if arguments else ACTIVATIONS):
        raise ArchitectureError(
            f"the activation {name!r} is not known; register the function that the model was trained with by "
            "riemannrnn.register_activation, before the model is loaded"
        )
    activation = FAMILIES[name](*arguments) if arguments else ACTIVATIONS[name]
    if not np.allclose(activation.function(PROBES), tree["values"], rtol=1e-6, atol=1e-12):
        raise ArchitectureError(
            f"the activation {name!r} is not the function that the model was trained with; register that function "
            "under this name"
        )
    return activation


def _known(what: str, kind: type, table: Mapping[str, type]) -> str:
    """Return the name of a class, after a check that the table contains it."""
    if table.get(kind.__name__) is not kind:
        raise ArchitectureError(
            f"{what} {kind.__name__!r} is a class of your own, which a file cannot hold; use one of {', '.join(table)}"
        )
    return kind.__name__


def _found(what: str, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise ArchitectureError(f"{what} {name!r} is not known here; the known ones are {', '.join(table)}")
    return table[name]
