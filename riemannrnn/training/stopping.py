"""Criteria for the end of training. They combine with | and &, and say whether they mean convergence."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import inf
from typing import final

from riemannrnn.training.history import History


@dataclass(frozen=True)
class Verdict:
    """The reason why a run ends, and whether it means convergence."""

    reason: str
    converged: bool


class Criterion(ABC):
    """Tells after each step whether training should end. `a | b` ends when one of them holds, `a & b` when both hold."""

    @abstractmethod
    def __call__(self, history: History) -> Verdict | None:
        """Return the reason why training should end, or None."""

    def __or__(self, other: "Criterion") -> "Criterion":
        return Either(self, other)

    def __and__(self, other: "Criterion") -> "Criterion":
        return Both(self, other)


@final
@dataclass(frozen=True)
class Either(Criterion):
    """Ends when the first of two criteria holds."""

    first: Criterion
    second: Criterion

    def __call__(self, history: History) -> Verdict | None:
        return self.first(history) or self.second(history)


@final
@dataclass(frozen=True)
class Both(Criterion):
    """Ends when two criteria hold at once; this means convergence if one of them means convergence."""

    first: Criterion
    second: Criterion

    def __call__(self, history: History) -> Verdict | None:
        verdicts = [self.first(history), self.second(history)]
        if None in verdicts:
            return None
        reasons = [verdict.reason for verdict in verdicts if verdict is not None]
        return Verdict(" ".join(reasons), any(verdict.converged for verdict in verdicts if verdict is not None))


@final
@dataclass(frozen=True)
class LossBelow(Criterion):
    """Holds when the mean loss of the last mini-batches is below a value. It means convergence.

    Parameters
    ----------
    value
        The value; in nats for cross-entropy.
    batches
        Number of mini-batches in the mean.

    Raises
    ------
    ValueError
        For fewer than one batch.
    """

    value: float
    batches: int = 1

    def __post_init__(self) -> None:
        _check_count("batches", self.batches)

    def __call__(self, history: History) -> Verdict | None:
        last = history.loss[-self.batches :]
        if len(last) < self.batches or not sum(last) / len(last) < self.value:  # NaN is not below
            return None
        return Verdict(f"The loss of the last {self.batches} mini-batches is below {self.value:g}.", True)


@final
@dataclass(frozen=True)
class StepBelow(Criterion):
    """Holds when a step is shorter than a length in the metric. It means convergence if the learning rate has not vanished.

    Steps that the guard shortened do not count.
    """

    length: float

    def __call__(self, history: History) -> Verdict | None:
        if not history.step_length or not history.step_length[-1] < self.length or history.shortened[-1] < 1:
            return None
        return Verdict(f"The last step is shorter than {self.length:g}.", True)


@final
@dataclass(frozen=True)
class NoProgress(Criterion):
    """Holds when the held-out loss has not fallen for `patience` measurements. Without held-out data it uses the batch loss.

    The batch loss is averaged over `patience` batches. It does not mean convergence: a smaller rate may still lower the loss.

    Raises
    ------
    ValueError
        For a patience below 1.
    """

    patience: int

    def __post_init__(self) -> None:
        _check_count("patience", self.patience)

    def __call__(self, history: History) -> Verdict | None:
        held_out = [loss for loss in history.test_loss if loss == loss]  # noqa: PLR0124  # NaN where it was not measured
        measured = [loss for loss in history.loss if loss == loss]  # noqa: PLR0124  # NaN where all stimuli were left out
        losses = held_out or _means(measured, self.patience)
        best = min(losses[: -self.patience], default=inf)
        if len(losses) <= self.patience or min(losses[-self.patience :]) < best:
            return None
        return Verdict(f"The loss has not fallen for {self.patience} measurements.", False)


@final
@dataclass(frozen=True)
class TimeLimit(Criterion):
    """Holds when this many seconds have passed since the criterion was created. It does not mean convergence."""

    seconds: float
    _began: float = field(default_factory=time.monotonic, repr=False)

    def __call__(self, history: History) -> Verdict | None:
        if time.monotonic() - self._began < self.seconds:
            return None
        return Verdict(f"The time limit of {self.seconds:g} s is over.", False)


@final
@dataclass(frozen=True)
class StepLimit(Criterion):
    """Holds after this many steps. It does not mean convergence."""

    steps: int

    def __call__(self, history: History) -> Verdict | None:
        return Verdict(f"All {self.steps} steps done.", False) if len(history.loss) >= self.steps else None


def _means(values: list[float], width: int) -> list[float]:
    return [sum(values[end - width : end]) / width for end in range(width, len(values) + 1)]


def _check_count(name: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"{name} = {count} is not positive; choose at least 1")
