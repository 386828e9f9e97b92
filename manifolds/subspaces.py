"""Linear subspaces of matrices, each given by its orthogonal projection: masks, symmetric weights, tied weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from manifolds.arrays import Array, symmetric_part
from manifolds.errors import InvalidArrayError


@dataclass(frozen=True)
class Subspace:
    """A linear subspace of matrices.

    Parameters
    ----------
    name
        Name in messages.
    project
        The orthogonal projection onto it in the Frobenius inner product, from matrices to matrices of the same shape; linear,
        symmetric and idempotent.
    dimension
        Number of free parameters, the trace of the projection.
    fixed_by_isometries
        Whether it is the set of matrices that a group of maps M ↦ Q M Qᵀ and M ↦ Q Mᵀ Qᵀ leaves fixed, Q orthogonal. These maps
        are isometries of `MonotoneManifold`, so the subspace is totally geodesic there. The projection is the mean over the
        group, and maps monotone weights to monotone weights.
    """

    name: str
    project: Callable[[Array], Array] = field(repr=False)
    dimension: int
    fixed_by_isometries: bool = False


def mask(present: Array) -> Subspace:
    """Return the matrices that vanish where the Boolean matrix `present` is false: sparse, block or hollow weights.

    Raises
    ------
    InvalidArrayError
        For a mask that is not a matrix.
    """
    kept = np.array(present, dtype=bool)
    if kept.ndim != 2:
        raise InvalidArrayError(f"a mask of shape {kept.shape}", "it tells which entries of a matrix are free", "Pass a matrix")
    count = int(kept.sum())
    return Subspace(f"mask of {count} weights", partial(_masked, _Placed(kept)), count, _is_block_diagonal(kept))


def zero_diagonal(n: int) -> Subspace:
    """Return the n×n matrices without self-connections."""
    return mask(~np.eye(n, dtype=bool))


def symmetric(n: int) -> Subspace:
    """Return the symmetric n×n matrices."""
    return Subspace(f"symmetric {n}×{n}", symmetric_part, n * (n + 1) // 2, fixed_by_isometries=True)


def tied(labels: Array) -> Subspace:
    """Return the matrices with equal entries where labels are equal, and zeros where the label is negative.

    Parameters
    ----------
    labels
        Integers, in the shape of the matrices: a NumPy array, or nested lists.

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
    group_of = np.full(flat.size, names.size)  # the index after the last group stands for zero
    group_of[used] = groups
    members = np.full((names.size, sizes.max(initial=0)), flat.size)  # the index after the last entry stands for zero
    place = np.concatenate([np.arange(size) for size in sizes]) if names.size else np.empty(0, int)
    members[np.repeat(np.arange(names.size), sizes), place] = np.flatnonzero(used)[np.argsort(groups, kind="stable")]
    placed = _Placed(members.reshape(-1), group_of, sizes)
    return Subspace(f"{names.size} tied weights", partial(_tied_means, placed), int(names.size))


def toeplitz(n: int) -> Subspace:
    """Return the n×n matrices with entries that depend only on i − j: convolutions."""
    return tied(np.subtract.outer(np.arange(n), np.arange(n)) + n - 1)


def circulant(n: int) -> Subspace:
    """Return the n×n matrices with entries that depend only on i − j modulo n: circular convolutions."""
    return replace(tied(np.subtract.outer(np.arange(n), np.arange(n)) % n), fixed_by_isometries=True)


def equivariant(*permutations: Sequence[int]) -> Subspace:
    """Return the matrices that commute with permutations of the units: W[p(i), p(j)] = W[i, j] for each p.

    Parameters
    ----------
    permutations
        Each lists p(0), …, p(n − 1).

    Raises
    ------
    InvalidArrayError
        Without a permutation, or if the lists are not permutations of the same n units.
    """
    orders = [np.asarray(permutation) for permutation in permutations]
    size = orders[0].size if orders else 0
    if not orders or any(sorted(order.reshape(-1).tolist()) != list(range(size)) for order in orders):
        raise InvalidArrayError(
            f"{len(orders)} permutations of lengths {[order.size for order in orders]}",
            "each must contain the numbers 0 to n − 1 once",
            "Pass at least one permutation, all of the same units",
        )
    entries = np.arange(size**2).reshape(size, size)
    images = np.concatenate([entries[np.ix_(order, order)].reshape(-1) for order in orders])
    links = coo_array((np.ones(images.size), (np.tile(entries.reshape(-1), len(orders)), images)))
    labels = connected_components(links, directed=False)[1]
    name = f"{size}×{size} matrices that commute with {len(orders)} permutations"
    return replace(tied(labels.reshape(size, size)), name=name, fixed_by_isometries=True)


def _masked(placed: "_Placed", matrix: Array) -> Array:
    xp, (here,) = array_namespace(matrix), placed(matrix)
    # Ten times faster than `where` for a random mask; adding 0 turns −0 into 0.
    return matrix * xp.astype(here, matrix.dtype) + 0.0


def _is_block_diagonal(kept: Array) -> bool:
    """Tell whether a mask keeps all weights within groups of units and none between groups: Q = diag(±1), one sign a group."""
    if kept.shape[0] != kept.shape[1] or not kept.diagonal().all():
        return False
    groups = connected_components(coo_array(kept), directed=False)[1]
    return bool(np.array_equal(kept, np.equal.outer(groups, groups)))


def _tied_means(placed: "_Placed", matrix: Array) -> Array:
    """Return the matrix with each entry replaced by the mean of its group."""
    xp, (gather, spread, counts) = array_namespace(matrix), placed(matrix)
    sums = xp.sum(xp.reshape(_take(matrix, gather), (counts.shape[0], -1)), axis=1)
    return xp.reshape(_take(sums / xp.astype(counts, matrix.dtype), spread), matrix.shape)


class _Placed:
    """Constant arrays, copied to a device when first used there."""

    def __init__(self, *arrays: Array) -> None:
        self._arrays = arrays
        self._copies: tuple[Array, ...] = arrays
        self._place: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the copies on devices: a copy of this object makes new ones."""
        return {"_arrays": self._arrays, "_copies": self._arrays, "_place": None}

    def __call__(self, like: Array) -> tuple[Array, ...]:
        xp, place = array_namespace(like), (array_namespace(like), device(like))
        if place != self._place:
            self._copies = tuple(xp.asarray(array, device=place[1]) for array in self._arrays)
            self._place = place
        return self._copies


def _take(values: Array, index: Array) -> Array:
    """Return entries of `values` by their index in row-major order; the index after the last entry gives zero."""
    xp = array_namespace(values)
    padded = xp.concat([xp.reshape(values, (-1,)), xp.zeros(1, dtype=values.dtype, device=device(values))])
    return xp.take(padded, index)
