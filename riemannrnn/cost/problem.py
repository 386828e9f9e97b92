"""The problem of minimising a cost on a manifold, for the optimisers of pymanopt."""

from typing import Any, Protocol

from manifolds import Array, Parameterization, Point
from manifolds.deferred import Manifold, given_derivatives, pymanopt
from manifolds.points import joined
from riemannrnn.models import Model
from riemannrnn.network.activations import check_slopes


class Minimisable(Protocol):
    """A cost of the parameters of a model, with derivatives."""

    model: Model

    def __call__(self, weights: Point) -> float:
        """Return J."""

    def gradient(self, weights: Point) -> Point:
        """Return ∇J."""

    def at(self, weights: Point) -> Any:
        """Return the evaluation at a point, with `gradient`, and `hessian` along a vector."""


def problem_on(manifold: Manifold, cost: Minimisable) -> pymanopt.Problem:
    """Return the problem of minimising a cost on a manifold.

    Raises
    ------
    ValueError
        For a manifold with points that are stable by construction, if an activation has a slope outside [0, 1].
    """
    # pymanopt embeds tangent vectors of its own manifolds before it calls the Hessian.
    plain = manifold if isinstance(manifold, Parameterization) else Parameterization()
    parameterization = for_model(plain, cost.model)
    decorate = given_derivatives(manifold)

    def value(*arrays: Array) -> float:
        return cost(parameterization.weights(joined(arrays)))

    def gradient(*arrays: Array) -> Point:
        point = joined(arrays)
        return parameterization.pull_back(point, cost.gradient(parameterization.weights(point)))

    def hessian(*arrays: Array) -> Point:
        half = len(arrays) // 2
        point, vector = joined(arrays[:half]), joined(arrays[half:])
        at = cost.at(parameterization.weights(point))
        product = at.hessian(parameterization.velocity(point, vector))
        return parameterization.pull_back_hessian(point, at.gradient, product, vector)

    return pymanopt.Problem(
        manifold, decorate(value), euclidean_gradient=decorate(gradient), euclidean_hessian=decorate(hessian)
    )


def for_model(parameterization: Parameterization, model: Model) -> Parameterization:
    """Return a parameterization, after a check that it fits a model.

    Raises
    ------
    ValueError
        For a parameterization that guarantees stability, if an activation of the model has a slope outside [0, 1].
    """
    if parameterization.promises(model.recurrent):
        for activation in model.activations:
            check_slopes(activation)
    return parameterization
