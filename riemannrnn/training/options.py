"""The options of training: one record for `train`, configuration files, the estimators and resumed runs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import cos, inf, pi
from typing import Self, Union

import numpy as np

from manifolds import deferred
from riemannrnn import metrics, models, network, rules, training
from riemannrnn.settings import Options, SettingError, option

Schedule = Callable[[float], float]

ADAM_RATE = 0.05
"""Default learning rate without a rule: for Adam on `ScaledMonotoneManifold`."""

LONGEST_STEP = 0.35
"""Default longest step without a rule, in the metric."""

RATE_OF_SEVERAL, LONGEST_OF_SEVERAL = 0.01, 1.0
"""Default learning rate and longest step of each parameter without a rule, if more than one matrix is trained."""

RATE_OF_IMAGES = 0.03
"""Learning rate without a rule, where a layer is convolutional: chosen by accuracy on MNIST."""

RATE_OF_SIGNED = 0.03
"""Learning rate without a rule, where units are excitatory or inhibitory: about the relative change of a weight in a step."""

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + cos(pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "warm-up": lambda done: min(1.0, 20 * done + 0.02) * (1 + cos(pi * done)) / 2,
    "tail": lambda done: min(1.0, 10 * (1 - done)),
}
"""The factors of the learning rate, as functions of the completed share of the run.

"tail" falls in the last tenth, so the run does not end with a long step. "warm-up" rises in the first twentieth, and is a
cosine after it; its first step is a fiftieth.
"""


def _describe_rule(rule: "rules.Rule") -> str:
    return f"{rule.name} ({rule.options})" if rule.options else rule.name


def _describe_schedule(schedule: Schedule) -> str:
    """Return four values: two functions with the same values count as the same schedule."""
    return ", ".join(f"{float(schedule(quarter / 4)):.6g}" for quarter in range(4))


@dataclass(frozen=True)
class NetworkOptions(Options):
    """The options of the network that configuration files and estimators train."""

    n_units: int = option(100, "Number of recurrent units.", least=1, flag="units")
    activation: str = option("tanh", "Activation of the units.", choices=lambda: network.ACTIVATIONS)
    radius: float = option(0.5, "Approximate spectral radius of the weights at the start.", least=0, below=inf)
    signs: tuple[float, ...] | None = option(
        None,
        "Dale's law: 1 for each excitatory unit and −1 for each inhibitory unit of the layer. The weights from a unit then "
        'keep its sign, on the manifold "dale". Default: any signs.',
    )
    inhibitory: float | None = option(
        None,
        "Dale's law: the share of inhibitory units in each layer, which are its last units, instead of `signs`.",
        least=0,
        below=1,
        flag=True,
    )
    layers: tuple[int, ...] | None = option(
        None,
        "The layers of a stack, from the lowest: their numbers of units. In a file an entry may also be a table "
        "[[network.layers]]. Default: one layer.",
        least=1,
    )
    trained: tuple[str, ...] | None = option(
        None,
        'The trained parameters: "recurrent" weights, "input" weights (read-ins and skip connections), "bias" and "readout". '
        "The others are random and fixed. Default: all with several layers, otherwise only the recurrent weights, as in the "
        "paper.",
        choices=lambda: models.PARTS,
    )


@dataclass(frozen=True)
class TrainingOptions(Options):
    """The options of `train`, except the data, the solver, and the objects that observe the run."""

    rule: Union[str, "rules.Rule", None] = option(
        None,
        'The learning rule: "dW1" to "dW4", "kfac", "descent", "momentum", "adam", or a `Rule`. Default: '
        '"descent" if a manifold is given, otherwise Adam on `ScaledMonotoneManifold`.',
        choices=lambda: rules.RULES,
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
    manifold: Union[str, "deferred.Manifold", None] = option(
        None,
        "The manifold of a rule without its own metric: a manifold, or a name in `riemannrnn compare --list`. On a "
        "manifold with a constraint, training starts from weights that satisfy it. Layers of images take "
        '"monotone", "convolutional-monotone", "euclidean" and, if their kernels are as large as the grid, '
        '"spectral-monotone", "spectral-resolvent" and "resolvent". Default: the resolvent metric.',
        choices=lambda: metrics.catalogue.BY_NAME,
        flag=True,
    )
    schedule: str | Schedule | None = option(
        None,
        '"constant", "cosine", "linear", "tail" (constant, then falling in the last tenth of the run), "warm-up" (rising in '
        "the first twentieth, then a cosine), or a function from the completed share of the run to a factor of the learning "
        'rate. Default: "cosine" without a rule and a manifold, "warm-up" if layers are convolutional; "tail" if a range '
        'test finds the rate; otherwise "constant".',
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
    guard: Union[bool, "training.StabilityGuard", None] = option(
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

    def keeping_signs(self) -> Self:
        """Return the options with defaults for a network whose units have signs: the manifold is "dale".

        Without a rule and a manifold, the rule is Adam with rate 0.03, which falls along a cosine.

        Raises
        ------
        SettingError
            For a rule that has a metric of its own, which does not keep the signs.
        """
        if isinstance(self.rule, str) and self.rule not in rules.named.RULES_WITH_MANIFOLD:
            raise SettingError(
                f"rule = {self.rule!r} does not keep the signs of excitatory and inhibitory units; choose one of "
                f"{', '.join(rules.named.RULES_WITH_MANIFOLD)}, on the manifold 'dale'"
            )
        if self.usual:
            return self._with_defaults(USUAL_OF_SIGNED())
        return self if isinstance(self.rule, rules.Rule) or self.manifold else replace(self, manifold="dale")

    @property
    def usual(self) -> bool:
        """Whether neither rule nor manifold is given."""
        return self.rule is None and self.manifold is None

    @property
    def factor(self) -> Schedule:
        """The function from the completed share of the run to the factor of the learning rate."""
        return self.schedule if callable(self.schedule) else SCHEDULES[self.schedule or "constant"]

    def resolved(self, several: bool = False, convolutional: bool = False) -> Self:
        """Return the options with the defaults that depend on the rule and the manifold.

        `several` tells whether more than one matrix of recurrent weights is trained, and `convolutional` whether some of the
        trained parameters are kernels of images.

        The manifold is then a name, unless it was an object, and it is None for rules with their own metric. The learning rate
        is None if a range test finds it.
        """
        usual = (USUAL_OF_IMAGES if convolutional else USUAL_OF_SEVERAL) if several else USUAL
        chosen = (usual if self.usual else OTHERWISE)()
        if not self.usual and (self.rule or chosen.rule) in rules.named.RULES_WITH_MANIFOLD:
            chosen = replace(chosen, manifold="resolvent")
        if not self.usual and self.learning_rate is None:
            chosen = replace(chosen, schedule="tail")
        return self._with_defaults(chosen)

    def _with_defaults(self, chosen: "TrainingOptions") -> Self:
        """Return the options with the values of others in place of None."""
        return replace(self, **{name: value for name, value in vars(chosen).items() if vars(self)[name] is None})


USUAL = partial(
    TrainingOptions,
    rule="adam",
    manifold="scaled-monotone",
    learning_rate=ADAM_RATE,
    schedule="cosine",
    longest_step=LONGEST_STEP,
)
"""The defaults without a rule and a manifold."""

USUAL_OF_SEVERAL = partial(USUAL, manifold="monotone", learning_rate=RATE_OF_SEVERAL, longest_step=LONGEST_OF_SEVERAL)
"""The defaults without a rule and a manifold, if read-ins, biases or the readout are also trained."""

USUAL_OF_IMAGES = partial(USUAL, manifold="monotone", learning_rate=RATE_OF_IMAGES, schedule="warm-up", longest_step=inf)
"""The defaults without a rule and a manifold, where a layer is convolutional."""

USUAL_OF_SIGNED = partial(
    TrainingOptions, rule="adam", manifold="dale", learning_rate=RATE_OF_SIGNED, schedule="cosine", longest_step=inf
)
"""The defaults without a rule and a manifold, where units are excitatory or inhibitory."""

OTHERWISE = partial(TrainingOptions, rule="descent", schedule="constant", longest_step=inf)
"""The defaults with a rule or a manifold."""
