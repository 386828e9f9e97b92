"""The stability guard: it shortens a step until its stimuli keep stable fixed points."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from math import nan
from operator import or_
from typing import Any, TypeAlias, final

from array_api_compat import array_namespace

from manifolds import Array, ManifoldError, OutsideManifoldError, Point
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.cost.finite import check_finite
from riemannrnn.equilibrium.certificate import not_stable
from riemannrnn.equilibrium.equation import take_rows
from riemannrnn.equilibrium.fixed_points import FixedPointError, FixedPoints
from riemannrnn.equilibrium.stability import spectral_abscissa
from riemannrnn.norms import row_norms
from riemannrnn.rules.rule import Rule

Layers: TypeAlias = Sequence[FixedPoints]
"""The fixed points of each layer of a network, from the lowest."""

JUMP = 3.0
"""A fixed point jumps if it misses its linear prediction by at least this many times the predicted distance."""

NOISE = 0.1
"""Smaller misses, relative to the norm of the rates, do not count as jumps: they are curvature of the response."""


@dataclass(frozen=True)
class Step:
    """A possible step.

    Attributes
    ----------
    point, velocity
        The end of the step, and its tangent vector.
    share
        The fraction of the requested step. 0: no step, and the point is the start.
    abscissa
        Largest spectral abscissa of the batch at the end: a bound, or an estimate that is exact near the margin.
    jumps
        Number of stimuli with a fixed point that would jump after a longer step.
    reason
        Why the step was shortened; empty if it was not.
    """

    point: Point
    velocity: Point
    share: float = 1.0
    abscissa: float = nan
    jumps: float = nan
    reason: str = ""


SMALLEST_SCALE = 2.0**-30
"""Smallest scale of the weights in the search for a stable start."""


class UnstableStartError(ValueError):
    """At the weights at the start, fixed points are not stable enough for the guard."""


class _LostError(Exception):
    """Some stimuli, given by their rows, would lose a stable fixed point, or their fixed point would jump."""

    def __init__(self, reason: str, rows: Array, jumps: int = 0) -> None:
        super().__init__(reason)
        self.rows, self.jumps = rows, jumps


@final
@dataclass(frozen=True)
class StabilityGuard:
    """Accepts a step if the stimuli of its batch have stable fixed points, with a margin, at its end; otherwise halves it.

    A step that makes a fixed point jump is also halved: the gradient does not describe the other fixed point, and training
    could end in a state that no longer responds to the stimuli. A step over the edge of the manifold is halved as well. If the
    last halving still fails, the step is not taken.

    Stability is first certified by one symmetric eigenvalue problem, `abscissa_bound`. If this does not suffice, all stimuli
    are surveyed. A shorter step is first tried on the stimuli that the longer step lost.

    Parameters
    ----------
    margin
        The spectral abscissa of −I + G W has to stay below minus this margin, in units of 1/τ. A stimulus that is already above
        it, because no earlier step contained it, must not come nearer to 0.
    halvings
        Most halvings of a step; after these it is not taken.
    iterations
        Most iterations for a fixed point. A fixed point that needs more is close to vanishing, and counts as lost.

    Raises
    ------
    ValueError
        For a margin outside [0, 1), no halvings or no iterations.
    """

    margin: float = 0.05
    halvings: int = 10
    iterations: int = 200

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1 or self.halvings < 1 or self.iterations < 1:
            raise ValueError(
                f"margin = {self.margin}, halvings = {self.halvings}, iterations = {self.iterations}: choose a margin in "
                "[0, 1), and some halvings and iterations"
            )

    def accept(self, rule: Rule, cost: FixedPointCost, evaluation: Evaluation, point: Point, velocity: Point) -> Step:
        """Return the longest of the halved steps that keeps the fixed points of the batch stable and without a jump.

        Parameters
        ----------
        rule
            The rule, which defines the path.
        cost, evaluation
            The cost of the batch, and its evaluation at the point.
        point, velocity
            The start of the step, and its tangent vector.

        Raises
        ------
        ManifoldError
            If a step of every length fails for a reason other than the edge of the manifold.
        """
        everyone = array_namespace(cost.batch).nonzero(evaluation.fixed_points.converged)[0]
        reason, suspects, jumps, predicted = "", None, 0, None
        for halving in range(self.halvings + 1):
            share = 0.5**halving
            step = velocity if halving == 0 else share * velocity
            try:
                end = rule.move(point, step)
                weights = rule.parameterization.weights(end)
                if suspects is not None:  # while a suspect is lost, the other stimuli need not be checked
                    self._arrive(cost, evaluation, weights, suspects)
                layers, abscissa = self._arrive(cost, evaluation, weights, everyone)
                if predicted is None:
                    predicted = evaluation.tangents(rule.parameterization.velocity(point, velocity))
                _refuse_jumps(evaluation, layers, [share * change for change in predicted], everyone)
            except OutsideManifoldError as error:
                reason = reason or str(error)
            except ManifoldError as error:
                if halving == self.halvings:
                    raise  # no length helps: the length of the step is not the fault
                reason = reason or str(error)
            except _LostError as error:
                suspects, reason, jumps = error.rows, reason or str(error), max(jumps, error.jumps)
            else:
                return Step(end, step, share, abscissa, jumps, reason)
        return Step(point, rule.zero(point), 0.0, nan, jumps, reason)

    def _arrive(self, cost: FixedPointCost, evaluation: Evaluation, weights: Point, rows: Array) -> tuple[Layers, float]:
        """Return the fixed points of some of the stimuli, by their rows, and the largest abscissa as computed by `unstable`."""
        # There may be several stable states. The guard checks the state that an evaluation finds, as the next evaluation will.
        part = cost.take(rows, max_iterations=self.iterations, on_failure="raise")
        xp = array_namespace(cost.batch)
        try:
            layers = part.at(weights).layers
        except FixedPointError as error:
            found = error.fixed_points
            missing = rows if found is None else take_rows(rows, xp.nonzero(~found.converged)[0])
            raise _LostError(str(error), missing) from error
        worst, near = self.unstable(layers)
        lost = take_rows(rows, near)
        if near.shape[0] and worst < 0:
            nearer = _abscissas(layers, near) > _abscissas(evaluation.layers, lost)
            lost = take_rows(lost, xp.nonzero(nearer)[0])
        if lost.shape[0]:
            count = f"{lost.shape[0]} of {rows.shape[0]} stimuli"
            raise _LostError(f"{count} would not be stable by {self.margin:g}, the worst with {worst:+.3g}", lost)
        return layers, worst

    def unstable(self, layers: Layers) -> tuple[float, Array]:
        """Return a bound or estimate of the largest spectral abscissa, and the rows of stimuli not stable by the margin.

        The eigenvalues of a network are the eigenvalues of all its layers.
        """
        worst, rows = zip(
            *(not_stable(layer.operator, layer.gains, self.margin, layer.time_constants) for layer in layers), strict=True
        )
        if len(layers) == 1:
            return worst[0], rows[0]
        return max(worst), array_namespace(*rows).unique_values(array_namespace(*rows).concat(rows))


def _abscissas(layers: Layers, rows: Array) -> Array:
    each = [spectral_abscissa(layer.operator, take_rows(layer.gains, rows), layer.time_constants) for layer in layers]
    return reduce(array_namespace(*each).maximum, each)


def _refuse_jumps(evaluation: Evaluation, arrived: Layers, predicted: Sequence[Array], rows: Array) -> None:
    """Raise an error for fixed points, given by their rows, that are far from the prediction of the linear response δr."""

    def jumped(layer: FixedPoints, before: FixedPoints, response: Array) -> Array:
        rates, change = take_rows(before.rates, rows), take_rows(response, rows)
        return row_norms(layer.rates - rates - change) > JUMP * row_norms(change) + NOISE * row_norms(rates)

    far = reduce(or_, map(jumped, arrived, evaluation.response.layers, predicted))
    xp = array_namespace(far)
    if count := int(xp.count_nonzero(far)):
        reason = f"{count} of {rows.shape[0]} stimuli would jump to another fixed point"
        raise _LostError(reason, take_rows(rows, xp.nonzero(far)[0]), count)


def stable_start(network: Any, weights: Point, stimuli: Array, margin: float = 0.05) -> Point:
    """Return s W with the largest s in [0, 1] for which all stimuli have fixed points that are stable by a margin.

    Parameters
    ----------
    network
        A `RateNetwork`.
    weights
        W, shape (n, n), or the parameters of the connectivity.
    stimuli
        Shape (batch, n_inputs).
    margin
        As for `StabilityGuard`.

    Raises
    ------
    ValueError
        For stimuli that are not finite.
    UnstableStartError
        If s would be below 2⁻³⁰.
    """
    check_finite("stimuli", stimuli)
    guard, scaled = StabilityGuard(margin), partial(network.connectivity.scaled, weights)

    def good(scale: float) -> bool:
        fixed_points = network.fixed_points(scaled(scale), stimuli, on_failure="mask")
        everywhere = bool(array_namespace(stimuli).all(fixed_points.converged))
        return everywhere and guard.unstable((fixed_points,))[1].shape[0] == 0

    if good(1.0):
        return weights
    low, high = 0.5, 1.0
    while not good(low):  # with zero weights every network is stable
        low, high = low / 2, low
        if low < SMALLEST_SCALE:
            raise UnstableStartError(f"not even weights {SMALLEST_SCALE:.1e} times as large are stable; choose smaller ones")
    while high - low > 2**-7 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return scaled(low)
