"""The main job: every metric × retraction × solver on one task from one starting point, within one budget of evaluations."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import inf, isfinite, nan

import numpy as np
import xarray as xr

from manifolds.summary import Summarised
from riemannrnn.learning.contenders import Contender, all_contenders
from riemannrnn.learning.contest import Entry, Progress, run_contender
from riemannrnn.learning.task import Task
from riemannrnn.workers import one_blas_thread

LEARNING_RATES = (0.1, 0.3, 1.0, 3.0)
"""The grid from which fixed-step rules get their learning rate, by the loss on the validation split."""

SINGLE_THREAD_UNITS = 256
"""Up to this many units a matrix product is too small to share: BLAS threads would wait for each other, not work."""


@dataclass(frozen=True, repr=False)
class Comparison(Summarised):
    """The rows of all contenders that finished, and whether the comparison was interrupted."""

    entries: tuple[Entry, ...]
    budget: int
    interrupted: bool = False

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        best = min(self.entries, key=lambda entry: entry.training_loss if isfinite(entry.training_loss) else inf, default=None)
        facts: dict[str, object] = {"contenders": len(self.entries), "budget": self.budget}
        if best is not None and isfinite(best.training_loss):
            facts["lowest training loss"] = f"{best.training_loss:.4g}, {best.contender.name}"
        return facts | ({"interrupted": True} if self.interrupted else {})

    def to_dataset(self) -> xr.Dataset:
        """Return the histories as `loss`, `seconds` and `test_accuracy` over contender × evaluation.

        At each evaluation stands what the last accepted point had reached by then; NaN before the first and, for the
        accuracy, where it was not measured.
        """
        evaluations = np.arange(self.budget + 1)
        shape = (len(self.entries), evaluations.size)
        values = {name: np.full(shape, nan) for name in ("seconds", "loss", "test_accuracy")}
        for row, entry in enumerate(self.entries):
            for point in entry.history:
                place = min(point.evaluations, self.budget)
                values["seconds"][row, place:] = point.seconds
                values["loss"][row, place:] = point.loss
                values["test_accuracy"][row, place] = point.test_accuracy
        dims = ("contender", "evaluation")
        dataset = xr.Dataset(
            {name: (dims, array) for name, array in values.items()},
            coords={"contender": [entry.contender.name for entry in self.entries], "evaluation": evaluations},
        )
        dataset["seconds"].attrs["units"] = "s"
        dataset["loss"].attrs.update(long_name="training loss", units="nat")
        return dataset


def compare(
    task: Task,
    contenders: Sequence[Contender] | None = None,
    budget: int = 40,
    learning_rates: Sequence[float] = LEARNING_RATES,
    progress: Progress | None = None,
) -> Comparison:
    """Run every contender on the task and report how far it came, at what price, and how stable its fixed points are.

    Parameters
    ----------
    task
        The network, the starting point and the data.
    contenders
        Default: all.
    budget
        Evaluations of the training cost, its gradient and its Hessian that each contender may use, by our own count.
    learning_rates
        The grid for fixed-step rules; each rate is tried for a third of the budget (4 evaluations at least),
        which is not counted against it.
    progress
        Called as a run proceeds.

    Returns
    -------
    Comparison
        A contender that fails is a row with its reason. After Ctrl-C: the rows of those that had finished.

    Raises
    ------
    ValueError
        For a budget below 2, or an empty grid.
    """
    if budget < 2:
        raise ValueError(f"budget = {budget} is too small: a step takes a cost and a gradient; choose at least 2")
    if len(learning_rates) == 0:
        raise ValueError("learning_rates is empty; give at least one")
    entries: list[Entry] = []
    report: Progress = progress or (lambda contender, share: None)
    small = task.network.n_units <= SINGLE_THREAD_UNITS
    try:
        with one_blas_thread() if small else nullcontext():
            for contender in all_contenders() if contenders is None else contenders:
                entries.append(run_contender(contender, task, budget, learning_rates, report))
                report(contender, 1.0)
    except KeyboardInterrupt:
        return Comparison(tuple(entries), budget, interrupted=True)
    return Comparison(tuple(entries), budget)
