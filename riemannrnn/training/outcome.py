"""Why a run ended and whether its loss fell: the sentences, and the warning if it did not fall."""

import warnings
from math import inf

from array_api_compat import array_namespace

from manifolds import Array, Point
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.equilibrium.equation import take_rows
from riemannrnn.equilibrium.fixed_points import FixedPointError
from riemannrnn.training.held_out import HeldOut
from riemannrnn.training.history import History

START = "Start from `riemannrnn.training.stable_start(network, weights, stimuli)`, or pass guard=False"

HIDDEN = "In training, of the mini-batch: the manifold promises a fixed point, and rounding hides it; lower learning_rate."
LOST = "In training, of the mini-batch: lower learning_rate, or let a guard shorten steps."
"""Remedies for a run that lost a fixed point."""

REMEDY = "Pass another learning_rate, or none, so that a range test finds one; or train for longer, or on another manifold."
"""Remedies for a run with a loss that has not fallen."""

SAMPLE = 1000
"""Largest number of stimuli on which the start and the end of a run are compared."""


class LossNotFallenWarning(UserWarning):
    """The training loss at the end of a run is not below the training loss at its start."""


def fallen_by_epochs(losses: list[float], per_epoch: int) -> bool:
    """Tell whether the mean loss of the last epoch is below the mean loss of the first epoch; both contain all stimuli."""
    if len(losses) < 2 * per_epoch or len(losses) % per_epoch:
        return False
    return sum(losses[-per_epoch:]) < sum(losses[:per_epoch])  # False if a loss is NaN


def look_back(history: History, cost: FixedPointCost, order: Array, start: Point, warn: bool) -> None:
    """Add a sentence to `history.stopped` if the training loss did not fall; if `warn` is set, also warn."""
    sentence = not_fallen(cost, order, start, history.weights)
    if sentence:
        history.loss_fell = False
        history.stopped += f" {sentence}"
        if warn:
            warnings.warn(f"{sentence} {REMEDY}", LossNotFallenWarning, stacklevel=5)


def not_fallen(cost: FixedPointCost, order: Array, start: Point, end: Point) -> str:
    """Return a sentence if the loss at the end is not below the loss at the start, otherwise an empty string.

    Parameters
    ----------
    cost
        The cost of all stimuli.
    order
        Stimuli by their rows. The first `SAMPLE` of them are compared, except stimuli without a fixed point at the start.
    start, end
        Weights.
    """
    try:
        kept = HeldOut(cost.take(order[:SAMPLE], on_failure="mask")).converged(start)
        sample = HeldOut(cost.take(take_rows(order[:SAMPLE], array_namespace(kept).nonzero(kept)[0]), on_failure="mask"))
        (before, _), (after, _) = sample.measure(start), sample.measure(end)
    except (FixedPointError, ValueError):  # no stimulus has a fixed point
        return ""
    if after < before or before in (0, inf):  # a loss of zero cannot fall
        return ""
    return f"The training loss has not fallen: it is {before:.4g} at the start and {after:.4g} at the end."
