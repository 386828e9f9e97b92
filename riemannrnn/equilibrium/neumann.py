"""Inexact derivatives by a truncated Neumann series, named for what they are."""

from dataclasses import dataclass
from typing import final

from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.equation import FixedPointEquation
from riemannrnn.equilibrium.iteration import Solver
from riemannrnn.equilibrium.solution import Solution, certified


@final
@dataclass(frozen=True)
class Neumann(Solver):
    """u ≈ Σ (G Wᵀ)ʲ G ℓ over j < k: derivatives that are not exact, for k − 1 products, whatever the tolerance.

    The residual of the result says how inexact it is. One term is G ℓ, "Jacobian-free backpropagation" (Fung et al., AAAI
    2022); more are the "phantom gradient" of Geng et al. (NeurIPS 2021) undamped. Not for the fixed points themselves.

    Parameters
    ----------
    terms
        k, at least 1.

    Raises
    ------
    ValueError
        For fewer.
    """

    terms: int = 1

    def __post_init__(self) -> None:
        if self.terms < 1:
            raise ValueError(f"terms = {self.terms} is below 1, which leaves nothing of the derivative; pass 1 or more")

    @property
    def name(self) -> str:
        return f"neumann({self.terms})"

    def solve(self, equation: FixedPointEquation, tolerance: float) -> Solution:
        """Return the truncated series of a linear equation, with its residual."""
        state: Array = equation.respond(equation.drive)
        for _ in range(self.terms - 1):
            state = equation.image(state)
        xp = array_namespace(state)
        counts = xp.full((state.shape[0],), self.terms - 1, dtype=xp.int64, device=device(state))
        return certified(equation, state, counts, tolerance)
