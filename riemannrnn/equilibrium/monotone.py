"""Fixed points for monotone weights, with a number of iterations that is known beforehand."""

from dataclasses import dataclass
from math import ceil, inf, log
from typing import TYPE_CHECKING, final

import numpy as np
from array_api_compat import array_namespace

from manifolds import Array
from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation, take_rows
from riemannrnn.equilibrium.iteration import Iteration, iterate_rows
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.solution import Solution, certified
from riemannrnn.equilibrium.solver import Prepared, Problem, Solver
from riemannrnn.network.activations import Activation, check_slopes
from riemannrnn.norms import row_norms

if TYPE_CHECKING:
    from riemannrnn.equilibrium.factors import Knowledge

AIM = 0.7
"""Inputs are iterated until the bound on the residual of their rates is this fraction of the tolerance."""

ACCELERATED_ITERATIONS = 60
"""Iterations with Anderson acceleration, which is faster but guarantees nothing, before the guaranteed iterations."""


@final
@dataclass(frozen=True)
class PeacemanRachford(Solver):
    """Peaceman–Rachford splitting of r = f(W r + x) for monotone weights, from any start in a known number of iterations.

    With C = (2 I − W)⁻¹ W the map u ↦ C (2 f(u) − u) + 2 (2 I − W)⁻¹ x contracts by the factor q = ‖E^{-1/2} C E^{1/2}‖₂ < 1
    if I − W = E (S + K), S positive definite, K skew and E = diag(scales), for all f with slopes in [0, 1]. The residual of
    the rates is at most ½ ‖2 I − W‖₂ times the length of the last step, which gives the number of steps. The same holds
    for adjoints and tangents. Anderson acceleration goes first and usually leaves nothing to do.

    Parameters
    ----------
    scales
        The diagonal of E, shape (n,) or (n, 1): exp ε for a point of `ScaledMonotoneManifold`. Default: ones, for points of
        `MonotoneManifold`.

    Raises
    ------
    ValueError
        On solving, for weights with q ≥ 1, and for activations with a slope outside [0, 1].

    References
    ----------
    Lions and Mercier, SIAM Journal on Numerical Analysis 16(6), 1979, proposition 4; Winston and Kolter, *Monotone operator
    equilibrium networks*, NeurIPS 2020.
    """

    scales: Array | None = None

    @property
    def name(self) -> str:
        return "peaceman-rachford"

    def prepare(self, problem: Problem, known: "Knowledge | None" = None) -> Prepared:
        """Return the solver prepared for a problem: a `StatedSplitting` if there are rows."""
        if problem.equation.drive.shape[0] == 0:  # an empty batch has no first step to measure
            return Picard().prepare(problem)
        if isinstance(problem.equation.activation, Activation):
            check_slopes(problem.equation.activation)
        return StatedSplitting(problem, self.scales)


class StatedSplitting(Prepared):
    """The splitting map of an equation, its contraction, and the number of iterations that suffices for all rows.

    Attributes
    ----------
    contraction
        q.
    iterations
        Iterations after which the residual of every row is certain to be below the tolerance, up to rounding.
    """

    def __init__(self, problem: Problem, scales: Array | None) -> None:
        self.problem, equation, start = problem, problem.equation, problem.start
        self._start = equation.drive if start is None else equation.inputs(start)
        roots = _roots(equation, scales)
        try:
            self._map = ChordMap.splitting(equation)
        except np.linalg.LinAlgError:  # 2 is an eigenvalue of W
            raise _not_monotone(inf) from None
        self.contraction = self._contraction(roots)
        self._aim = AIM * problem.tolerance / max(1.0, self._spread() / 2)
        self.iterations = ACCELERATED_ITERATIONS + self._enough(roots)

    @property
    def name(self) -> str:
        return f"peaceman-rachford (at most {self.iterations} iterations)"

    def solve(self, rows: slice) -> Solution:
        xp, budget = array_namespace(self._start), self.problem.max_iterations
        equation, fixed_point_map = self.problem.equation.take(rows), self._map.take(rows)
        start = take_rows(self._start, rows)
        quick = min(ACCELERATED_ITERATIONS, budget)
        solution, reached = self._run(Anderson(), equation, fixed_point_map, start, quick)
        if bool(xp.all(solution.converged)) or quick == budget:
            return solution
        left = xp.nonzero(~solution.converged)[0]
        equation, fixed_point_map = equation.take(left), fixed_point_map.take(left)
        start, reached = take_rows(start, left), take_rows(reached, left)
        nearer = _step_lengths(fixed_point_map, reached) < _step_lengths(fixed_point_map, start)  # False for NaN
        start = xp.where(nearer[:, None], reached, start)
        rest, _ = self._run(Picard(), equation, fixed_point_map, start, min(self.iterations, budget) - quick)
        return solution.completed(rest)

    def _run(
        self, solver: Iteration, equation: FixedPointEquation, fixed_point_map: ChordMap, start: Array, budget: int
    ) -> tuple[Solution, Array]:
        outcome = iterate_rows(solver, fixed_point_map, start, self._aim, budget, images=True)
        return certified(equation, equation.respond(outcome.state), outcome.iterations, self.problem.tolerance), outcome.state

    def _contraction(self, roots: Array) -> float:
        contraction = self._map.propagator.spectral_norm(roots) / 2  # q may be closer to 1 than float32 resolves
        if not contraction < 1:
            raise _not_monotone(contraction)
        return contraction

    def _spread(self) -> float:
        """Return ‖2 I − W‖₂."""
        operator = self.problem.equation.operator
        return operator.spectral_norm(array_namespace(self._start).ones_like(self._start[0, :]), shift=-2.0)

    def _enough(self, roots: Array) -> int:
        """Return the k for which q^k times the first step, in the norm of the contraction, is below the aim."""
        xp = array_namespace(roots)
        step = self._map.image(self._start) - self._start
        lengths = row_norms(xp.astype(step, xp.float64) * roots) / float(xp.min(roots))
        farthest = float(xp.max(xp.where(xp.isfinite(lengths), lengths, 0.0)))
        if not farthest > self._aim:
            return 1
        return 1 + ceil(log(farthest / max(self._aim, 1e-300)) / -log(self.contraction))


def _roots(equation: FixedPointEquation, scales: Array | None) -> Array:
    """Return the diagonal of E^{-1/2}, or of E^{1/2} for the transpose, float64, shape (n,)."""
    xp = array_namespace(equation.drive)
    if scales is None:
        return xp.ones_like(equation.drive[0, :], dtype=xp.float64)
    scales, n = xp.reshape(xp.astype(scales, xp.float64), (-1,)), equation.drive.shape[1]
    if scales.shape[0] != n or not bool(xp.all((scales > 0) & xp.isfinite(scales))):
        raise ValueError(
            f"the {scales.shape[0]} scales, from {float(xp.min(scales)):g}, are not {n} positive numbers; pass one a unit"
        )
    roots = scales**0.5
    return roots if equation.operator.transposed else 1 / roots


def _not_monotone(contraction: float) -> ValueError:
    return ValueError(
        f"the splitting map contracts by ‖(2I − W)⁻¹W‖ = {contraction:.6g}, which is not below 1: the symmetric part of I − W, "
        "in the norm of the scales, is not positive definite, and no number of iterations can be promised. Choose "
        "solver='auto', or weights of a monotone manifold, with their scales"
    )


def _step_lengths(fixed_point_map: ChordMap, inputs: Array) -> Array:
    return row_norms(fixed_point_map.image(inputs) - inputs)
