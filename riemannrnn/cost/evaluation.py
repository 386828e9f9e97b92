"""Everything about a cost at one point W, each part computed once and when it is asked for."""

from dataclasses import replace
from functools import cached_property
from math import inf, isnan
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from manifolds import Array, Point
from riemannrnn.equilibrium.fixed_points import FixedPointError, FixedPoints
from riemannrnn.equilibrium.implicit import Implicit
from riemannrnn.runtime import held

if TYPE_CHECKING:  # a cost makes evaluations, which know it
    from riemannrnn.cost.cost import FixedPointCost


class Evaluation:
    """A cost at one point W: what learning rules and derivatives need of it, each computed once and when asked for.

    Attributes
    ----------
    fixed_points
        The fixed points of the stimuli.
    found
        Whether each stimulus has a fixed point that the cost accepts, shape (batch,).
    drive
        Their external drive, shape (batch, n).
    included
        1/m for the stimuli in the mean, 0 for those left out by the policy "mask", shape (batch, 1).
    rates, gains, inputs, recurrent
        r, f′(z), z and R Wᵀ = z − x, shape (batch, n), zero for the stimuli left out.
    outputs
        y = W_out r, shape (batch, n_outputs).
    """

    def __init__(self, cost: "FixedPointCost", fixed_points: FixedPoints, drive: Array, found: Array | None = None) -> None:
        self._cost = cost
        self.fixed_points = fixed_points
        self.drive, self.found = drive, fixed_points.converged if found is None else found
        xp, everything = array_namespace(drive), bool(array_namespace(drive).all(self.found))
        self.valid = everything or (cost.options.on_failure == "mask" and bool(xp.any(self.found)))
        count = max(int(xp.count_nonzero(self.found)), 1)
        self.included = xp.astype(self.found, drive.dtype)[:, None] / count
        # Rates that are not finite would turn the products of the whole batch into NaN.
        arrays = fixed_points.rates, fixed_points.gains, fixed_points.inputs, fixed_points.inputs - drive
        if not everything:
            arrays = tuple(xp.where(self.found[:, None], array, 0.0) for array in arrays)
        self.rates, self.gains, self.inputs, self.recurrent = arrays
        self.outputs = cost.network.outputs(self.rates)

    @property
    def weights(self) -> Point:
        """W, or the parameters of the connectivity."""
        return self.fixed_points.weights

    @cached_property
    def cost(self) -> float:
        """J(W)."""
        if not self.valid:
            return inf
        xp = array_namespace(self.drive)
        value = float(xp.sum(self._cost.loss.value(self.outputs) * self.included[:, 0]))
        return inf if isnan(value) else value

    @cached_property
    def errors(self) -> Array:
        """ℓ = ∂J/∂r, that is (1/m) ∂L/∂r, a row a stimulus, shape (batch, n)."""
        if not self.valid:
            raise self.no_gradient()
        return self._cost.network.pull_back_outputs(self._cost.loss.gradient(self.outputs)) * self.included

    @cached_property
    def adjoint(self) -> Array:
        """u = G (ℓ + Wᵀ u), shape (batch, n)."""
        return self.implicit.adjoint(self.errors)

    @cached_property
    def gradient(self) -> Point:
        """∇J = Σ u rᵀ, with the shape of W."""
        with held(self.drive):
            gradient = self.implicit.gradient(self.adjoint)
        self._cost.count("gradient", self)
        return gradient

    def tangent(self, change: Point) -> Array:
        """Return δr, the linear response of the rates to a change of the weights, shape (batch, n)."""
        return self.implicit.tangent(change)

    def hessian(self, vector: Point) -> Point:
        """Return D∇J[V], with the shape of W."""
        network, loss = self._cost.network, self._cost.loss

        def loss_hessian(rates_change: Array) -> Array:
            return network.pull_back_outputs(loss.hessian(self.outputs, network.outputs(rates_change))) * self.included

        with held(self.drive):
            product = self.implicit.hessian(self.errors, self.adjoint, vector, loss_hessian)
        self._cost.count("hessian", self)
        return product

    @cached_property
    def implicit(self) -> Implicit:
        """The linear systems at the fixed points; rates are zero for the stimuli left out.

        Raises
        ------
        FixedPointError
            Where J is infinite.
        """
        if not self.valid:
            raise self.no_gradient()
        options = self._cost.options
        included = replace(self.fixed_points, state=self.rates, gains=self.gains, inputs=self.inputs)
        solver = options.solver if options.adjoint_solver is None else options.adjoint_solver
        return Implicit(included, solver, self._cost.tolerance, options.max_iterations)

    def no_gradient(self) -> FixedPointError:
        """Return the error of an infinite cost."""
        failed, margin = int(array_namespace(self.drive).count_nonzero(~self.found)), self._cost.stable
        what = "fixed point" if margin is None else f"fixed point that is stable by {margin:g}"
        return FixedPointError(
            f"there is no gradient here: {failed} of {self.drive.shape[0]} stimuli have no {what} and J is infinite. "
            "Start from smaller weights, shorten the step, or pass on_failure='mask'.",
            self.fixed_points,
        )
