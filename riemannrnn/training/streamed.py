"""Training on data larger than memory: batches and held-out rows are read from disk on demand."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manifolds import Array, Point
from manifolds.arrays import to_numpy
from riemannrnn.backend import to_backend
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.losses import CrossEntropy, Loss, SquaredError
from riemannrnn.data import Stream, Table
from riemannrnn.data.table import Pair
from riemannrnn.equilibrium.options import OnFailure
from riemannrnn.models import Answer, Labels, Model
from riemannrnn.training.held_out import measured
from riemannrnn.training.material import Material, answer_of, check_table, loss_targets, target_blocks
from riemannrnn.training.outcome import SAMPLE
from riemannrnn.training.range_test import LONGEST


@dataclass(frozen=True)
class Rows:
    """The cost of rows of a table that are read a few at a time.

    Parameters
    ----------
    table
        The table.
    answer
        The meaning of the outputs of the network.
    observed
        The share of the rows with a target; with it, every cost is on the scale of the mean over the whole table.
    """

    table: Table
    answer: Answer
    observed: float

    @classmethod
    def of(cls, table: Table, answer: Answer) -> "Rows":
        """Return the cost of the rows of a table. The targets are read once, unless none can be missing."""
        if table.classes is not None and not table.classes.missing:
            return cls(table, answer, 1.0)
        counts = [(int((~np.isnan(block)).any(axis=1).sum()), len(block)) for block in target_blocks(table)]
        return cls(table, answer, sum(known for known, _ in counts) / sum(rows for _, rows in counts))

    def loss(self, targets: Array) -> Loss:
        """Return the loss of the targets of some rows."""
        kind = CrossEntropy if isinstance(self.answer, Labels) else SquaredError
        return kind(loss_targets(self.answer, targets), mean_weight=self.observed)

    def cost(self, like: FixedPointCost, pair: Pair, on_failure: OnFailure | None = None) -> FixedPointCost:
        """Return the cost of some rows, with the solver options of another cost."""
        stimuli, targets = (to_backend(each, like.model.namespace) for each in pair)
        options = replace(like.options, on_failure=on_failure or like.options.on_failure)
        return FixedPointCost(like.model, stimuli, self.loss(targets), **vars(options))

    def measure(self, like: FixedPointCost, weights: Point) -> tuple[float, float | None]:
        """Return the mean loss of all rows, and the share of right classes; rows are read a chunk at a time."""
        return measured(self._parts(like), weights)

    def _parts(self, like: FixedPointCost) -> Iterator[tuple[float, FixedPointCost]]:
        """Yield the share and the cost of each chunk of rows."""
        for pair in self.table.blocks():
            part = self.cost(like, pair, "inf")
            yield pair[0].shape[0] / len(self.table), part
            part.forget()


@dataclass
class StreamedBatches:
    """The batches of a stream, in its order; the number of steps determines the position in the stream.

    Parameters
    ----------
    stream
        The stream.
    rows
        The cost of its rows.
    cost
        The cost of the first batches, as an example for later costs.
    """

    stream: Stream
    rows: Rows
    cost: FixedPointCost
    _next: int = field(default=-1, init=False)
    _pair: Any = field(default=None, init=False)
    _batches: Generator[Pair, None, None] | None = field(default=None, init=False)

    @property
    def size(self) -> int:
        """Stimuli of a batch."""
        return self.stream.batch_size

    @property
    def count(self) -> int:
        """Number of stimuli."""
        return len(self.stream.table)

    @property
    def per_epoch(self) -> int:
        """Number of batches of an epoch."""
        return self.stream.per_epoch

    def begins_epoch(self, step: int) -> bool:
        """Return False: the order is the order of the stream, and no order is drawn."""
        return False

    def draw(self, generator: np.random.Generator) -> None:
        """Do nothing: the stream has a fixed order."""

    def first(self, order: Array) -> Array:
        """Return the rows of the example, in order."""
        return self.cost.model.namespace.arange(self.cost.batch.shape[0])

    def of(self, step: int, order: Array, on_failure: OnFailure | None = None) -> FixedPointCost:
        """Return the cost of the batch after this many steps."""
        if step != self._next - 1:
            if self._batches is None or step != self._next:
                self.close()
                self._batches = self.stream.batches(self.stream.position_at(step))
            self._pair, self._next = next(self._batches), step + 1
        return self.rows.cost(self.cost, self._pair, on_failure)

    def close(self) -> None:
        """Stop the thread that reads ahead, and close the file."""
        if self._batches is not None:
            self._batches.close()
        self._batches, self._next = None, -1


@dataclass(frozen=True)
class StreamedHeldOut:
    """Held-out rows; one chunk at a time is in memory.

    Parameters
    ----------
    rows
        The cost of the rows.
    like
        A cost with the solver options for these rows.
    """

    rows: Rows
    like: FixedPointCost

    def measure(self, weights: Point) -> tuple[float, float | None]:
        """Return the loss, and the share of right classes; None without classes, or if the loss is infinite."""
        return self.rows.measure(self.like, weights)


def stream_material(network: Model, stream: Stream) -> tuple[Material, Rows]:
    """Return the first batches of a stream as an example of the training data, and the cost of all rows.

    Raises
    ------
    DatasetError
        For a table without targets, of another dtype, or with another number of outputs than the network.
    """
    answer = answer_of(stream.table)
    check_table("stimuli", network, stream.table, answer)
    rows = Rows.of(stream.table, answer)
    count = min(max(-(-SAMPLE // stream.batch_size), LONGEST), stream.per_epoch)
    batches = stream.batches()
    try:
        stimuli, targets = zip(*(next(batches) for _ in range(count)), strict=True)
    finally:
        batches.close()
    there = [to_backend(np.concatenate([to_numpy(each) for each in parts]), network.namespace) for parts in (stimuli, targets)]
    names = stream.table.stimuli.names if stream.table.stimuli.source.columns else ()
    return Material(there[0], rows.loss(there[1]), answer, stream.table.standardisation, names), rows
