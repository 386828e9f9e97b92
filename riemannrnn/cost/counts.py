"""Counts of the evaluations of a cost."""

from dataclasses import dataclass


@dataclass
class Evaluations:
    """The number of evaluations of a cost so far; a cached value is not counted again.

    Attributes
    ----------
    cost, gradient, hessian
        Numbers of evaluations of J, of ∇J, and of products with its Hessian.
    iterations
        Fixed-point iterations. Each evaluation of J adds the iterations of its slowest stimulus.
    stability_seconds
        Seconds spent on checking the stability of fixed points, if `stable` is set.
    """

    cost: int = 0
    gradient: int = 0
    hessian: int = 0
    iterations: int = 0
    stability_seconds: float = 0.0

    @property
    def total(self) -> int:
        """Evaluations of any kind."""
        return self.cost + self.gradient + self.hessian
