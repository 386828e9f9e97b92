"""Compare every manifold × retraction × optimiser on one task from one starting point, within one budget of evaluations."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import inf, isfinite, nan

import numpy as np
import xarray as xr

from manifolds.summary import Summarised
from riemannrnn.comparison.contenders import PARTS, Contender, all_contenders, suiting
from riemannrnn.comparison.defaults import MAX_SECONDS, STABLE_BY
from riemannrnn.comparison.entry import Entry
from riemannrnn.comparison.running import Rules, in_processes, in_turn
from riemannrnn.cost.task import Task
from riemannrnn.equilibrium.certificate import check_margin

LEARNING_RATES = (0.1, 0.3, 1.0, 3.0)
"""The learning rates of fixed-step rules, chosen by the loss on the validation split."""


@dataclass(frozen=True, repr=False)
class Comparison(Summarised):
    """The rows of all contenders that finished, and whether the comparison was interrupted."""

    entries: tuple[Entry, ...]
    budget: int
    interrupted: bool = False
    stable: float | None = None

    @property
    def ranking(self) -> list[Entry]:
        """The entries, best first: entries that keep every fixed point come before the others, then by training loss."""
        return sorted(self.entries, key=lambda entry: entry.rank)

    @property
    def stability_seconds(self) -> float:
        """Seconds that all contenders together spent on checking the stability of fixed points."""
        return float(np.nansum([entry.stability_seconds for entry in self.entries]))

    @property
    def regression(self) -> bool:
        """Whether the targets are numbers: the score is then R², and otherwise the accuracy."""
        return any(isfinite(entry.test_r_squared) for entry in self.entries)

    @property
    def recommendation(self) -> str:
        """The recommended contender and the reason, in one or two sentences."""
        there = [entry for entry in self.ranking if entry.weights is not None]
        if not there:
            return "No contender can be recommended: none took a step. The failures say why."
        best, lower = there[0], [entry for entry in there if entry.training_loss < there[0].training_loss]
        if not best.keeps_all:
            fewest = min(there, key=lambda entry: (entry.without_stable_fixed_point, entry.training_loss))
            return (
                f"No contender can be recommended: each loses stable fixed points, the fewest "
                f"({fewest.without_stable_fixed_point:.0f}) {fewest.contender.name}. Start from smaller weights."
            )
        kept = sum(entry.keeps_all for entry in there)
        several = f"Of the {kept} contenders that keep every fixed point stable it"
        alone = "It alone keeps every fixed point stable" if kept == 1 else several
        reached = f"reaches {'a' if kept == 1 else 'the lowest'} training loss"
        sentence = (
            f"Recommended: {best.contender.name}. {alone}{', and' if kept == 1 else ''} {reached} ({best.training_loss:.3f})"
            f"{best.score_in_words} in {best.seconds:.1f} s."
        )
        if lower:
            other, lost = lower[0], int(lower[0].without_stable_fixed_point)
            fixed_points = f"{lost} stable fixed point{'' if lost == 1 else 's'} of the training and test stimuli"
            sentence += f" {other.contender.name} reaches {other.training_loss:.3f} but loses {fixed_points}."
        if late := sum(entry.out_of_time for entry in there):
            sentence += f" Contenders that ran out of time: {late}. On a faster machine they may rank higher."
        return sentence

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        best = min(self.entries, key=lambda entry: entry.training_loss if isfinite(entry.training_loss) else inf, default=None)
        facts: dict[str, object] = {"contenders": len(self.entries), "budget": self.budget}
        if best is not None and isfinite(best.training_loss):
            facts["lowest training loss"] = f"{best.training_loss:.4g}, {best.contender.name}"
        return facts | ({"interrupted": True} if self.interrupted else {})

    def to_dataset(self) -> xr.Dataset:
        """Return the histories as `loss`, `seconds` and `test_accuracy` over contender × evaluation.

        The manifold, the retraction and the optimiser of each contender are coordinates. The values at an evaluation belong to
        the last point that was accepted by then. They are NaN before the first point. The accuracy is NaN if it was not
        measured.
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
        ).assign_coords({name: ("contender", [vars(entry.contender)[name] for entry in self.entries]) for name in PARTS})
        dataset["seconds"].attrs["units"] = "s"
        dataset["loss"].attrs.update(long_name="training loss", **({} if self.regression else {"units": "nat"}))
        return dataset


def compare(
    task: Task,
    contenders: Sequence[Contender] | None = None,
    budget: int = 40,
    learning_rates: Sequence[float] = LEARNING_RATES,
    progress: Callable[[Contender, float], None] | None = None,
    stable: float | None = STABLE_BY,
    max_seconds: float = MAX_SECONDS,
    inner_iterations: int = 50,
    workers: int = 0,
) -> Comparison:
    """Run every contender on the task; report its progress, its cost, and the stability of its fixed points.

    Parameters
    ----------
    task
        The network, the starting point and the data.
    contenders
        Default: all that can train the network. The rows of the others, if they are given, are failures.
    budget
        Evaluations of the training cost, its gradient and its Hessian for each contender, counted by this package.
    learning_rates
        The learning rates for fixed-step rules. Each rate is tried for a third of the budget (at least 4 evaluations),
        which does not count against the budget.
    progress
        Called with the progress of a run; with workers, when a run has ended.
    stable
        Weights count as lost if a stimulus of the training split has no fixed point that is stable by this margin, as for
        `FixedPointCost`. `Comparison.stability_seconds` is the time for these checks. None: stability is not required.
    max_seconds
        Most seconds of computation of a contender; its result is what it has reached by then. Each learning rate is tried for
        at most as long. The time that its process waits for a core does not count.
    inner_iterations
        Most iterations of conjugate gradients to invert a metric once, as "response" does for every gradient.
    workers
        Number of processes for the contenders; 0: this process. Each contender runs on one core, so the rows are the same to
        the bit for any number, unless a contender runs out of time. A script that uses processes needs the usual
        `if __name__ == "__main__":`.

    Returns
    -------
    Comparison
        The rows in the order of the contenders. A contender that fails is a row with its reason. After Ctrl-C: the rows of
        contenders that had finished.

    Raises
    ------
    ValueError
        For a budget below 2, an empty grid, a margin outside [0, 1), limits that are not positive, or a negative number of
        workers.
    """
    if budget < 2:
        raise ValueError(f"budget = {budget} is too small: a step takes a cost and a gradient; choose at least 2")
    if len(learning_rates) == 0:
        raise ValueError("learning_rates is empty; give at least one")
    check_margin("stable", stable)
    if not max_seconds > 0 or inner_iterations < 1:
        raise ValueError(
            f"max_seconds = {max_seconds}, inner_iterations = {inner_iterations}: no contender could take a step; "
            "choose a positive number of seconds and at least one iteration"
        )
    if workers < 0:
        raise ValueError(f"workers = {workers} is negative; choose 0 for this process, or a number of processes")
    everyone = suiting(all_contenders(), task.network)[0] if contenders is None else tuple(contenders)
    rules = Rules(replace(task, stable=stable, inner_iterations=inner_iterations), budget, tuple(learning_rates), max_seconds)
    report = progress or (lambda contender, share: None)
    entries: dict[Contender, Entry] = {}
    interrupted = False
    running = in_processes(everyone, rules, workers) if workers else in_turn(everyone, rules, report)
    try:
        with closing(running):
            for entry in running:
                entries[entry.contender] = entry
                report(entry.contender, 1.0)
    except KeyboardInterrupt:
        interrupted = True
    return Comparison(tuple(entries[each] for each in everyone if each in entries), budget, interrupted, stable)
