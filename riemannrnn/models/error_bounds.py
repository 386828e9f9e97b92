"""Bounds of the error of the rates of each layer, from their residuals, for monotone weights."""

from collections.abc import Callable, Sequence
from math import inf

from array_api_compat import array_namespace

from manifolds import Array
from riemannrnn.equilibrium.fixed_points import FixedPoints
from riemannrnn.models.parameters import LayerParameters, connections
from riemannrnn.network.activations import check_slopes
from riemannrnn.network.linear_map import LinearMap


def error_bounds(
    layers: Sequence[FixedPoints], parameters: Sequence[LayerParameters], read_in: Callable[[int, int], LinearMap]
) -> tuple[Array, ...]:
    """Return a bound of ‖r − r*‖₂ for each stimulus and layer, shapes (batch,), where r* are the exact rates.

    Let ρ be the residual of a layer and m the smallest eigenvalue of the symmetric part of I − W. For slopes in [0, 1],

        ‖r − r*‖ ≤ ((1 + ‖I − W‖₂) ‖ρ‖ + Σ_j ‖V_j‖₂ ‖r_j − r_j*‖) / m,

    where the sum is over the lower layers that drive the layer. Proof: with D the diagonal matrix of mean slopes, e = r − r*
    solves e − ρ = D (W e + δ). For every u the product of D u and u − D u is not negative.

    Parameters
    ----------
    layers
        The fixed points of each layer, from the lowest.
    parameters
        The parameters of each layer.
    read_in
        The map by which a layer reads another one, by their numbers.

    Returns
    -------
    tuple of Array
        In float64. Infinity for a layer with m ≤ 0 or with slopes outside [0, 1], and for the layers that it drives.
    """
    bounds: list[Array] = []
    for number, (layer, bound) in enumerate(zip(layers, parameters, strict=True)):
        xp = array_namespace(layer.rates)
        total = (1 + _distance(layer)) * xp.astype(layer.residual, xp.float64)
        for below, weights in connections(bound, number).items():
            if below >= 0:  # stimuli are exact
                total = total + read_in(number, below).norm(weights) * bounds[below]
        smallest = _smallest(layer)
        bounds.append(total / smallest if smallest > 0 else xp.full_like(total, inf))
    return tuple(bounds)


def _distance(layer: FixedPoints) -> float:
    """Return ‖I − W‖₂."""
    xp = array_namespace(layer.rates)
    return layer.operator.spectral_norm(xp.ones_like(xp.astype(layer.rates[0, :], xp.float64)), -1.0)


def _smallest(layer: FixedPoints) -> float:
    """Return the smallest eigenvalue of the symmetric part of I − W, or −∞ if a slope of the activation is outside [0, 1]."""
    try:
        check_slopes(layer.activation)
    except ValueError:
        return -inf
    return 1 - layer.operator.numerical_abscissa(array_namespace(layer.rates).ones_like(layer.rates[0, :]))
