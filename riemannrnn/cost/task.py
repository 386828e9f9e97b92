"""What a comparison learns, and from where."""

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
    """What all contenders learn, and from where.

    Attributes
    ----------
    network
        The network: a `RateNetwork`, or a `Stack` to be trained.
    weights
        W to start from; of a stack its trained parameters, flat.
    training, validation, test
        The data: what is learned, what learning rates are chosen on, and what accuracy is reported on.
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
        """Return the cross-entropy on one of the splits; by default +∞ where a stimulus has no fixed point, or an unstable one.

        Under another policy, as metrics take it, stability is not looked at.
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
