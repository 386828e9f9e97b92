"""Connectivity: how the trained parameters of a network act as recurrent weights."""

from typing import Protocol

import numpy as np

from manifolds.points import Point, map_arrays
from riemannrnn.network.operator import Operator


class Connectivity(Protocol):
    """A family of recurrent weights W with parameters θ, an array or a tuple of arrays: a point of a manifold.

    `bind` makes an `Operator` from parameters. Solvers, derivatives and stability use the weights only through it. A new
    connectivity implements the five methods below and a subclass of `Operator`.
    """

    def bind(self, parameters: Point) -> Operator:
        """Return the operator of the weights with these parameters."""

    def check(self, parameters: Point, n: int) -> None:
        """Check that the parameters are parameters of n units.

        Raises
        ------
        ValueError
            If they are not. The message names the shapes found and the shapes expected.
        """

    def initial(self, n: int, radius: float, generator: np.random.Generator) -> Point:
        """Return random parameters, NumPy arrays in float64.

        W has entries of variance radius²/n and a spectral radius of about `radius`.
        """

    def scaled(self, parameters: Point, factor: float) -> Point:
        """Return the parameters of W times a factor."""

    def change(self, vector: Point) -> Point:
        """Return the parameters of a change of W, given in the form in which the manifold embeds its tangent vectors."""


def shapes(parameters: Point) -> Point:
    """Return the shape of the array, or a tuple of the shapes of the arrays."""
    return map_arrays(lambda array: tuple(array.shape), parameters)
