"""The options of training: one record for `train`, configuration files, the estimators and resumed runs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import cos, inf, pi
from typing import Self

import numpy as np
from pymanopt.manifolds.manifold import Manifold

from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.models import PARTS
from riemannrnn.network import ACTIVATIONS
from riemannrnn.rules.named import RULES, RULES_WITH_MANIFOLD
from riemannrnn.rules.rule import Rule
from riemannrnn.settings import Options, option
from riemannrnn.training.guard import StabilityGuard

Schedule = Callable[[float], float]

ADAM_RATE = 0.05
"""Default learning rate without a rule: for Adam on `ScaledMonotoneManifold`."""

LONGEST_STEP = 0.35
"""Default longest step without a rule, in the metric."""

RATE_OF_SEVERAL, LONGEST_OF_SEVERAL = 0.01, 1.0
"""Default learning rate and longest step of each parameter without a rule, if more than one matrix is trained."""

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + cos(pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "tail": lambda done: min(1.0, 10 * (1 - done)),
}
"""The factors of the learning rate, as functions of the completed share of the run.

"tail" falls in the last tenth, so the run does not end with a long step.
"""


def _describe_rule(rule: Rule) -> str:
    return f"{rule.name} ({rule.options})" if rule.options else rule.name


def _describe_schedule(schedule: Schedule) -> str:
    """Return four values: two functions with the same values count as the same schedule."""
    return ", ".join(f"{float(schedule(quarter / 4)):.6g}" for quarter in range(4))


@dataclass(frozen=True)
class NetworkOptions(Options):
    """The options of the network that configuration files and estimators train."""

    n_units: int = option(100, "Number of recurrent units.", least=1, flag="units")
    activation: str = option("tanh", "Activation of the units.", choices=ACTIVATIONS)
    radius: float = option(0.5, "Approximate spectral radius of the weights at the start.", least=0, below=inf)
    layers: tuple[int, ...] | None = option(
        None,
        "The layers of a stack, from the lowest: their numbers of units, or in a file tables [[network.layers]]. Default: one "
        "layer.",
        least=1,
    )
    trained: tuple[str, ...] | None = option(
        None,
        'The trained parameters: "recurrent" weights, "input" weights (read-ins and skip connections), "bias" and "readout". '
        "The others are random and fixed. Default: all with several layers, otherwise only the recurrent weights, as in the "
        "paper.",
        choices=PARTS,
    )


@dataclass(frozen=True)
class TrainingOptions(Options):
    """The options of `train`, except the data, the solver, and the objects that observe the run."""

    rule: str | Rule | None = option(
        None,
        'The learning rule: "dW1" to "dW4", "kfac", "descent", "momentum", "adam", or a `Rule`. Default: '
        '"descent" if a manifold is given, otherwise Adam on `ScaledMonotoneManifold`.',
        choices=RULES,
        flag=True,
        describe=_describe_rule,
    )
    learning_rate: float | None = option(
        None,
        "Learning rate η, for the mean over the mini-batch. Default: 0.05 without a rule and a manifold. Otherwise the rate "
        "of the given history, or a range test on the first batches finds one; `History.range_test` holds what it tried.",
        least=0,
        below=inf,
        flag=True,
    )
    batch_size: int | None = option(
        None,
        "Number of stimuli in each step. Default: all. If it does not divide the number of stimuli, the last batch of an epoch "
        "is smaller.",
        least=1,
    )
    epochs: int = option(1, "Passes through the stimuli, each in a new random order.", least=0, flag=True)
    seed: int | np.random.Generator | None = option(
        None, "Seed of the random orders of the stimuli.", least=0, resumed=False, flag=True
    )
    manifold: str | Manifold | None = option(
        None,
        "The manifold of a rule without its own metric: a manifold, or a name in `riemannrnn compare --list`. On a "
        "manifold with a constraint, training starts from weights that satisfy it. Default: the resolvent metric.",
        choices=CATALOGUE,
        flag=True,
    )
    schedule: str | Schedule | None = option(
        None,
        '"constant", "cosine", "linear", "tail" (constant, then falling in the last tenth of the run), or a function from the '
        'completed share of the run to a factor of the learning rate. Default: "cosine" without a rule and a manifold; '
        '"tail" if a range test finds the rate; otherwise "constant".',
        choices=SCHEDULES,
        describe=_describe_schedule,
    )
    longest_step: float | None = option(
        None,
        "Longer steps are shortened to this length in the metric of the rule. Default: 0.35 without a rule and a manifold, "
        "otherwise infinity.",
        least=0,
    )
    decay: float = option(
        0.0,
        "λ: pulls W towards its start, by λ/2 times the squared distance in the metric, separately from the moments of Adam. "
        "The manifold must have a logarithm. If the logarithm is found by shooting (`MetricManifold`), a step takes seconds.",
        least=0,
        below=inf,
    )
    guard: bool | StabilityGuard | None = option(
        None,
        "Whether steps are shortened so that the fixed points of their batch stay stable: True, False, or a "
        "`StabilityGuard`. Default: True if the manifold does not guarantee this.",
    )
    evaluate_every: int | None = option(
        None,
        "The held-out stimuli are evaluated after every this many steps, and at the end. Default: after each epoch.",
        least=1,
        resumed=False,
    )
    checkpoint_every: int = option(50, "A checkpoint is written after every this many steps.", least=1, resumed=False)

    @property
    def usual(self) -> bool:
        """Whether neither rule nor manifold is given."""
        return self.rule is None and self.manifold is None

    @property
    def factor(self) -> Schedule:
        """The function from the completed share of the run to the factor of the learning rate."""
        return self.schedule if callable(self.schedule) else SCHEDULES[self.schedule or "constant"]

    def resolved(self, several: bool = False) -> Self:
        """Return the options with the defaults that depend on the rule and the manifold.

        `several` tells whether more than one matrix of recurrent weights is trained.

        The manifold is then a name, unless it was an object, and it is None for rules with their own metric. The learning rate
        is None if a range test finds it.
        """
        chosen = (USUAL_OF_SEVERAL if several else USUAL) if self.usual else OTHERWISE
        if not self.usual and (self.rule or chosen.rule) in RULES_WITH_MANIFOLD:
            chosen = replace(chosen, manifold="resolvent")
        if not self.usual and self.learning_rate is None:
            chosen = replace(chosen, schedule="tail")
        return replace(self, **{name: value for name, value in vars(chosen).items() if vars(self)[name] is None})


USUAL = TrainingOptions(
    rule="adam", manifold="scaled-monotone", learning_rate=ADAM_RATE, schedule="cosine", longest_step=LONGEST_STEP
)
"""The defaults without a rule and a manifold."""

USUAL_OF_SEVERAL = replace(USUAL, manifold="monotone", learning_rate=RATE_OF_SEVERAL, longest_step=LONGEST_OF_SEVERAL)
"""The defaults without a rule and a manifold, if read-ins, biases or the readout are also trained."""

OTHERWISE = TrainingOptions(rule="descent", schedule="constant", longest_step=inf)
"""The defaults with a rule or a manifold."""
