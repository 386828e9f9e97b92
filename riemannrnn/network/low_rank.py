"""Connectivity of low rank: the weights are known by their factors and never formed."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np

from manifolds import Array
from manifolds.arrays import identity_like
from manifolds.linear_algebra import solve
from manifolds.points import Point
from riemannrnn.backend import namespace_of
from riemannrnn.network.activations import into
from riemannrnn.network.connectivity import shapes
from riemannrnn.network.operator import Operator
from riemannrnn.norms import row_norms


@final
@dataclass(frozen=True)
class LowRank:
    """W = u diag(s) vᵀ of rank k, which is never formed: θ is the point (u, s, vᵀ) of pymanopt's `FixedRankEmbedded`.

    The factors have shapes (n, k), (k,) and (k, n). Solvers and derivatives do not need orthonormal u and v. Every product
    costs O(batch n k). A change of W is a triple (U, S, V): W changes by U S Vᵀ. `FixedRankEmbedded.embedding` returns changes
    in this form. Gradients are derivatives in u, s and vᵀ, as its method `euclidean_to_riemannian_gradient` takes them.

    Parameters
    ----------
    rank
        k, at least 1 and at most n.

    Raises
    ------
    ValueError
        For a rank below 1. From `check` and `initial` for a rank above n.

    References
    ----------
    Vandereycken, SIAM J. Optim. 23(2), 2013 (the manifold); Mastrogiuseppe & Ostojic, Neuron 99(3), 2018 (the networks).
    """

    rank: int

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank = {self.rank} is below 1; pass 1 or more")

    def bind(self, parameters: Point) -> "LowRankOperator":
        """Return the operator of u diag(s) vᵀ."""
        return LowRankOperator(parameters)

    def check(self, parameters: Point, n: int) -> None:
        """Check that the parameters are factors (u, s, vᵀ) of this rank."""
        k = self.rank
        if shapes(parameters) != ((n, k), (k,), (k, n)):
            raise ValueError(
                f"the weights have shape {shapes(parameters)}, the network has {n} units and rank {k}; pass a tuple "
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

    def change(self, vector: Point) -> Point:
        """Return (U S, 1, Vᵀ) for the change U S Vᵀ."""
        u, s, v = vector
        return u @ s, namespace_of(s).ones_like(s[0, :]), v.T


@final
@dataclass(frozen=True, eq=False)
class LowRankOperator(Operator):
    """The operator of W = u diag(s) vᵀ, with parameters (u, s, vᵀ), or of its transpose.

    It has no parts: the product with vᵀ is half of the work, and every part would need the whole product.
    """

    @property
    def factors(self) -> tuple[Array, Array, Array]:
        """Factors l, s and rᵀ of T = l diag(s) rᵀ, shapes (n, k), (k,) and (k, n)."""
        u, s, vt = self.parameters
        return (vt.T, s, u.T) if self.transposed else (u, s, vt)

    def apply(self, rows: Array, out: Array | None = None) -> Array:
        left, s, right = self.factors
        return into(out, namespace_of(rows).matmul, (rows @ right.T) * s, left.T)

    def accumulate(self, adjoints: Array, rates: Array) -> Point:
        """Return (Z v diag(s), diag(uᵀ Z v), diag(s) uᵀ Z) for Z = Uᵀ R, the derivatives in u, s and vᵀ.

        For the transpose, Z = Rᵀ U.
        """
        u, s, vt = self.parameters
        if self.transposed:
            adjoints, rates = rates, adjoints
        left, right = adjoints @ u, rates @ vt.T
        return (adjoints.T @ right) * s, namespace_of(rates).sum(left * right, axis=0), s[:, None] * (left.T @ rates)

    @cached_property
    def row_norms(self) -> Array:
        """The roots of the diagonal of T Tᵀ."""
        left, s, right = self.factors
        return row_norms((left * s) @ namespace_of(s).linalg.qr(right.T)[1].T)

    def propagator(self, gain: Array) -> "LowRankOperator":
        """Return the operator of u diag(s) (I − vᵀ Ḡ u diag(s))⁻¹ vᵀ, or of its transpose.

        This is the push-through identity: a system of k equations.
        """
        u, s, vt = self.parameters
        small = (vt * gain) @ (u * s)
        return replace(self, parameters=(u, s, solve(identity_like(small) - small, vt)))

    def reduced_jacobians(self, gains: Array) -> Array:
        """Return vᵀ G u diag(s), which has the eigenvalues of G u diag(s) vᵀ apart from zeros, shape (batch, k, k)."""
        u, s, vt = self.parameters
        return namespace_of(gains).stack([gains @ (vt[k, :, None] * u * s) for k in range(vt.shape[0])], axis=1)
