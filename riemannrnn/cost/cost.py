"""The fixed-point cost J(W) = mean over stimuli of L(W_out r(W)), with its derivatives and counts of evaluations."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from time import process_time
from typing import Literal, TypeAlias

from array_api_compat import array_namespace, device

from manifolds import Array, Point
from manifolds.deferred import Manifold, pymanopt
from manifolds.points import PointMemory, all_finite, arrays_of, copied
from manifolds.summary import Summarised
from riemannrnn.cost.counts import Evaluations
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.cost.losses import Loss
from riemannrnn.cost.problem import problem_on
from riemannrnn.equilibrium.certificate import check_margin, rows_not_stable
from riemannrnn.equilibrium.equation import take_rows
from riemannrnn.equilibrium.fixed_points import FixedPointError, default_tolerance
from riemannrnn.equilibrium.options import OnFailure, SolverOptions
from riemannrnn.equilibrium.solver import Solver
from riemannrnn.models import Model, Response
from riemannrnn.runtime import held

Kind: TypeAlias = Literal["cost", "gradient", "hessian"]


class FixedPointCost(Summarised):
    """J(W) = (1/m) Σ L(W_out r), where r = f(W r + x) for each of m stimuli.

    Quantities that the cost, its gradient and its Hessian share at a point are computed once. J(W) does not depend on earlier
    evaluations: the fixed points start from f(x) at every W, or from the same `initial_rates`.

    Parameters
    ----------
    network
        The network: a `RateNetwork`, or a `Stack`; for a `Stack`, W stands for the parameters that it trains.
    stimuli
        Shape (m, n_inputs).
    loss
        Loss of the outputs.
    solver, tolerance, max_iterations
        As for `solve_fixed_points`.
    adjoint_solver
        The solver of adjoints and tangents, if it differs. `Neumann(k)` makes the derivatives inexact.
    on_failure
        The value of J if a stimulus has no fixed point. "inf" makes J = +∞, and every line search then takes a shorter step;
        "mask" removes the stimulus from the mean; "raise" raises an error.
    initial_rates
        The start of the fixed points, shape (m, n), for a loop that knows rates close to them; for several layers a sequence of
        such arrays. A stimulus that fails from there is solved again from f(x). Default: f(x).
    stable
        A margin in [0, 1), in units of 1/τ. If the spectral abscissa of −I + G W is not below minus this margin, the stimulus
        counts as having no fixed point (`certificate.rows_not_stable`). None: stability is not checked.
    observer
        Called after each new evaluation with its kind, the weights and the value of J, for recording.

    Attributes
    ----------
    evaluations
        The counts so far.
    batch
        The stimuli as the model prepared them; for a network with a fixed read-in the drive of the units, shape (m, n).
    options
        The `SolverOptions`.
    tolerance
        The tolerance of fixed points and linear systems.
    stable
        As passed.

    Raises
    ------
    ValueError
        For an unknown policy, a margin outside [0, 1), no stimuli, or stimuli that do not fit the network.

    Examples
    --------
    >>> import numpy as np
    >>> from manifolds import PullbackManifold, Resolvent
    >>> from pymanopt.optimizers import ConjugateGradient
    >>> from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork
    >>> net = RateNetwork(n_units=10, n_inputs=4, n_outputs=2, seed=0)
    >>> cost = FixedPointCost(net, np.eye(4), CrossEntropy(np.array([0, 1, 0, 1])))
    >>> start = net.initial_weights()
    >>> problem = cost.problem(PullbackManifold(Resolvent(), 10))
    >>> result = ConjugateGradient(verbosity=0, max_iterations=5).run(problem, initial_point=start)
    >>> result.cost < cost(start)
    True
    """

    def __init__(
        self,
        network: Model,
        stimuli: Array,
        loss: Loss,
        *,
        solver: str | Solver = "auto",
        adjoint_solver: str | Solver | None = None,
        tolerance: float | None = None,
        max_iterations: int = 1000,
        on_failure: OnFailure = "inf",
        initial_rates: Array | None = None,
        stable: float | None = None,
        observer: Callable[[Kind, Point, float], None] | None = None,
    ) -> None:
        self.options = SolverOptions(solver, adjoint_solver, tolerance, max_iterations, on_failure)
        check_margin("stable", stable, network.slowest)
        self.model, self.loss, self.observer = network, loss, observer
        self.evaluations = Evaluations()
        self.batch = network.prepare(stimuli)
        if self.batch.shape[0] == 0:
            raise ValueError("the batch has no stimuli: the mean over none is not defined; pass at least one row")
        self.stable = stable
        self._initial_rates = None if initial_rates is None else arrays_of(initial_rates)
        self._memory: PointMemory[Evaluation] = PointMemory()

    @property
    def tolerance(self) -> float:
        """The tolerance of fixed points and linear systems."""
        return default_tolerance(self.batch) if self.options.tolerance is None else self.options.tolerance

    @property
    def solving(self) -> SolverOptions:
        """The options for solving fixed points, adjoints and tangents, including the tolerance."""
        return replace(self.options, tolerance=self.tolerance)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"stimuli": self.batch.shape[0], "loss": repr(self.loss), "network": repr(self.model)}

    def __call__(self, weights: Point) -> float:
        """Return J(W), a Python float; +∞ under the policy "inf" if a fixed point is missing, never NaN."""
        return self.at(weights).cost

    def gradient(self, weights: Point) -> Point:
        """Return the Euclidean gradient ∇J, with the shape of W or of each parameter; by name if the parameters are named.

        Raises
        ------
        FixedPointError
            If J is infinite, or an adjoint cannot be solved.
        """
        return self._as_given(weights, copied(self.at(weights).gradient))

    def hessian(self, weights: Point, vector: Point) -> Point:
        """Return the Euclidean Hessian along V, D∇J[V], with the shape of the gradient; raises as `gradient` does.

        V is a change of W as the manifold embeds it: a matrix, or an argument of `Connectivity.change`.
        """
        return self._as_given(weights, self.at(weights).hessian(self.model.flat(vector)))

    def at(self, weights: Point) -> Evaluation:
        """Return everything about the point: fixed points, outputs, and their derivatives, computed when they are asked for."""
        return self._memory.recall(self.model.flat(weights), self._evaluate)

    def forget(self) -> None:
        """Free the memory of what was computed at points. It is computed again when it is asked for."""
        self._memory.forget()

    def take(
        self,
        rows: Array,
        initial_rates: Array | None = None,
        max_iterations: int | None = None,
        on_failure: OnFailure | None = None,
    ) -> "FixedPointCost":
        """Return the cost of some of the stimuli, for mini-batches. Given rates are used as `initial_rates`.

        `max_iterations` applies if it is below the limit of this cost. `on_failure` replaces the policy of this cost.
        """
        part = self._without_memory()
        part.loss, part.batch = self.loss.take(rows), take_rows(self.batch, rows)
        part._initial_rates = None if initial_rates is None else arrays_of(initial_rates)
        most = self.options.max_iterations
        part.options = replace(
            self.options, max_iterations=min(max_iterations or most, most), on_failure=on_failure or self.options.on_failure
        )
        return part

    def problem(self, manifold: Manifold) -> pymanopt.Problem:
        """Return the problem of minimising J on a manifold, for any optimiser of pymanopt.

        The manifold's `Parameterization` maps points to weights. On other manifolds the points are the weights.

        Raises
        ------
        ValueError
            For a manifold with points that are stable by construction, if the activation has a slope outside [0, 1].
        """
        return problem_on(manifold, self)

    def _evaluate(self, weights: Point) -> Evaluation:
        if not all_finite(weights):  # a diverged run ends with this reason; a call with bad arguments fails elsewhere
            raise FixedPointError("the weights hold NaN or infinity: the step before was too long. Shorten it.")
        policy: OnFailure = "raise" if self.options.on_failure == "raise" else "mask"
        with held(self.batch):
            response = self._respond(weights).under(policy)
            # Without the memory, which holds evaluations: of a cycle the arrays would be freed at some later time.
            evaluation = Evaluation(self._without_memory(), response, self._found(response))
        if policy == "raise" and not evaluation.valid:
            raise evaluation.no_gradient()
        self.evaluations.iterations += int(array_namespace(self.batch).max(response.fixed_points.iterations))
        self.count("cost", evaluation)
        return evaluation

    def _without_memory(self) -> "FixedPointCost":
        """Return the same cost with an empty memory of its own."""
        alone = copy(self)
        alone._memory = PointMemory()
        return alone

    def _respond(self, weights: Point) -> Response:
        """Return the response. Stimuli that fail from given rates are solved again from f(x) before they count as lost."""
        solving = self.solving
        warm = self.model.respond(weights, self.batch, solving, self._initial_rates)
        if self._initial_rates is None:
            return warm
        left = array_namespace(self.batch).nonzero(~warm.converged)[0]
        if not left.shape[0]:
            return warm
        return warm.completed(self.model.respond(weights, take_rows(self.batch, left), solving))

    def _found(self, response: Response) -> Array:
        """Return whether each stimulus has a fixed point; if there is a margin, one that is stable by the margin."""
        converged = response.converged
        if self.stable is None:
            return converged
        xp, started = array_namespace(converged), process_time()
        everyone = xp.arange(converged.shape[0], device=device(converged))
        for layer in response.layers:
            gains = xp.where(response.converged[:, None], layer.gains, 0.0)
            unstable = rows_not_stable(layer.operator, gains, self.stable, layer.time_constants)
            converged = converged & xp.all(everyone[:, None] != unstable, axis=1)
        self.evaluations.stability_seconds += process_time() - started
        return converged

    def _as_given(self, given: Point, flat: Point) -> Point:
        """Return a flat gradient in the form of the given parameters: by name, or flat."""
        return self.model.named(flat) if isinstance(given, Mapping) else flat

    def count(self, kind: Kind, evaluation: Evaluation) -> None:
        """Count an evaluation, and call the observer."""
        setattr(self.evaluations, kind, getattr(self.evaluations, kind) + 1)
        if self.observer is not None:
            self.observer(kind, evaluation.weights, evaluation.cost)
