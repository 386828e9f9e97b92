"""Mini-batch training by a learning rule."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array

from manifolds import Array, OutsideManifoldError, SingularPointError, WeightManifold
from riemannrnn.equilibrium.chunks import one_blas_thread
from riemannrnn.equilibrium.fixed_points import FixedPointError
from riemannrnn.equilibrium.iteration import Solver
from riemannrnn.learning.cost import FixedPointCost
from riemannrnn.learning.losses import CrossEntropy, Loss
from riemannrnn.learning.rules import Rule, make_rule
from riemannrnn.rate_network import RateNetwork


@dataclass
class History:
    """What a training run did.

    Attributes
    ----------
    weights
        The final W: the last at which every stimulus of the batch had a fixed point.
    loss
        Mean loss of each mini-batch, before its step.
    accuracy
        Share of the stimuli of each mini-batch whose largest output is that of their label; empty for other losses.
    iterations
        Fixed-point iterations of the slowest stimulus of each mini-batch.
    stopped
        A sentence: why the run ended.
    """

    weights: Array
    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    stopped: str = ""


def train(
    network: RateNetwork,
    weights: Array,
    stimuli: Array,
    labels: Array | Loss,
    rule: str | Rule = "dW3",
    learning_rate: float = 0.1,
    batch_size: int | None = None,
    epochs: int = 1,
    seed: int | np.random.Generator | None = None,
    *,
    manifold: WeightManifold | None = None,
    solver: str | Solver = "auto",
    adjoint_solver: str | Solver | None = None,
    tolerance: float | None = None,
    callback: Callable[[int, History], None] | None = None,
) -> History:
    """Train the recurrent weights on mini-batches.

    Parameters
    ----------
    network
        The network.
    weights
        W to start from, shape (n, n), or the parameters of the connectivity, for a `Rule` that knows them; not changed.
    stimuli
        Shape (n_stimuli, n_inputs).
    labels
        Integers of shape (n_stimuli,) for cross-entropy, or a `Loss` of all the stimuli.
    rule
        "dW1" to "dW4", "geodesic_flow", "parallel_transport", or a `Rule`.
    learning_rate
        η, for the mean over the mini-batch.
    batch_size
        Stimuli a step; default: all. The last batch of an epoch holds what is left, if it does not divide them.
    epochs
        Passes through the stimuli, each in an order of its own.
    seed
        Seed of the orders.
    manifold
        The metric of the last two rules.
    solver, tolerance
        As for `solve_fixed_points`.
    adjoint_solver
        As for `FixedPointCost`.
    callback
        Called after each step with its number, from 1, and the history so far.

    Returns
    -------
    History
        Where a step loses a fixed point or leaves the manifold the run stops, `stopped` says why, and what was reached is kept;
        Ctrl-C likewise.

    Raises
    ------
    ValueError
        For a batch size or shapes that do not fit, an unknown rule, or one by name where the weights are given by factors.
    """
    count = stimuli.shape[0]
    batch_size = count if batch_size is None else batch_size
    if not 1 <= batch_size <= count:
        raise ValueError(f"batch_size = {batch_size} does not fit {count} stimuli; choose 1 to {count}")
    if not isinstance(labels, Loss) and labels.shape != (count,):
        raise ValueError(f"the labels have shape {tuple(labels.shape)}; pass one a stimulus, shape {(count,)}")
    if isinstance(weights, tuple) and isinstance(rule, str):
        raise ValueError(
            f"rule {rule!r} moves a matrix of weights, not the factors of one; minimise the problem of a FixedPointCost on "
            "FixedRank by an optimiser of pymanopt, or pass a Rule of your own"
        )
    loss = labels if isinstance(labels, Loss) else CrossEntropy(labels)
    cost = FixedPointCost(
        network, stimuli, loss, solver=solver, adjoint_solver=adjoint_solver, tolerance=tolerance, on_failure="raise"
    )
    stepper, memory = make_rule(rule, network.n_units, manifold), None
    generator = np.random.default_rng(seed)
    history = History(weights)
    xp = array_namespace(stimuli)
    # BLAS threads spin between products, and would take a core from the threads that iterate the fixed points.
    held = one_blas_thread() if is_numpy_array(stimuli) else nullcontext()
    try:
        with held:
            steps_per_epoch = ceil(count / batch_size)
            for step in range(epochs * steps_per_epoch):
                place = step % steps_per_epoch * batch_size
                if place == 0:
                    order = xp.asarray(generator.permutation(count), device=device(stimuli))
                rows = order[place : place + batch_size]
                evaluation = cost.take(rows).at(weights)
                history.loss.append(evaluation.cost)
                history.iterations.append(int(xp.max(evaluation.fixed_points.iterations)))
                if isinstance(loss, CrossEntropy):
                    history.accuracy.append(accuracy(evaluation.outputs, xp.take(loss.labels, rows, axis=0)))
                history.weights = weights
                weights, memory = stepper.step(evaluation, learning_rate, memory)
                if callback is not None:
                    callback(step + 1, history)
            history.weights, history.stopped = weights, f"All {epochs} epochs done."
    except (FixedPointError, OutsideManifoldError, SingularPointError) as error:
        history.stopped = f"Stopped at step {step + 1}: {error}"
    except KeyboardInterrupt:
        history.stopped = f"Interrupted after {len(history.loss)} steps."
    return history


def accuracy(outputs: Array, labels: Array) -> float:
    """Return the share of stimuli whose largest output is that of their label."""
    xp = array_namespace(outputs)
    return float(xp.mean(xp.astype(xp.argmax(outputs, axis=1) == labels, outputs.dtype)))
