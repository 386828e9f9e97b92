"""A row of a comparison: the result of one contender, and its cost."""

from dataclasses import dataclass, field
from math import isfinite, nan

from manifolds import Point
from manifolds.summary import Summarised
from riemannrnn.comparison.contenders import Contender

FAILED = "Failed: "
"""The beginning of the reason for a run that ended with an error."""


@dataclass(frozen=True)
class Accepted:
    """A point that a run accepted: the evaluations and seconds so far, and the loss and accuracy (NaN: not measured)."""

    evaluations: int
    seconds: float
    loss: float
    test_accuracy: float


@dataclass(repr=False)
class Entry(Summarised):
    """A row of the table: the results of one contender. Attributes that a failed run never reached are NaN.

    `weights` is W at the last accepted point, to which the numbers belong. It is flat if several parameters are trained, and
    None if no point was accepted. `test_accuracy` is NaN for a loss without classes, `test_r_squared` for every loss but the
    squared error. Seconds are the computing time of this process. `stability_seconds` is the part of them that was spent on
    checking stability.
    """

    contender: Contender
    learning_rate: float = nan
    training_loss: float = nan
    test_accuracy: float = nan
    test_r_squared: float = nan
    cost_evaluations: int = 0
    gradient_evaluations: int = 0
    hessian_evaluations: int = 0
    iterations: int = 0
    seconds: float = nan
    stability_seconds: float = nan
    worst_abscissa: float = nan
    without_stable_fixed_point: float = nan
    stopped: str = ""
    out_of_time: bool = field(default=False, repr=False)
    history: list[Accepted] = field(default_factory=list, repr=False)
    weights: Point | None = field(default=None, repr=False)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {
            "contender": self.contender.name,
            "training loss": f"{self.training_loss:.4g}",
            **({"test R²": f"{self.test_r_squared:.4g}"} if isfinite(self.test_r_squared) else {}),
            **({"test accuracy": f"{self.test_accuracy:.4g}"} if isfinite(self.test_accuracy) else {}),
            "without stable fixed point": f"{self.without_stable_fixed_point:.0f}",
            "seconds": f"{self.seconds:.3g}",
            "stopped": self.stopped,
        }

    @property
    def failed(self) -> bool:
        """Whether the run ended with an error; its results so far are kept."""
        return self.stopped.startswith(FAILED)

    @property
    def keeps_all(self) -> bool:
        """Whether every stimulus of the training and test splits has a stable fixed point at the weights."""
        return self.without_stable_fixed_point == 0

    @property
    def score_in_words(self) -> str:
        """The accuracy or R² on the test split, as the continuation of a sentence; empty if neither is known."""
        if isfinite(self.test_accuracy):
            return f", with a test accuracy of {100 * self.test_accuracy:.1f} %"
        return f", with a test R² of {self.test_r_squared:.3f}" if isfinite(self.test_r_squared) else ""

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Sort key, best first: entries without weights last, then entries that lose fixed points, then by training loss."""
        return self.weights is None, not self.keeps_all, self.training_loss

    def as_row(self) -> dict[str, object]:
        """Return everything except the history and the weights, for a table."""
        row: dict[str, object] = {"contender": self.contender.name, **vars(self.contender)}
        row.update(
            {
                name: value
                for name, value in vars(self).items()
                if name not in ("contender", "history", "weights", "out_of_time")
            }
        )
        return row
