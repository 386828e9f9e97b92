"""Mini-batch training on a manifold, with a stability guard, exact resuming, and a stated reason for its end."""

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
"""Residual of a unit, root mean square, for unique fixed points in float32. Weights may grow so large that rounding prevents a
smaller residual. With a unique fixed point no other branch can be found by mistake."""


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

    Without a rule and a manifold no step of any length loses a fixed point. For a `RateNetwork`, which trains only its
    recurrent weights, these are on `ScaledMonotoneManifold`. The rule is Adam with rate 0.05 falling along a cosine, and steps
    are at most 0.35 long in the metric. For a `Stack` that trains more, the recurrent weights are on `MonotoneManifold`. The
    rule is Adam with rate 0.01, also falling along a cosine, and the steps of each parameter are at most 1 long. Kernels
    of a convolutional layer are on `ConvolutionalMonotone`. The rule is Adam with rate 0.03, which rises in the first twentieth
    of the run and then falls along a cosine. Weights of excitatory and inhibitory units are on the manifold "dale", which keeps
    their signs but does not guarantee fixed points. The rule is Adam with rate 0.03, also falling along a cosine, with a guard.

    Parameters
    ----------
    network
        The network: a `RateNetwork` or a `Stack`.
    weights
        The start: W, shape (n, n), or the parameters of the connectivity, for a `Rule` that knows them; for a `Stack` its
        trained parameters, by name. They are not changed. Alternatively the history of a run by the same rule, to continue from
        its end with the memory of the rule, or a trained model.
    stimuli
        Shape (n_stimuli, n_inputs): an array, a list, or a table with `to_numpy`. Integers and lists take the dtype of the
        network. Alternatively a `riemannrnn.data.Table`, which also holds the targets. Classes are learned with cross-entropy.
        Numbers are scaled to mean 0 and variance 1 and learned with the squared error. Alternatively a
        `riemannrnn.data.Stream`: its batches are read from disk on demand, in its order and with its batch size. A held-out
        `Table` is then also read one chunk at a time.
    labels
        Integers of shape (n_stimuli,) for cross-entropy, or a `Loss` of all the stimuli. None beside a `Table`.
    {options}
    solver, tolerance
        As for `solve_fixed_points`. Default: if the manifold makes fixed points unique, splitting, and in float32 1e-4 √n;
        otherwise "auto", and the tolerance of the dtype.
    adjoint_solver
        As for `FixedPointCost`.
    held_out
        Held-out data, which are evaluated but not learned: stimuli and labels, or stimuli and a loss, or a `Table`.
    stop
        A criterion to end before the last epoch; see `riemannrnn.training.stopping`.
    callback
        Called after each step with its number, from 1, and the history so far. It may also be a sequence of callbacks.
    record
        A `Recorder`, which records W during learning.
    checkpoints
        An existing folder for checkpoints; one is written at the start, after every `checkpoint_every` steps, after Ctrl-C and
        at the end.
    resume
        Continue from the last checkpoint in this folder. With otherwise equal arguments, the run gives the same bits as a run
        that was never stopped. This also holds on another number of cores: batches are divided as at the start of the run.
    progress
        Whether a bar on the standard error shows the progress. Default: in terminals and notebooks.

    Returns
    -------
    History
        If a step loses a fixed point or leaves the manifold, the run stops, `stopped` says why, and the results so far are
        kept. Ctrl-C has the same effect.

    Warns
    -----
    LossNotFallenWarning
        If a run that starts from weights ends with a training loss that is not below its first loss. `stopped` says so, too. A
        run that continues from a history does not warn; it only says so in `stopped`.

    Raises
    ------
    ValueError
        For an invalid option, shapes that do not fit, stimuli or targets that are not finite, an activation for which the
        manifold cannot guarantee stability, a decay on a manifold without a logarithm, or the history of another rule.
    OutsideManifoldError, SingularPointError
        For weights at the start that are not a point of the manifold.
    UnstableStartError
        Under a guard, if a stimulus of the first batch has no stable fixed point at the weights at the start.
    CheckpointError
        When resuming without an intact checkpoint, from a checkpoint with a missing or unreadable entry, or with other options
        or data than at the start of the run. When starting a new run in a folder that holds checkpoints.
    TypeError
        With checkpoints, for a `record` that is not a `Recorder`.
    RunFolderError
        If a checkpoint cannot be written; earlier checkpoints are unchanged.
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
        raise ValueError(f"the history is of {before.rule}, this run of {stepper.name}; pass its weights, history.weights")
    if resume:
        run.restore()
    elif run.checkpoints is not None:
        refuse_used(run.checkpoints)
    with shown(progress, run.steps, run.state.step) as show:
        run.callbacks = (*run.callbacks, *show)
        return run.go(f"All {options.epochs} epochs done.")


def _start(network: Model, weights: Point, given: TrainingOptions) -> Point:
    """Return the flat parameters at the start, after a check that they are finite."""
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
    """Return the network and the start on a manifold that is given by name, and the options with the rule on it.

    Weights that violate the constraint of a manifold are changed to weights that satisfy it, as `CATALOGUE` describes.
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
    data = Dataset("stimuli", stimuli, np.zeros(stimuli.shape[0], np.int64))  # no manifold uses the labels
    task, placed = rule_on(Task(network, weights, data, data, data), str(options.rule), given.manifold)
    return task.network, task.weights, replace(given, rule=placed, manifold=None)


def _resolved(given: TrainingOptions, network: Model, before: History | None, count: int) -> tuple[TrainingOptions, Rule]:
    """Return the options with the rule, the batch size and the learning rate filled in, and the rule.

    If no learning rate was given, it is the rate of the given history, or None if a range test finds it.
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
    """Check that the squared distance from the start, which the decay uses, has a known gradient.

    Raises
    ------
    ValueError
        If the rule has no manifold, or its manifold has no logarithm.
    """
    try:
        rule.manifold.log(point, map_arrays(lambda part: 0.999 * part, point))  # type: ignore[attr-defined]
    except (AttributeError, NotImplementedError, ManifoldError):
        raise ValueError(
            f"decay = {decay} needs a logarithm, and the rule {rule.name} has no manifold with one; choose 'adam', or no decay"
        ) from None


def _point(rule: Rule, weights: Point, before: History | None, model: TrainedModel | None) -> Point:
    """Return the start: the end of a history, the end of a model trained by the same rule, or a point for given weights."""
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
    """Return the default tolerance; None: the default of the dtype."""
    return single_residual(min(network.units)) if promised and network.dtype == np.float32 else None


def single_residual(n_units: int) -> float:
    """Return the default tolerance in float32 if weights may be large: `SINGLE_RESIDUAL` for each unit."""
    return float(SINGLE_RESIDUAL * n_units**0.5)


def _guard(guard: bool | StabilityGuard) -> StabilityGuard | None:
    if isinstance(guard, StabilityGuard):
        return guard
    return StabilityGuard() if guard else None
