"""The history of a training run, step by step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from manifolds import Array, Point
from manifolds.summary import Summarised
from riemannrnn.models import TrainedModel
from riemannrnn.models.rate_network import RECURRENT
from riemannrnn.training.range_test import RangeTest

if TYPE_CHECKING:
    import xarray as xr


class Recorder(ABC):
    """Records W during learning, such as `riemannrnn.analysis.PathRecorder`."""

    @abstractmethod
    def record(self, step: int, weights: Array, loss: float = nan) -> None:
        """Record W after this number of steps, and the loss at W."""

    def state(self) -> Mapping[str, Any] | None:
        """Return the state for a checkpoint: numbers, strings, None and arrays, which must not change later. Default: None."""
        return None

    def restore(self, state: Mapping[str, Any] | None) -> None:  # noqa: B027  # a recorder without a state does nothing
        """Continue from a state that `state` returned; None if nothing was recorded. Default: do nothing."""


@dataclass(repr=False)
class History(Summarised):
    """The history of a training run. The lists have one entry for each step, NaN if nothing was measured.

    Attributes
    ----------
    weights
        The last W at which every stimulus of its batch, except those left out, had a fixed point; for a `Stack` all trained
        parameters, flat.
    point
        The point of the manifold that represents these weights; on most manifolds W itself.
    memory
        The memory of the rule at the end; `train` continues with it.
    rule
        The name of the rule.
    learning_rate
        η, before the schedule: as given, or as chosen by the range test. NaN if the run ended before it was chosen.
    range_test
        The rates that the range test tried, and the reason for its choice; None if a rate was given.
    loss
        Mean loss of each mini-batch, before its step.
    accuracy
        Share of the stimuli of each mini-batch with the largest output at their label; empty for other losses.
    iterations
        Fixed-point iterations of the slowest stimulus of each mini-batch.
    step_length
        Length of each step in the metric of its rule.
    abscissa
        Largest spectral abscissa of −I + G W over the mini-batch after the step, if the guard checked it: a bound, or an
        estimate that is exact near the margin.
    shortened
        Fraction of each step that was taken: 1 for the whole step, less if the guard shortened it, 0 if no step was taken.
    jumps
        Number of stimuli with a fixed point that a longer step would have moved far beyond its linear prediction, if the guard
        checked it; otherwise NaN.
    left_out
        Number of stimuli of each mini-batch that were left out under a guard because they have no fixed point.
    test_loss, test_accuracy
        Measured on the held-out data after each step at the requested period.
    guard_reasons
        A sentence for each action of the guard.
    stopped
        A sentence that says why the run ended.
    converged
        Whether the reason means convergence.
    loss_fell
        Whether the training loss fell. False only if it was checked, at the end of a run that did not fail.
    failed
        Whether the run lost a fixed point, or a step left the manifold.
    interrupted
        Whether Ctrl-C ended it.
    untrained
        The model before training. None: the history does not come from `train`.
    """

    weights: Point
    point: Point = None
    memory: Any = None
    rule: str = ""
    learning_rate: float = nan
    range_test: RangeTest | None = None
    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    step_length: list[float] = field(default_factory=list)
    abscissa: list[float] = field(default_factory=list)
    shortened: list[float] = field(default_factory=list)
    jumps: list[float] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    guard_reasons: list[str] = field(default_factory=list)
    stopped: str = ""
    converged: bool = False
    loss_fell: bool = True
    failed: bool = False
    interrupted: bool = False
    untrained: TrainedModel | None = field(default=None, repr=False, compare=False)

    @property
    def model(self) -> TrainedModel:
        """The trained model. It predicts labels or targets in the form in which they were given; `save` writes it to a file.

        Raises
        ------
        ValueError
            For a history that does not come from `train`.
        """
        if self.untrained is None:
            raise ValueError("this history has no network, because no run of train made it; use the history that train returns")
        provenance = {"rule": self.rule, "learning rate": f"{self.learning_rate:.6g}", "steps": str(len(self.loss))}
        provenance = {**self.untrained.provenance, **provenance}
        return replace(self.untrained, weights=self.weights, point=self.point, provenance=provenance)

    @property
    def parameters(self) -> dict[str, Point]:
        """The trained parameters by name: "layers.0.recurrent" is W of the lowest layer."""
        return {RECURRENT: self.weights} if self.untrained is None else self.untrained.network.named(self.weights)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        facts: dict[str, object] = {"steps": len(self.loss), "rule": self.rule}
        if self.loss:
            facts["loss"] = f"{self.loss[0]:.4g} to {self.loss[-1]:.4g}"
        for name, values in (
            ("accuracy", self.accuracy),
            ("held-out loss", self.test_loss),
            ("held-out accuracy", self.test_accuracy),
        ):
            measured = [value for value in values if not isnan(value)]
            if measured:
                facts[name] = f"{measured[-1]:.4g}"
        return facts | {"guard actions": self.guard_actions, "stopped": self.stopped or "not yet"}

    @property
    def guard_actions(self) -> int:
        """Number of times that the guard shortened a step or left stimuli out."""
        return len(self.guard_reasons)

    def to_dataset(self) -> "xr.Dataset":
        """Return the lists over the number of the step, from 1; the attributes say why the run ended."""
        import xarray as xr  # noqa: PLC0415  # it takes as long to import as all that training needs

        steps = np.arange(1, len(self.loss) + 1)
        data = {name: ("step", _padded(values, steps.size)) for name, values in self.records().items() if values}
        dataset = xr.Dataset(data, coords={"step": steps}, attrs={"stopped": self.stopped, "converged": int(self.converged)})
        dataset.attrs["learning_rate"] = self.learning_rate
        if self.range_test is not None:
            trials = self.range_test.trials
            tried = ("tried_rate", np.array([trial.loss for trial in trials], float))
            dataset = dataset.assign(range_test_loss=tried).assign_coords(tried_rate=[float(trial.rate) for trial in trials])
        dataset.attrs["guard_reasons"] = "\n".join(self.guard_reasons)  # NetCDF changes lists of zero or one entries
        nats = {"loss": "nat", "test_loss": "nat"} if self.accuracy else {}  # other losses have other units
        for name, unit in (nats | {"abscissa": "1/τ"}).items():
            if name in dataset:
                dataset[name].attrs["units"] = unit
        return dataset

    def records(self) -> dict[str, list[Any]]:
        """Return the lists with one entry for each step, by name."""
        lists = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: values for name, values in lists.items() if isinstance(values, list) and name not in NOT_A_STEP}


NOT_A_STEP = ("point", "memory", "guard_reasons")


def _padded(values: list[Any], count: int) -> Array:
    """Return the values as an array, padded with NaN: a run may end between the parts of a step."""
    return np.array(values[:count] + [nan] * (count - len(values)))
