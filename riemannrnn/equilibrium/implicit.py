"""Implicit derivatives of fixed points to second order; no matrix is formed for any stimulus.

Notation, rows of a batch: R rates, z = W r + x, G = diag f′(z), ℓ = ∂L/∂r, u the adjoint, V a change of W.
Source: Zhu & Rosenbaum (2024), equation for ΔW1; second order by differentiating it once more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from operator import add

from manifolds import Array
from manifolds.points import Point, map_arrays
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointEquation, finite_rows
from riemannrnn.equilibrium.factors import Knowledge
from riemannrnn.equilibrium.fixed_points import FixedPointError, FixedPoints
from riemannrnn.equilibrium.solution import Solution
from riemannrnn.equilibrium.solver import Problem, Solver
from riemannrnn.equilibrium.solving import solve_equation, solver_of
from riemannrnn.network.operator import Operator
from riemannrnn.runtime import summed


@dataclass(frozen=True)
class LinearSolution(Solution):
    """Adjoints or tangents of a batch of stimuli, with the convergence of each.

    Attributes
    ----------
    state, inputs, gains
        s, which is u or δr; T s + d; and g, shape (batch, n).
    residual
        ‖g ∘ (T s + d) − s‖₂ relative to the largest entry of g ∘ d in the batch times √n, shape (batch,).
    converged
        Whether the residual is at most the tolerance or at rounding, and the system is not singular, shape (batch,).
    singular
        Whether the residual is at rounding only because ‖s‖ is large: the residual or 4 machine epsilons times ‖s‖ exceeds the
        tolerance plus 1 % of ‖g ∘ d‖, in the units of the residual. Then I − G W is singular to working precision, shape
        (batch,).
    finite
        Whether g ∘ d is finite, shape (batch,).
    iterations
        Iterations that each stimulus took, shape (batch,).
    solver, tolerance
        The name of the solver, for the automatic solver also its choice; the requested tolerance.
    """

    finite: Array
    solver: str
    tolerance: float

    @property
    def status(self) -> list[str]:
        """A sentence for each stimulus."""
        return self.sentences(self.tolerance)

    def required(self, what: str) -> Array:
        """Return the states, or raise `FixedPointError` if one is not solved; `what` names the system in the message."""
        xp = namespace_of(self.state)
        if bool(xp.all(self.converged)):
            return self.state
        failed = xp.nonzero(~self.converged)[0]
        first = int(failed[0])
        raise FixedPointError(
            f"the {what} of {failed.shape[0]} of {self.state.shape[0]} stimuli is not solved; the first is stimulus {first} "
            f"with a residual of {float(self.residual[first]):.1e}, above the tolerance {self.tolerance:.1e}: "
            f"{self._cause(first)}"
        )

    def _cause(self, stimulus: int) -> str:
        """Return why a stimulus is not solved, and what to do."""
        count = int(self.iterations[stimulus])
        if not bool(self.finite[stimulus]):
            return "its right-hand side holds NaN or infinity. Look for them in the targets, the loss or the direction."
        if bool(self.singular[stimulus]):
            return (
                "I − G W is singular there to working precision: the derivative does not exist or cannot be computed. "
                "Shorten the step that led here, or compute in float64."
            )
        if not isfinite(float(self.residual[stimulus])):
            return (
                f"{self.solver} diverged within {count} iterations. Choose solver='auto'. If that fails too, I − G W is close "
                "to singular there: shorten the step that led here."
            )
        return (
            f"{self.solver} has not converged in {count} iterations, perhaps because I − G W is close to singular there. "
            "Shorten the step that led here, raise max_iterations, or choose solver='auto'."
        )


@dataclass(frozen=True)
class Implicit:
    """Linear systems at the fixed points of a batch, solved by the same solvers as the fixed points.

    Parameters
    ----------
    fixed_points
        The fixed points. Rates that are not finite would spoil sums over stimuli.
    solver, tolerance, max_iterations
        As for `solve_fixed_points`. The residual is the residual of s = g ∘ (T s + d), relative to the largest entry of g ∘ d
        in the batch times √n.

    Raises
    ------
    FixedPointError
        From every method except `solve_adjoint` and `solve_tangent`, if the system of a converged stimulus is not solved to the
        tolerance: I − G W is singular or close to singular, or the solver does not suit the system. Never from an inexact
        solver, such as `Neumann`.
    """

    fixed_points: FixedPoints
    solver: str | Solver = "auto"
    tolerance: float | None = None
    max_iterations: int = 1000

    def adjoint(self, errors: Array) -> Array:
        """Return u = G (ℓ + Wᵀ u), shape (batch, n), for errors ℓ with this shape."""
        return self._required(self.solve_adjoint(errors), "adjoint")

    def solve_adjoint(self, errors: Array) -> LinearSolution:
        """Return the adjoints with their residuals and convergence."""
        return self._solve(self.operator.transpose, errors)

    def tangent(self, vector: Point) -> Array:
        """Return δr = (I − G W)⁻¹ G V r, the change of the rates along a change V of the parameters, shape (batch, n)."""
        return self._required(self.solve_tangent(vector), "tangent")

    def response(self, drive: Array) -> Array:
        """Return s = G (W s + d), the change of the rates by a small change d of the drive, shape (batch, n)."""
        return self._required(self._solve(self.operator, drive), "response")

    def inputs_change(self, vector: Point, rates_change: Array) -> Array:
        """Return δz = V r + W δr, the change of the inputs along V, given the change δr of the rates, shape (batch, n)."""
        return self.change(vector).apply(self.fixed_points.rates) + self.operator.apply(rates_change)

    def state_gradient(self, inputs_covectors: Array, rates_covectors: Array | float = 0.0) -> Point:
        """Return the gradient of Σ ⟨c, z⟩ + ⟨ℓ, r⟩ in the parameters, Σ (c + u) rᵀ with u the adjoint of ℓ + Wᵀ c."""
        adjoint = self.adjoint(rates_covectors + self.operator.transpose.apply(inputs_covectors))
        return self.gradient(inputs_covectors + adjoint)

    @property
    def curvature(self) -> Array:
        """f″(z), shape (batch, n)."""
        return self.fixed_points.activation.second_derivative(self.fixed_points.inputs, self.fixed_points.rates)

    def solve_tangent(self, vector: Point) -> LinearSolution:
        """Return the tangents with their residuals and convergence."""
        return self._solve(self.operator, self.change(vector).apply(self.fixed_points.rates))

    def gradient(self, adjoint: Array, rates: Array | None = None) -> Point:
        """Return Σ u rᵀ, the gradient of Σ L(r) in the parameters, with r at the fixed points unless other rates are given."""
        rates = self.fixed_points.rates if rates is None else rates
        return summed(self.operator.accumulate, adjoint, rates)

    def hessian(self, errors: Array, adjoint: Array, vector: Point, loss_hessian: Callable[[Array], Array]) -> Point:
        """Return D∇J[V] = Σ (δu rᵀ + u δrᵀ).

        Parameters
        ----------
        errors, adjoint
            ℓ and its adjoint u, shape (batch, n).
        vector
            V, a change of W in the form of `Connectivity.change`; for dense weights an array of their shape.
        loss_hessian
            δr ↦ ∇²L δr on rows, shape (batch, n).
        """
        rates_change = self.tangent(vector)
        inputs_change, errors_change = self.inputs_change(vector, rates_change), loss_hessian(rates_change)
        errors_change = errors_change + self.change(vector).transpose.apply(adjoint)
        adjoint_change = self.adjoint_change(errors, adjoint, inputs_change, errors_change)
        return map_arrays(add, self.gradient(adjoint_change), self.gradient(adjoint, rates_change))

    def adjoint_change(self, errors: Array, adjoint: Array, inputs_change: Array, errors_change: Array) -> Array:
        """Return δu = δG (ℓ + Wᵀ u) + G (δℓ + Vᵀ u + Wᵀ δu), the change of the adjoint u of ℓ, shape (batch, n).

        Parameters
        ----------
        errors, adjoint
            ℓ and u, shape (batch, n).
        inputs_change
            δz, the change of the inputs, which changes G, shape (batch, n).
        errors_change
            δℓ + Vᵀ u, with V the change of the weights, shape (batch, n).
        """
        transpose = self.operator.transpose
        # δu = c + v with c = δG (ℓ + Wᵀ u), so v solves another adjoint equation: v = G (Wᵀ v + …).
        direct = self.curvature * inputs_change * (errors + transpose.apply(adjoint))
        return direct + self.adjoint(errors_change + transpose.apply(direct))

    @property
    def operator(self) -> Operator:
        """W, the recurrent weights at the fixed points."""
        return self.fixed_points.operator

    def change(self, vector: Point) -> Operator:
        """Return the operator of a change V of W, given in the form of `Connectivity.change`."""
        connectivity = self.fixed_points.connectivity
        return connectivity.bind(connectivity.change(vector))

    def _required(self, solution: LinearSolution, what: str) -> Array:
        return solution.required(what) if solver_of(self.solver).exact else solution.state

    def _solve(self, operator: Operator, drive: Array) -> LinearSolution:
        fixed_points = self.fixed_points
        xp = namespace_of(drive)
        # Stimuli without a fixed point get the trivial system s = 0, which costs nothing and affects no other stimulus.
        gains, there = fixed_points.gains, fixed_points.converged[:, None]
        if not bool(xp.all(there)):
            drive, gains = xp.where(there, drive, 0.0), xp.where(there, gains, 0.0)
        tolerance = fixed_points.tolerance if self.tolerance is None else self.tolerance
        return solve_linear(operator, drive, gains, self.solver, tolerance, self.max_iterations, known=fixed_points.known)


def solve_linear(
    operator: Operator,
    drive: Array,
    gains: Array,
    solver: str | Solver,
    tolerance: float,
    max_iterations: int,
    known: Knowledge | None = None,
) -> LinearSolution:
    """Solve s = g ∘ (T s + d) for every row, using what the solver of the fixed points learnt about T."""
    source = gains * drive
    largest, finite = _largest(source)
    # In units of the largest drive of the batch: gradients of a mean over stimuli and of a sum are equally accurate.
    scale = largest * drive.shape[1] ** 0.5 or 1.0
    equation = FixedPointEquation(operator, drive / scale, gains)
    solution, prepared = solve_equation(Problem(equation, None, tolerance, max_iterations), solver, known)
    state, inputs = solution.state, solution.inputs
    state *= scale
    inputs *= scale
    arrays = vars(solution) | {"state": state, "inputs": inputs}
    return LinearSolution(**arrays, finite=finite, solver=prepared.name, tolerance=tolerance)


def _largest(array: Array) -> tuple[float, Array]:
    """Return the largest finite absolute value of an array, 0 if there is none, and whether each row is finite."""
    xp = namespace_of(array)
    finite = xp.ones_like(array[:, 0], dtype=xp.bool)
    if array.shape[0] == 0:
        return 0.0, finite
    largest = max(float(xp.max(array)), -float(xp.min(array)))
    if isfinite(largest):
        return largest, finite
    return float(xp.max(xp.where(xp.isfinite(array), xp.abs(array), 0.0))), finite_rows(array)
