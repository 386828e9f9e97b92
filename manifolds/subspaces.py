"""Linear subspaces of matrices, each given by its orthogonal projection: masks, symmetric weights, tied weights."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device

from manifolds.arrays import Array
from manifolds.errors import InvalidArrayError


@dataclass(frozen=True)
class Subspace:
    """A linear subspace of matrices.

    Parameters
    ----------
    name
        What it is called in messages.
    project
        The orthogonal projection onto it in the Frobenius inner product, from matrices to matrices of the same shape; linear,
        symmetric and idempotent.
    dimension
        Number of free parameters, the trace of the projection.
    """

    name: str
    project: Callable[[Array], Array]
    dimension: int


def mask(present: Array) -> Subspace:
    """Return the matrices that vanish where the Boolean matrix `present` is false: sparse, block or hollow weights."""
    kept = np.asarray(present, dtype=bool)

    def project(matrix: Array) -> Array:
        xp = array_namespace(matrix)
        return xp.where(xp.asarray(kept, device=device(matrix)), matrix, xp.zeros_like(matrix))

    return Subspace(f"mask of {int(kept.sum())} weights", project, int(kept.sum()))


def zero_diagonal(n: int) -> Subspace:
    """Return the n×n matrices without self-connections."""
    return mask(~np.eye(n, dtype=bool))


def symmetric(n: int) -> Subspace:
    """Return the symmetric n×n matrices."""
    return Subspace(f"symmetric {n}×{n}", lambda matrix: (matrix + matrix.T) / 2, n * (n + 1) // 2)


def tied(labels: Array) -> Subspace:
    """Return the matrices whose entries of equal label are equal, and zero where the label is negative.

    Parameters
    ----------
    labels
        Integers, in the shape of the matrices; a NumPy array or what converts to one.

    Raises
    ------
    InvalidArrayError
        For labels that are not a matrix of integers.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise InvalidArrayError(
            f"labels of shape {labels.shape} and dtype {labels.dtype}", "they tie the entries of a matrix", "Pass integers"
        )
    flat = labels.reshape(-1)
    used = flat >= 0
    names, groups, sizes = np.unique(flat[used], return_inverse=True, return_counts=True)
    group_of = np.full(flat.size, names.size)  # one past the last group: a zero
    group_of[used] = groups
    members = np.full((names.size, sizes.max(initial=0)), flat.size)  # one past the last entry: a zero
    place = np.concatenate([np.arange(size) for size in sizes]) if names.size else np.empty(0, int)
    members[np.repeat(np.arange(names.size), sizes), place] = np.flatnonzero(used)[np.argsort(groups, kind="stable")]

    def project(matrix: Array) -> Array:
        xp, where = array_namespace(matrix), device(matrix)

        def take(values: Array, index: Array) -> Array:
            padded = xp.concat([xp.reshape(values, (-1,)), xp.zeros(1, dtype=values.dtype, device=where)])
            return xp.reshape(xp.take(padded, xp.asarray(index.reshape(-1), device=where)), index.shape)

        sums = xp.sum(take(matrix, members), axis=1)
        return take(sums / xp.asarray(sizes, dtype=matrix.dtype, device=where), group_of.reshape(labels.shape))

    return Subspace(f"{names.size} tied weights", project, int(names.size))


def toeplitz(n: int) -> Subspace:
    """Return the n×n matrices whose entries depend on i − j alone: convolutions."""
    return tied(np.subtract.outer(np.arange(n), np.arange(n)) + n - 1)


def circulant(n: int) -> Subspace:
    """Return the n×n matrices whose entries depend on i − j modulo n: circular convolutions."""
    return tied(np.subtract.outer(np.arange(n), np.arange(n)) % n)
