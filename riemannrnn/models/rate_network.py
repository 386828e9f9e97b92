"""A recurrent network of rate units with a fixed read-in and readout; its recurrent weights are trained."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from manifolds import Array
from manifolds.arrays import to_numpy
from manifolds.points import Point, arrays_of, map_arrays
from riemannrnn.backend import Namespace, as_array, check_backend, namespace, to_backend
from riemannrnn.equilibrium.fixed_points import FixedPoints, solve_fixed_points
from riemannrnn.models.model import Model, own_time_constants
from riemannrnn.models.parameters import LayerParameters, NetworkParameters
from riemannrnn.models.signs import check_signs, inhibitory_units, own_signs, with_signs
from riemannrnn.network.activations import Activation, as_activation
from riemannrnn.network.connectivity import Connectivity
from riemannrnn.network.dense import Dense
from riemannrnn.runtime import product

RECURRENT = "layers.0.recurrent"
"""The name of the parameters of W."""

READ_IN, READOUT = "layers.0.input", "readout"
"""The names of the fixed parameters, W_in and W_out."""


class RateNetwork(Model):
    """τ ṙ = −r + f(W r + W_in s) with outputs W_out r; W is not part of the network but passed to its methods.

    Parameters
    ----------
    n_units
        Number n of recurrent units.
    n_inputs
        Length of a stimulus s. None: stimuli drive the units directly, one number for each unit.
    n_outputs
        Number of outputs. None: the rates are the outputs.
    activation
        f: a name, an `Activation`, or a function written with `autograd.numpy`.
    seed
        Seed of the read-in, the readout and the initial weights; each has a separate random stream.
    dtype
        Dtype of all weights.
    backend
        Library and device of the weights and of all computations: "numpy"; "cupy", on a GPU; or a namespace of the array API.
        The random numbers are the same on all. Stimuli and labels must be on the same backend; move them once with
        `to_backend` or `Dataset.to`.
    connectivity
        How parameters act as the recurrent weights W. Default: they are W; with `LowRank(k)` they are its factors.
    time_constants
        τ > 0 of each unit, shape (n_units,), in any unit of time. Fixed points do not depend on τ, but their stability does.
        Default: all are 1.
    parameters
        Read-in and readout to use instead of random ones, as "layers.0.input" and "readout".
    signs
        Dale's law: 1 for each excitatory unit and −1 for each inhibitory unit, shape (n_units,). The weights from unit j,
        column j of W, have the sign of the unit. Training on the manifold "dale" keeps it. Default: any signs.
    inhibitory
        In place of `signs` the share of inhibitory units, which are the last ones.

    Raises
    ------
    ValueError
        For a size below one, a dtype other than float32 and float64, an unknown activation, time constants that are not
        one positive number for each unit, parameters with another name or shape, or signs that do not fit. From the methods,
        for weights that do not have the signs of their units.
    BackendError
        For a backend that is not available; from the methods, for arrays of another backend.

    Attributes
    ----------
    namespace
        The array functions of the backend.
    input_weights
        W_in, shape (n_units, n_inputs), entries of variance 1/n_inputs; None if stimuli drive the units directly.
    readout
        W_out, shape (n_outputs, n_units), entries of variance 1/n_units; None if the rates are the outputs.

    Examples
    --------
    >>> net = RateNetwork(n_units=20, n_inputs=5, n_outputs=3, seed=0)
    >>> W = net.initial_weights(radius=0.5)
    >>> fixed_points = net.fixed_points(W, np.ones((4, 5)))
    >>> fixed_points.rates.shape, bool(fixed_points.converged.all()), bool((fixed_points.stability() < 0).all())
    ((4, 20), True, True)
    """

    def __init__(
        self,
        n_units: int,
        n_inputs: int | None = None,
        n_outputs: int | None = None,
        activation: str | Activation | Callable[[Array], Array] = "tanh",
        seed: int | None = None,
        dtype: Any = np.float64,
        backend: str | Namespace = "numpy",
        connectivity: Connectivity | None = None,
        time_constants: Array | None = None,
        parameters: Mapping[str, Array] | None = None,
        signs: Array | None = None,
        inhibitory: float | None = None,
    ) -> None:
        for name, size in (("n_units", n_units), ("n_inputs", n_inputs), ("n_outputs", n_outputs)):
            if size is not None and size < 1:
                raise ValueError(f"{name} = {size} is not positive; a network needs at least one")
        self.n_units = n_units
        self.namespace = namespace(backend)
        self.activation = as_activation(activation)
        self.connectivity: Connectivity = connectivity or Dense()
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype = {self.dtype} is not supported; choose float32 or float64")
        self.time_constants = (own_time_constants(time_constants, n_units, self.namespace),)
        self.signs = (own_signs(signs, inhibitory, n_units, self.connectivity, self.dtype, self.namespace),)
        input_stream, readout_stream, self._weight_stream = np.random.SeedSequence(seed).spawn(3)
        self.input_weights: Array | None = None if n_inputs is None else self._normal(input_stream, n_units, n_inputs)
        self.readout: Array | None = None if n_outputs is None else self._normal(readout_stream, n_outputs, n_units)
        given = {name: self._checked(name, value) for name, value in (parameters or {}).items()}
        self.input_weights, self.readout = given.get(READ_IN, self.input_weights), given.get(READOUT, self.readout)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {
            "units": self.n_units,
            "inputs": self.n_units if self.input_weights is None else self.input_weights.shape[1],
            "outputs": self.n_outputs,
            "activation": self.activation.name,
            "connectivity": repr(self.connectivity),
            **inhibitory_units(self.signs),
            "dtype": self.dtype,
            "backend": self.namespace.__name__.rpartition(".")[2],
        }

    trained = ("recurrent",)

    @property
    def activations(self) -> tuple[Activation, ...]:  # type: ignore[override]  # read-only, so that it is stored once
        return (self.activation,)

    @property
    def connectivities(self) -> tuple[Connectivity, ...]:  # type: ignore[override]
        return (self.connectivity,)

    @property
    def fixed(self) -> dict[str, Array]:  # type: ignore[override]
        named = {READ_IN: self.input_weights, READOUT: self.readout}
        return {name: value for name, value in named.items() if value is not None}

    def arguments(self) -> dict[str, Any]:
        return {
            "n_units": self.n_units,
            "n_inputs": None if self.input_weights is None else int(self.input_weights.shape[1]),
            "n_outputs": None if self.readout is None else int(self.readout.shape[0]),
            "activation": self.activation,
            "seed": self._weight_stream.entropy,
            "dtype": str(self.dtype),
            "connectivity": self.connectivity,
            "time_constants": self.time_constants[0],
            "signs": self.signs[0],
            "parameters": self.fixed,
        }

    @property
    def units(self) -> tuple[int, ...]:
        return (self.n_units,)

    @property
    def recurrent(self) -> tuple[str, ...]:
        return (RECURRENT,)

    def flat(self, parameters: Point) -> Point:
        parameters = parameters[RECURRENT] if isinstance(parameters, Mapping) else parameters
        parameters = map_arrays(lambda each: as_array("weights", each, self.dtype, self.namespace), parameters)
        for array in arrays_of(parameters):
            check_backend("weights", array, self.namespace)
        return parameters

    def named(self, parameters: Point) -> dict[str, Point]:
        return {RECURRENT: parameters}

    def prepare(self, stimuli: Array) -> Array:
        """Return `drive`: the read-in is fixed, so the drive depends only on the stimuli."""
        return self.drive(stimuli)

    def bind(self, parameters: Point) -> NetworkParameters:
        return NetworkParameters((LayerParameters(parameters),), self.readout)

    def direction(self, vector: Point) -> NetworkParameters:
        return NetworkParameters((LayerParameters(vector),))

    def collect(self, gradient: NetworkParameters) -> Point:
        return gradient.layers[0].recurrent

    def initial_weights(self, radius: float = 0.5) -> Point:
        """Return random recurrent weights of spectral radius about `radius`, the same in every call.

        They have shape (n, n), or are the parameters of the connectivity. With signs, excitation and inhibition cancel on
        average.

        Raises
        ------
        ValueError
            For a radius that is negative or not finite.
        """
        if not 0 <= radius < inf:
            raise ValueError(f"radius = {radius} is not a spectral radius; choose a number from 0 on")
        sample = self.connectivity.initial(self.n_units, radius, np.random.default_rng(self._weight_stream))
        signs = self.signs[0]
        return map_arrays(self._here, sample if signs is None else with_signs(sample, to_numpy(signs), radius))

    def drive(self, stimuli: Array) -> Array:
        """Return the external drive x = W_in s of each unit, shape (batch, n), for stimuli of shape (batch, n_inputs).

        Stimuli may be an array, a list, or a table with `to_numpy`; integers and lists take the dtype of the network.

        Raises
        ------
        ValueError
            For stimuli of another shape, a masked array, or values that are not numbers.
        BackendError
            For stimuli of another backend.
        """
        stimuli = as_array("stimuli", stimuli, self.dtype, self.namespace)
        check_backend("stimuli", stimuli, self.namespace)
        width = self.n_units if self.input_weights is None else self.input_weights.shape[1]
        if stimuli.ndim != 2 or stimuli.shape[1] != width:
            raise ValueError(f"the stimuli have shape {tuple(stimuli.shape)}; this network takes (batch, {width})")
        return stimuli if self.input_weights is None else product(stimuli, self.input_weights.T)

    def fixed_points(self, weights: Point, stimuli: Array, **options: Any) -> FixedPoints:
        """Return the fixed points for stimuli of shape (batch, n_inputs); options as for `solve_fixed_points`."""
        return self.solve(weights, self.drive(stimuli), **options)

    def solve(self, weights: Point, drive: Array, **options: Any) -> FixedPoints:
        """Return the fixed points for an external drive of shape (batch, n); options as for `solve_fixed_points`."""
        weights = map_arrays(lambda each: as_array("weights", each, self.dtype, self.namespace), weights)
        drive = as_array("drive", drive, self.dtype, self.namespace)
        for array in arrays_of(weights):
            check_backend("weights", array, self.namespace)
        check_signs(weights, self.signs[0])
        found = solve_fixed_points(weights, drive, self.activation, connectivity=self.connectivity, **options)
        return replace(found, time_constants=self.time_constants[0])

    @property
    def n_outputs(self) -> int:
        """Number of outputs; number of units without a readout."""
        return self.n_units if self.readout is None else int(self.readout.shape[0])

    def outputs(self, rates: Array) -> Array:
        """Return the outputs W_out r, shape (batch, n_outputs)."""
        return rates if self.readout is None else rates @ self.readout.T

    def _normal(self, stream: np.random.SeedSequence, rows: int, columns: int) -> Array:
        # NumPy draws them for every backend: a seed gives the same network everywhere.
        return self._here(np.random.default_rng(stream).standard_normal((rows, columns)) / columns**0.5)

    def _checked(self, name: str, value: Any) -> Array:
        """Return a given fixed parameter, after a check of its name and its shape."""
        if name not in self.fixed:
            raise ValueError(f"the fixed parameter {name!r} is unknown; the fixed parameters are {', '.join(self.fixed)}")
        value = as_array("parameters", value, self.dtype, self.namespace)
        if value.shape != self.fixed[name].shape or value.dtype != self.fixed[name].dtype:
            raise ValueError(
                f"the parameter {name!r} has shape {tuple(value.shape)} and dtype {value.dtype}, but "
                f"{tuple(self.fixed[name].shape)} and {self.dtype} were expected"
            )
        return value

    def _here(self, sample: Array) -> Array:
        return to_backend(sample.astype(self.dtype), self.namespace)
