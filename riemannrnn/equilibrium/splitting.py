"""Peaceman–Rachford splitting: one factor shared by all stimuli, convergent on every monotone network."""

from dataclasses import dataclass, replace

from array_api_compat import array_namespace, device

from manifolds import Array
from manifolds.arrays import inverse
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap


@dataclass(frozen=True)
class PeacemanRachfordMap(FixedPointMap):
    """u ↦ 2 y − w with w = 2 φ(u) − u and y = (2 I − T)⁻¹ (w + d), whose fixed points are the inputs u = T φ(u) + d.

    Iterating it converges from any start where the symmetric part of I − T is positive definite and φ is non-decreasing with
    slope at most 1, however large T is (Winston & Kolter, *Monotone operator equilibrium networks*, NeurIPS 2020).

    Parameters
    ----------
    equation
        The equation s = φ(T s + d).
    propagator
        (2 I − T)⁻ᵀ, shape (n, n).
    """

    equation: FixedPointEquation
    propagator: Array

    @classmethod
    def build(cls, equation: FixedPointEquation) -> "PeacemanRachfordMap":
        """Factor 2 I − T.

        Raises
        ------
        numpy.linalg.LinAlgError
            If it is exactly singular.
        """
        xp = array_namespace(equation.drive)
        n = equation.drive.shape[1]
        identity = xp.eye(n, dtype=equation.drive.dtype, device=device(equation.drive))
        return cls(equation, inverse(2 * identity - equation.operator(identity)))

    def image(self, state: Array) -> Array:
        reflected = 2 * self.equation.respond(state) - state
        return 2 * ((reflected + self.equation.drive) @ self.propagator) - reflected

    def take(self, rows: Array) -> "PeacemanRachfordMap":
        return replace(self, equation=self.equation.take(rows))
