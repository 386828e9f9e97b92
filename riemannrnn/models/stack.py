"""Stacks of recurrent layers. Any kind of parameters may be trained: recurrent weights, read-ins, biases, readout."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import inf, prod
from typing import Any, final
from zlib import crc32

import numpy as np

from manifolds import Array
from manifolds.arrays import to_numpy
from manifolds.points import Point, Schema, arrays_of, map_arrays
from riemannrnn.backend import Namespace, as_array, check_backend, namespace, to_backend
from riemannrnn.models.layer import Layer
from riemannrnn.models.model import PARTS, Model, own_time_constants
from riemannrnn.models.parameters import LayerParameters, NetworkParameters, layer_number, parameter_kind
from riemannrnn.models.signs import check_signs, inhibitory_units, own_signs, with_signs
from riemannrnn.network import Activation, Dense, LinearMap, PooledMap
from riemannrnn.network.activations import as_activation
from riemannrnn.network.linear_map import DENSE

SCALE_OF_BIAS = 1 / 3
"""Scale of a bias in a convolutional stack, chosen by accuracy on MNIST."""


@final
class Stack(Model):
    """Recurrent layers on top of each other: r_l = f(W_l r_l + V_l r_{l−1} + b_l), r_0 = s, with outputs C r_L + c.

    The trained parameters are passed to its methods, by name. "layers.0.recurrent" is W of the lowest layer,
    "layers.0.input" its read-in V, "layers.0.bias" its bias b, and "layers.2.from.0" the skip connection from layer 0 to
    layer 2. "readout" is C, and "readout_bias" is c. A layer of images has kernels as W and V, and a bias for each channel.
    Where it pools its rates, the layers above and the readout read the means. Each layer is solved for the rates of the layers
    below that are returned.
    A stack of stable layers is stable for any read-ins.

    Parameters
    ----------
    layers
        The layers, from the lowest; a number n stands for `Layer(n)`. `Layer.convolution` makes a layer of
        images.
    n_inputs
        Length of a stimulus s. None: stimuli drive the units of the lowest layer directly.
    n_outputs
        Number of outputs. None: the rates of the highest layer are the outputs.
    activation
        f of the layers without their own activation.
    seed
        Seed of all parameters, each with a separate random stream.
    dtype, backend
        As for `RateNetwork`.
    trained
        The kinds of parameters that are trained: "recurrent", "input" (read-ins and skip connections), "bias" and "readout"
        (with its bias). Default: all. ("recurrent",) is the setting of the paper.
    parameters
        Parameters by name to use instead of random ones: the fixed ones, and the start of the trained ones.

    Raises
    ------
    ValueError
        Without layers, for an unknown kind or name, a skip from a layer that is not further below, parameters of another
        shape, or signs that do not fit. From the methods, for weights that do not have the signs of their units.

    Examples
    --------
    >>> import numpy as np
    >>> from riemannrnn import CrossEntropy, FixedPointCost, Layer, Stack
    >>> stack = Stack([Layer(20), Layer(10)], n_inputs=4, n_outputs=2, seed=0)
    >>> P = stack.initial_parameters()
    >>> sorted(P)[:3]
    ['layers.0.bias', 'layers.0.input', 'layers.0.recurrent']
    >>> cost = FixedPointCost(stack, np.eye(4), CrossEntropy(np.array([0, 1, 0, 1])))
    >>> cost.gradient(P)["layers.1.input"].shape
    (10, 20)
    """

    def __init__(
        self,
        layers: Sequence[Layer | int],
        n_inputs: int | None = None,
        n_outputs: int | None = None,
        activation: str | Activation | Callable[[Array], Array] = "tanh",
        seed: int | None = None,
        dtype: Any = np.float64,
        backend: str | Namespace = "numpy",
        trained: Sequence[str] = PARTS,
        parameters: Mapping[str, Array] | None = None,
    ) -> None:
        self.layers = tuple(each if isinstance(each, Layer) else Layer(int(each)) for each in layers)
        if not self.layers:
            raise ValueError("a stack needs at least one layer; pass for instance [Layer(100)]")
        for name, size in (("n_inputs", n_inputs), ("n_outputs", n_outputs)):
            if size is not None and size < 1:
                raise ValueError(f"{name} = {size} is below 1; a network needs at least one")
        self._n_inputs, self._n_outputs = n_inputs, n_outputs
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype = {self.dtype} is not supported; choose float32 or float64")
        self.namespace = namespace(backend)
        self.activations = tuple(as_activation(each.activation or activation) for each in self.layers)
        self.time_constants = tuple(
            own_time_constants(each.time_constants, each.n_units, self.namespace) for each in self.layers
        )
        self.connectivities = tuple(each.connectivity or Dense() for each in self.layers)
        pooling = self.layers[-1].pooling
        if n_outputs is None and pooling is not None and pooling.window != (1, 1):
            raise ValueError("the highest layer pools its rates, but no readout reads the means; pass n_outputs")
        self.signs = tuple(
            own_signs(each.signs, each.inhibitory, each.n_units, connectivity, self.dtype, self.namespace)
            for each, connectivity in zip(self.layers, self.connectivities, strict=True)
        )
        self.trained = _kinds(trained)
        self._entropy = np.random.SeedSequence(seed).entropy
        shapes = self._shapes()
        self._given = {name: self._checked(name, value, shapes) for name, value in (parameters or {}).items()}
        fixed = [name for name in shapes if parameter_kind(name) not in self.trained]
        needed = [name for name in fixed if name in self._given or "bias" not in name]
        self.fixed = {name: self._initial(name, 0.5) for name in needed}
        named = {name: self._initial(name, 0.0) for name in shapes if parameter_kind(name) in self.trained}
        self.schema = Schema({name: len(arrays_of(value)) for name, value in named.items()})
        if not named:
            raise ValueError(f"trained = {self.trained!r} trains nothing: the stack has no such parameters; add 'recurrent'")
        self._arrays = {name: map_arrays(lambda array: tuple(array.shape), value) for name, value in named.items()}

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {
            "layers": " → ".join(str(each.n_units) for each in self.layers),
            "inputs": self._n_inputs or self.units[0],
            "outputs": self.n_outputs,
            "activation": ", ".join(dict.fromkeys(each.name for each in self.activations)),
            **inhibitory_units(self.signs),
            "trained": ", ".join(self.trained),
            "dtype": self.dtype,
            "backend": self.namespace.__name__.rpartition(".")[2],
        }

    def arguments(self) -> dict[str, Any]:
        parts = zip(self.layers, self.activations, self.connectivities, self.time_constants, self.signs, strict=True)
        made = (
            replace(each, activation=f, connectivity=how, time_constants=tau, signs=signs, inhibitory=None)
            for each, f, how, tau, signs in parts
        )
        return {
            "layers": list(made),
            "n_inputs": self._n_inputs,
            "n_outputs": self._n_outputs,
            "seed": self._entropy,
            "dtype": str(self.dtype),
            "trained": self.trained,
            "parameters": {**self._given, **self.fixed},
        }

    @cached_property
    def units(self) -> tuple[int, ...]:
        return tuple(each.n_units for each in self.layers)

    @property
    def n_outputs(self) -> int:
        return self.units[-1] if self._n_outputs is None else self._n_outputs

    @property
    def convolutional(self) -> bool:
        """Whether a layer has kernels in the place of a matrix, as recurrent weights or as a read-in."""
        kernels = (len(shape) > 2 and isinstance(shape[0], int) for shape in self._arrays.values())
        return any(each.read_in is not None for each in self.layers) or any(kernels)

    @property
    def one_matrix(self) -> bool:
        return super().one_matrix and not self.convolutional

    def read_in(self, number: int, source: int) -> LinearMap:
        own = self.layers[number].read_in if source == number - 1 else None
        return self._pooled(source, own or DENSE)

    @property
    def reader(self) -> LinearMap:
        return self._pooled(len(self.layers) - 1, DENSE)

    def scale(self, name: str) -> float:
        """Return 1, or in a convolutional stack 1/√k for a parameter by which an output reads k inputs.

        Steps of an optimiser such as Adam then change all drives by about as much. A bias, whose changes are the same at all
        positions, has the scale 1/3.
        """
        if not self.convolutional or parameter_kind(name) == "recurrent":
            return 1.0
        return SCALE_OF_BIAS if "bias" in name else prod(self._arrays[name][1:]) ** -0.5

    @property
    def recurrent(self) -> tuple[str, ...]:
        return tuple(name for name in self.schema if parameter_kind(name) == "recurrent")

    def initial_parameters(self, radius: float = 0.5) -> dict[str, Point]:
        """Return the trained parameters at the start, by name; the same in every call.

        Recurrent weights have a spectral radius of about `radius`. Read-ins and readout have normal entries with a variance of
        one over the number of sources of an output. Biases are zero.

        Raises
        ------
        ValueError
            For a radius that is negative or not finite.
        """
        if not 0 <= radius < inf:
            raise ValueError(f"radius = {radius} is not a spectral radius; choose a number from 0 on")
        return {name: self._initial(name, radius) for name in self.schema}

    def prepare(self, stimuli: Array) -> Array:
        """Return the stimuli after checks; if the read-in of the lowest layer is fixed, return its drive V s + b."""
        stimuli = as_array("stimuli", stimuli, self.dtype, self.namespace)
        check_backend("stimuli", stimuli, self.namespace)
        width = self._n_inputs or self.units[0]
        if stimuli.ndim != 2 or stimuli.shape[1] != width:
            raise ValueError(f"the stimuli have shape {tuple(stimuli.shape)}; this network takes (batch, {width})")
        read_in = self.fixed.get("layers.0.input")
        return stimuli if read_in is None else self.read_in(0, -1).apply(read_in, stimuli)

    def flat(self, parameters: Point) -> Point:
        if isinstance(parameters, Mapping):
            flat = self.schema.flat(parameters)
            parameters = map_arrays(lambda array: as_array("parameters", array, self.dtype, self.namespace), flat)
        self._check_shapes(parameters)
        return parameters

    def named(self, parameters: Point) -> dict[str, Point]:
        return self.schema.named(parameters)

    def bind(self, parameters: Point) -> NetworkParameters:
        named = {**self.fixed, **self.schema.named(parameters)}
        if "layers.0.input" in self.fixed:
            named = {name: value for name, value in named.items() if name != "layers.0.input"}  # `prepare` has applied it
        return self._placed(named)

    def direction(self, vector: Point) -> NetworkParameters:
        return self._placed(self.schema.named(vector))

    def collect(self, gradient: NetworkParameters) -> Point:
        named: dict[str, Point] = {"readout": gradient.readout, "readout_bias": gradient.readout_bias}
        for number, layer in enumerate(gradient.layers):
            name = f"layers.{number}"
            named |= {f"{name}.recurrent": layer.recurrent, f"{name}.input": layer.inputs, f"{name}.bias": layer.bias}
            named |= {f"{name}.from.{below}": weights for below, weights in layer.skips.items()}
        return self.schema.flat({name: named[name] for name in self.schema})

    def _check_shapes(self, parameters: Point) -> None:
        """Check that flat parameters have the shapes of this stack; an error names the first that does not fit."""
        found = arrays_of(parameters)
        if len(found) != len(self.schema):
            raise ValueError(
                f"the stack has {len(self.schema)} arrays, and {len(found)} were passed; pass {', '.join(self.schema)}"
            )
        for array in found:
            check_backend("parameters", array, self.namespace)
        for name, value in self.schema.named(parameters).items():
            shape = map_arrays(lambda array: tuple(array.shape), value)
            if shape != self._arrays[name]:
                raise ValueError(f"the parameter {name!r} has shape {shape}, but {self._arrays[name]} was expected")

    def _pooled(self, source: int, read: LinearMap) -> LinearMap:
        """Return a map of the rates of a layer, or of the means of its pooling."""
        pooling = self.layers[source].pooling if source >= 0 else None
        return read if pooling is None else PooledMap(pooling, read)

    def _placed(self, named: Mapping[str, Point]) -> NetworkParameters:
        def layer(number: int) -> LayerParameters:
            name = f"layers.{number}"
            skips = {below: named.get(f"{name}.from.{below}") for below in self.layers[number].skips}
            present = {below: weights for below, weights in skips.items() if weights is not None}
            return LayerParameters(
                named.get(f"{name}.recurrent"), named.get(f"{name}.input"), named.get(f"{name}.bias"), present
            )

        return NetworkParameters(tuple(map(layer, range(len(self.layers)))), named.get("readout"), named.get("readout_bias"))

    def _shapes(self) -> dict[str, tuple[int, ...] | None]:
        """Return the shape of every parameter by name, None for the parameters of a connectivity."""
        shapes: dict[str, tuple[int, ...] | None] = {}
        for number, layer in enumerate(self.layers):
            name, n = f"layers.{number}", layer.n_units
            shapes[f"{name}.recurrent"] = None
            source = self._n_inputs if number == 0 else self.layers[number - 1].n_units
            if source is not None:
                shapes[f"{name}.input"] = self._shape_of(number, number - 1, n, source)
            for below in layer.skips:
                if not 0 <= below < number - 1:
                    raise ValueError(
                        f"layer {number} has a skip connection from layer {below}; a skip comes from one of the layers "
                        f"0 to {number - 2}"
                        if number > 1
                        else f"layer {number} has no layer to skip from"
                    )
                shapes[f"{name}.from.{below}"] = self.read_in(number, below).parameter_shape(n, self.layers[below].n_units)
            shapes[f"{name}.bias"] = (self.read_in(number, number - 1).n_biases(n),)
        if self._n_outputs is not None:
            readout = self.reader.parameter_shape(self._n_outputs, self.layers[-1].n_units)
            shapes |= {"readout": readout, "readout_bias": (self._n_outputs,)}
        return shapes

    def _shape_of(self, number: int, below: int, n: int, source: int) -> tuple[int, ...]:
        try:
            return self.read_in(number, below).parameter_shape(n, source)
        except ValueError as error:
            raise ValueError(f"layer {number}: {error}") from error

    def _checked(self, name: str, value: Any, shapes: Mapping[str, tuple[int, ...] | None]) -> Point:
        if name not in shapes:
            raise ValueError(f"the parameter {name!r} is unknown; the parameters are {', '.join(shapes)}")
        value = map_arrays(lambda array: as_array("parameters", array, self.dtype, self.namespace), value)
        wanted = shapes[name]
        if wanted is None:
            self.connectivities[layer_number(name)].check(value, self.layers[layer_number(name)].n_units)
            check_signs(value, self.signs[layer_number(name)])
        elif tuple(value.shape) != wanted:
            raise ValueError(f"the parameter {name!r} has shape {tuple(value.shape)}, but {wanted} was expected")
        return value

    def _initial(self, name: str, radius: float) -> Point:
        """Return the start of a parameter. NumPy draws it for every backend, so a seed means the same everywhere."""
        if name in self._given:
            return self._given[name]
        generator = np.random.default_rng(np.random.SeedSequence(self._entropy, spawn_key=(crc32(name.encode()),)))
        shape = self._shapes()[name]
        if shape is None:
            number = layer_number(name)
            sample = self.connectivities[number].initial(self.layers[number].n_units, radius, generator)
            signs = self.signs[number]
            sample = sample if signs is None else with_signs(sample, to_numpy(signs), radius)
        elif "bias" in name:
            sample = np.zeros(shape)
        else:
            sample = generator.standard_normal(shape) / prod(shape[1:]) ** 0.5
        return map_arrays(lambda array: to_backend(array.astype(self.dtype), self.namespace), sample)


def _kinds(trained: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds that are trained, in the order of `PARTS`."""
    unknown = [kind for kind in trained if kind not in PARTS]
    if isinstance(trained, str) or unknown or not trained:
        raise ValueError(f"trained = {trained!r} must be a sequence of some of {', '.join(PARTS)}")
    return tuple(kind for kind in PARTS if kind in trained)
