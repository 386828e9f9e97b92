"""The chord map: the equation preconditioned by one factor that all stimuli share."""

from dataclasses import dataclass, replace
from functools import cached_property

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, Operator, Rows, Work
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
    """

    equation: FixedPointEquation
    gain: Array
    propagator: Operator

    @classmethod
    def build(cls, equation: FixedPointEquation, gain: Array) -> "ChordMap":
        """Factor I − T Ḡ.

        Raises
        ------
        numpy.linalg.LinAlgError
            If it is exactly singular.
        """
        return cls(equation, gain, equation.operator.propagator(gain))

    @classmethod
    def splitting(cls, equation: FixedPointEquation) -> "ChordMap":
        """Return the map of Peaceman–Rachford splitting; raises as `build` does."""
        return cls.build(equation, namespace_of(equation.drive).full_like(equation.drive[0, :], 0.5))

    def image(self, state: Array, work: Work | None = None) -> Array:
        xp = namespace_of(state)
        first, second = work or (xp.empty_like(state), xp.empty_like(state))
        if self._excess is None:
            shared = into(first, xp.multiply, state, self.gain)
            change = into(second, xp.subtract, self.equation.respond(state, second), shared)
        else:
            change = into(second, xp.multiply, state, self._excess)
        change += self._offset
        image = self.propagator(change, first)
        image += self.equation.drive
        return image

    def at(self, equation: FixedPointEquation) -> "ChordMap":
        """Return the map of another equation with the same T, or its transpose, from the same factor."""
        propagator = replace(self.propagator, transposed=equation.operator.transposed)
        return ChordMap(equation, self.gain, propagator)

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
