"""The response of a network to a batch of stimuli, layer by layer, with its derivatives to second order.

Notation, rows of a batch: layer l has rates r_l, inputs z_l and gains G_l; its source s_l is the rates of the layer below. ℓ_l
is the gradient of the loss in r_l, p_l = G_l (ℓ_l + W_lᵀ p_l) its adjoint, e the gradient in the outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from operator import add, and_
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from manifolds import Array
from manifolds.points import Point, map_arrays
from riemannrnn.equilibrium.fixed_points import FixedPointError, FixedPoints, solve_fixed_points
from riemannrnn.equilibrium.implicit import Implicit
from riemannrnn.equilibrium.options import OnFailure, SolverOptions
from riemannrnn.models.error_bounds import error_bounds
from riemannrnn.models.parameters import LayerParameters, NetworkParameters, connections
from riemannrnn.network.linear_map import bias_gradient, with_bias

if TYPE_CHECKING:  # `model` imports this module
    from riemannrnn.models.model import Model


@dataclass(frozen=True, eq=False)
class Response:
    """The fixed points of all layers of a network, its outputs, and their derivatives.

    Attributes
    ----------
    model
        The network.
    parameters
        The parameters, flat, as they were passed to the model.
    batch
        The stimuli, as the model prepared them, shape (batch, inputs).
    layers
        The fixed points of each layer, from the lowest. Each layer was solved with the returned rates of the layers below.
    solving
        The options for solving linear systems.
    """

    model: "Model"
    parameters: Point
    batch: Array
    layers: tuple[FixedPoints, ...]
    solving: SolverOptions

    @cached_property
    def converged(self) -> Array:
        """Whether all layers have converged, shape (batch,)."""
        return reduce(and_, (layer.converged for layer in self.layers))

    @cached_property
    def fixed_points(self) -> FixedPoints:
        """The fixed points of the highest layer. `converged` combines all layers, and iterations are added."""
        if len(self.layers) == 1:
            return self.layers[0]
        iterations = reduce(add, (layer.iterations for layer in self.layers))
        return replace(self.layers[-1], converged=self.converged, iterations=iterations)

    def under(self, on_failure: OnFailure) -> "Response":
        """Return the response; under "raise", raise `FixedPointError` if a stimulus has not converged in a layer."""
        if on_failure != "raise":
            return self
        for number, layer in enumerate(self.layers):
            try:
                layer.under(on_failure)
            except FixedPointError as error:
                where = "" if len(self.layers) == 1 else f"in layer {number}, "
                raise FixedPointError(f"{where}{error}", self.fixed_points) from None
        return self

    def completed(self, rest: "Response") -> "Response":
        """Return the response with the stimuli that have not converged replaced, in order, by those in another response."""
        again = ~self.converged
        layers = (mine.completed(other, again) for mine, other in zip(self.layers, rest.layers, strict=True))
        return replace(self, layers=tuple(layers))

    def kept(self, found: Array) -> "Response":
        """Return the response with zeros for the stimuli left out: they then do not change sums over stimuli."""
        xp = array_namespace(found)

        def zeroed(layer: FixedPoints) -> FixedPoints:
            arrays = (xp.where(found[:, None], array, 0.0) for array in (layer.state, layer.gains, layer.inputs))
            return replace(layer, **dict(zip(("state", "gains", "inputs"), arrays, strict=True)))

        return replace(self, layers=tuple(map(zeroed, self.layers)))

    def error_bounds(self) -> tuple[Array, ...]:
        """Return a bound of the error of the rates of each layer, shapes (batch,); see `error_bounds.error_bounds`.

        A stable layer may still amplify the residuals of the layers below it, which its own residual does not show.
        """
        return error_bounds(self.layers, self._bound.layers, self.model.read_in)

    @cached_property
    def outputs(self) -> Array:
        """y = C r + c, shape (batch, outputs)."""
        return self._outputs(self.layers[-1].rates, self._bound.readout_bias)

    def pull_back(self, output_gradient: Array) -> Array:
        """Return Cᵀ e, the gradient in the rates of the highest layer, given the gradient in the outputs, shape (batch, n)."""
        readout = self._bound.readout
        return output_gradient if readout is None else self.model.reader.transpose(readout, output_gradient)

    @cached_property
    def implicit(self) -> tuple[Implicit, ...]:
        """The linear systems at the fixed points of each layer."""
        options = self.solving
        solver = options.solver if options.adjoint_solver is None else options.adjoint_solver
        systems = partial(Implicit, solver=solver, tolerance=options.tolerance, max_iterations=options.max_iterations)
        return tuple(map(systems, self.layers))

    def adjoints(self, errors: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Return ℓ_l and p_l of all layers, given ℓ of the highest layer: ℓ_j receives V_ljᵀ p_l from each higher layer l."""
        return self._downward(errors, lambda number, received: self.implicit[number].adjoint(received))

    def gradient(self, adjoints: Sequence[Array], output_errors: Array) -> Point:
        """Return the gradient in the parameters, ∇W_l = Σ p rᵀ, ∇V_l = Σ p sᵀ, ∇b_l = Σ p, ∇C = Σ e rᵀ and ∇c = Σ e.

        Parameters
        ----------
        adjoints
            p_l of each layer.
        output_errors
            e, shape (batch, outputs).
        """
        return self.model.collect(self._accumulated(adjoints, self._sources, output_errors, constant=True))

    def tangents(self, vector: Point) -> tuple[Array, ...]:
        """Return ṙ_l, the change of the rates of each layer along a change of the parameters, shape (batch, n_l)."""
        return tuple(rates for rates, _ in self._tangents(self.model.direction(vector)))

    def hessian(
        self,
        errors: Sequence[Array],
        adjoints: Sequence[Array],
        output_errors: Array,
        vector: Point,
        loss_hessian: Callable[[Array], Array],
    ) -> Point:
        """Return the change of `gradient` along a change of the parameters.

        Parameters
        ----------
        errors, adjoints
            ℓ_l and p_l of each layer.
        output_errors
            e, shape (batch, outputs).
        vector
            The change of the parameters, flat.
        loss_hessian
            ẏ ↦ ∇²L ẏ on rows, with the weights of the stimuli, shape (batch, outputs).
        """
        change = self.model.direction(vector)
        tangents = self._tangents(change)
        rates_changes = [rates for rates, _ in tangents]
        output_errors_change = loss_hessian(self._outputs_change(change, rates_changes[-1]))
        top = self.pull_back(output_errors_change)
        if change.readout is not None:
            top = top + self.model.reader.transpose(change.readout, output_errors)

        def solved(number: int, received: Array) -> Array:
            recurrent, adjoint, implicit = change.layers[number].recurrent, adjoints[number], self.implicit[number]
            if recurrent is not None:
                received = received + implicit.change(recurrent).transpose.apply(adjoint)
            return implicit.adjoint_change(errors[number], adjoint, tangents[number][1], received)

        _, adjoint_changes = self._downward(top, solved, lambda number: (change.layers[number], adjoints[number]))
        first = self._accumulated(adjoint_changes, self._sources, output_errors_change, constant=True)
        second = self._accumulated(adjoints, dict(enumerate(rates_changes)), output_errors, constant=False)
        return self.model.collect(_total(first, second))

    @cached_property
    def _bound(self) -> NetworkParameters:
        return self.model.bind(self.parameters)

    def _outputs(self, rates: Array, bias: Array | None) -> Array:
        readout = self._bound.readout
        outputs = rates if readout is None else self.model.reader.apply(readout, rates)
        return outputs if bias is None else outputs + bias

    def _outputs_change(self, change: NetworkParameters, rates_change: Array) -> Array:
        """Return ẏ = C ṙ + Ċ r + ċ, shape (batch, outputs)."""
        outputs = self._outputs(rates_change, change.readout_bias)
        return outputs if change.readout is None else outputs + self.model.reader.apply(change.readout, self.layers[-1].rates)

    @cached_property
    def _sources(self) -> dict[int, Array]:
        """What drives layers, by number: the rates of layers, and the stimuli, whose number is −1."""
        return {-1: self.batch} | {number: layer.rates for number, layer in enumerate(self.layers)}

    def _downward(
        self,
        top: Array,
        solve: Callable[[int, Array], Array],
        also: Callable[[int], tuple[LayerParameters, Array]] | None = None,
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Return what each layer receives from higher layers, and the result of `solve` for it, from the highest layer down.

        Layer j receives V_ljᵀ q_l from layer l, where q_l is the result of `solve` for layer l. `also` gives further V_lj and
        q_l, for which the same term is added.
        """
        received: list[Array | None] = [None] * (len(self.layers) - 1) + [top]
        solved: list[Array] = []
        for number in reversed(range(len(self.layers))):
            solved.append(solve(number, received[number]))
            sources = [(self._bound.layers[number], solved[-1]), *([] if also is None else [also(number)])]
            for parameters, covector in sources:
                for below, weights in connections(parameters, number).items():
                    if below < 0:
                        continue
                    sent = self.model.read_in(number, below).transpose(weights, covector)
                    received[below] = sent if received[below] is None else received[below] + sent
        return tuple(received), tuple(reversed(solved))

    def _tangents(self, change: NetworkParameters) -> list[tuple[Array, Array]]:
        """Return ṙ_l = G (W ṙ_l + d_l) and ż_l = W ṙ_l + d_l of each layer, d_l = Ẇ r_l + V̇ s_l + ḃ + V ṡ_l."""
        changes: list[tuple[Array, Array]] = []
        for number, (layer, implicit, along) in enumerate(zip(self.layers, self.implicit, change.layers, strict=True)):
            terms = [] if along.recurrent is None else [implicit.change(along.recurrent).apply(layer.rates)]
            moving = {below: rates for below, (rates, _) in enumerate(changes)}
            terms += _driven(self.model, along, number, self._sources)
            terms += _driven(self.model, self._bound.layers[number], number, moving)
            drive = reduce(add, terms) if terms else array_namespace(layer.rates).zeros_like(layer.rates)
            drive = with_bias(drive, along.bias)
            rates_change = implicit.response(drive)
            changes.append((rates_change, drive + implicit.operator.apply(rates_change)))
        return changes

    def _accumulated(
        self, adjoints: Sequence[Array], sources: Mapping[int, Array], output_errors: Array, constant: bool
    ) -> NetworkParameters:
        """Return the sums over stimuli of p rᵀ, p sᵀ and e rᵀ, and with `constant` of p and e, for trained parameters."""
        trained, xp = self.model.trained, array_namespace(self.batch)

        def layer(number: int) -> LayerParameters:
            adjoint, bound = adjoints[number], self._bound.layers[number]
            read = [below for below in connections(bound, number) if below in sources] if "input" in trained else []
            inputs = {below: self.model.read_in(number, below).gradient(adjoint, sources[below]) for below in read}
            return LayerParameters(
                self.implicit[number].gradient(adjoint, sources[number]) if "recurrent" in trained else None,
                inputs.pop(number - 1, None),
                bias_gradient(adjoint, bound.bias) if "bias" in trained and constant else None,
                inputs,
            )

        readout = "readout" in trained and self._bound.readout is not None
        return NetworkParameters(
            tuple(map(layer, range(len(self.layers)))),
            self.model.reader.gradient(output_errors, sources[len(self.layers) - 1]) if readout else None,
            xp.sum(output_errors, axis=0) if readout and constant else None,
        )


def _total(first: NetworkParameters, second: NetworkParameters) -> NetworkParameters:
    """Return the sum of two gradients; None in the second counts as zero."""

    def total(a: Point, b: Point) -> Point:
        return a if b is None else map_arrays(add, a, b)

    def layer(a: LayerParameters, b: LayerParameters) -> LayerParameters:
        skips = {below: total(weights, b.skips.get(below)) for below, weights in a.skips.items()}
        return LayerParameters(total(a.recurrent, b.recurrent), total(a.inputs, b.inputs), total(a.bias, b.bias), skips)

    layers = tuple(map(layer, first.layers, second.layers))
    return NetworkParameters(layers, total(first.readout, second.readout), total(first.readout_bias, second.readout_bias))


def respond(
    model: "Model",
    parameters: Point,
    batch: Array,
    solving: SolverOptions,
    start: Sequence[Array] | None = None,
) -> Response:
    """Return the response of a network to a batch, layer by layer.

    Parameters
    ----------
    model
        The network.
    parameters
        Its parameters, flat.
    batch
        The stimuli as the model prepared them.
    solving
        The options for solving fixed points.
    start
        The rates at the start, for each layer. Default: f of the drive.
    """
    layers: list[FixedPoints] = []
    rates: list[Array] = []
    for number, bound in enumerate(model.bind(parameters).layers):
        terms = _driven(model, bound, number, {-1: batch} | dict(enumerate(rates)))
        drive = with_bias(reduce(add, terms) if terms else batch, bound.bias)
        found = solve_fixed_points(
            bound.recurrent,
            drive,
            model.activations[number],
            solver=solving.solver,
            initial_rates=None if start is None else start[number],
            tolerance=solving.tolerance,
            max_iterations=solving.max_iterations,
            on_failure="mask",
            connectivity=model.connectivities[number],
        )
        layers.append(replace(found, time_constants=model.time_constants[number]))
        rates.append(_settled(found))
    return Response(model, parameters, batch, tuple(layers), solving)


def _driven(model: "Model", parameters: LayerParameters, number: int, sources: Mapping[int, Array]) -> list[Array]:
    """Return V_lj s_j for the sources of layer l that are given by number, shapes (batch, n)."""
    return [
        model.read_in(number, below).apply(weights, sources[below])
        for below, weights in connections(parameters, number).items()
        if below in sources
    ]


def _settled(found: FixedPoints) -> Array:
    """Return the rates, with zeros for stimuli that have not converged; they then cost higher layers no iterations."""
    xp = array_namespace(found.rates)
    return found.rates if bool(xp.all(found.converged)) else xp.where(found.converged[:, None], found.rates, 0.0)
