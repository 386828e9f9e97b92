"""The chord map: the equation preconditioned by one factor that all stimuli share."""

from dataclasses import dataclass, replace
from functools import cached_property

from manifolds import Array
from manifolds.arrays import identity_like, inverse
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.chunks import product
from riemannrnn.equilibrium.equation import FixedPointEquation, Rows, SharedFactorMap, Work
from riemannrnn.network.activations import into


@dataclass(frozen=True)
class ChordMap(SharedFactorMap):
    """z ↦ d + M (φ(z) − ḡ ∘ (z − d)) with M = (I − T Ḡ)⁻¹ T, whose fixed points are z = T φ(z) + d, the inputs at s = φ(z).

    ḡ is a gain that all rows share. The map contracts as fast as the gains of a row are close to it, and costs one product,
    like the plain iteration, because M is formed once for all rows and all iterations. From z = d its first image is the
    linear response to the drive.

    Parameters
    ----------
    equation
        The equation s = φ(T s + d).
    gain
        ḡ, shape (n,).
    propagator
        Mᵀ, shape (n, n).
    """

    equation: FixedPointEquation
    gain: Array
    propagator: Array

    @classmethod
    def build(cls, equation: FixedPointEquation, gain: Array) -> "ChordMap":
        """Factor I − T Ḡ.

        Raises
        ------
        numpy.linalg.LinAlgError
            If it is exactly singular.
        """
        transposed = equation.operator.matrix(equation.drive).T
        factor = inverse(identity_like(transposed) - gain[:, None] * transposed, product)
        return cls(equation, gain, product(transposed, factor))

    def image(self, state: Array, work: Work | None = None) -> Array:
        xp = namespace_of(state)
        first, second = work or (xp.empty_like(state), xp.empty_like(state))
        if self._excess is None:
            shared = into(first, xp.multiply, state, self.gain)
            change = into(second, xp.subtract, self.equation.respond(state, second), shared)
        else:
            change = into(second, xp.multiply, state, self._excess)
        change += self._offset
        image = into(first, xp.matmul, change, self.propagator)
        image += self.equation.drive
        return image

    def at(self, equation: FixedPointEquation) -> "ChordMap":
        # W (I − Ḡ W)⁻¹ = (I − W Ḡ)⁻¹ W, so that the factor of the transpose is the transpose of the factor.
        same = equation.operator.transposed == self.equation.operator.transposed
        return ChordMap(equation, self.gain, self.propagator if same else self.propagator.T)

    def take(self, rows: Rows) -> "ChordMap":
        return replace(self, equation=self.equation.take(rows))

    @cached_property
    def _offset(self) -> Array:
        """ḡ ∘ d, shape (batch, n)."""
        return self.gain * self.equation.drive

    @cached_property
    def _excess(self) -> Array | None:
        """g − ḡ of a linear equation, shape (batch, n), so that φ(z) − ḡ ∘ z is one product."""
        return None if self.equation.nonlinear else self.equation.activation - self.gain
