"""A learning rate for any rule on any manifold: a short trial of each rate of a geometric ladder, on the first batches.

A rate such as 0.1 is large under one metric and small under another. The unit of the ladder is therefore computed from the
network: at rate 1 the linear response of the rates to the first step, δr, is as large as the rates r themselves. The unit
does not depend on the scale of the metric or of the loss.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import hypot, inf, isfinite
from typing import Any, Self

from array_api_compat import array_namespace

from manifolds import Array, ManifoldError, Point
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.counts import Evaluations
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.equilibrium.equation import take_rows
from riemannrnn.equilibrium.fixed_points import FixedPointError
from riemannrnn.rules.rule import Memory, Rule
from riemannrnn.training.held_out import HeldOut
from riemannrnn.training.stepping import Stepper

FACTOR = 10**0.5
"""Ratio of neighbouring rates of the ladder."""

LOWEST = 0.03
"""First rate of the ladder, in its units."""

RUNGS = 12
"""Largest number of rates that are tried in each direction."""

SHARE = 40
"""A trial takes one step for this many steps of the run."""

SHORTEST, LONGEST = 4, 10
"""Steps of a trial."""

NEAREST, FARTHEST = 2.0, 10.0
"""The chosen rate is the rate with the lowest loss divided by a factor between these."""

TRAVEL = 2
"""Between these bounds, the run travels this many times as far as a trial of the rate with the lowest loss."""

NO_GRADIENT = 0.1
"""Rate of a run with a first step of zero length, for which all rates are equal."""


@dataclass(frozen=True)
class Trial:
    """The result of a rate: the loss after its steps, or the reason why the trial ended early (with infinite loss)."""

    rate: float
    loss: float
    reason: str = ""


@dataclass(frozen=True)
class RangeTest:
    """The rates that the search for a learning rate tried, and its choice.

    Attributes
    ----------
    rate
        The chosen rate.
    loss
        Mean loss of the stimuli of the first batches before the trials.
    trials
        Each rate that was tried, with the loss of the same stimuli after the trial.
    steps
        Steps of each trial.
    reason
        A sentence that says why this rate was chosen.
    evaluations
        Evaluations and iterations of the search.
    """

    rate: float
    loss: float
    trials: tuple[Trial, ...] = ()
    steps: int = 0
    reason: str = ""
    evaluations: Evaluations = field(default_factory=Evaluations)

    def as_tree(self) -> dict[str, Any]:
        """Return nested dictionaries for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Self:
        """Return the object from the result of `as_tree`."""
        trials = tuple(Trial(**trial) for trial in tree["trials"])
        return cls(**{**tree, "trials": trials, "evaluations": Evaluations(**tree["evaluations"])})


@dataclass(frozen=True)
class Trials:
    """The start of every trial, and the batches of every trial.

    Parameters
    ----------
    stepper
        Takes the steps.
    sample
        The cost of the stimuli of the first batches.
    parts
        The costs of the batches, one for each step.
    point, memory
        The start.
    """

    stepper: Stepper
    sample: FixedPointCost
    parts: tuple[FixedPointCost, ...]
    point: Point
    memory: Memory

    def loss(self, point: Point) -> float:
        """Return J of the sample at a point; infinity where a stimulus has no fixed point."""
        return HeldOut(self.sample).measure(self.stepper.rule.parameterization.weights(point))[0]

    def run(self, rate: float) -> Trial:
        """Take the steps at a rate. The rate fails if a step loses a fixed point, or if the guard shortens a step."""
        rule, point, memory = self.stepper.rule, self.point, self.memory
        try:
            for number, part in enumerate(self.parts, 1):
                evaluation = part.at(rule.parameterization.weights(point))
                step, _, memory = self.stepper.take(part, evaluation, point, memory, rate)
                if step.share < 1:
                    return Trial(rate, inf, f"The guard shortened step {number}: {step.reason}")
                memory = rule.carry(point, step.velocity, memory)
                point = step.point
                if number > 1:
                    part.forget()  # the first is asked again about the start, in the next trial
            loss = self.loss(point)
        except (FixedPointError, ManifoldError) as error:
            return Trial(rate, inf, str(error))
        return Trial(rate, loss, "" if isfinite(loss) else "A stimulus has no fixed point after the trial.")


def find_rate(
    stepper: Stepper,
    cost: FixedPointCost,
    order: Array,
    size: int,
    steps: int,
    point: Point,
    memory: Memory = None,
    travel: float | None = None,
) -> RangeTest:
    """Find a learning rate by trials of the rates of a geometric ladder, each from the same start on the same batches.

    The rates are increased while the loss after a trial falls. The rate with the lowest loss is near the largest rate that
    is stable at the start. A run is longer than a trial and reaches other weights, so the chosen rate is 2 to 10 times
    lower. With S steps in the run and K in a trial the factor is S / 2K: the run then travels twice as far as the trial.

    Parameters
    ----------
    stepper
        Takes the steps.
    cost
        The cost of all stimuli of the run.
    order
        The order of the stimuli in the first epoch, shape (stimuli,).
    size
        Stimuli of a batch.
    steps
        Steps of the run.
    point, memory
        The start, and the memory of the rule there.
    travel
        The length of the run in steps at the full rate. Default: its number of steps, for a constant schedule.

    Raises
    ------
    FixedPointError
        If the first batch has no fixed points at the start, or no linear response.
    ManifoldError
        If the rule cannot take a step from the start.
    """
    before = replace(cost.evaluations)
    trials = _trials(stepper, cost, order, size, steps, point, memory)
    loss, length = trials.loss(point), len(trials.parts)
    unit = _unit(stepper.rule, trials.parts[0].at(stepper.rule.parameterization.weights(point)), point, memory)
    tried = _climb(trials, loss, unit) if isfinite(unit) else []
    rate, reason = _choose(tried, loss, (travel or steps) / length)
    ended = sorted(tried, key=lambda trial: trial.rate)
    return RangeTest(rate, loss, tuple(ended), length, reason, _difference(cost.evaluations, before))


def _trials(
    stepper: Stepper, cost: FixedPointCost, order: Array, size: int, steps: int, point: Point, memory: Memory
) -> Trials:
    """Return the trials on the first batches, without stimuli that have no fixed point at the start."""
    length = min(max(steps // SHARE, SHORTEST), LONGEST, steps)
    rows = order[: length * size]
    found = HeldOut(cost.take(rows, on_failure="mask")).converged(stepper.rule.parameterization.weights(point))
    rows = take_rows(rows, array_namespace(found).nonzero(found)[0])
    count = -(-rows.shape[0] // size)
    places = [number % count * size for number in range(length)]
    parts = tuple(cost.take(rows[place : place + size], on_failure="raise") for place in places)
    return Trials(stepper, cost.take(rows, on_failure="inf"), parts, point, memory)


def _unit(rule: Rule, evaluation: Evaluation, point: Point, memory: Memory) -> float:
    """Return the rate at which ‖δr‖ = ‖r‖ for the first step; infinity if the step is zero."""
    velocity, _ = rule.velocity(point, evaluation, 1.0, memory)
    norm = array_namespace(evaluation.batch).linalg.vector_norm
    changes = evaluation.tangents(rule.parameterization.velocity(point, velocity))
    response = hypot(*(float(norm(change)) for change in changes))
    rates = hypot(*(float(norm(layer.rates)) for layer in evaluation.response.layers))
    return rates / response if response > 0 else inf


def _climb(trials: Trials, loss: float, unit: float) -> list[Trial]:
    """Try rates upwards from `LOWEST` while the loss falls, or downwards if the first rate is too high."""
    tried = [trials.run(LOWEST * unit)]
    if tried[0].loss < loss:
        best = tried[0].loss
        for _ in range(RUNGS):
            tried.append(trials.run(tried[-1].rate * FACTOR))
            if not tried[-1].loss < best:
                break
            best = tried[-1].loss
        return tried
    for _ in range(RUNGS):
        tried.append(trials.run(tried[-1].rate / FACTOR))
        if tried[-1].loss < loss:
            break
    return tried


def _choose(tried: list[Trial], loss: float, lengths: float) -> tuple[float, str]:
    """Return the rate for a run that is `lengths` times as long as a trial, and the reason."""
    if not tried:
        return NO_GRADIENT, "The first step is zero: no rate is better than another."
    best = min(tried, key=lambda trial: (trial.loss, trial.rate))
    if not best.loss < loss:
        lowest = min(trial.rate for trial in tried)
        return lowest, "No rate lowered the loss: this is the lowest that was tried."
    ratio = min(max(lengths / TRAVEL, NEAREST), FARTHEST)
    return best.rate / ratio, f"The loss fell furthest at rate {best.rate:.3g}; this rate is lower by {ratio:.2g} times."


def _difference(after: Evaluations, before: Evaluations) -> Evaluations:
    return Evaluations(**{name: value - vars(before)[name] for name, value in vars(after).items()})
