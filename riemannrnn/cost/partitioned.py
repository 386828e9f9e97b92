"""The fixed-point cost of data larger than one machine's memory: a sum over the partitions of a dask array."""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from math import inf, isfinite, isnan
from typing import Any

import numpy as np

from manifolds import Array, Point, PointCache
from manifolds.points import map_arrays
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.counts import Evaluations
from riemannrnn.cost.losses import CrossEntropy, Loss
from riemannrnn.cost.summed import SummedCost
from riemannrnn.equilibrium.fixed_points import FixedPointError
from riemannrnn.models import Model
from riemannrnn.runtime import one_core

GROUP = 8
"""Number of terms that a worker adds at a time; neither a worker nor the client holds the terms of all partitions."""


class PartitionedCost(SummedCost):
    """J(W) = Σᵢ (mᵢ/m) Jᵢ(W), where Jᵢ is the `FixedPointCost` of the mᵢ stimuli of partition i of a dask array.

    The workers of dask.distributed hold the partitions; they may copy a small one to an idle worker. They compute J, ∇J and
    products with the Hessian, with one core for each partition, and add them up. For each W the client sends W once to each
    worker, and it receives one number or one array with the shape of W. `problem` works with every optimiser of pymanopt, as
    for a `FixedPointCost`.

    Parameters
    ----------
    network
        The network.
    stimuli
        A dask array of shape (m, n_inputs). Its chunks of rows are the partitions; their sizes must be known.
    targets
        The argument of `loss`, one row for each stimulus: an array, or a dask array, which is divided as the stimuli are.
    loss
        Function that makes the loss of a partition from its targets.
    client
        A `distributed.Client`. Default: the client that was made last.
    options
        Options of `FixedPointCost`, except `initial_rates`, `observer` and the policy "mask": with "mask", J would be a mean
        over different stimuli in each partition.

    Attributes
    ----------
    model
        The network.
    partitions
        The costs of the partitions, as futures.
    evaluations
        The counts so far; an evaluation of all partitions counts once.

    Raises
    ------
    ValueError
        For stimuli that are not a dask array of two dimensions with known chunks, another number of targets, or the policy
        "mask".
    """

    def __init__(
        self,
        network: Model,
        stimuli: Any,
        targets: Any,
        loss: Callable[[Array], Loss] = CrossEntropy,
        *,
        client: Any = None,
        **options: Any,
    ) -> None:
        if options.get("on_failure") == "mask":
            raise ValueError("on_failure = 'mask' needs all stimuli in one place; choose 'inf' or 'raise'")
        self.model, self.evaluations = network, Evaluations()
        self._client = _last_client() if client is None else client
        self._sizes = _sizes(stimuli, targets)
        scattered = self._client.scatter(network, broadcast=True, hash=False)
        self.partitions = [
            self._client.submit(_cost_of_part, scattered, block, aims, loss, options, pure=False)
            for block, aims in zip(_blocks(self._client, stimuli, self._sizes), _blocks(self._client, targets, self._sizes))
        ]
        self._at = PointCache(self._evaluate)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"stimuli": sum(self._sizes), "partitions": len(self._sizes), "network": repr(self.model)}

    def at(self, weights: Point) -> "PartitionedEvaluation":
        """Return the evaluation at the point W, with each part computed on first use."""
        return self._at(weights)

    def _evaluate(self, weights: Point) -> "PartitionedEvaluation":
        return PartitionedEvaluation(self._client, self.partitions, self._sizes, weights, self.evaluations)


class PartitionedEvaluation:
    """A partitioned cost at one point W; W is sent to the workers once."""

    def __init__(
        self, client: Any, parts: Sequence[Any], sizes: Sequence[int], weights: Point, evaluations: Evaluations
    ) -> None:
        self._client, self._parts, self._evaluations = client, parts, evaluations
        self._shares = [size / sum(sizes) for size in sizes]
        self._weights = client.scatter(weights, broadcast=True, hash=False)

    @cached_property
    def cost(self) -> float:
        """J(W)."""
        found = self._client.gather([self._submit(_value, part, share) for part, share in self._pairs()])
        self._evaluations.cost += 1
        self._evaluations.iterations += max(iterations for _, iterations in found)
        total = sum(value for value, _ in found)
        return inf if isnan(total) else float(total)

    @cached_property
    def gradient(self) -> Point:
        """∇J."""
        if not isfinite(self.cost):
            raise FixedPointError(
                "the gradient does not exist: a stimulus of some partition has no fixed point and J is infinite. Start from "
                "smaller weights, or shorten the step."
            )
        gradient = self._sum([self._submit(_gradient, part, share) for part, share in self._pairs()])
        self._evaluations.gradient += 1
        return gradient

    def hessian(self, vector: Point) -> Point:
        """Return D∇J[V], with the shape of W."""
        _ = self.gradient  # each partition keeps what it has computed; without a gradient this raises
        sent = self._client.scatter(vector, broadcast=True, hash=False)
        product = self._sum([self._submit(_hessian, part, share, sent) for part, share in self._pairs()])
        self._evaluations.hessian += 1
        return product

    def _pairs(self) -> Any:
        return zip(self._parts, self._shares, strict=True)

    def _submit(self, function: Callable[..., Any], part: Any, share: float, *more: Any) -> Any:
        return self._client.submit(function, part, self._weights, share, *more, pure=False)

    def _sum(self, terms: list[Any]) -> Point:
        """Return a sum that workers compute in groups, always in the same order."""
        while len(terms) > 1:
            groups = [terms[first : first + GROUP] for first in range(0, len(terms), GROUP)]
            terms = [self._client.submit(_add, group, pure=False) for group in groups]
        return terms[0].result()


def _cost_of_part(
    model: Model, stimuli: Array, targets: Array, loss: Callable[[Array], Loss], options: dict[str, Any]
) -> FixedPointCost:
    return FixedPointCost(model, stimuli, loss(targets), **options)


def _value(part: FixedPointCost, weights: Point, share: float) -> tuple[float, int]:
    """Return the share of J of a partition, and its number of iterations."""
    before = part.evaluations.iterations
    with one_core():
        value = part(weights)
    return share * value if isfinite(value) else inf, part.evaluations.iterations - before


def _gradient(part: FixedPointCost, weights: Point, share: float) -> Point:
    with one_core():
        return map_arrays(lambda array: share * array, part.gradient(weights))


def _hessian(part: FixedPointCost, weights: Point, share: float, vector: Point) -> Point:
    with one_core():
        return map_arrays(lambda array: share * array, part.hessian(weights, vector))


def _add(terms: Sequence[Point]) -> Point:
    return map_arrays(lambda *arrays: sum(arrays[1:], arrays[0]), *terms)


def _sizes(stimuli: Any, targets: Any) -> list[int]:
    """Return the number of stimuli of each partition."""
    chunks = getattr(stimuli, "chunks", None)
    if chunks is None or len(chunks) != 2 or any(isnan(size) for size in chunks[0]):
        raise ValueError(
            "the stimuli are not a dask array of shape (m, n_inputs) with known chunks; call compute_chunk_sizes()"
        )
    sizes = [size for size in chunks[0] if size]
    if targets.shape[0] != sum(sizes) or not sizes:
        raise ValueError(f"there are {sum(sizes)} stimuli and {targets.shape[0]} targets; pass one for each, and at least one")
    return sizes


def _blocks(client: Any, array: Any, sizes: Sequence[int]) -> list[Any]:
    """Return the blocks of rows of an array as futures on the workers."""
    ends = np.cumsum([0, *sizes])
    if not hasattr(array, "chunks"):
        return [client.scatter(array[first:last], hash=False) for first, last in pairwise(ends)]
    whole = dict.fromkeys(range(1, array.ndim), -1)
    blocks = array.rechunk({0: tuple(sizes), **whole}).to_delayed().ravel()
    return list(client.compute(list(blocks)))


def _last_client() -> Any:
    import distributed  # noqa: PLC0415  # an extra

    make: Callable[[], Any] = distributed.default_client
    return make()
