"""The task of a comparison: the network, the start and the data."""

from dataclasses import dataclass
from typing import Any

from manifolds import Array, Point
from manifolds.summary import Summarised
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.losses import CrossEntropy, Loss
from riemannrnn.data import Dataset
from riemannrnn.equilibrium.options import OnFailure


@dataclass(frozen=True, eq=False, repr=False)
class Examples(Summarised):
    """Stimuli with the loss of their outputs, for targets that are not labels.

    Attributes
    ----------
    name
        What messages and figures call them.
    stimuli
        Shape (m, n_inputs).
    loss
        The loss of the m stimuli.
    """

    name: str
    stimuli: Array
    loss: Loss

    @classmethod
    def of(cls, data: "Dataset | Examples") -> "Examples":
        """Return examples: of labelled stimuli with the cross-entropy, all others as they are."""
        return data if isinstance(data, Examples) else cls(data.name, data.stimuli, CrossEntropy(data.labels))

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"name": self.name, "stimuli": self.stimuli.shape[0], "loss": repr(self.loss)}


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
        The data for training, for choosing learning rates, and for the held-out test. Labelled stimuli have the
        cross-entropy as their loss; `Examples` have their own loss.
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
    training: Dataset | Examples
    validation: Dataset | Examples
    test: Dataset | Examples
    tolerance: float | None = None
    max_iterations: int = 200
    stable: float | None = None
    inner_iterations: int = 50

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        sizes = {name: getattr(self, name).stimuli.shape[0] for name in ("training", "validation", "test")}
        return {"data": self.training.name} | sizes | {"network": repr(self.network)}

    def cost(self, data: Dataset | Examples, on_failure: OnFailure = "inf") -> FixedPointCost:
        """Return the cost on one of the splits; by default +∞ if a stimulus has no stable fixed point.

        Under another policy, which metrics use, stability is not checked.
        """
        examples = Examples.of(data)
        return FixedPointCost(
            self.network,
            examples.stimuli,
            examples.loss,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            on_failure=on_failure,
            stable=self.stable if on_failure == "inf" else None,
        )
