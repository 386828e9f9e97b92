"""What a contender reached at its weights: the score on held-out stimuli, and how stable the fixed points are."""

from math import nan

from array_api_compat import array_namespace

from manifolds import Array, Point
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.cost.loss import Loss
from riemannrnn.cost.squared_error import SquaredError
from riemannrnn.cost.task import Examples, Task
from riemannrnn.data import Dataset
from riemannrnn.equilibrium.equation import take_rows
from riemannrnn.equilibrium.stability import survey_stability, unstable_stimuli


def evaluated(task: Task, weights: Point, data: Dataset | Examples) -> Evaluation:
    """Return the evaluation of one of the splits from a cold start; stimuli without a fixed point are left out."""
    return task.cost(data, "mask").at(weights)


def accuracy(evaluation: Evaluation, loss: Loss) -> float:
    """Return the share of right classes; a stimulus without a fixed point counts as wrong, and one without a label not at all.

    NaN for a loss without classes.
    """
    right = loss.correct(evaluation.outputs)
    if right is None:
        return nan
    xp = array_namespace(right)
    labelled = xp.ones_like(right) if loss.relative_weights is None else loss.relative_weights > 0
    return int(xp.count_nonzero(right & evaluation.found & labelled)) / int(xp.count_nonzero(labelled))


def r_squared(evaluation: Evaluation, loss: Loss) -> float:
    """Return R² = 1 − J(y) / J(c) of the squared error J, with c the constant outputs of the smallest J.

    The observed targets of all outputs count together. Stimuli without a fixed point are left out. NaN for other losses, and
    where the targets do not vary.
    """
    if not isinstance(loss, SquaredError):
        return nan
    xp, outputs = array_namespace(evaluation.outputs), evaluation.outputs
    shares = evaluation.included[:, 0]

    def cost(values: Array) -> float:
        return float(xp.sum(loss.value(values) * shares))

    nothing = xp.zeros_like(outputs)
    slope = xp.sum(loss.gradient(nothing) * shares[:, None], axis=0)
    curvature = xp.sum(loss.hessian(nothing, xp.ones_like(outputs)) * shares[:, None], axis=0)
    best = xp.where(curvature > 0, -slope / xp.where(curvature > 0, curvature, 1.0), 0.0)
    total = cost(nothing + best)
    return 1 - cost(outputs) / total if total > 0 else nan


def stability(evaluation: Evaluation) -> tuple[float, int]:
    """Return the worst spectral abscissa of all layers and stimuli, and how many stimuli lack a stable fixed point in a layer.

    The abscissa is NaN where no stimulus has a fixed point.
    """
    xp = array_namespace(evaluation.found)
    rows = xp.nonzero(evaluation.found)[0]
    lost = evaluation.found.shape[0] - rows.shape[0]
    if not rows.shape[0]:
        return nan, lost
    dynamics = [(each.operator, take_rows(each.gains, rows), each.time_constants) for each in evaluation.layers]
    worst, counts = zip(*(survey_stability(*each) for each in dynamics), strict=True)
    unstable = sum(counts)
    if sum(count > 0 for count in counts) > 1:  # a stimulus may be unstable in several layers
        found = [unstable_stimuli(operator, gains, 0.0, times)[1] for operator, gains, times in dynamics]
        unstable = int(xp.unique_values(xp.concat(found)).shape[0])
    return max(worst), lost + unstable
