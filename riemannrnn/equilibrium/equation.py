"""The equation that every solver solves, s = φ(T s + d) row by row: the fixed points, their adjoints and their tangents."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TypeAlias

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.network.activations import Activation, into
from riemannrnn.network.operator import Operator, to_single

Work: TypeAlias = tuple[Array, Array]
"""Two arrays of shape (batch, n) that may be overwritten."""

Rows: TypeAlias = Array | slice
"""Some rows of a batch, by their indices or as a slice."""


class FixedPointMap(ABC):
    """A map of the rows of a batch. A solver looks for a fixed point of each row, independently of the other rows."""

    @abstractmethod
    def image(self, state: Array, work: Work | None = None) -> Array:
        """Return the map's value at each row, shape (batch, n), in one of the work arrays or in a new one."""

    def repeated(self, state: Array, count: int, work: Work) -> Array:
        """Return the result of applying the map to the rows several times, in one of the work arrays.

        The state may be one of the work arrays.
        """
        for _ in range(count):
            state = self.image(state, work[::-1] if state is work[0] else work)
        return state

    @abstractmethod
    def take(self, rows: Rows) -> "FixedPointMap":
        """Return the map of some of the rows."""


@dataclass(frozen=True)
class FixedPointEquation(FixedPointMap):
    """s = f(T s + d) for a batch of independent rows; with gains g instead of f, the linear equation s = g ∘ (T s + d).

    Three equations of the theory have this form: the fixed point (T = W, d = x), the adjoint (T = Wᵀ, d = ℓ, gains g) and the
    tangent (T = W, d = V r, gains g). One set of solvers serves all three.

    Parameters
    ----------
    operator
        The operator of T.
    drive
        d, shape (batch, n).
    activation
        The activation f, or the gains g, shape (batch, n).
    """

    operator: Operator
    drive: Array
    activation: Activation | Array

    def single(self, operator: Operator | None = None) -> "FixedPointEquation | None":
        """Return the equation in float32, or None if it is in float32 already; T is converted unless given in float32."""
        xp = namespace_of(self.drive)
        if self.drive.dtype == xp.float32:
            return None
        activation = self.activation if isinstance(self.activation, Activation) else to_single(self.activation)
        return FixedPointEquation(operator or self.operator.single(), to_single(self.drive), activation)

    @property
    def nonlinear(self) -> bool:
        """Whether φ is an activation rather than a multiplication by gains."""
        return isinstance(self.activation, Activation)

    def inputs(self, state: Array, out: Array | None = None) -> Array:
        """Return T s + d, shape (batch, n), in the array `out` or in a new one."""
        inputs = self.operator.apply(state, out)
        inputs += self.drive
        return inputs

    def image(self, state: Array, work: Work | None = None) -> Array:
        inputs = self.inputs(state, work[0] if work else None)
        return self.respond(inputs, inputs)

    def respond(self, inputs: Array, out: Array | None = None) -> Array:
        """Return φ(inputs), in the array `out`, which may be the inputs, or in a new array."""
        if isinstance(self.activation, Activation):
            return self.activation.respond(inputs, out)
        return into(out, namespace_of(inputs).multiply, self.activation, inputs)

    def slope(self, inputs: Array, image: Array) -> Array:
        """Return φ′ at the inputs, given φ at the inputs as `image`, shape (batch, n)."""
        return self.activation.derivative(inputs, image) if isinstance(self.activation, Activation) else self.activation

    def source(self, inputs: Array, image: Array, gains: Array) -> Array:
        """Return b of the linearised equation s = G T s + b at the inputs z, shape (batch, n): b = φ(z) − G (z − d).

        For a linear equation b is g ∘ d.
        """
        return image - gains * (inputs - self.drive) if self.nonlinear else gains * self.drive

    def take(self, rows: Rows) -> "FixedPointEquation":
        linear = not isinstance(self.activation, Activation)
        activation = take_rows(self.activation, rows) if linear else self.activation
        return replace(self, drive=take_rows(self.drive, rows), activation=activation)


def take_rows(array: Array, rows: Rows) -> Array:
    """Return rows of an array; a slice is not copied."""
    return array[rows, ...] if isinstance(rows, slice) else namespace_of(array).take(array, rows, axis=0)


def finite_rows(array: Array) -> Array:
    """Tell for each row whether all of its entries are finite, shape (batch,)."""
    xp = namespace_of(array)
    return xp.all(xp.isfinite(array), axis=1)
