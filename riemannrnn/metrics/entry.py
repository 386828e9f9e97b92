"""An entry of the catalogue: the description of a manifold, and how it is made for recurrent weights or for a task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from manifolds import Array, Point, Retraction, WeightManifold
from manifolds.parameterization import parameterization_of
from riemannrnn.cost.task import Task
from riemannrnn.models import Model
from riemannrnn.network import Connectivity


class Placed(NamedTuple):
    """A manifold of recurrent weights, and the weights at the start of training on it."""

    manifold: Any
    weights: Array


class Start(NamedTuple):
    """A manifold, the start of a task on it, and the task in this form."""

    manifold: Any
    point: Point
    task: Task


@dataclass(frozen=True)
class ManifoldEntry:
    """A manifold of recurrent weights, described and made by name.

    Parameters
    ----------
    name
        Name on the command line.
    call
        The code that makes it.
    formula
        Its chart, or its Riemannian gradient.
    use
        A description, and when to use it.
    make
        Makes it from the number of units and a retraction, if it depends on nothing else.
    place
        Makes it from recurrent weights and a retraction, if it depends on the weights or starts at other weights.
    begin
        Makes it from a task and a retraction, if it depends on the stimuli or changes the network. A manifold that needs a
        function of the user has none of the three.
    connected
        Makes it for the parameters of another connectivity than dense weights, by the class of the connectivity: from the
        connectivity, the parameters and a retraction.
    retractions
        The retractions that a comparison includes.
    second_order
        Whether it has a Hessian for trust regions.
    keeps_signs
        Whether the columns of W keep the signs that they start with.
    """

    name: str
    call: str
    formula: str
    use: str
    make: Callable[[int, Retraction], WeightManifold] | None = None
    place: Callable[[Array, Retraction], Placed] | None = None
    begin: Callable[[Task, Retraction], Start] | None = None
    connected: Mapping[type[Connectivity], Callable[[Any, Array, Retraction], Placed]] = field(default_factory=dict)
    retractions: tuple[Retraction, ...] = ("geodesic",)
    second_order: bool = True
    keeps_signs: bool = False

    @property
    def of_matrices(self) -> bool:
        """Whether there is a form for a matrix of recurrent weights."""
        return not (self.make is None and self.place is None and self.begin is None)

    def start(self, task: Task, retraction: Retraction) -> Start:
        """Return the manifold with a retraction, and the start of the task on it.

        Raises
        ------
        ValueError
            If the manifold needs a function of the user, has another retraction, or does not keep the signs of the units.
        """
        self.check_signs(task.network, task.weights)
        if self.begin is not None:
            started = self.begin(task, retraction)
        else:
            manifold, weights = self.placed(task.weights, retraction)
            started = Start(
                manifold, manifold.point_at(weights), task if weights is task.weights else replace(task, weights=weights)
            )
        self._check_retraction(started.manifold, retraction)
        return started

    def placed(self, weights: Array, retraction: Retraction | None = None, connectivity: Connectivity | None = None) -> Placed:
        """Return the manifold for recurrent weights, and the weights at the start of training on it.

        Parameters
        ----------
        weights
            W, shape (n, n), or the parameters of the connectivity.
        retraction
            Default: the first of `retractions`.
        connectivity
            How the parameters act as W. Default: they are W.

        Raises
        ------
        ValueError
            If the manifold needs a function of the user, depends on stimuli, has no form for the weights, or has another
            retraction.
        """
        chosen = retraction or self.retractions[0]
        connected = None if connectivity is None else self.connected.get(type(connectivity))
        if connected is not None:
            return connected(connectivity, weights, chosen)
        if self.connected and not self.of_matrices:
            kinds = " or ".join(each.__name__ for each in self.connected)
            raise ValueError(f"manifold {self.name!r} is one of the parameters of {kinds}, and these weights are a matrix")
        if weights.ndim != 2:
            raise ValueError(
                f"manifold {self.name!r} has no form for the weights of {connectivity}; choose 'monotone' or 'euclidean'"
            )
        if self.place is not None:
            return self.place(weights, chosen)
        if self.make is not None:
            return Placed(self.make(weights.shape[0], chosen), weights)
        if self.begin is not None:
            raise ValueError(
                f"manifold {self.name!r} depends on the stimuli or the network, and cannot be the manifold of a layer"
            )
        raise ValueError(f"{self.call} takes a function of your own; make it, and use it with `FixedPointCost.problem`")

    def check_signs(self, model: Model, parameters: Point) -> None:
        """Check that the manifold keeps the signs of the units of a model, and that the parameters have these signs.

        Raises
        ------
        ValueError
            If the manifold does not, or a weight does not have the sign of its unit.
        """
        model.check_signs(parameters)
        if model.signed and not self.keeps_signs:
            raise ValueError(
                f"manifold {self.name!r} does not keep the signs of excitatory and inhibitory units; choose 'dale', "
                "or a network without signs"
            )

    def _check_retraction(self, manifold: Any, retraction: Retraction) -> None:
        kind = parameterization_of(manifold).retraction_kind
        if kind != retraction:
            raise ValueError(f"the retraction of manifold {self.name!r} is {kind!r}, and not {retraction!r}; choose {kind!r}")
