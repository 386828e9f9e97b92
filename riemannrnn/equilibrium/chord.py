"""The chord map: the equation preconditioned by one factor that all stimuli share."""

from dataclasses import dataclass, replace

from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, take_rows


@dataclass(frozen=True)
class ChordMap(FixedPointMap):
    """z ↦ (I − T Ḡ)⁻¹ (T (φ(z) − ḡ ∘ z) + d), whose fixed points are z = T φ(z) + d, the inputs at s = φ(z).

    ḡ is the mean gain of the batch. The map contracts as fast as the gains of a stimulus are close to the mean, and costs one
    product, like the plain iteration, because M = (I − T Ḡ)⁻¹ T and (I − T Ḡ)⁻¹ d are formed once for all iterations.

    Parameters
    ----------
    equation
        The equation s = φ(T s + d).
    gain
        ḡ, shape (n,).
    propagator
        Mᵀ, shape (n, n).
    drive
        (I − T Ḡ)⁻¹ d for each row, shape (batch, n).
    """

    equation: FixedPointEquation
    gain: Array
    propagator: Array
    drive: Array

    @classmethod
    def build(cls, equation: FixedPointEquation, gain: Array) -> "ChordMap":
        """Factor I − T Ḡ, which costs about n/batch products, and prepare the drives.

        Raises
        ------
        numpy.linalg.LinAlgError
            If I − T Ḡ is exactly singular.
        """
        xp = array_namespace(gain)
        identity = xp.eye(gain.shape[0], dtype=gain.dtype, device=device(gain))
        transposed = equation.operator(identity)  # Tᵀ: the rows of the identity mapped by T
        # (I − T Ḡ)⁻ᵀ applied from the right to Tᵀ and to the drives, by one factorisation.
        inverse = xp.linalg.inv(identity - gain[:, None] * transposed)
        return cls(equation, gain, transposed @ inverse, equation.drive @ inverse)

    def image(self, state: Array) -> Array:
        image = (self.equation.respond(state) - self.gain * state) @ self.propagator
        image += self.drive
        return image

    def take(self, rows: Array) -> "ChordMap":
        return replace(self, equation=self.equation.take(rows), drive=take_rows(self.drive, rows))
