"""Dense connectivity: every entry of the weights is a parameter."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, final

import numpy as np

from manifolds import Array
from manifolds.arrays import add_to_diagonal, identity_like
from manifolds.linear_algebra import chain, inverse
from manifolds.summary import Summarised
from riemannrnn.backend import namespace_of
from riemannrnn.network.activations import into
from riemannrnn.network.connectivity import shapes
from riemannrnn.network.operator import Operator
from riemannrnn.norms import row_norms

SMALLEST_GAIN = 0.1
"""Division by a smaller gain would lose more than one digit."""


@final
class Dense(Summarised):
    """Every entry of W is a parameter: θ = W, shape (n, n)."""

    def bind(self, parameters: Array) -> "DenseOperator":
        """Return the operator of W."""
        return DenseOperator(parameters)

    def check(self, parameters: Array, n: int) -> None:
        """Check that the parameters are an n × n matrix."""
        if shapes(parameters) != (n, n):
            raise ValueError(f"the weights have shape {shapes(parameters)}, the network has {n} units; pass ({n}, {n})")

    def initial(self, n: int, radius: float, generator: np.random.Generator) -> Array:
        """Return a matrix of independent normal entries."""
        return radius * (generator.standard_normal((n, n)) / n**0.5)

    def scaled(self, parameters: Array, factor: float) -> Array:
        """Return W times a factor."""
        return factor * parameters

    def change(self, vector: Array) -> Array:
        """Return the vector, a matrix of the shape of W."""
        return vector


@final
@dataclass(frozen=True, eq=False)
class DenseOperator(Operator):
    """The operator of a matrix W, shape (n, n), or of its transpose. A part of it has fewer rows."""

    formed: ClassVar[bool] = True

    @property
    def matrix(self) -> Array:
        return self.parameters.T if self.transposed else self.parameters

    def apply(self, rows: Array, out: Array | None = None) -> Array:
        return into(out, namespace_of(rows).matmul, rows, self.matrix.T)

    def accumulate(self, adjoints: Array, rates: Array) -> Array:
        """Return Uᵀ R, or Rᵀ U of the transpose."""
        return rates.T @ adjoints if self.transposed else adjoints.T @ rates

    @cached_property
    def row_norms(self) -> Array:
        return row_norms(self.matrix)

    def part(self, units: slice) -> "DenseOperator":
        rows = self.parameters[:, units] if self.transposed else self.parameters[units, :]
        return replace(self, parameters=rows)

    def propagator(self, gain: Array) -> "DenseOperator":
        """Return the operator of (I − W Ḡ)⁻¹ W = ((I − W Ḡ)⁻¹ − I) Ḡ⁻¹, or of its transpose.

        The second form needs no product. It is used where no gain is close to 0.
        """
        weights, xp = self.parameters, namespace_of(self.parameters)
        result = inverse(add_to_diagonal(weights * -gain, 1.0))
        if not float(xp.min(xp.abs(gain))) >= SMALLEST_GAIN:
            result = chain(result, weights)
        else:
            add_to_diagonal(result, -1.0)
            result /= gain
        return replace(self, parameters=result)

    def numerical_abscissa(self, scales: Array) -> float:
        xp, scaled = namespace_of(scales), scales[:, None] * self.parameters * scales
        return float(xp.linalg.eigvalsh((scaled + scaled.T) / 2)[-1])

    def numerical_abscissa_below(self, limit: float) -> bool:
        """Tell whether limit · I − sym W is positive definite, by the Frobenius norm or else by one Cholesky factor."""
        weights, xp = self.parameters, namespace_of(self.parameters)
        symmetric = (weights + weights.T) / 2
        if float(xp.linalg.matrix_norm(symmetric)) < limit:
            return True
        try:
            factor = xp.linalg.cholesky(limit * identity_like(weights) - symmetric)
        except np.linalg.LinAlgError:
            return False
        return bool(xp.all(xp.isfinite(factor)))
