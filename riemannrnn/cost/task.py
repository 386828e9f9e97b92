"""What a comparison learns, and from where."""

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
    """What all contenders learn, and from where.

    Attributes
    ----------
    network
        The network: a `RateNetwork`, or a `Stack` to be trained.
    weights
        W to start from; of a stack its trained parameters, flat.
    training, validation, test
        The data: what is learned, what learning rates are chosen on, and what is held out. Labelled stimuli have the
        cross-entropy as their loss, `Examples` a loss of their own.
    tolerance
        Residual asked of fixed points; None: the default of the dtype.
    max_iterations
        Fixed-point iterations at most.
    stable
        The margin by which fixed points have to be stable, as for `FixedPointCost`; None asks for no stability.
    inner_iterations
        Iterations at most of the linear system that a metric solves for one gradient.
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
        """Return the cost on one of the splits; by default +∞ where a stimulus has no fixed point, or an unstable one.

        Under another policy, as metrics take it, stability is not looked at.
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
