"""How parameters act as recurrent weights: all that the network, its solvers and its derivatives know of them."""

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from manifolds import Array
from manifolds.arrays import Point, add_to_diagonal, identity_like, map_arrays
from manifolds.linear_algebra import chain, inverse, solve
from manifolds.summary import Summarised
from riemannrnn.backend import namespace_of
from riemannrnn.network.activations import into
from riemannrnn.norms import row_norms

SMALLEST_GAIN = 0.1
"""Division by a smaller gain would lose more than a digit."""


class Connectivity(Protocol):
    """The recurrent weights W as a linear operator with parameters θ, an array or a tuple of arrays: a point of a manifold.

    Rates R and adjoints U hold one stimulus a row, shape (batch, n).
    """

    def check(self, parameters: Point, n: int) -> None:
        """Refuse parameters that are not those of n units.

        Raises
        ------
        ValueError
            Naming what was found and what is wanted.
        """

    def initial(self, n: int, radius: float, generator: np.random.Generator) -> Point:
        """Return random parameters, float64 of NumPy: entries of W of variance radius²/n, a spectral radius about `radius`."""

    def scaled(self, parameters: Point, factor: float) -> Point:
        """Return the parameters of W times a factor."""

    def row_norms(self, parameters: Point, transposed: bool) -> Array:
        """Return the norms of the rows of W, or of Wᵀ, shape (n,)."""

    def apply(self, parameters: Point, rates: Array, out: Array | None = None) -> Array:
        """Return the recurrent drive R Wᵀ, shape (batch, n), in the array `out` or in a new one."""

    def apply_transpose(self, parameters: Point, adjoints: Array, out: Array | None = None) -> Array:
        """Return U W, shape (batch, n), in the array `out` or in a new one."""

    def accumulate(self, parameters: Point, adjoints: Array, rates: Array) -> Point:
        """Return the gradient of ⟨U, R Wᵀ⟩ in θ, with the shape of θ; linear in Uᵀ R, a sum over stimuli."""

    def change(self, vector: Point) -> Point:
        """Return the parameters that act as a change of W, given as the manifold embeds its tangent vectors."""

    def part(self, parameters: Point, units: slice, transposed: bool) -> Point | None:
        """Return the parameters that act as the rows of W, or of Wᵀ, for consecutive units; None if it costs as much as all."""

    def propagator(self, parameters: Point, gain: Array) -> Point:
        """Return the parameters that act as M = (I − W Ḡ)⁻¹ W for a gain ḡ of each unit, shape (n,).

        With Wᵀ for W that is Mᵀ.

        Raises
        ------
        numpy.linalg.LinAlgError
            If I − W Ḡ is exactly singular.
        """

    def reduced_jacobians(self, parameters: Point, gains: Array) -> Array | None:
        """Return for each stimulus a matrix of fewer than n rows with the eigenvalues of G W that are not zero.

        Shape (batch, k, k); None where there is none.
        """


@final
class Dense(Summarised):
    """Every entry of W is a parameter: θ = W, shape (n, n)."""

    def check(self, parameters: Array, n: int) -> None:
        """Refuse all but an n×n matrix."""
        if isinstance(parameters, tuple) or parameters.shape != (n, n):
            raise ValueError(f"the weights have shape {_shapes(parameters)}, the network has {n} units; pass ({n}, {n})")

    def initial(self, n: int, radius: float, generator: np.random.Generator) -> Array:
        """Return a matrix of independent normal entries."""
        return radius * (generator.standard_normal((n, n)) / n**0.5)

    def scaled(self, parameters: Array, factor: float) -> Array:
        """Return W times a factor."""
        return factor * parameters

    def row_norms(self, parameters: Array, transposed: bool) -> Array:
        """Return the norms of the rows of W, or of its columns."""
        return row_norms(parameters.T if transposed else parameters)

    def apply(self, parameters: Array, rates: Array, out: Array | None = None) -> Array:
        """Return R Wᵀ."""
        return into(out, namespace_of(rates).matmul, rates, parameters.T)

    def apply_transpose(self, parameters: Array, adjoints: Array, out: Array | None = None) -> Array:
        """Return U W."""
        return into(out, namespace_of(adjoints).matmul, adjoints, parameters)

    def accumulate(self, parameters: Array, adjoints: Array, rates: Array) -> Array:
        """Return Uᵀ R."""
        return adjoints.T @ rates

    def change(self, vector: Array) -> Array:
        """Return the vector, a matrix like W."""
        return vector

    def part(self, parameters: Array, units: slice, transposed: bool) -> Array:
        """Return rows of W, or its columns."""
        return parameters[:, units] if transposed else parameters[units, :]

    def propagator(self, parameters: Array, gain: Array) -> Array:
        """Return (I − W Ḡ)⁻¹ W, which is ((I − W Ḡ)⁻¹ − I) Ḡ⁻¹ and takes no product where no gain is close to 0."""
        xp = namespace_of(parameters)
        result = inverse(add_to_diagonal(parameters * -gain, 1.0))
        if not float(xp.min(xp.abs(gain))) >= SMALLEST_GAIN:
            return chain(result, parameters)
        add_to_diagonal(result, -1.0)
        result /= gain
        return result

    def reduced_jacobians(self, parameters: Array, gains: Array) -> None:
        """Return None: W may have full rank."""


@final
@dataclass(frozen=True)
class LowRank:
    """W = u diag(s) vᵀ of rank k, which is never formed: θ is the point (u, s, vᵀ) of pymanopt's `FixedRankEmbedded`.

    The factors have shapes (n, k), (k,) and (k, n). Solvers and derivatives do not rely on it that u and v are orthonormal.
    Every product costs O(batch n k). A change of W is a triple (U, S, V) with W changed by U S Vᵀ, as
    `FixedRankEmbedded.embedding` returns it. Gradients are those in u, s and vᵀ, as its `euclidean_to_riemannian_gradient`
    takes them.

    Parameters
    ----------
    rank
        k, at least 1 and at most n.

    Raises
    ------
    ValueError
        For a rank below 1, or from `check` and `initial` above n.

    References
    ----------
    Vandereycken, SIAM J. Optim. 23(2), 2013 (the manifold); Mastrogiuseppe & Ostojic, Neuron 99(3), 2018 (the networks).
    """

    rank: int

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank = {self.rank} is below 1; pass 1 or more")

    def check(self, parameters: Point, n: int) -> None:
        """Refuse all but factors (u, s, vᵀ) of this rank."""
        k = self.rank
        if not isinstance(parameters, tuple) or _shapes(parameters) != ((n, k), (k,), (k, n)):
            raise ValueError(
                f"the weights have shape {_shapes(parameters)}, the network has {n} units and rank {k}; pass a tuple "
                f"(u, s, vt) of shapes ({n}, {k}), ({k},) and ({k}, {n})"
            )

    def initial(self, n: int, radius: float, generator: np.random.Generator) -> Point:
        """Return the singular value decomposition of the product of two random matrices of normal entries."""
        if self.rank > n:
            raise ValueError(f"rank = {self.rank} is above the {n} units; pass {n} or less")
        (q_left, r_left), (q_right, r_right) = (np.linalg.qr(generator.standard_normal((n, self.rank))) for _ in range(2))
        u, s, vt = np.linalg.svd(r_left @ r_right.T)
        return q_left @ u, radius / (n * self.rank) ** 0.5 * s, vt @ q_right.T

    def scaled(self, parameters: Point, factor: float) -> Point:
        """Return (u, s, vᵀ) with s times a factor."""
        u, s, vt = parameters
        return u, factor * s, vt

    def row_norms(self, parameters: Point, transposed: bool) -> Array:
        """Return the roots of the diagonal of u diag(s) vᵀ v diag(s) uᵀ, or with u and v exchanged."""
        u, s, vt = parameters
        left, right = (vt.T * s, u) if transposed else (u * s, vt.T)
        return row_norms(left @ namespace_of(u).linalg.qr(right)[1].T)

    def apply(self, parameters: Point, rates: Array, out: Array | None = None) -> Array:
        """Return R v diag(s) uᵀ."""
        u, s, vt = parameters
        return into(out, namespace_of(rates).matmul, (rates @ vt.T) * s, u.T)

    def apply_transpose(self, parameters: Point, adjoints: Array, out: Array | None = None) -> Array:
        """Return U u diag(s) vᵀ."""
        u, s, vt = parameters
        return into(out, namespace_of(adjoints).matmul, (adjoints @ u) * s, vt)

    def accumulate(self, parameters: Point, adjoints: Array, rates: Array) -> Point:
        """Return (Z v diag(s), diag(uᵀ Z v), diag(s) uᵀ Z) for Z = Uᵀ R, the derivatives in u, s and vᵀ."""
        u, s, vt = parameters
        left, right = adjoints @ u, rates @ vt.T
        return (adjoints.T @ right) * s, namespace_of(rates).sum(left * right, axis=0), s[:, None] * (left.T @ rates)

    def change(self, vector: Point) -> Point:
        """Return (U S, 1, Vᵀ) for the change U S Vᵀ."""
        u, s, v = vector
        return u @ s, namespace_of(s).ones_like(s[0, :]), v.T

    def part(self, parameters: Point, units: slice, transposed: bool) -> None:
        """Return None: the product with vᵀ, half of the whole, would be the same for every part."""

    def propagator(self, parameters: Point, gain: Array) -> Point:
        """Return (u, s, (I − vᵀ Ḡ u diag(s))⁻¹ vᵀ), by the push-through identity: a system of k equations."""
        u, s, vt = parameters
        small = (vt * gain) @ (u * s)
        return u, s, solve(identity_like(small) - small, vt)

    def reduced_jacobians(self, parameters: Point, gains: Array) -> Array | None:
        """Return vᵀ G u diag(s), of which the eigenvalues are those of G u diag(s) vᵀ but for zeros; None for full rank."""
        u, s, vt = parameters
        if self.rank == u.shape[0]:
            return None
        return namespace_of(gains).stack([gains @ (vt[k, :, None] * u * s) for k in range(self.rank)], axis=1)


def _shapes(parameters: Point) -> Point:
    return map_arrays(lambda array: tuple(array.shape), parameters)
