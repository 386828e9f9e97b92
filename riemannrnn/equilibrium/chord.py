"""The chord map: the equation preconditioned by one factor that all stimuli share."""

from dataclasses import dataclass, replace

from array_api_compat import array_namespace, device

from manifolds import Array
from manifolds.arrays import inverse
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, take_rows


@dataclass(frozen=True)
class ChordMap(FixedPointMap):
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
    offset
        ḡ ∘ d, shape (batch, n).
    """

    equation: FixedPointEquation
    gain: Array
    propagator: Array
    offset: Array

    @classmethod
    def build(cls, equation: FixedPointEquation, gain: Array) -> "ChordMap":
        """Factor I − T Ḡ.

        Raises
        ------
        numpy.linalg.LinAlgError
            If it is exactly singular.
        """
        xp = array_namespace(gain)
        identity = xp.eye(gain.shape[0], dtype=gain.dtype, device=device(gain))
        transposed = equation.operator(identity)  # Tᵀ: the rows of the identity mapped by T
        propagator = transposed @ inverse(identity - gain[:, None] * transposed)
        return cls(equation, gain, propagator, gain * equation.drive)

    def image(self, state: Array) -> Array:
        change = self.equation.respond(state)
        change = change - self.gain * state
        change += self.offset
        image = change @ self.propagator
        image += self.equation.drive
        return image

    def at(self, equation: FixedPointEquation) -> "ChordMap":
        """Return the map of another equation with the same T, its factor unchanged."""
        return replace(self, equation=equation, offset=self.gain * equation.drive)

    def take(self, rows: Array) -> "ChordMap":
        return replace(self, equation=self.equation.take(rows), offset=take_rows(self.offset, rows))
