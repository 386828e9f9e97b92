"""Mini-batch training on a manifold, guarded, resumable to the bit, and honest about why it ended."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from manifolds import Array, ManifoldError, Point, ScaledMonotoneManifold
from manifolds.points import all_finite, map_arrays, several
from riemannrnn.backend import as_array
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.losses import Loss
from riemannrnn.cost.problem import for_model
from riemannrnn.cost.task import Task
from riemannrnn.data import Dataset, Stream, Table
from riemannrnn.equilibrium.auto import Automatic
from riemannrnn.equilibrium.options import SolverOptions
from riemannrnn.equilibrium.solver import Solver
from riemannrnn.metrics.catalogue import GROWTH
from riemannrnn.models import Model, TrainedModel
from riemannrnn.models.trained import named_solver, versions
from riemannrnn.rules.named import make_rule, rule_with_manifold
from riemannrnn.rules.rule import Rule
from riemannrnn.settings import documented
from riemannrnn.training.by_name import matched, product_of, rule_on
from riemannrnn.training.checkpoints import refuse_used
from riemannrnn.training.guard import StabilityGuard
from riemannrnn.training.history import History, Recorder
from riemannrnn.training.material import Material
from riemannrnn.training.options import Schedule, TrainingOptions
from riemannrnn.training.progress import shown
from riemannrnn.training.reproducible import reproducible
from riemannrnn.training.run import Run
from riemannrnn.training.sources import cost_of, source_of
from riemannrnn.training.state import RunState
from riemannrnn.training.stopping import Criterion

SINGLE_RESIDUAL = 1e-4
"""Residual of a unit, root mean square, asked of fixed points in float32 where they are unique: weights there may grow so large
that rounding leaves no smaller one, and no branch can be mistaken for another."""


@documented(TrainingOptions)
@reproducible
def train(
    network: Model,
    weights: Point | History | TrainedModel,
    stimuli: Array | Table | Stream,
    labels: Array | Loss | None = None,
    rule: str | Rule | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    epochs: int = 1,
    seed: int | np.random.Generator | None = None,
    *,
    manifold: Any = None,
    schedule: str | Schedule | None = None,
    longest_step: float | None = None,
    decay: float = 0.0,
    guard: bool | StabilityGuard | None = None,
    solver: str | Solver | None = None,
    adjoint_solver: str | Solver | None = None,
    tolerance: float | None = None,
    held_out: tuple[Array, Array | Loss] | Table | None = None,
    evaluate_every: int | None = None,
    stop: Criterion | None = None,
    callback: Callable[[int, History], None] | Sequence[Callable[[int, History], None]] = (),
    record: Recorder | None = None,
    checkpoints: Path | str | None = None,
    checkpoint_every: int = 50,
    resume: bool = False,
    progress: bool | None = None,
) -> History:
    """Train a network on mini-batches.

    Without a rule and a manifold no step of any length loses a fixed point. The recurrent weights of a `RateNetwork`, which
    alone are trained, are on `ScaledMonotoneManifold`: Adam with rate 0.05 falling along a cosine, and steps no longer than
    0.35 in the metric. Of a `Stack` that trains more, they are on `MonotoneManifold`: Adam with rate 0.01 falling likewise, and
    steps of each parameter no longer than 1. Kernels of a convolutional layer are on `ConvolutionalMonotone`: Adam with rate
    0.03, which rises in the first twentieth of the run and then falls along a cosine. Weights of excitatory and inhibitory
    units are on the manifold "dale", which keeps their signs but promises no fixed points: Adam with rate 0.03 falling
    likewise, under a guard.

    Parameters
    ----------
    network
        The network: a `RateNetwork` or a `Stack`.
    weights
        W to start from, shape (n, n), or the parameters of the connectivity, for a `Rule` that knows them; of a `Stack` its
        trained parameters, by name. They are not changed. Or the
        history of a run by the same rule, to go on from its end with what the rule remembers. Or a trained model.
    stimuli
        Shape (n_stimuli, n_inputs): an array, a list, or a table with `to_numpy`. Integers and lists take the dtype of the
        network. Or a `riemannrnn.data.Table`, which holds the targets, too: its classes are learned with cross-entropy, and
        its numbers, brought to mean 0 and variance 1, with the squared error. Or a `riemannrnn.data.Stream`, whose batches are
        read from disk when they are needed, in its order and of its size; a `Table` that is held out is then read a chunk at a
        time, too.
    labels
        Integers of shape (n_stimuli,) for cross-entropy, or a `Loss` of all the stimuli. None beside a `Table`.
    {options}
    solver, tolerance
        As for `solve_fixed_points`. Default: where the manifold makes fixed points unique, splitting, and in float32 1e-4 √n;
        else "auto", and the tolerance of the dtype.
    adjoint_solver
        As for `FixedPointCost`.
    held_out
        Stimuli and labels, or a loss, or a `Table`, that are evaluated without learning from them.
    stop
        When to end before the epochs are done; see `riemannrnn.training.stopping`.
    callback
        Called after each step with its number, from 1, and the history so far; or several of these.
    record
        A `Recorder`, which records W along learning.
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
        If a run that begins at weights ends with a training loss that is not below its first; `stopped` says so, too. Runs
        that go on from a history only say it in `stopped`.

    Raises
    ------
    ValueError
        For an invalid option, shapes that do not fit, stimuli or targets that are not finite, an activation for which a
        manifold cannot promise stability, a decay on a manifold without a logarithm, or the history of another rule.
    OutsideManifoldError, SingularPointError
        For weights to start from that are no point of the manifold.
    UnstableStartError
        For weights to start from at which a stimulus of the first batch has no stable fixed point, under a guard.
    CheckpointError
        To resume without a checkpoint that is whole, from one that lacks an entry or has one that cannot be read, or with
        other options or data than the run began with; or to begin another run in a folder that holds checkpoints.
    TypeError
        For checkpoints and a `record` that is not a `Recorder`.
    RunFolderError
        If a checkpoint cannot be written; those before are untouched.
    RunInUseError
        If another run uses the folder of the checkpoints.
    """
    given = TrainingOptions(
        rule=rule,
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        seed=seed,
        manifold=manifold,
        schedule=schedule,
        longest_step=longest_step,
        decay=decay,
        guard=guard,
        evaluate_every=evaluate_every,
        checkpoint_every=checkpoint_every,
    )
    given = given.keeping_signs() if network.signed else given
    source = source_of(network, stimuli, labels)
    given, stimuli = source.sized(given), source.material.stimuli
    before = weights if isinstance(weights, History) else None
    model = weights if isinstance(weights, TrainedModel) else None
    weights = _start(network, weights.weights if isinstance(weights, History | TrainedModel) else weights, given)
    if record is not None and checkpoints is not None and not isinstance(record, Recorder):
        raise TypeError(
            f"record = {record!r} has no state for checkpoints; derive its class from riemannrnn.training.history.Recorder"
        )
    network, weights, given = _placed(network, weights, stimuli, given)
    options, stepper = _resolved(given, network, before, source.count)
    promised = for_model(stepper.parameterization, network).promises(network.recurrent)
    keeper = _guard(not promised if given.guard is None else given.guard)
    options = replace(options, guard=keeper or False)
    solving = SolverOptions(
        solver=(Automatic("splitting") if promised else "auto") if solver is None else solver,
        adjoint_solver=adjoint_solver,
        tolerance=_tolerance(network, promised) if tolerance is None else tolerance,
    )
    cost, lenient = cost_of("stimuli", network, source.material, solving), replace(solving, on_failure="inf")
    point = _point(stepper, weights, before, model)
    untrained = _untrained(network, weights, source.material, cost, given)
    history = History(stepper.parameterization.weights(point), point, rule=stepper.name, untrained=untrained)
    run = Run(
        options=options,
        rule=stepper,
        guard=keeper,
        cost=cost,
        held_out=None if held_out is None else source.held_out(network, held_out, lenient),
        batches=source.batches(cost, options.batch_size),
        state=RunState(history, point, None if before is None else before.memory, np.random.default_rng(options.seed)),
        stop=stop,
        callbacks=(callback,) if callable(callback) else tuple(callback),
        record=record,
        checkpoints=None if checkpoints is None else Path(checkpoints),
        data="" if checkpoints is None else source.known_again(network),
        from_weights=before is None,
    )
    if options.decay:
        check_decay(stepper, point, options.decay)
    if before is not None and before.rule != stepper.name:
        raise ValueError(
            f"the history is of {before.rule}, this run of {stepper.name}; go on from its weights, history.weights"
        )
    if resume:
        run.restore()
    elif run.checkpoints is not None:
        refuse_used(run.checkpoints)
    with shown(progress, run.steps, run.state.step) as show:
        run.callbacks = (*run.callbacks, *show)
        return run.go(f"All {options.epochs} epochs done.")


def _start(network: Model, weights: Point, given: TrainingOptions) -> Point:
    """Return the flat parameters to start from, which have to be finite."""
    weights = network.flat(weights)
    if not several(weights):
        weights = as_array("weights", weights, network.dtype, network.namespace)
    if not all_finite(weights):
        raise ValueError("the weights to start from hold NaN or infinity; pass others")
    if network.one_matrix and several(weights) and isinstance(given.resolved().rule, str):
        raise ValueError(
            f"rule {given.resolved().rule!r} moves a matrix of weights, not the factors of one; pass "
            "Descent(FixedRank(n, n, k)) as the rule"
        )
    return weights


def _placed(network: Any, weights: Point, stimuli: Array, given: TrainingOptions) -> tuple[Any, Point, TrainingOptions]:
    """Return the network and the start on a manifold that is given by name, and the options with the rule there.

    Weights that break the constraint of a manifold are changed to weights that obey it, as `CATALOGUE` says.
    """
    if isinstance(given.rule, Rule):
        if isinstance(given.manifold, str):
            raise ValueError(f"the rule {given.rule.name} is made already; give the manifold to the rule")
        return network, weights, given
    options = given.resolved(not network.one_matrix, network.convolutional)
    if not network.one_matrix:
        rule, manifold = rule_with_manifold(str(options.rule)), options.manifold
        if isinstance(manifold, str):
            manifold, weights = product_of(network, weights, manifold)
        else:
            manifold = matched(network, weights, manifold)
        return network, weights, replace(options, rule=make_rule(rule, 0, manifold), manifold=None)
    if not isinstance(given.manifold, str):
        return network, weights, given
    data = Dataset("stimuli", stimuli, np.zeros(stimuli.shape[0], np.int64))  # no manifold looks at the labels
    task, placed = rule_on(Task(network, weights, data, data, data), str(options.rule), given.manifold)
    return task.network, task.weights, replace(given, rule=placed, manifold=None)


def _resolved(given: TrainingOptions, network: Model, before: History | None, count: int) -> tuple[TrainingOptions, Rule]:
    """Return the options with the rule, the batch size and the learning rate that they stand for, and the rule.

    If no learning rate was given, it is the learning rate of the history to go on from, or None, where a range test finds it.
    """
    size = given.batch_size or count
    if size > count:
        raise ValueError(f"batch_size = {size} does not fit {count} stimuli; choose 1 to {count}")
    manifold = ScaledMonotoneManifold(network.units[0], GROWTH) if given.usual else given.manifold
    if not given.usual and given.learning_rate is None and before is not None and not isnan(before.learning_rate):
        given = replace(given, learning_rate=before.learning_rate)
    options = given.resolved()
    rule = make_rule(options.rule or "adam", network.units[0], manifold)
    return replace(options, rule=rule, manifold=None, batch_size=size), rule


def check_decay(rule: Rule, point: Point, decay: float) -> None:
    """Refuse a decay where the distance from the start has no gradient that is known.

    Raises
    ------
    ValueError
        If the rule has no manifold, or its manifold no logarithm.
    """
    try:
        rule.manifold.log(point, map_arrays(lambda part: 0.999 * part, point))  # type: ignore[attr-defined]
    except (AttributeError, NotImplementedError, ManifoldError):
        raise ValueError(
            f"decay = {decay} needs a logarithm, and the rule {rule.name} has no manifold with one; choose 'adam', or no decay"
        ) from None


def _point(rule: Rule, weights: Point, before: History | None, model: TrainedModel | None) -> Point:
    """Return the point to start from: that of a history, that of a model by the same rule, or one that stands for weights."""
    if before is not None:
        return before.point
    if model is not None and model.point is not None and model.provenance.get("rule") == rule.name:
        return model.point
    return rule.parameterization.point_at(weights)


def _untrained(network: Model, weights: Point, learned: Material, cost: FixedPointCost, given: TrainingOptions) -> TrainedModel:
    """Return the model at the start of a run."""
    solving = replace(cost.solving, solver=named_solver(cost.options.solver), adjoint_solver="auto")
    manifold = given.resolved(not network.one_matrix, network.convolutional).manifold
    described = manifold if isinstance(manifold, str) else type(manifold).__name__
    provenance = versions() | ({} if manifold is None else {"manifold": described})
    return TrainedModel(network, weights, learned.answer, learned.standardisation, learned.inputs, solving, provenance)


def _tolerance(network: Model, promised: bool) -> float | None:
    """Return the residual asked for by default: None for that of the dtype."""
    return single_residual(min(network.units)) if promised and network.dtype == np.float32 else None


def single_residual(n_units: int) -> float:
    """Return the norm of the residual that is asked for in float32 where weights may be large, `SINGLE_RESIDUAL` a unit."""
    return float(SINGLE_RESIDUAL * n_units**0.5)


def _guard(guard: bool | StabilityGuard) -> StabilityGuard | None:
    if isinstance(guard, StabilityGuard):
        return guard
    return StabilityGuard() if guard else None
