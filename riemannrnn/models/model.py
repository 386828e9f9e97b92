"""The interface of networks for costs, rules and training: parameters and a batch of stimuli give a response."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from manifolds import Array
from manifolds.points import Point
from manifolds.summary import Summarised
from riemannrnn.backend import Namespace, to_backend
from riemannrnn.equilibrium.jacobians import checked_time_constants
from riemannrnn.equilibrium.options import SolverOptions
from riemannrnn.models.parameters import NetworkParameters
from riemannrnn.models.response import Response, respond
from riemannrnn.models.signs import check_signs
from riemannrnn.network.activations import Activation
from riemannrnn.network.connectivity import Connectivity
from riemannrnn.network.linear_map import DENSE, LinearMap

PARTS = ("recurrent", "input", "bias", "readout")
"""The kinds of parameters of a network."""


def own_time_constants(values: Any, n_units: int, xp: Namespace) -> Array | None:
    """Return the time constants of a layer as float64 on the backend, shape (n_units,), or None if all are 1.

    Raises
    ------
    ValueError
        For another number of values, or if one is not positive and finite.
    """
    if values is None:
        return None
    checked = checked_time_constants(values, np.empty((1, n_units)))
    return None if bool(np.all(checked == 1)) else to_backend(checked, xp)


class Model(Summarised, ABC):
    """A network with named parameters, some of them trained. `respond` computes its outputs and all their derivatives.

    Attributes
    ----------
    namespace, dtype
        The array functions of the backend, and the dtype of all parameters.
    activations, connectivities
        f and the connectivity of each layer, from the lowest.
    time_constants
        τ of the units of each layer, shapes (n,), None if all are 1. Fixed points do not depend on τ, but stability does.
    signs
        The signs of the units of each layer, 1 or −1, shapes (n,), None if a unit may excite and inhibit.
    trained
        The kinds of parameters that are trained, from `PARTS`.
    fixed
        The parameters that are not trained, by name.
    """

    namespace: Namespace
    dtype: Any
    activations: tuple[Activation, ...]
    connectivities: tuple[Connectivity, ...]
    time_constants: tuple[Array | None, ...]
    signs: tuple[Array | None, ...] = ()
    trained: tuple[str, ...]
    fixed: Mapping[str, Array]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the name of the namespace instead of the module, which does not pickle."""
        return vars(self) | {"namespace": self.namespace.__name__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"namespace": import_module(state["namespace"])})

    @property
    @abstractmethod
    def units(self) -> tuple[int, ...]:
        """Number of units of each layer, from the lowest."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Number of outputs."""

    @abstractmethod
    def prepare(self, stimuli: Array) -> Array:
        """Return the stimuli for `respond`, checked, and with all work done that depends on no parameters.

        Raises
        ------
        ValueError
            For stimuli of another shape, a masked array, or values that are not numbers.
        BackendError
            For stimuli of another backend.
        """

    @abstractmethod
    def bind(self, parameters: Point) -> NetworkParameters:
        """Return all parameters by their place in the network, including the fixed ones, given the flat trained ones."""

    @abstractmethod
    def direction(self, vector: Point) -> NetworkParameters:
        """Return a change of the trained parameters by their place, with None for fixed parameters."""

    @abstractmethod
    def collect(self, gradient: NetworkParameters) -> Point:
        """Return the flat gradient with respect to the trained parameters."""

    def read_in(self, number: int, source: int) -> LinearMap:
        """Return the map by which a layer reads a source: a layer below, or stimuli, of number −1; by default dense."""
        return DENSE

    @property
    def reader(self) -> LinearMap:
        """The map by which the outputs read the rates of the highest layer; by default dense."""
        return DENSE

    @property
    def convolutional(self) -> bool:
        """Whether a layer is one of images, whose parameters are the same at every position."""
        return False

    def scale(self, name: str) -> float:
        """Return the scale s of a trained parameter: how fast it learns beside the others, as `manifolds.Weighted` means it."""
        return 1.0

    @property
    def slowest(self) -> float:
        """The largest time constant."""
        return max(1.0 if each is None else float(self.namespace.max(each)) for each in self.time_constants)

    @property
    def signed(self) -> bool:
        """Whether units of a layer have signs, which its recurrent weights have to keep."""
        return any(each is not None for each in self.signs)

    def check_signs(self, parameters: Point) -> None:
        """Check that recurrent weights have the signs of their units.

        Raises
        ------
        ValueError
            Naming the first unit with a weight of the other sign.
        """
        if self.signed:
            for layer, signs in zip(self.bind(parameters).layers, self.signs, strict=True):
                check_signs(layer.recurrent, signs)

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the arguments, except `backend`, of an equal network with the same fixed parameters."""

    @property
    @abstractmethod
    def recurrent(self) -> tuple[str, ...]:
        """The names of the recurrent weights that are trained."""

    @property
    def one_matrix(self) -> bool:
        """Whether only the recurrent weights of a single layer are trained, as in the paper."""
        return self.trained == ("recurrent",) and len(self.activations) == 1

    @abstractmethod
    def flat(self, parameters: Point) -> Point:
        """Return trained parameters, given flat or by name, as a flat point.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or a parameter has another shape.
        """

    @abstractmethod
    def named(self, parameters: Point) -> dict[str, Point]:
        """Return flat trained parameters, or a flat gradient with respect to them, by name."""

    def respond(
        self, parameters: Point, batch: Array, solving: SolverOptions | None = None, start: Sequence[Array] | None = None
    ) -> Response:
        """Return the response to a batch of prepared stimuli; `converged` is False for stimuli without a fixed point.

        Parameters
        ----------
        parameters
            The trained parameters, flat or by name.
        batch
            What `prepare` returned, or rows of it.
        solving
            The options for solving fixed points and linear systems.
        start
            The rates at the start, for each layer, shapes (batch, n). Default: f of the drive.

        Raises
        ------
        ValueError
            For recurrent weights that do not have the signs of their units, or as `flat` does.
        """
        parameters = self.flat(parameters)
        self.check_signs(parameters)
        return respond(self, parameters, batch, solving or SolverOptions(), start)
