"""One contender's run in a comparison: the task, the budget, and the record."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf, isfinite, nan

import numpy as np
from array_api_compat import array_namespace

from manifolds import Array, ManifoldError, Point
from manifolds.parameterization import parameterization_of
from manifolds.summary import Summarised
from riemannrnn.comparison.contenders import Contender, suiting
from riemannrnn.comparison.scoring import accuracy, evaluated, r_squared, stability
from riemannrnn.cost.cost import Kind
from riemannrnn.cost.losses import CrossEntropy
from riemannrnn.cost.problem import for_model
from riemannrnn.cost.task import Examples, Task
from riemannrnn.equilibrium.fixed_points import FixedPointError
from riemannrnn.metrics.entry import Start
from riemannrnn.progress import Progress

LEAST_TRIAL = 4
"""Fewest evaluations of a trial: cost and gradient at the start, and after one step."""

MEASUREMENTS = 4
"""How often the test accuracy is measured before the end of a run. A measurement costs as much as an evaluation."""

TRIAL_SHARE = 3
"""A learning rate is tried for one part in this many of the budget."""

FAILED = "Failed: "
"""The beginning of the reason for a run that ended with an error."""

FAILURES = (FixedPointError, ManifoldError, ArithmeticError, ValueError, np.linalg.LinAlgError)
"""Errors that end a run with a reason instead of the program."""


@dataclass(repr=False)
class Entry(Summarised):
    """A row of the table: the results of one contender. Attributes that a failed run never reached are NaN.

    `weights` is W at the last accepted point, to which the numbers belong. It is flat if several parameters are trained, and
    None if no point was accepted. `test_accuracy` is NaN for a loss without classes, `test_r_squared` for every loss
    but the squared error. Seconds are the computing time of this process. `stability_seconds` is the part of them that was
    spent on checking stability.
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
    history: list["Accepted"] = field(default_factory=list, repr=False)
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
        """The accuracy or R² on the test split, as the continuation of a sentence; nothing where neither is known."""
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


@dataclass(frozen=True)
class Accepted:
    """A point that a run accepted: the evaluations and seconds so far, and the loss and accuracy (NaN: not measured)."""

    evaluations: int
    seconds: float
    loss: float
    test_accuracy: float


class BudgetUsedError(Exception):
    """Ends the run of an optimiser that has no budget of its own."""


class TimeUsedError(Exception):
    """Ends the run of an optimiser when its time is used up."""


class Scorekeeper:
    """Counts against the budget and keeps the accepted points of a run; its clock stands still while it measures.

    Parameters
    ----------
    start
        The task, and its start on the contender's manifold.
    budget
        Most evaluations; the next evaluation raises `BudgetUsedError`.
    report
        Called with the used share of the budget.
    measurements
        Number of measurements of the test accuracy during the run; 0: none.
    max_seconds
        Most seconds of computation; the first evaluation after them raises `TimeUsedError`.
    """

    def __init__(
        self,
        start: Start,
        budget: int,
        report: Callable[[float], None],
        measurements: int = MEASUREMENTS,
        max_seconds: float = inf,
    ) -> None:
        self.start, task = start, start.task
        self.cost = task.cost(task.training)
        self.cost.observer = self._observe
        self.weights = task.weights
        self.history: list[Accepted] = []
        self._task, self._budget, self._report = task, budget, report
        self._labelled = isinstance(Examples.of(task.test).loss, CrossEntropy)
        self._period = budget / measurements if measurements else inf
        self._max_seconds = max_seconds
        self._next_measurement = 0.0 if measurements else inf
        self.start_clock()

    def start_clock(self) -> None:
        """Set the clock to zero. The search for a learning rate does not count, neither as evaluations nor as seconds."""
        self._started = time.process_time()

    def _observe(self, kind: Kind, weights: Array, value: float) -> None:
        if kind == "gradient":  # pymanopt's optimisers compute a gradient at a point that they have accepted
            self.accept(weights, value)
        if self.cost.evaluations.total >= self._budget:
            raise BudgetUsedError
        if time.process_time() - self._started >= self._max_seconds:
            raise TimeUsedError

    def accept(self, weights: Array, loss: float) -> None:
        """Record an accepted point."""
        stopped_at = time.process_time()
        used = self.cost.evaluations.total
        self.weights = weights
        measured = nan
        if self.history and self.history[-1].evaluations == used:
            measured = self.history.pop().test_accuracy
        if used >= self._next_measurement and self._labelled:
            measured = accuracy_on_test(self._task, weights)
            self._next_measurement = used + self._period
        self.history.append(Accepted(used, stopped_at - self._started, loss, measured))
        self._report(min(used / self._budget, 1.0))
        self._started += time.process_time() - stopped_at


def run_contender(
    contender: Contender,
    task: Task,
    budget: int,
    learning_rates: Sequence[float],
    progress: Progress,
    max_seconds: float = inf,
) -> Entry:
    """Run one contender and return its row; a failure is a row with its reason."""
    entry = Entry(contender)
    try:
        suiting([contender], task.network)
        start = contender.begin(task)
    except FAILURES as error:
        entry.stopped = f"{FAILED}{error}"
        return entry
    task = start.task
    score = Scorekeeper(start, budget, progress, max_seconds=max_seconds)
    try:
        if contender.make_optimiser() is None:
            entry.learning_rate = choose_learning_rate(contender, start, budget // TRIAL_SHARE, learning_rates, max_seconds)
            score.start_clock()
            entry.stopped = follow_rule(contender, score, entry.learning_rate)
        else:
            entry.stopped = follow_optimiser(contender, score)
    except BudgetUsedError:
        entry.stopped = f"Used its {budget} evaluations."
    except TimeUsedError:
        used = score.cost.evaluations.total
        entry.out_of_time = True
        entry.stopped = f"Used its {max_seconds:g} seconds, after {used} of {budget} evaluations."
    except FAILURES as error:
        entry.stopped = f"{FAILED}{error}"
    _summarise(entry, task, score)
    return entry


def follow_rule(contender: Contender, score: Scorekeeper, learning_rate: float) -> str:
    """Take fixed steps by the contender's rule until the budget is used; return the reason for an early stop.

    Raises
    ------
    FixedPointError
        If a stimulus has lost its fixed point, or its stability if the cost requires it.
    """
    rule = contender.make_rule(score.start.manifold)
    point, memory, before = score.start.point, None, None
    while True:
        weights = rule.parameterization.weights(point)
        evaluation = score.cost.at(weights)
        if evaluation is before:  # cached and not counted: the budget would never end
            return f"Stopped: a step of rate {learning_rate:g} no longer changes the weights."
        before = evaluation
        if not isfinite(evaluation.cost):
            if not score.history:
                return str(evaluation.gradient)  # raises the reason: at the start no gradient exists
            raise FixedPointError(
                f"a stimulus lost its fixed point in a step of rate {learning_rate:g}; the point before is kept."
            )
        score.accept(weights, evaluation.cost)
        point, memory = rule.step(point, evaluation, learning_rate, memory)


def follow_optimiser(contender: Contender, score: Scorekeeper) -> str:
    """Run the contender's optimiser until it stops or the budget is used; return its reason."""
    manifold, point, _ = score.start
    optimiser = contender.make_optimiser(verbosity=0, max_iterations=10**6, max_time=10**6)
    problem = score.cost.problem(manifold)
    if float(manifold.norm(point, problem.riemannian_gradient(point))) == 0:  # pymanopt's optimisers would divide by it
        return "Stopped: the gradient at the start is exactly zero."
    result = optimiser.run(problem, initial_point=point)
    weights = for_model(parameterization_of(manifold), score.cost.model).weights(result.point)
    score.accept(weights, score.cost(weights))
    return str(result.stopping_criterion)


def choose_learning_rate(
    contender: Contender, start: Start, budget: int, learning_rates: Sequence[float], max_seconds: float = inf
) -> float:
    """Return the learning rate with the lowest final loss on the validation split.

    Raises
    ------
    FixedPointError
        If every rate fails, for example by losing a fixed point.
    """
    losses, reasons = dict[float, float](), list[str]()
    for rate in map(float, learning_rates):
        try:
            losses[rate] = _validation_loss(contender, start, budget, rate, max_seconds)
        except FAILURES as error:
            reasons.append(str(error))
    best = min(losses, key=lambda rate: losses[rate], default=nan)
    if not isfinite(losses.get(best, inf)):
        rates = ", ".join(f"{rate:g}" for rate in learning_rates)
        reason = (reasons or ["the loss on the validation split is not finite"])[0]
        raise FixedPointError(f"every learning rate of the grid ({rates}) fails; give smaller ones. The first: {reason}")
    return best


def _validation_loss(contender: Contender, start: Start, budget: int, rate: float, max_seconds: float) -> float:
    trial = Scorekeeper(start, max(budget, LEAST_TRIAL), lambda share: None, measurements=0, max_seconds=max_seconds)
    reason = ""
    with suppress(BudgetUsedError, TimeUsedError):
        reason = follow_rule(contender, trial, rate)
    if reason.startswith("Failed"):
        raise FixedPointError(reason.removeprefix("Failed: "))
    return start.task.cost(start.task.validation)(trial.weights)  # also if a step no longer changes the weights


def accuracy_on_test(task: Task, weights: Point) -> float:
    """Return the accuracy on the test split; NaN for a loss without classes."""
    return accuracy(evaluated(task, weights, task.test), Examples.of(task.test).loss)


def _summarise(entry: Entry, task: Task, score: Scorekeeper) -> None:
    evaluations, weights = score.cost.evaluations, score.weights
    entry.cost_evaluations, entry.gradient_evaluations = evaluations.cost, evaluations.gradient
    entry.hessian_evaluations, entry.iterations = evaluations.hessian, evaluations.iterations
    entry.history, entry.stability_seconds = score.history, evaluations.stability_seconds
    if not score.history:
        return
    entry.weights, entry.seconds = weights, score.history[-1].seconds
    # From a cold start, like accuracy and stability: a row describes what a user finds at its weights.
    training, test = (evaluated(task, weights, data) for data in (task.training, task.test))
    learned, held_out = (Examples.of(data).loss for data in (task.training, task.test))
    lost = bool(array_namespace(training.found).any(learned.lost(training.found)))
    entry.training_loss = inf if lost else training.cost
    entry.test_accuracy, entry.test_r_squared = accuracy(test, held_out), r_squared(test, held_out)
    entry.history[-1] = replace(entry.history[-1], test_accuracy=entry.test_accuracy)
    (worst, unstable), (worst_on_test, unstable_on_test) = stability(training), stability(test)
    entry.worst_abscissa = float(np.fmax(worst, worst_on_test))
    entry.without_stable_fixed_point = unstable + unstable_on_test
