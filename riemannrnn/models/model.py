"""What costs, rules and training know of a network: parameters and a batch of stimuli give a response."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from manifolds import Array
from manifolds.points import Point
from manifolds.summary import Summarised
from riemannrnn.backend import Namespace
from riemannrnn.models.parameters import NetworkParameters
from riemannrnn.models.response import Response, Solving, respond
from riemannrnn.network.activations import Activation
from riemannrnn.network.connectivity import Connectivity

PARTS = ("recurrent", "input", "bias", "readout")
"""The kinds of parameters of a network."""


class Model(Summarised, ABC):
    """A network with named parameters, some of which are trained: `respond` gives its outputs and all their derivatives.

    Attributes
    ----------
    namespace, dtype
        The array functions of the backend, and the dtype of all parameters.
    activations, connectivities
        f and the connectivity of each layer, from the lowest.
    trained
        The kinds of parameters that are trained, of `PARTS`.
    fixed
        The parameters that are not trained, by name.
    """

    namespace: Namespace
    dtype: Any
    activations: tuple[Activation, ...]
    connectivities: tuple[Connectivity, ...]
    trained: tuple[str, ...]
    fixed: Mapping[str, Array]

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
        """Return checked stimuli in the form that `respond` takes, with the work done that depends on no parameters.

        Raises
        ------
        ValueError
            For stimuli of another shape, a masked array, or values that are not numbers.
        BackendError
            For stimuli of another backend.
        """

    @abstractmethod
    def bind(self, parameters: Point) -> NetworkParameters:
        """Return all parameters by their place in the network, the fixed ones included, from the flat trained ones."""

    @abstractmethod
    def direction(self, vector: Point) -> NetworkParameters:
        """Return a change of the trained parameters by their place, with None for fixed ones."""

    @abstractmethod
    def collect(self, gradient: NetworkParameters) -> Point:
        """Return the flat gradient in the trained parameters."""

    @property
    @abstractmethod
    def recurrent(self) -> tuple[str, ...]:
        """The names of the recurrent weights that are trained."""

    @property
    def one_matrix(self) -> bool:
        """Whether the recurrent weights of a single layer are all that is trained, as in the paper."""
        return self.trained == ("recurrent",) and len(self.activations) == 1

    @abstractmethod
    def flat(self, parameters: Point) -> Point:
        """Return trained parameters as a flat point, given so or by name.

        Raises
        ------
        ValueError
            If a name is missing or unknown.
        """

    @abstractmethod
    def named(self, parameters: Point) -> dict[str, Point]:
        """Return flat trained parameters, or a flat gradient in them, by name."""

    def respond(
        self, parameters: Point, batch: Array, solving: Solving | None = None, start: Sequence[Array] | None = None
    ) -> Response:
        """Return the response to a batch of prepared stimuli; stimuli without a fixed point are marked in `converged`.

        Parameters
        ----------
        parameters
            The trained parameters, flat or by name.
        batch
            What `prepare` returned, or rows of it.
        solving
            How fixed points and linear systems are solved.
        start
            The rates to start from, for each layer, shapes (batch, n). Default: f of the drive.
        """
        return respond(self, self.flat(parameters), batch, solving or Solving(), start)
