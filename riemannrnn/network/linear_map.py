"""Linear maps of rows with parameters: how a layer, or the outputs, read a source."""

from dataclasses import dataclass
from math import prod, sqrt
from typing import Protocol, final

from manifolds import Array
from manifolds.summary import Summarised
from riemannrnn.backend import namespace_of
from riemannrnn.network.pooling import MeanPooling
from riemannrnn.runtime import product, summed


class LinearMap(Protocol):
    """A linear map V of sources s with parameters θ. Arrays of sources hold one stimulus per row, shape (batch, inputs).

    Responses and their derivatives know a read-in, a skip connection and a readout by these methods alone.
    """

    def parameter_shape(self, n_outputs: int, n_inputs: int) -> tuple[int, ...]:
        """Return the shape of θ. The first axis belongs to outputs, the others to the inputs of an output.

        Raises
        ------
        ValueError
            If the map has other numbers of inputs or outputs. The message names both.
        """

    def n_biases(self, n_outputs: int) -> int:
        """Return the numbers of a bias that goes with the map: one for each output, or one for each channel of an image."""

    def apply(self, parameters: Array, rows: Array) -> Array:
        """Return V s for each row s, shape (batch, outputs)."""

    def transpose(self, parameters: Array, covectors: Array) -> Array:
        """Return Vᵀ u for each row u, shape (batch, inputs)."""

    def gradient(self, covectors: Array, rows: Array) -> Array:
        """Return the gradient of Σ ⟨u, V s⟩ in θ, a sum over stimuli, with the shape of θ."""

    def norm(self, parameters: Array) -> float:
        """Return ‖V‖₂, or an upper bound of it, computed in float64."""


@final
class DenseMap(Summarised):
    """Every entry of V is a parameter: θ = V, shape (outputs, inputs)."""

    def parameter_shape(self, n_outputs: int, n_inputs: int) -> tuple[int, ...]:
        """Return (outputs, inputs)."""
        return n_outputs, n_inputs

    def n_biases(self, n_outputs: int) -> int:
        """Return the number of outputs."""
        return n_outputs

    def apply(self, parameters: Array, rows: Array) -> Array:
        """Return S Vᵀ."""
        return product(rows, parameters.T)

    def transpose(self, parameters: Array, covectors: Array) -> Array:
        """Return U V."""
        return covectors @ parameters

    def gradient(self, covectors: Array, rows: Array) -> Array:
        """Return Uᵀ S."""
        return summed(_outer, covectors, rows)

    def norm(self, parameters: Array) -> float:
        """Return the largest singular value."""
        xp = namespace_of(parameters)
        return float(xp.linalg.matrix_norm(xp.astype(parameters, xp.float64), ord=2))


DENSE = DenseMap()
"""The map of read-ins, skip connections and readouts that are given no other."""


@final
@dataclass(frozen=True)
class PooledMap:
    """A linear map of the means of a pooling: V s = M (pooling of s), with the parameters of M.

    Parameters
    ----------
    pooling
        The pooling, which has no parameters.
    read
        M.
    """

    pooling: MeanPooling
    read: LinearMap = DENSE

    def parameter_shape(self, n_outputs: int, n_inputs: int) -> tuple[int, ...]:
        """Return the shape of the parameters of M."""
        if prod(self.pooling.image) != n_inputs:
            raise ValueError(f"{self.pooling} pools {prod(self.pooling.image)} rates, and the layer has {n_inputs} units")
        return self.read.parameter_shape(n_outputs, prod(self.pooling.shape))

    def n_biases(self, n_outputs: int) -> int:
        """Return as many as M has."""
        return self.read.n_biases(n_outputs)

    def apply(self, parameters: Array, rows: Array) -> Array:
        """Return M applied to the means."""
        return self.read.apply(parameters, self.pooling.apply(rows))

    def transpose(self, parameters: Array, covectors: Array) -> Array:
        """Return the transpose of M, and then the transpose of the pooling."""
        return self.pooling.transpose(self.read.transpose(parameters, covectors))

    def gradient(self, covectors: Array, rows: Array) -> Array:
        """Return the gradient in the parameters of M at the means."""
        return self.read.gradient(covectors, self.pooling.apply(rows))

    def norm(self, parameters: Array) -> float:
        """Return ‖M‖₂ over the square root of the number of positions of a window."""
        return self.read.norm(parameters) / sqrt(prod(self.pooling.window))


def with_bias(drive: Array, bias: Array | None) -> Array:
    """Return a drive with a bias added: a number for each unit, or for each channel of an image at all positions.

    Parameters
    ----------
    drive
        Shape (batch, n). The channels of a position stand next to each other.
    bias
        Shape (c,), where c divides n; None: without a bias.
    """
    if bias is None:
        return drive
    by_position = namespace_of(drive).reshape(drive, (drive.shape[0], drive.shape[1] // bias.shape[0], bias.shape[0]))
    return namespace_of(drive).reshape(by_position + bias, drive.shape)


def bias_gradient(covectors: Array, bias: Array) -> Array:
    """Return the gradient of Σ ⟨u, with_bias(x, b)⟩ in b, the sum over stimuli and positions, with the shape of b."""
    xp = namespace_of(covectors)
    return xp.sum(xp.reshape(xp.sum(covectors, axis=0), (-1, bias.shape[0])), axis=0)


def _outer(covectors: Array, rows: Array) -> Array:
    """Return Σ u sᵀ over the rows of a batch."""
    return covectors.T @ rows
