"""The stability guard: a step is taken only as far as its stimuli keep stable fixed points."""

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
"""A fixed point jumps if it misses its linear prediction by so many times the distance that was predicted, or more."""

NOISE = 0.1
"""Misses below this share of the norm of the rates do not count as jumps: they are curvature of the response."""


@dataclass(frozen=True)
class Step:
    """A step that may be taken.

    Attributes
    ----------
    point, velocity
        Where it ends, and the tangent vector along which it goes.
    share
        What part of the step asked for it is; 0: none, the point is the start.
    abscissa
        Largest spectral abscissa of the batch at its end: a bound of it, or an estimate, exact where it is about the margin.
    jumps
        Number of stimuli whose fixed point a longer step would have made jump.
    reason
        Why it was shortened; empty if it was not.
    """

    point: Point
    velocity: Point
    share: float = 1.0
    abscissa: float = nan
    jumps: float = nan
    reason: str = ""


SMALLEST_SCALE = 2.0**-30
"""Of weights, where a stable start is looked for."""


class UnstableStartError(ValueError):
    """The weights to start from have fixed points that are not stable enough for the guard."""


class _LostError(Exception):
    """Some stimuli, given by their rows, would have no fixed point that is stable enough, or would jump to another."""

    def __init__(self, reason: str, rows: Array, jumps: int = 0) -> None:
        super().__init__(reason)
        self.rows, self.jumps = rows, jumps


@final
@dataclass(frozen=True)
class StabilityGuard:
    """Accepts a step if the stimuli of its batch have fixed points at its end, stable ones with a margin; else halves it.

    A step that makes a fixed point jump is halved, too: the gradient says nothing about the other fixed point, and training may
    end in a state that no longer responds. A step over the edge of the manifold is halved as well. If the last halving still
    fails, the step is not taken.

    Stability is first certified by one symmetric eigenvalue problem, `abscissa_bound`; where that does not suffice, all stimuli
    are surveyed. Shorter steps are tried on those that a longer one lost, before the others.

    Parameters
    ----------
    margin
        The spectral abscissa of −I + G W has to stay below minus this, in units of 1/τ. A stimulus that begins nearer to 0 than
        that, since no step before has looked at it, may come no nearer.
    halvings
        How often a step is halved at most; after that it is not taken.
    iterations
        Fixed points that take more are too near to be lost, and count as lost.

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
        """Return the longest of the halved steps that keeps the fixed points of the batch, stable and without a jump.

        Parameters
        ----------
        rule
            The rule, which knows the path.
        cost, evaluation
            The cost of the batch, and what is known at the point.
        point, velocity
            Where the step begins, and its tangent vector.

        Raises
        ------
        ManifoldError
            If a step of every length fails, for another reason than the edge of the manifold.
        """
        everyone = array_namespace(cost.batch).nonzero(evaluation.fixed_points.converged)[0]
        reason, suspects, jumps, predicted = "", None, 0, None
        for halving in range(self.halvings + 1):
            share = 0.5**halving
            step = velocity if halving == 0 else share * velocity
            try:
                end = rule.move(point, step)
                weights = rule.parameterization.weights(end)
                if suspects is not None:  # while one of them is lost, the others need not be looked at
                    self._arrive(cost, evaluation, weights, suspects)
                layers, abscissa = self._arrive(cost, evaluation, weights, everyone)
                if predicted is None:
                    predicted = evaluation.tangents(rule.parameterization.velocity(point, velocity))
                _refuse_jumps(evaluation, layers, [share * change for change in predicted], everyone)
            except OutsideManifoldError as error:
                reason = reason or str(error)
            except ManifoldError as error:
                if halving == self.halvings:
                    raise  # no length helps: the fault is not that of the step
                reason = reason or str(error)
            except _LostError as error:
                suspects, reason, jumps = error.rows, reason or str(error), max(jumps, error.jumps)
            else:
                return Step(end, step, share, abscissa, jumps, reason)
        return Step(point, rule.zero(point), 0.0, nan, jumps, reason)

    def _arrive(self, cost: FixedPointCost, evaluation: Evaluation, weights: Point, rows: Array) -> tuple[Layers, float]:
        """Return the fixed points of some of the stimuli, by their rows, and their largest abscissa as `unstable` tells it."""
        # Several stable states may be there: those count that an evaluation finds by itself, as the next one will.
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
        """Return a bound or an estimate of the largest spectral abscissa, and the rows of stimuli not stable by the margin.

        The eigenvalues of a network are those of its layers together.
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
    """Refuse fixed points, given by their rows, that are far from where the linear response δr to the step predicts."""

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
    while not good(low):  # at zero every network is stable
        low, high = low / 2, low
        if low < SMALLEST_SCALE:
            raise UnstableStartError(f"not even weights {SMALLEST_SCALE:.1e} times as large are stable; choose smaller ones")
    while high - low > 2**-7 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return scaled(low)
