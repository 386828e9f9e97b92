"""A cost at one point, with each part computed once, on first use."""

from functools import cached_property
from math import inf, isnan
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from manifolds import Array, Point
from riemannrnn.equilibrium.fixed_points import FixedPointError, FixedPoints
from riemannrnn.equilibrium.implicit import Implicit
from riemannrnn.models import Response
from riemannrnn.runtime import held

if TYPE_CHECKING:  # `cost` imports this module
    from riemannrnn.cost.cost import FixedPointCost


class Evaluation:
    """A cost at one point: the quantities that learning rules and derivatives need, each computed once, on first use.

    `rates`, `gains`, `inputs`, `recurrent`, `errors`, `adjoint` and `implicit` belong to the highest layer. Rules and metrics
    for networks with a single layer use them.

    Attributes
    ----------
    response
        The response of the model to the stimuli, with zeros for the stimuli left out.
    found
        Whether each stimulus has fixed points that the cost accepts, shape (batch,).
    batch
        The stimuli as the model prepared them, shape (batch, inputs).
    outputs
        y = W_out r, shape (batch, n_outputs).
    included
        The share of each stimulus in the mean, shape (batch, 1): without weights it is 1/m, and 0 for stimuli left out by the
        policy "mask".
    """

    def __init__(self, cost: "FixedPointCost", response: Response, found: Array | None = None) -> None:
        self._cost, self._whole, self.batch = cost, response, response.batch
        self.found = response.converged if found is None else found
        xp, everything = array_namespace(self.batch), bool(array_namespace(self.batch).all(self.found))
        self.included = cost.loss.shares(self.found, self.batch.dtype)[:, None]
        masked = cost.options.on_failure == "mask" and bool(xp.any(self.included > 0))
        self.valid = everything or masked or not bool(xp.any(cost.loss.lost(self.found)))
        # Rates that are not finite would turn products of the whole batch into NaN.
        self.response = response if everything else response.kept(self.found)
        self.outputs = self.response.outputs

    @property
    def weights(self) -> Point:
        """The parameters, flat: W, or the parameters of the connectivity if only these are trained."""
        return self.response.parameters

    @property
    def fixed_points(self) -> FixedPoints:
        """The fixed points of the highest layer, including stimuli left out; `converged` is True if all layers converged."""
        return self._whole.fixed_points

    @property
    def layers(self) -> tuple[FixedPoints, ...]:
        """The fixed points of all layers, from the lowest, including stimuli left out."""
        return self._whole.layers

    @property
    def rates(self) -> Array:
        """r, shape (batch, n)."""
        return self.response.layers[-1].rates

    @property
    def gains(self) -> Array:
        """f′(z), shape (batch, n)."""
        return self.response.layers[-1].gains

    @property
    def inputs(self) -> Array:
        """z, shape (batch, n)."""
        return self.response.layers[-1].inputs

    @cached_property
    def averaging(self) -> Array:
        """Shares that add up to 1, for means over the stimuli; `included` may not, for weighted stimuli in a mini-batch."""
        total = float(array_namespace(self.batch).sum(self.included))
        return self.included if self._cost.loss.relative_weights is None or not total else self.included / total

    @cached_property
    def recurrent(self) -> Array:
        """R Wᵀ = z − x, shape (batch, n); zero for the stimuli left out."""
        xp, whole = array_namespace(self.batch), self._whole.layers[-1].inputs - self.batch
        return whole if self.response is self._whole else xp.where(self.found[:, None], whole, 0.0)

    @cached_property
    def cost(self) -> float:
        """J."""
        if not self.valid:
            return inf
        xp = array_namespace(self.batch)
        value = float(xp.sum(self._cost.loss.value(self.outputs) * self.included[:, 0]))
        return inf if isnan(value) else value

    @cached_property
    def errors(self) -> Array:
        """ℓ = ∂J/∂r, that is (1/m) ∂L/∂r, one row for each stimulus, shape (batch, n)."""
        if not self.valid:
            raise self.no_gradient()
        return self.response.pull_back(self._output_gradient) * self.included

    @property
    def adjoint(self) -> Array:
        """u = G (ℓ + Wᵀ u), shape (batch, n)."""
        return self._adjoints[1][-1]

    @cached_property
    def gradient(self) -> Point:
        """The gradient with respect to the parameters, flat; if only W is trained ∇J = Σ u rᵀ, with the shape of W."""
        with held(self.batch):
            gradient = self.response.gradient(self._adjoints[1], self._output_errors)
        self._cost.count("gradient", self)
        return gradient

    def tangents(self, change: Point) -> tuple[Array, ...]:
        """Return δr, the linear response of the rates of each layer to a change of the parameters, shapes (batch, n)."""
        if not self.valid:
            raise self.no_gradient()
        return self.response.tangents(change)

    def hessian(self, vector: Point) -> Point:
        """Return the change of the gradient along a change of the parameters, D∇J[V], flat."""
        loss = self._cost.loss

        def loss_hessian(outputs_change: Array) -> Array:
            return loss.hessian(self.outputs, outputs_change) * self.included

        with held(self.batch):
            errors, adjoints = self._adjoints
            product = self.response.hessian(errors, adjoints, self._output_errors, vector, loss_hessian)
        self._cost.count("hessian", self)
        return product

    @cached_property
    def implicit(self) -> Implicit:
        """The linear systems at the fixed points; rates are zero for the stimuli left out.

        Raises
        ------
        FixedPointError
            If J is infinite.
        """
        if not self.valid:
            raise self.no_gradient()
        return self.response.implicit[-1]

    def no_gradient(self) -> FixedPointError:
        """Return the error for an infinite cost."""
        failed, margin = int(array_namespace(self.batch).count_nonzero(~self.found)), self._cost.stable
        what = "fixed point" if margin is None else f"fixed point that is stable by {margin:g}"
        return FixedPointError(
            f"the gradient does not exist: {failed} of {self.batch.shape[0]} stimuli have no {what} and J is infinite. "
            "Start from smaller weights, shorten the step, or pass on_failure='mask'.",
            self.fixed_points,
        )

    @cached_property
    def _output_gradient(self) -> Array:
        return self._cost.loss.gradient(self.outputs)

    @cached_property
    def _output_errors(self) -> Array:
        """The gradient of J with respect to the outputs, shape (batch, n_outputs)."""
        return self._output_gradient * self.included

    @cached_property
    def _adjoints(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """ℓ and its adjoint for each layer."""
        return self.response.adjoints(self.errors)
