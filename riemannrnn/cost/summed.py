"""Costs that are a sum over parts of the stimuli."""

from abc import ABC, abstractmethod
from typing import Any

from manifolds import Point
from manifolds.deferred import Manifold, pymanopt
from manifolds.points import copied
from manifolds.summary import Summarised
from riemannrnn.cost.counts import Evaluations
from riemannrnn.cost.problem import problem_on
from riemannrnn.models import Model


class SummedCost(Summarised, ABC):
    """J(W) = Σᵢ (mᵢ/m) Jᵢ(W), where Jᵢ is the `FixedPointCost` of part i of the stimuli, which has mᵢ of all m stimuli.

    A subclass computes J, ∇J and products with the Hessian at one W in the object that `at` returns. Every optimiser of
    pymanopt runs on `problem`, as for a `FixedPointCost`.

    Attributes
    ----------
    model
        The network.
    evaluations
        The counts so far. An evaluation of all parts counts once.
    """

    model: Model
    evaluations: Evaluations

    @abstractmethod
    def at(self, weights: Point) -> Any:
        """Return the evaluation at the point W, with each part computed on first use."""

    def __call__(self, weights: Point) -> float:
        """Return J(W), a Python float; +∞ if a stimulus has no fixed point, never NaN."""
        return float(self.at(weights).cost)

    def gradient(self, weights: Point) -> Point:
        """Return ∇J, with the shape of W.

        Raises
        ------
        FixedPointError
            If J is infinite, or an adjoint cannot be solved.
        """
        return copied(self.at(weights).gradient)

    def hessian(self, weights: Point, vector: Point) -> Point:
        """Return D∇J[V], with the shape of W; raises as `gradient` does."""
        product: Point = self.at(weights).hessian(vector)
        return product

    def problem(self, manifold: Manifold) -> pymanopt.Problem:
        """Return the problem of minimising J on a manifold, as `FixedPointCost.problem` does."""
        return problem_on(manifold, self)
