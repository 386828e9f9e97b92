"""Mini-batch training on a manifold, guarded, resumable to the bit, and honest about why it ended."""

from collections.abc import Callable, Sequence
from math import ceil, isnan
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj

from manifolds import Array, ManifoldError, Point
from manifolds.arrays import all_finite
from riemannrnn.backend import as_array
from riemannrnn.cost.cost import FixedPointCost, as_parameterization
from riemannrnn.cost.losses import Loss, check_finite, resolve_loss
from riemannrnn.equilibrium.auto import Automatic
from riemannrnn.equilibrium.solver import Solver
from riemannrnn.rate_network import RateNetwork
from riemannrnn.rules.named import make_rule
from riemannrnn.rules.rule import Rule
from riemannrnn.settings import checked
from riemannrnn.training.batches import Batches
from riemannrnn.training.checkpoints import fingerprint, refuse_used
from riemannrnn.training.defaults import SCHEDULES, defaults, usual_manifold
from riemannrnn.training.guard import StabilityGuard
from riemannrnn.training.history import History, Recorder
from riemannrnn.training.progress import shown
from riemannrnn.training.reproducible import reproducible
from riemannrnn.training.run import Run
from riemannrnn.training.stopping import Criterion

SINGLE_RESIDUAL = 1e-4
"""Residual of a unit, root mean square, asked of fixed points in float32 where they are unique: weights there may grow so large
that rounding leaves no smaller one, and no branch can be mistaken for another."""


@reproducible
def train(
    network: RateNetwork,
    weights: Array | History,
    stimuli: Array,
    labels: Array | Loss,
    rule: str | Rule | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    epochs: int = 1,
    seed: int | np.random.Generator | None = None,
    *,
    manifold: Any = None,
    schedule: str | Callable[[float], float] | None = None,
    longest_step: float | None = None,
    decay: float = 0.0,
    guard: bool | StabilityGuard | None = None,
    solver: str | Solver | None = None,
    adjoint_solver: str | Solver | None = None,
    tolerance: float | None = None,
    held_out: tuple[Array, Array | Loss] | None = None,
    evaluate_every: int | None = None,
    stop: Criterion | None = None,
    callback: Callable[[int, History], None] | Sequence[Callable[[int, History], None]] = (),
    record: Recorder | None = None,
    checkpoints: Path | str | None = None,
    checkpoint_every: int = 50,
    resume: bool = False,
    progress: bool | None = None,
) -> History:
    """Train the recurrent weights on mini-batches.

    Without a rule: Adam on `ScaledMonotoneManifold`, where no step of any length loses a fixed point, with rate 0.05 falling
    along a cosine, and steps no longer than 0.35 in the metric.

    Parameters
    ----------
    network
        The network.
    weights
        W to start from, shape (n, n), or the parameters of the connectivity, for a `Rule` that knows them; not changed. Or the
        history of a run by the same rule, to go on from where that ended with what the rule remembers.
    stimuli
        Shape (n_stimuli, n_inputs): an array, a list, or a table with `to_numpy`. Integers and lists take the dtype of the
        network.
    labels
        Integers of shape (n_stimuli,) for cross-entropy, or a `Loss` of all the stimuli.
    rule
        "dW1" to "dW4", "geodesic_flow", "parallel_transport" (momentum), "adam", or a `Rule`.
    learning_rate
        η, for the mean over the mini-batch. Default: 0.05 without a rule and a manifold. Else the rate of the history to go on
        from, or a range test finds one on the first batches; `History.range_test` holds what it tried.
    batch_size
        Stimuli a step; default: all. The last batch of an epoch holds what is left, if it does not divide them.
    epochs
        Passes through the stimuli, each in an order of its own.
    seed
        Seed of the orders.
    manifold
        The metric of the rules that have none of their own.
    schedule
        "constant", "cosine", "linear", "tail" (constant, and falling in the last tenth of the run), or a function from the
        share of the run that is done to a factor of the learning rate. Default: "cosine" without a rule; "tail" where a range
        test finds the rate; else "constant".
    longest_step
        Longer steps are shortened to this length in the metric of the rule. Default: 0.35 without a rule, else infinity.
    decay
        λ: W is drawn to where it started, by λ/2 times the squared distance in the metric, apart from the moments of Adam. For
        manifolds with a logarithm; where that is found by shooting (`MetricManifold`) a step takes seconds.
    guard
        Whether steps are shortened to keep the fixed points of their batch, and keep them stable; True, False, or a
        `StabilityGuard`. Default: where the manifold does not promise that.
    solver, tolerance
        As for `solve_fixed_points`. Default: where the manifold makes fixed points unique, splitting, and in float32 1e-4 √n;
        else "auto", and that of the dtype.
    adjoint_solver
        As for `FixedPointCost`.
    held_out
        Stimuli and labels, or a loss, that are evaluated without learning from them.
    evaluate_every
        After so many steps; and at the end. Default: at the end of each epoch.
    stop
        When to end before the epochs are done; see `riemannrnn.training.stopping`.
    callback
        Called after each step with its number, from 1, and the history so far; or several of these.
    record
        Records W along learning: an object with the method `record` of `riemannrnn.training.history.Recorder`. With
        `checkpoints` it derives from this class, because its state is part of a checkpoint.
    checkpoints
        An existing folder for checkpoints; one is written at the start, after every `checkpoint_every` steps, after Ctrl-C and
        at the end.
    resume
        Go on from the last checkpoint in that folder. Called with the same arguments otherwise, the run gives the same bits as
        one that was never stopped, also on another number of cores: batches are divided as on the cores of the first.
    progress
        Whether a bar on the standard error shows the progress. Default: in terminals and notebooks.

    Returns
    -------
    History
        Where a step loses a fixed point or leaves the manifold the run stops, `stopped` says why, and what was reached is kept;
        Ctrl-C likewise.

    Warns
    -----
    LossNotFallenWarning
        If a run that begins anew ends with a training loss that is not below its first; `stopped` says so, too. Runs that go on
        from a history only say it in `stopped`.

    Raises
    ------
    ValueError
        For counts, rates or shapes that do not fit, stimuli or targets that are not finite, an unknown rule or schedule, an
        activation for which a manifold cannot promise stability, a decay on a manifold without logarithm, or the history of
        another rule.
    OutsideManifoldError, SingularPointError
        For weights to start from that are no point of the manifold.
    UnstableStartError
        For weights to start from at which a stimulus of the first batch has no stable fixed point, under a guard.
    CheckpointError
        To resume without a checkpoint that is whole, from one that lacks an entry or has one that cannot be read, or with
        arguments that change the steps, named with what they were; or to begin anew in a folder that holds any.
    TypeError
        For checkpoints and a `record` without the methods of `Recorder`.
    RunFolderError
        If a checkpoint cannot be written; those before are untouched.
    RunInUseError
        If another run uses the folder of the checkpoints.
    """
    stimuli = as_array("stimuli", stimuli, network.dtype, network.namespace)
    if not isinstance(weights, History | tuple):
        weights = as_array("weights", weights, network.dtype, network.namespace)
    count = stimuli.shape[0]
    batch_size = count if batch_size is None else checked("batch_size", batch_size, int)
    if not 1 <= batch_size <= count:
        raise ValueError(f"batch_size = {batch_size} does not fit {count} stimuli; choose 1 to {count}")
    if not all_finite(weights.weights if isinstance(weights, History) else weights):
        raise ValueError("the weights to start from hold NaN or infinity; pass others")
    epochs, decay = checked("epochs", epochs, int, 0), checked("decay", decay, float, 0)
    chosen = defaults(rule, manifold, weights.learning_rate if isinstance(weights, History) else learning_rate)
    name = chosen.rule
    if rule is None and manifold is None:
        manifold = usual_manifold(network)
    if isinstance(weights, tuple) and isinstance(name, str):
        raise ValueError(
            f"rule {name!r} moves a matrix of weights, not the factors of one; pass MetricRule(FixedRank(n, n, k)) as the rule"
        )
    if record is not None and checkpoints is not None and not isinstance(record, Recorder):
        raise TypeError(
            f"record = {record!r} has no state for checkpoints; derive its class from riemannrnn.training.history.Recorder"
        )
    stepper = make_rule(name, network.n_units, manifold)
    parameterization = as_parameterization(getattr(stepper, "manifold", None), network.activation)
    promised = parameterization.stable_by_construction
    options: dict[str, Any] = {
        "solver": (Automatic("splitting") if promised else "auto") if solver is None else solver,
        "adjoint_solver": adjoint_solver,
        "tolerance": _tolerance(network, promised) if tolerance is None else tolerance,
    }
    rate = _rate(chosen.learning_rate if learning_rate is None else learning_rate, weights)
    per_epoch, before = ceil(count / batch_size), weights if isinstance(weights, History) else None
    cost = _cost("stimuli", network, stimuli, labels, options | {"on_failure": "raise"})
    point = parameterization.point_at(weights) if before is None else before.point
    run = Run(
        rule=stepper,
        cost=cost,
        learning_rate=rate,
        schedule=_schedule(schedule or chosen.schedule),
        batches=Batches(cost, batch_size, np.random.default_rng(seed)),
        steps=epochs * per_epoch,
        point=point,
        history=History(parameterization.weights(point), point, rule=stepper.name),
        memory=None if before is None else before.memory,
        longest_step=checked("longest_step", chosen.longest_step if longest_step is None else longest_step, float, 0),
        decay=decay,
        guard=_guard(not promised if guard is None else guard),
        held_out=None if held_out is None else _cost("held-out stimuli", network, *held_out, options),
        evaluate_every=per_epoch if evaluate_every is None else checked("evaluate_every", evaluate_every, int, 1),
        stop=stop,
        callbacks=(callback,) if callable(callback) else tuple(callback),
        record=record,
        checkpoints=None if checkpoints is None else Path(checkpoints),
        checkpoint_every=checked("checkpoint_every", checkpoint_every, int, 1),
        data="" if checkpoints is None else _known_again(network, stimuli, cost.loss),
        solvers=f"{options['solver']} and {adjoint_solver}",
        anew=before is None,
    )
    if decay:
        check_decay(stepper, point, decay)
    if before is not None and before.rule != stepper.name:
        raise ValueError(
            f"the history is of {before.rule}, this run of {stepper.name}; go on from its weights, history.weights"
        )
    if resume:
        run.restore()
    elif run.checkpoints is not None:
        refuse_used(run.checkpoints)
    with shown(progress, run.steps, run.step) as show:
        run.callbacks = (*run.callbacks, *show)
        return run.go(f"All {epochs} epochs done.")


def _rate(rate: float | None, weights: Point | History) -> float | None:
    """Return the rate that was given, or the rate of the history to go on from; None where a range test has to find one."""
    if rate is not None:
        return float(checked("learning_rate", rate, float, 0))
    known = isinstance(weights, History) and not isnan(weights.learning_rate)
    return weights.learning_rate if known else None


def check_decay(rule: Rule, point: Point, decay: float) -> None:
    """Refuse a decay where the distance from the start has no gradient that is known.

    Raises
    ------
    ValueError
        If the rule has no manifold, or its manifold no logarithm.
    """
    parts = [0.999 * part for part in point] if isinstance(point, list | tuple) else 0.999 * point
    try:
        rule.manifold.log(point, parts)  # type: ignore[attr-defined]
    except (AttributeError, NotImplementedError, ManifoldError):
        raise ValueError(
            f"decay = {decay} needs a logarithm, and the rule {rule.name} has no manifold with one; choose 'adam', or no decay"
        ) from None


def _known_again(network: RateNetwork, stimuli: Array, loss: Loss) -> str:
    """Return a fingerprint of what a run learns from: the stimuli, their labels, and the weights that stay as they are."""
    arrays = stimuli, network.input_weights, network.readout, *vars(loss).values()
    return fingerprint(*filter(is_array_api_obj, arrays))


def _tolerance(network: RateNetwork, promised: bool) -> float | None:
    """Return the residual asked for by default: None for that of the dtype."""
    return single_residual(network.n_units) if promised and network.dtype == np.float32 else None


def single_residual(n_units: int) -> float:
    """Return the norm of the residual that is asked for in float32 where weights may be large, `SINGLE_RESIDUAL` a unit."""
    return float(SINGLE_RESIDUAL * n_units**0.5)


def _schedule(schedule: str | Callable[[float], float]) -> Callable[[float], float]:
    if callable(schedule):
        return schedule
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule {schedule!r} is unknown; choose one of {', '.join(SCHEDULES)}, or pass a function")
    return SCHEDULES[schedule]


def _guard(guard: bool | StabilityGuard) -> StabilityGuard | None:
    if isinstance(guard, StabilityGuard):
        return guard
    return StabilityGuard() if guard else None


def _cost(name: str, network: RateNetwork, stimuli: Array, labels: Array | Loss, options: dict[str, Any]) -> FixedPointCost:
    """Return the cost of stimuli, which have to be finite; of held-out ones it may be infinite, and does not end the run."""
    stimuli = as_array(name, stimuli, network.dtype, network.namespace)
    cost = FixedPointCost(network, stimuli, resolve_loss(labels, stimuli.shape[0], network.n_outputs), **options)
    if not all_finite(cost.drive):  # which is smaller, and holds NaN wherever the stimuli do
        check_finite(name, stimuli)
    return cost
