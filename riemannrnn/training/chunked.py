"""The fixed-point cost of a table that is larger than memory: a sum over chunks of rows, which are read at each evaluation."""

from collections.abc import Callable, Generator
from contextlib import closing
from functools import cached_property
from math import inf, isfinite
from typing import Any

from manifolds import Point, PointCache
from manifolds.points import map_arrays
from riemannrnn.backend import to_backend
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.counts import Evaluations
from riemannrnn.cost.summed import SummedCost
from riemannrnn.data import Table
from riemannrnn.data.prefetch import prefetched
from riemannrnn.models import Model
from riemannrnn.training.material import answer_of, check_table
from riemannrnn.training.streamed import Rows


class ChunkedCost(SummedCost):
    """J(W) = Σᵢ (mᵢ/m) Jᵢ(W), where Jᵢ is the `FixedPointCost` of the mᵢ rows of chunk i of a table.

    Every evaluation reads the table once, and holds one chunk and the next. Nothing of a chunk is kept: fixed points are solved
    for again for ∇J, and for each product with the Hessian. Every optimiser of pymanopt runs on `problem`, as for a
    `FixedPointCost`. Where several workers together can hold all stimuli, `PartitionedCost` is faster.

    Parameters
    ----------
    network
        The network.
    table
        Stimuli and targets, as `open_table` returns them.
    options
        Options of `FixedPointCost`, but for `initial_rates`, `observer`, and the policy "mask": J would no longer be the mean
        over the same stimuli in all chunks.

    Attributes
    ----------
    model
        The network.
    evaluations
        The counts so far; an evaluation of all chunks counts once.

    Raises
    ------
    ValueError
        For the policy "mask".
    DatasetError
        For a table without targets, of another dtype, or with another number of outputs than the network.
    """

    def __init__(self, network: Model, table: Table, **options: Any) -> None:
        if options.get("on_failure") == "mask":
            raise ValueError("on_failure = 'mask' needs all stimuli in one place; choose 'inf' or 'raise'")
        answer = answer_of(table)
        check_table("stimuli", network, table, answer)
        self.model, self.table, self.evaluations = network, table, Evaluations()
        self.rows = Rows.of(table, answer)
        stimuli, targets = (to_backend(each, network.namespace) for each in next(table.blocks()))
        self._like = FixedPointCost(network, stimuli, self.rows.loss(targets), **options)
        self._at = PointCache(lambda weights: ChunkedEvaluation(self, weights))

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"stimuli": len(self.table), "chunks": len(self.table.bounds()) - 1, "network": repr(self.model)}

    def at(self, weights: Point) -> "ChunkedEvaluation":
        """Return the evaluation at the point W, with each part computed on first use."""
        return self._at(weights)

    def costs(self) -> Generator[tuple[float, FixedPointCost], None, None]:
        """Yield the share mᵢ/m and the cost of each chunk, in order; a thread reads the next chunk meanwhile."""
        with closing(prefetched(self.table.blocks)) as blocks:
            for pair in blocks:
                yield pair[0].shape[0] / len(self.table), self.rows.cost(self._like, pair)


class ChunkedEvaluation:
    """A chunked cost at one point W."""

    def __init__(self, whole: ChunkedCost, weights: Point) -> None:
        self._whole, self._weights = whole, weights

    @cached_property
    def cost(self) -> float:
        """J(W)."""
        total, iterations = 0.0, 0
        with closing(self._whole.costs()) as parts:
            for share, part in parts:
                total += share * part(self._weights)
                iterations = max(iterations, part.evaluations.iterations)
                if not isfinite(total):  # the other chunks cannot mend it
                    break
        self._whole.evaluations.cost += 1
        self._whole.evaluations.iterations += iterations
        return total if isfinite(total) else inf

    @cached_property
    def gradient(self) -> Point:
        """∇J."""
        gradient = self._sum(lambda part: part.gradient(self._weights))
        self._whole.evaluations.gradient += 1
        return gradient

    def hessian(self, vector: Point) -> Point:
        """Return D∇J[V], with the shape of W."""
        product = self._sum(lambda part: part.hessian(self._weights, vector))
        self._whole.evaluations.hessian += 1
        return product

    def _sum(self, term: Callable[[FixedPointCost], Point]) -> Point:
        """Return Σᵢ (mᵢ/m) of a term of each chunk, always in the same order."""
        total: Any = None
        with closing(self._whole.costs()) as parts:
            for share, part in parts:
                weighted = map_arrays(lambda array: share * array, term(part))  # noqa: B023  # used at once
                total = weighted if total is None else map_arrays(lambda *each: each[0] + each[1], total, weighted)
        return total
