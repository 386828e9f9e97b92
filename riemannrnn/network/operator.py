"""Recurrent weights as a linear operator: everything that solvers, derivatives and stability need of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar, Self

from array_api_compat import device

from manifolds import Array
from manifolds.arrays import add_to_diagonal
from manifolds.points import Point, map_arrays
from riemannrnn.backend import namespace_of


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """The linear map s ↦ T s on n units, where T is the recurrent weights W or their transpose.

    Arrays of states hold one stimulus per row, shape (batch, n). A subclass implements the abstract methods. The other methods
    have defaults. A subclass overrides a default where it knows a cheaper or a better answer.

    Parameters
    ----------
    parameters
        θ, an array or a tuple of arrays: the parameters of W.
    transposed
        Whether T = Wᵀ.
    """

    parameters: Point
    transposed: bool = False

    formed: ClassVar[bool] = False
    """Whether T is stored as an array, so that `matrix` costs nothing."""

    matrix_free: ClassVar[bool] = False
    """Whether T is too large to be formed as an array. Stability is then computed from products with T only."""

    @abstractmethod
    def apply(self, rows: Array, out: Array | None = None) -> Array:
        """Return S Tᵀ, which is T s for each row s, shape (batch, n), in the array `out` or in a new one."""

    @abstractmethod
    def accumulate(self, adjoints: Array, rates: Array) -> Point:
        """Return the gradient of ⟨U, R Tᵀ⟩ in θ, with the shape of θ. It is linear in Uᵀ R, a sum over stimuli."""

    @abstractmethod
    def propagator(self, gain: Array) -> "Operator":
        """Return the operator of M = (I − T Ḡ)⁻¹ T for a gain ḡ of each unit, shape (n,).

        The propagator of the transpose is the transpose of the propagator, because (I − W Ḡ)⁻¹ W = W (I − Ḡ W)⁻¹.

        Parameters
        ----------
        gain
            ḡ, one of the gains that `shared_gains` returns, or the same number for all units.

        Raises
        ------
        numpy.linalg.LinAlgError
            If I − T Ḡ is exactly singular.
        """

    @property
    @abstractmethod
    def row_norms(self) -> Array:
        """The Euclidean norms of the rows of T, shape (n,)."""

    @property
    def transpose(self) -> Self:
        """The operator of Tᵀ. It shares the parameters."""
        return replace(self, transposed=not self.transposed)

    def directed(self, transposed: bool) -> Self:
        """Return this operator or its transpose, whichever has this value of `transposed`."""
        return self if self.transposed == transposed else self.transpose

    def single(self) -> Self:
        """Return the operator in float32."""
        return replace(self, parameters=map_arrays(to_single, self.parameters))

    def part(self, units: slice) -> "Operator | None":
        """Return the operator that computes T s at some consecutive units only, shape (batch, n) to (batch, their number).

        Return None if this takes as long as T s at all units, which is the default.
        """
        return None

    @property
    def divisible(self) -> bool:
        """Whether T s at some of the units takes less time than at all units."""
        return self.part(slice(0, 1)) is not None

    def factor_rows(self, n: int) -> int:
        """Return the number of rows for which T s costs as much as a propagator. Default: n; for a convolution its channels."""
        return n

    def shared_gains(self, gains: Array) -> Array:
        """Return one gain of each unit for all stimuli, as an argument for `propagator`.

        Default: the mean over the stimuli with finite gains, or zeros if there are none. A convolution also averages over the
        units of a channel.

        Parameters
        ----------
        gains
            Shape (batch, n).

        Returns
        -------
        Array
            ḡ, shape (n,).
        """
        xp = namespace_of(gains)
        rows = xp.nonzero(xp.all(xp.isfinite(gains), axis=1))[0]
        return xp.mean(xp.take(gains, rows, axis=0), axis=0) if rows.shape[0] else xp.zeros_like(gains[0, :])

    def numerical_abscissa(self, scales: Array) -> float:
        """Return the largest eigenvalue of the symmetric part of D T D, where D = diag(scales), or an upper bound.

        Default: infinity, if no bound is known cheaply.

        Parameters
        ----------
        scales
            Shape (n,).
        """
        return inf

    def numerical_abscissa_below(self, limit: float) -> bool:
        """Tell whether the largest eigenvalue of the symmetric part of T is certain to be below a limit."""
        return self.numerical_abscissa(namespace_of(self.row_norms).ones_like(self.row_norms)) < limit

    def spectral_norm(self, scales: Array, shift: float = 0.0) -> float:
        """Return ‖D (T + a I) D⁻¹‖₂ with D = diag(scales) and a = `shift`, computed in float64. The default forms T.

        Parameters
        ----------
        scales
            Positive numbers, shape (n,). A convolution takes the same for all units of a channel.
        """
        xp = namespace_of(scales)
        shifted = add_to_diagonal(xp.astype(self.matrix, xp.float64, copy=True), shift)
        return float(xp.linalg.matrix_norm(scales[:, None] * shifted / scales, ord=2))

    def reduced_jacobians(self, gains: Array) -> Array | None:
        """Return for each stimulus a small matrix with all nonzero eigenvalues of G T among its eigenvalues.

        The matrix is linear in the gains, as Rᵀ G L is for T = L Rᵀ with L and R of shape (n, k). With unequal time constants
        the matrices of several groups of units are added.

        Parameters
        ----------
        gains
            The diagonals of G, shape (batch, n).

        Returns
        -------
        Array or None
            Shape (batch, k, k) with k ≤ n. If k < n, the other eigenvalues are zero. None, the default, if such matrices
            do not exist.
        """
        return None

    @property
    def matrix(self) -> Array:
        """T as an array, shape (n, n), for computations that need all entries. The default takes n products each time."""
        like, xp = self.row_norms, namespace_of(self.row_norms)
        return self.apply(xp.eye(like.shape[0], dtype=like.dtype, device=device(like))).T


def to_single(array: Array) -> Array:
    """Return an array in float32."""
    xp = namespace_of(array)
    return xp.astype(array, xp.float32)
