"""The chord map: the equation preconditioned by one factor for all stimuli."""

from dataclasses import dataclass, replace
from functools import cached_property

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, Rows, Work
from riemannrnn.network.activations import into
from riemannrnn.network.operator import Operator


@dataclass(frozen=True)
class ChordMap(FixedPointMap):
    """z ↦ d + M (φ(z) − ḡ ∘ (z − d)) with M = (I − T Ḡ)⁻¹ T, whose fixed points are z = T φ(z) + d, the inputs at s = φ(z).

    ḡ is a gain that all rows share. The closer the gains of a row are to ḡ, the faster the map contracts. It costs one product,
    like the plain iteration, because M is formed once for all rows and all iterations. The first image of z = d is the linear
    response to the drive.

    With every gain ½ the map is Peaceman–Rachford splitting, z ↦ 2 y − w with w = 2 φ(z) − z and y = (2 I − T)⁻¹ (w + d),
    because then M = 4 (2 I − T)⁻¹ − 2 I. The averaged map converges from any start where the symmetric part of I − T is
    positive definite and φ is non-decreasing with slope at most 1, however large T is (Winston & Kolter, *Monotone operator
    equilibrium networks*, NeurIPS 2020).

    With several blocks, the blocks of units are updated in turn, each from the new inputs of the blocks before it. This is a
    sweep of nonlinear Gauss–Seidel (Ortega & Rheinboldt, *Iterative Solution of Nonlinear Equations in Several Variables*,
    1970, 7.4). It has the same fixed points and takes the work of one product. Where M has independent entries and one block
    contracts by q, many blocks contract by e^(−a/2) with a = q² (eᵃ − 1): from 0.5 to 0.31, from 0.9 to 0.82. No polynomial in
    M contracts as fast.

    Parameters
    ----------
    equation
        The equation s = φ(T s + d).
    gain
        ḡ, shape (n,), as returned by the operator's `shared_gains`.
    propagator
        The operator of M.
    blocks
        Number of blocks of units. It is 1 if a part of M takes as long as the whole.
    """

    equation: FixedPointEquation
    gain: Array
    propagator: Operator
    blocks: int = 1

    @classmethod
    def build(cls, equation: FixedPointEquation, gain: Array, blocks: int = 1) -> "ChordMap":
        """Factor I − T Ḡ.

        Raises
        ------
        numpy.linalg.LinAlgError
            If it is exactly singular.
        """
        return cls(equation, gain, equation.operator.propagator(gain), blocks)

    @classmethod
    def splitting(cls, equation: FixedPointEquation) -> "ChordMap":
        """Return the map of Peaceman–Rachford splitting; raises as `build` does."""
        return cls.build(equation, namespace_of(equation.drive).full_like(equation.drive[0, :], 0.5))

    def image(self, state: Array, work: Work | None = None) -> Array:
        xp = namespace_of(state)
        image, remainder = work or (xp.empty_like(state), xp.empty_like(state))
        remainder = self._remainder(state, slice(None), (image, remainder))
        if self.blocks == 1 or not self._parts:
            image = self.propagator.apply(remainder, image)
            image += self.equation.drive
            return image
        for units, part in self._parts:
            inputs = part.apply(remainder)
            inputs += self.equation.drive[:, units]
            image[:, units] = inputs
            if units.stop < state.shape[1]:
                remainder[:, units] = self._remainder(inputs, units)
        return image

    def at(self, equation: FixedPointEquation) -> "ChordMap":
        """Return the map of another equation with the same T, or its transpose, from the same factor, in its precision."""
        transposed = equation.operator.transposed
        operator, propagator = (each.directed(transposed) for each in (self.equation.operator, self.propagator))
        single = None if equation.drive.dtype == self.gain.dtype else equation.single(operator)
        return replace(self, equation=single or equation, propagator=propagator)

    def take(self, rows: Rows) -> "ChordMap":
        return replace(self, equation=self.equation.take(rows))

    def _remainder(self, inputs: Array, units: slice, work: Work | tuple[None, None] = (None, None)) -> Array:
        """Return φ(z) − ḡ ∘ (z − d) of some units, given their z, in the second work array or in a new one."""
        xp = namespace_of(inputs)
        if self._excess is None:
            shared = into(work[0], xp.multiply, inputs, self.gain[units])
            remainder = self.equation.respond(inputs, work[1])
            remainder -= shared
        else:
            remainder = into(work[1], xp.multiply, inputs, self._excess[:, units])
        remainder += self._offset[:, units]
        return remainder

    @cached_property
    def _parts(self) -> list[tuple[slice, Operator]]:
        """The blocks, and the map to each block, if it costs less than the map to all units."""
        n, count = self.gain.shape[0], self.blocks
        blocks = [slice(block * n // count, (block + 1) * n // count) for block in range(count)]
        return [(units, part) for units in blocks if (part := self.propagator.part(units))]

    @cached_property
    def _offset(self) -> Array:
        """ḡ ∘ d, shape (batch, n)."""
        return self.gain * self.equation.drive

    @cached_property
    def _excess(self) -> Array | None:
        """g − ḡ of a linear equation, shape (batch, n); φ(z) − ḡ ∘ z is then one product."""
        return None if self.equation.nonlinear else self.equation.activation - self.gain


@dataclass(frozen=True)
class CorrectedMap(FixedPointMap):
    """z ↦ z + (I − T Ḡ)⁻¹ ρ with ρ = T φ(z) + d − z: the chord map computed from its residual, with two products.

    Its rounding error becomes small with ρ. In the other form M multiplies a vector that does not become small. Where M is
    large, its rounding error limits the residual.

    Parameters
    ----------
    chord
        The chord map, with one block.
    """

    chord: ChordMap

    def image(self, state: Array, work: Work | None = None) -> Array:
        xp, chord = namespace_of(state), self.chord
        image, residual = work or (xp.empty_like(state), xp.empty_like(state))
        image = chord.equation.inputs(chord.equation.respond(state, residual), image)
        residual = into(residual, xp.subtract, image, state)
        residual *= chord.gain
        image += chord.propagator.apply(residual)
        return image

    def take(self, rows: Rows) -> "CorrectedMap":
        return CorrectedMap(self.chord.take(rows))
