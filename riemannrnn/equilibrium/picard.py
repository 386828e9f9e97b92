"""Damped Picard iteration, r ← (1 − α) r + α f(W r + x)."""

from dataclasses import dataclass
from typing import final

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointMap
from riemannrnn.equilibrium.iteration import Evaluated, Iterate, Iteration

MISJUDGED = 2.0
"""Largest growth of the ratio of successive residuals in one iteration; 1.2 to 2.2 was measured for the worst stimulus."""


@final
@dataclass(frozen=True)
class Picard(Iteration):
    """Damped Picard iteration; these are Euler steps of length α of the rate dynamics τ ṙ = −r + f(W r + x), in units of τ.

    It converges if 1 − α + α λ is inside the unit circle for every eigenvalue λ of G W.

    Parameters
    ----------
    damping
        α, above 0 and at most 1. A small enough α reaches every stable fixed point, but more slowly.

    Raises
    ------
    ValueError
        For a damping outside this range.
    """

    damping: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.damping <= 1:
            raise ValueError(f"damping = {self.damping} is not in (0, 1]; 1 is the plain iteration, smaller is sturdier")

    @property
    def name(self) -> str:
        return "picard"

    def update(self, equation: FixedPointMap, iterate: Iterate, evaluated: Evaluated, tolerance: float) -> Iterate:
        if self.damping == 1:
            return Iterate(evaluated.image, (evaluated.size,), (iterate.state, evaluated.residual))
        step, state = evaluated.residual, iterate.state
        step *= self.damping
        state += step
        return Iterate(state, spare=(evaluated.image, step))

    def reach(self, state: Array, travelled: float) -> float:
        return travelled  # no step is longer than its residual

    def least_expected(self, least: float, before: float) -> float:
        return least * min(1.0, MISJUDGED * least / before)

    def expected(self, iterate: Iterate, size: Array) -> Array:
        if not iterate.memory:
            return size
        rate = MISJUDGED * size / iterate.memory[0]
        return size * namespace_of(size).where(rate < 1, rate, 1.0)
