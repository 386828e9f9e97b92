"""The task of a comparison: the network, the start and the data."""

from dataclasses import dataclass
from typing import Any

from manifolds import Point
from manifolds.summary import Summarised
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.losses import CrossEntropy
from riemannrnn.data import Dataset
from riemannrnn.equilibrium.options import OnFailure


@dataclass(frozen=True, repr=False)
class Task(Summarised):
    """The network, the start and the data that are the same for all contenders.

    Attributes
    ----------
    network
        The network: a `RateNetwork`, or a `Stack` to train.
    weights
        W at the start; for a stack its trained parameters, flat.
    training, validation, test
        The data for training, for choosing learning rates, and for reporting accuracy.
    tolerance
        Tolerance of fixed points; None: the default of the dtype.
    max_iterations
        Largest number of fixed-point iterations.
    stable
        The stability margin of fixed points, as for `FixedPointCost`; None: stability is not checked.
    inner_iterations
        Most iterations of the linear system that a metric solves for one gradient.
    """

    network: Any
    weights: Point
    training: Dataset
    validation: Dataset
    test: Dataset
    tolerance: float | None = None
    max_iterations: int = 200
    stable: float | None = None
    inner_iterations: int = 50

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        sizes = {name: getattr(self, name).labels.shape[0] for name in ("training", "validation", "test")}
        return {"data": self.training.name} | sizes | {"network": repr(self.network)}

    def cost(self, data: Dataset, on_failure: OnFailure = "inf") -> FixedPointCost:
        """Return the cross-entropy on one of the splits; by default +∞ if a stimulus has no stable fixed point.

        Under another policy, which metrics use, stability is not checked.
        """
        return FixedPointCost(
            self.network,
            data.stimuli,
            CrossEntropy(data.labels),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            on_failure=on_failure,
            stable=self.stable if on_failure == "inf" else None,
        )
