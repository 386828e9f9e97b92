"""Responses to many stimuli, found in chunks of rows, so that memory does not grow with the stimuli that are not kept."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.solution import Solution
from riemannrnn.models.model import Model
from riemannrnn.models.response import Response

CHUNK_BYTES = 2**24
"""Bytes of the rates of the largest layer that are found at a time: fixed points and their solver hold about 30 such arrays."""


def chunks(model: Model, count: int) -> list[slice]:
    """Return consecutive rows of a batch, in order: chunks whose rates of the largest layer have `CHUNK_BYTES` at most.

    Parameters
    ----------
    model
        The network.
    count
        Rows of the batch. Without rows there is one chunk, which is empty.
    """
    size = max(1, CHUNK_BYTES // (max(model.units) * model.dtype.itemsize))
    return [slice(start, min(start + size, count)) for start in range(0, max(count, 1), size)]


def joined(parts: Iterator[tuple[slice, Response]], batch: Array) -> Response:
    """Return the response to a batch from the responses to its chunks, each of which is given up when it is copied.

    Parameters
    ----------
    parts
        The rows of each chunk, and the response to them.
    batch
        The whole batch, as the model prepared it.
    """
    whole: Response | None = None
    for rows, part in parts:
        if part.batch.shape[0] == batch.shape[0]:
            return part
        if whole is None:
            whole = _room(part, batch)
        for layer, found in zip(whole.layers, part.layers, strict=True):
            for each in fields(Solution):
                getattr(layer, each.name)[rows, ...] = getattr(found, each.name)
    if whole is None:
        raise ValueError("the list of chunks is empty; pass at least one chunk")
    return whole


def _room(part: Response, batch: Array) -> Response:
    """Return a response to a batch whose arrays are not yet filled, and all else as in the response to a chunk of it."""
    xp, count = array_namespace(batch), batch.shape[0]

    def empty(array: Array) -> Any:
        return xp.empty((count, *array.shape[1:]), dtype=array.dtype, device=device(array))

    layers = (
        replace(layer, **{each.name: empty(getattr(layer, each.name)) for each in fields(Solution)}) for layer in part.layers
    )
    return replace(part, batch=batch, layers=tuple(layers))
