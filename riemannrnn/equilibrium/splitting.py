"""Peaceman–Rachford splitting: one factor shared by all stimuli, convergent on every monotone network."""

from dataclasses import dataclass, replace

from manifolds import Array
from manifolds.arrays import identity_like, inverse
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.chunks import product
from riemannrnn.equilibrium.equation import FixedPointEquation, Rows, SharedFactorMap, Work
from riemannrnn.network.activations import into


@dataclass(frozen=True)
class PeacemanRachfordMap(SharedFactorMap):
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
        transposed = equation.operator.matrix(equation.drive).T
        return cls(equation, inverse(2 * identity_like(transposed) - transposed, product))

    def at(self, equation: FixedPointEquation) -> "PeacemanRachfordMap":
        same = equation.operator.transposed == self.equation.operator.transposed
        return PeacemanRachfordMap(equation, self.propagator if same else self.propagator.T)

    def image(self, state: Array, work: Work | None = None) -> Array:
        xp = namespace_of(state)
        first, second = work or (xp.empty_like(state), xp.empty_like(state))
        reflected = into(first, xp.multiply, self.equation.respond(state, first), 2.0)
        reflected -= state
        image = into(second, xp.add, reflected, self.equation.drive) @ self.propagator
        image *= 2.0
        image -= reflected
        return image

    def take(self, rows: Rows) -> "PeacemanRachfordMap":
        return replace(self, equation=self.equation.take(rows))
