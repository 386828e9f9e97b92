"""The chord map: the equation preconditioned by one factor that all stimuli share."""

from dataclasses import dataclass, replace

from array_api_compat import array_namespace

from manifolds import Array
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, Operator, Rows, Work, take_rows
from riemannrnn.network.activations import into


@dataclass(frozen=True)
class ChordMap(FixedPointMap):
    """z ↦ d + M (φ(z) − ḡ ∘ (z − d)) with M = (I − T Ḡ)⁻¹ T, whose fixed points are z = T φ(z) + d, the inputs at s = φ(z).

    ḡ is a gain that all rows share. The map contracts as fast as the gains of a row are close to it, and costs one product,
    like the plain iteration, because M is formed once for all rows and all iterations. From z = d its first image is the
    linear response to the drive.

    With every gain ½ it is Peaceman–Rachford splitting, z ↦ 2 y − w with w = 2 φ(z) − z and y = (2 I − T)⁻¹ (w + d), since then
    M = 4 (2 I − T)⁻¹ − 2 I. Averaged, that converges from any start where the symmetric part of I − T is positive definite and
    φ is non-decreasing with slope at most 1, however large T is (Winston & Kolter, *Monotone operator equilibrium networks*,
    NeurIPS 2020).

    Parameters
    ----------
    equation
        The equation s = φ(T s + d).
    gain
        ḡ, shape (n,).
    propagator
        S ↦ M S on rows.
    offset
        ḡ ∘ d, shape (batch, n).
    """

    equation: FixedPointEquation
    gain: Array
    propagator: Operator
    offset: Array

    @classmethod
    def build(cls, equation: FixedPointEquation, gain: Array) -> "ChordMap":
        """Factor I − T Ḡ.

        Raises
        ------
        numpy.linalg.LinAlgError
            If it is exactly singular.
        """
        return cls(equation, gain, equation.operator.propagator(gain), gain * equation.drive)

    @classmethod
    def splitting(cls, equation: FixedPointEquation) -> "ChordMap":
        """Return the map of Peaceman–Rachford splitting; raises as `build` does."""
        return cls.build(equation, array_namespace(equation.drive).full_like(equation.drive[0, :], 0.5))

    def image(self, state: Array, work: Work | None = None) -> Array:
        xp = array_namespace(state)
        first, second = work or (xp.empty_like(state), xp.empty_like(state))
        shared = into(first, xp.multiply, state, self.gain)
        change = into(second, xp.subtract, self.equation.respond(state, second), shared)
        change += self.offset
        image = self.propagator(change, first)
        image += self.equation.drive
        return image

    def at(self, equation: FixedPointEquation) -> "ChordMap":
        """Return the map of another equation with the same T, or its transpose, from the same factor."""
        propagator = replace(self.propagator, transposed=equation.operator.transposed)
        return ChordMap(equation, self.gain, propagator, self.gain * equation.drive)

    def take(self, rows: Rows) -> "ChordMap":
        return replace(self, equation=self.equation.take(rows), offset=take_rows(self.offset, rows))
