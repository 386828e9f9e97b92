"""The equation that every solver solves, s = φ(T s + d) row by row: the fixed points, their adjoints and their tangents."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

from array_api_compat import array_namespace

from manifolds import Array
from riemannrnn.network.activations import Activation


class FixedPointMap(ABC):
    """A map of which each row of a batch wants a fixed point, independently of the other rows."""

    @abstractmethod
    def image(self, state: Array) -> Array:
        """Return the map's value at each row, shape (batch, n)."""

    @abstractmethod
    def take(self, rows: Array) -> "FixedPointMap":
        """Return the map of some of the rows."""


@dataclass(frozen=True)
class Operator:
    """The map S ↦ T S on rows that a connectivity makes of parameters.

    Parameters
    ----------
    function
        Of the parameters and the rows.
    parameters
        Those of the connectivity.
    """

    function: Callable[[Array, Array], Array]
    parameters: Array

    def __call__(self, rows: Array) -> Array:
        """Return T S, shape (batch, n)."""
        return self.function(self.parameters, rows)


@dataclass(frozen=True)
class FixedPointEquation(FixedPointMap):
    """s = f(T s + d) for a batch of independent rows, or with gains g in place of f, the linear s = g ∘ (T s + d).

    Three equations of the theory have this form: the fixed point (T = W, d = x), the adjoint (T = Wᵀ, d = ℓ, gains g) and the
    tangent (T = W, d = V r, gains g). One set of solvers serves all three.

    Parameters
    ----------
    operator
        The map S ↦ T S on rows, shape (batch, n) to (batch, n).
    drive
        d, shape (batch, n).
    activation
        The activation f, or the gains g, shape (batch, n).
    """

    operator: Callable[[Array], Array]
    drive: Array
    activation: Activation | Array

    def single(self) -> "FixedPointEquation | None":
        """Return the equation in float32, or None where it is in float32 already or its operator is a mere function."""
        xp = array_namespace(self.drive)
        if not isinstance(self.operator, Operator) or self.drive.dtype == xp.float32:
            return None
        activation = self.activation if isinstance(self.activation, Activation) else xp.astype(self.activation, xp.float32)
        operator = Operator(self.operator.function, xp.astype(self.operator.parameters, xp.float32))
        return FixedPointEquation(operator, xp.astype(self.drive, xp.float32), activation)

    @property
    def nonlinear(self) -> bool:
        """Whether φ is an activation rather than a multiplication by gains."""
        return isinstance(self.activation, Activation)

    def inputs(self, state: Array) -> Array:
        """Return T s + d, shape (batch, n)."""
        inputs = self.operator(state)
        inputs += self.drive
        return inputs

    def image(self, state: Array) -> Array:
        return self.respond(self.inputs(state))

    def respond(self, inputs: Array) -> Array:
        """Return φ(inputs)."""
        if isinstance(self.activation, Activation):
            return self.activation.function(inputs)
        return self.activation * inputs

    def slope(self, inputs: Array, image: Array) -> Array:
        """Return φ′ at the inputs, where φ is `image`, shape (batch, n)."""
        return self.activation.derivative(inputs, image) if isinstance(self.activation, Activation) else self.activation

    def take(self, rows: Array) -> "FixedPointEquation":
        linear = not isinstance(self.activation, Activation)
        activation = take_rows(self.activation, rows) if linear else self.activation
        return replace(self, drive=take_rows(self.drive, rows), activation=activation)


def take_rows(array: Array, rows: Array) -> Array:
    """Return rows of an array by their indices."""
    return array_namespace(array).take(array, rows, axis=0)


def row_norms(array: Array) -> Array:
    """Return the Euclidean norm of each row, shape (batch,)."""
    xp = array_namespace(array)
    return xp.sqrt(xp.vecdot(array, array))  # one pass; `vector_norm` makes several
