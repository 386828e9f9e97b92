"""A monotone operator network in torch: layers r = f(W r + V s + b), W = (1 − m) I − AᵀA + B − Bᵀ, by Peaceman–Rachford.

After Winston and Kolter, *Monotone operator equilibrium networks*, NeurIPS 2020. Adam trains A, B, V, b and the readout.
"""

from collections.abc import Callable
from typing import Any

import torch

MARGIN = 1.0
"""m, the strong monotonicity of I − W."""

Map = Callable[[torch.Tensor], torch.Tensor]


def peaceman_rachford(
    resolvent: Map, inverse: torch.Tensor, drive: torch.Tensor, tolerance: float, most: int
) -> tuple[torch.Tensor, int]:
    """Return z = f(W z + x) and the number of iterations, for rows of x and the resolvent f of a monotone operator (e.g. ReLU).

    z = f(u), v = 2 z − u, y = (2 I − W)⁻¹ (v + x), u ← 2 y − v, until ‖y − z‖ is below the tolerance in every row. The same
    iteration with f = multiplication by gains in [0, 1] solves p = G (Wᵀ p + ℓ).

    Parameters
    ----------
    resolvent
        f.
    inverse
        (2 I − W)⁻ᵀ, which multiplies rows.
    drive
        x, shape (batch, n).
    tolerance, most
        When to stop.
    """
    state, iterations = drive, 0
    while iterations < most:
        rates = resolvent(state)
        reflected = 2 * rates - state
        half = (reflected + drive) @ inverse
        state, iterations = 2 * half - reflected, iterations + 1
        if float(torch.linalg.vector_norm(half - rates, dim=1).max()) <= tolerance:
            break
    return resolvent(state), iterations


class Equilibrium(torch.autograd.Function):
    """The fixed point z of r = f(W r + x) with its implicit derivatives: p = G (Wᵀ p + ℓ), ∇x = p, ∇W = Σ p zᵀ."""

    @staticmethod
    def forward(context: Any, weights: torch.Tensor, drive: torch.Tensor, layer: "MonotoneLayer") -> torch.Tensor:
        identity = torch.eye(len(weights), dtype=weights.dtype)
        inverse = torch.linalg.inv(2 * identity - weights)
        rates, layer.iterations = peaceman_rachford(torch.relu, inverse.T, drive, layer.tolerance, layer.most)
        gains = (rates @ weights.T + drive > 0).to(rates.dtype)
        context.save_for_backward(inverse, rates, gains)
        context.layer, context.rows = layer, len(drive)
        return rates

    @staticmethod
    def backward(context: Any, errors: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inverse, rates, gains = context.saved_tensors
        layer = context.layer
        # The loss is a mean over stimuli, so errors are of size 1 / rows; adjoints meet the tolerance in these units.
        adjoints, _ = peaceman_rachford(lambda u: gains * u, inverse, errors, layer.tolerance / context.rows, layer.most)
        return adjoints.T @ rates, adjoints, None


class MonotoneLayer(torch.nn.Module):
    """A layer of ReLU units with recurrent weights for which I − W is monotone after every step of any optimiser.

    Parameters
    ----------
    sources, units
        Number of sources and of units.
    tolerance, most
        Tolerance of fixed points and adjoints, and most iterations.
    """

    def __init__(self, sources: int, units: int, tolerance: float, most: int = 1000) -> None:
        super().__init__()
        self.inputs = torch.nn.Linear(sources, units)
        self.symmetric = torch.nn.Linear(units, units, bias=False).weight
        self.skew = torch.nn.Linear(units, units, bias=False).weight
        self.tolerance, self.most, self.iterations = tolerance, most, 0

    @property
    def weights(self) -> torch.Tensor:
        """W = (1 − m) I − AᵀA + B − Bᵀ, shape (n, n)."""
        A, B = self.symmetric, self.skew
        return (1 - MARGIN) * torch.eye(len(A), dtype=A.dtype) - A.T @ A + B - B.T

    def forward(self, stimuli: torch.Tensor) -> torch.Tensor:
        return Equilibrium.apply(self.weights, self.inputs(stimuli), self)
