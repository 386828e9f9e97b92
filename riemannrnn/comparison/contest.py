"""One contender's run in a comparison: the task, the budget, and the record."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf, isfinite, nan

import numpy as np

from manifolds import Array, ManifoldError, Point
from manifolds.parameterization import parameterization_of
from riemannrnn.comparison.contenders import Contender, suiting
from riemannrnn.comparison.entry import FAILED, Accepted, Entry
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

MEASUREMENTS = 2
"""How often the test accuracy is measured before the end of a run. A measurement costs as much as an evaluation."""

TRIAL_SHARE = 3
"""A learning rate is tried for one part in this many of the budget."""

INVERTED = ("response",)
"""Manifolds on which one gradient takes dozens of linear systems for every stimulus. Close to the edge of stability these
systems take most of the time of a comparison. So a run on such a manifold ends there."""

LOST_TRIALS, LEAST_FALL = 2, 0.1
"""A run is at the edge of stability if this many trial points of a step lost fixed points, and the step that was left
lowered the loss by less than this share."""

FAILURES = (FixedPointError, ManifoldError, ArithmeticError, ValueError, np.linalg.LinAlgError)
"""Errors that end a run with a reason instead of the program."""


class BudgetUsedError(Exception):
    """Ends the run of an optimiser that has no budget of its own."""


class TimeUsedError(Exception):
    """Ends the run of an optimiser when its time is used up."""


class EdgeReachedError(Exception):
    """Ends the run of an optimiser whose steps are as short as they are because longer ones lose fixed points."""


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
    ends_at_edge
        Whether to raise `EdgeReachedError` if the run is at the edge of stability by `LOST_TRIALS` and `LEAST_FALL`.
    """

    def __init__(
        self,
        start: Start,
        budget: int,
        report: Callable[[float], None],
        measurements: int = MEASUREMENTS,
        max_seconds: float = inf,
        ends_at_edge: bool = False,
    ) -> None:
        self.start, task = start, start.task
        self.cost = task.cost(task.training)
        self.cost.observer = self._observe
        self.weights = task.weights
        self.history: list[Accepted] = []
        self._task, self._budget, self._report = task, budget, report
        self._labelled = isinstance(Examples.of(task.test).loss, CrossEntropy)
        self._period = budget / measurements if measurements else inf
        self._max_seconds, self._ends_at_edge, self._lost = max_seconds, ends_at_edge, 0
        self._next_measurement = 0.0 if measurements else inf
        self.start_clock()

    def start_clock(self) -> None:
        """Set the clock to zero. The search for a learning rate does not count, neither as evaluations nor as seconds."""
        self._started = time.process_time()

    def _observe(self, kind: Kind, weights: Array, value: float) -> None:
        self._lost += kind == "cost" and not isfinite(value)
        before = self.history[-1].loss if self.history else inf
        if kind == "gradient":  # pymanopt's optimisers compute a gradient at a point that they have accepted
            self.accept(weights, value)
        if self.cost.evaluations.total >= self._budget:
            raise BudgetUsedError
        if time.process_time() - self._started >= self._max_seconds:
            raise TimeUsedError
        if kind == "gradient":
            self._check_edge(1 - value / before)

    def _check_edge(self, fall: float) -> None:
        """End a run at the edge of stability, given the share by which the last step lowered the loss."""
        lost, self._lost = self._lost, 0
        if self._ends_at_edge and lost >= LOST_TRIALS and fall < LEAST_FALL:
            raise EdgeReachedError(
                f"Stopped at the edge of stability, after {self.cost.evaluations.total} of {self._budget} evaluations: "
                f"{lost} longer steps lost fixed points, and the step that was left lowered the loss by {fall:.1%}."
            )

    def accept(self, weights: Array, loss: float) -> None:
        """Record an accepted point."""
        stopped_at = time.process_time()
        used = self.cost.evaluations.total
        self.weights, self.evaluation = weights, self.cost.at(weights)  # the cost remembers the point
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
    at_edge = contender.manifold in INVERTED
    score = Scorekeeper(start, budget, progress, max_seconds=max_seconds, ends_at_edge=at_edge)
    try:
        if contender.make_optimiser() is None:
            entry.learning_rate = choose_learning_rate(contender, start, budget // TRIAL_SHARE, learning_rates, max_seconds)
            score.start_clock()
            entry.stopped = follow_rule(contender, score, entry.learning_rate)
        else:
            entry.stopped = follow_optimiser(contender, score)
    except BudgetUsedError:
        entry.stopped = f"Used its {budget} evaluations."
    except EdgeReachedError as reason:
        entry.stopped = str(reason)
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
    # Both are from a cold start: a row describes what a user finds at its weights.
    training, test = score.evaluation, evaluated(task, weights, task.test)
    held_out = Examples.of(task.test).loss
    entry.training_loss = training.cost
    entry.test_accuracy, entry.test_r_squared = accuracy(test, held_out), r_squared(test, held_out)
    entry.history[-1] = replace(entry.history[-1], test_accuracy=entry.test_accuracy)
    (worst, unstable), (worst_on_test, unstable_on_test) = stability(training), stability(test)
    entry.worst_abscissa = float(np.fmax(worst, worst_on_test))
    entry.without_stable_fixed_point = unstable + unstable_on_test
