"""The Kronecker approximation of the response metric, L ⊗ C + λ, from running averages of gains and rates over mini-batches."""

from typing import NamedTuple, final

import numpy as np
from array_api_compat import array_namespace

from manifolds import Array, SingularPointError
from manifolds.arrays import identity_like, machine_epsilon
from manifolds.invertible import why_not_invertible
from manifolds.linear_algebra import inverse
from riemannrnn.cost.evaluation import Evaluation


@final
class KroneckerFactors:
    """The operator V ↦ L V C + λV and its inverse, by the eigenvectors of both factors. λ is exact, not split between them.

    Parameters
    ----------
    left, right
        L and C, symmetric and positive semidefinite, shape (n, n).
    damping
        λ.

    Raises
    ------
    SingularPointError
        If λ = 0 and a factor is singular to working precision.

    References
    ----------
    Martens and Grosse, ICML 2015, section 6.3 (which splits λ between the factors to save the eigenvectors) and appendix B.
    """

    def __init__(self, left: Array, right: Array, damping: float) -> None:
        self.left, self.right, self.damping = left, right, damping
        linalg = array_namespace(left, right).linalg
        (on_left, self._on_left), (on_right, self._on_right) = linalg.eigh(left), linalg.eigh(right)
        if not damping > 0:
            _refuse_singular("mean response of the units", on_left)
            _refuse_singular("second moment of the rates", on_right)
        self._eigenvalues = _positive_part(on_left)[:, None] * _positive_part(on_right)[None, :] + damping

    def product(self, vector: Array) -> Array:
        """Return L V C + λV."""
        return self.left @ vector @ self.right + self.damping * vector

    def solve(self, covector: Array) -> Array:
        """Return the V with L V C + λV = P."""
        inside = (self._on_left.T @ covector @ self._on_right) / self._eigenvalues
        return self._on_left @ inside @ self._on_right.T


def response_factor(weights: Array, mean_gains: Array) -> Array:
    """Return L = J̄ᵀ J̄, where J̄ = (I − Ḡ W)⁻¹ Ḡ is the response of the rates to the drive at the mean gains Ḡ, shape (n, n).

    The most accurate factor is the mean of JᵀJ over stimuli, which needs an inverse for each stimulus. With the mean gains
    conjugate gradients took at most a fifth more iterations. With adjoints of random errors, as in K-FAC, they took more.

    Raises
    ------
    SingularPointError
        If I − Ḡ W is singular.
    """
    matrix = identity_like(weights) - mean_gains[:, None] * weights
    try:
        response = inverse(matrix) * mean_gains[None, :]
    except np.linalg.LinAlgError as error:
        found, reason = why_not_invertible("I − G W", matrix)
        raise SingularPointError(
            f"at the mean gains {found}", reason, "Start from smaller weights, or shorten the step"
        ) from error
    return response.T @ response


class ResponseStatistics(NamedTuple):
    """Statistics of stimuli for the Kronecker factors. The weights enter later, so averages do not use old weights.

    Attributes
    ----------
    gains
        Mean gain of each unit, shape (n,).
    second_moments
        RᵀR / m, shape (n, n).
    batches
        Number of mini-batches in the averages.
    """

    gains: Array
    second_moments: Array
    batches: int = 1

    @classmethod
    def of(cls, evaluation: Evaluation) -> "ResponseStatistics":
        """Return the means over a batch."""
        shares, xp = evaluation.averaging, array_namespace(evaluation.rates)
        return cls(xp.sum(shares * evaluation.gains, axis=0), (shares * evaluation.rates).T @ evaluation.rates)

    def updated(self, batch: "ResponseStatistics", decay: float) -> "ResponseStatistics":
        """Return the running average with another batch. The k-th batch has weight 1/k, but at least 1 − `decay`."""
        kept = min(1 - 1 / (self.batches + 1), decay)
        return ResponseStatistics(
            kept * self.gains + (1 - kept) * batch.gains,
            kept * self.second_moments + (1 - kept) * batch.second_moments,
            self.batches + 1,
        )

    def factors(self, weights: Array, damping: float) -> KroneckerFactors:
        """Return the factors at W. λ is the mean eigenvalue tr L tr C / n² times a relative `damping`."""
        left, right = response_factor(weights, self.gains), self.second_moments
        trace = array_namespace(left).linalg.trace
        return KroneckerFactors(left, right, damping * float(trace(left)) * float(trace(right)) / left.shape[0] ** 2)


def _positive_part(eigenvalues: Array) -> Array:
    return array_namespace(eigenvalues).where(eigenvalues > 0, eigenvalues, 0.0)


def _refuse_singular(what: str, eigenvalues: Array) -> None:
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    if not smallest > eigenvalues.shape[0] * machine_epsilon(eigenvalues) * largest:
        raise SingularPointError(
            f"eigenvalues of the {what} from {smallest:.1e} to {largest:.1e}",
            "some changes of the weights change no rate, and have length zero",
            "Pass a positive damping, or add stimuli",
        )
