"""What a cost has computed so far."""

from dataclasses import dataclass


@dataclass
class Evaluations:
    """What a cost has computed so far; a value that was remembered is not counted again.

    Attributes
    ----------
    cost, gradient, hessian
        Numbers of evaluations of J, of ∇J, and of products with its Hessian.
    iterations
        Fixed-point iterations: for each evaluation of J, those of the slowest stimulus.
    stability_seconds
        Seconds spent on finding out whether fixed points are stable, where `stable` asks for it.
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
