"""How parameters act as recurrent weights: three operations that solvers and derivatives know, and no others."""

from typing import Protocol, final

from manifolds import Array


class Connectivity(Protocol):
    """The recurrent weights W as a linear operator with parameters θ.

    Rates R and adjoints U hold one stimulus a row, shape (batch, n).
    """

    def apply(self, parameters: Array, rates: Array) -> Array:
        """Return the recurrent drive R Wᵀ as a new array, shape (batch, n)."""

    def apply_transpose(self, parameters: Array, adjoints: Array) -> Array:
        """Return U W as a new array, shape (batch, n)."""

    def accumulate(self, adjoints: Array, rates: Array) -> Array:
        """Return the gradient of ⟨U, R Wᵀ⟩ in θ, with the shape of θ."""


@final
class Dense:
    """Every entry of W is a parameter: θ = W, shape (n, n)."""

    def apply(self, parameters: Array, rates: Array) -> Array:
        """Return R Wᵀ."""
        return rates @ parameters.T

    def apply_transpose(self, parameters: Array, adjoints: Array) -> Array:
        """Return U W."""
        return adjoints @ parameters

    def accumulate(self, adjoints: Array, rates: Array) -> Array:
        """Return Uᵀ R."""
        return adjoints.T @ rates
