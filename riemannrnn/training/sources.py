"""The source of a run's batches: arrays in memory, or a stream from disk."""

from dataclasses import dataclass, replace
from typing import Any

from array_api_compat import is_array_api_obj

from manifolds import Array
from manifolds.points import all_finite
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.finite import check_finite
from riemannrnn.cost.losses import Loss
from riemannrnn.data import Stream, Table
from riemannrnn.equilibrium.options import SolverOptions
from riemannrnn.models import Model
from riemannrnn.training.batches import Batches
from riemannrnn.training.checkpoints import fingerprint
from riemannrnn.training.held_out import HeldOut
from riemannrnn.training.material import Material, check_table, material
from riemannrnn.training.options import TrainingOptions
from riemannrnn.training.streamed import Rows, StreamedBatches, StreamedHeldOut, stream_material

Tested = tuple[Array, Array | Loss] | Table
"""Held-out data: stimuli and labels, or a table."""


@dataclass(frozen=True)
class InMemory:
    """All stimuli in memory.

    Parameters
    ----------
    material
        The training data.
    """

    material: Material

    @property
    def count(self) -> int:
        """Number of stimuli."""
        return int(self.material.stimuli.shape[0])

    def sized(self, given: TrainingOptions) -> TrainingOptions:
        """Return the options unchanged: any batch size is allowed."""
        return given

    def known_again(self, network: Model) -> str:
        """Return a fingerprint of the stimuli, their labels, and the weights that are not trained."""
        arrays = self.material.stimuli, *network.fixed.values(), *vars(self.material.loss).values()
        return fingerprint(*filter(is_array_api_obj, arrays))

    def batches(self, cost: FixedPointCost, size: int | None) -> Batches:
        """Return the batches, given the cost of all stimuli."""
        return Batches(cost, size or self.count)

    def held_out(self, network: Model, tested: Tested, options: SolverOptions) -> HeldOut | StreamedHeldOut:
        """Return the held-out stimuli, with targets scaled as in training."""
        stimuli, labels = (tested, None) if isinstance(tested, Table) else tested
        name = "held-out stimuli"
        return HeldOut(cost_of(name, network, material(name, network, stimuli, labels, self.material), options))


@dataclass(frozen=True)
class FromStream(InMemory):
    """Stimuli that are read from disk, one batch at a time.

    Parameters
    ----------
    material
        The first batches, as an example of the training data.
    stream
        The stream.
    rows
        The cost of its rows.
    """

    stream: Stream
    rows: Rows

    @property
    def count(self) -> int:
        return len(self.stream.table)

    def sized(self, given: TrainingOptions) -> TrainingOptions:
        """Return the options with the batch size of the stream.

        Raises
        ------
        ValueError
            If another batch size was given.
        """
        size = self.stream.batch_size
        if given.batch_size not in (None, size):
            raise ValueError(f"batch_size = {given.batch_size}, but the batches of the stream have {size} stimuli; pass none")
        return replace(given, batch_size=size)

    def known_again(self, network: Model) -> str:
        return f"{super().known_again(network)} {self.stream.fingerprint}"

    def batches(self, cost: FixedPointCost, size: int | None) -> Any:
        """Return the batches, given the cost of the example."""
        return StreamedBatches(self.stream, self.rows, cost)

    def held_out(self, network: Model, tested: Tested, options: SolverOptions) -> HeldOut | StreamedHeldOut:
        """Return the held-out stimuli. A table is read one chunk at a time."""
        if not isinstance(tested, Table):
            return super().held_out(network, tested, options)
        check_table("held-out stimuli", network, tested, self.material.answer)
        example = cost_of("stimuli", network, self.material, options)
        return StreamedHeldOut(Rows.of(tested, self.material.answer), example)


def source_of(network: Model, stimuli: Array | Table | Stream, labels: Array | Loss | None) -> InMemory:
    """Return the source of a run's batches.

    Raises
    ------
    ValueError
        As `material` does.
    """
    if not isinstance(stimuli, Stream):
        return InMemory(material("stimuli", network, stimuli, labels))
    if labels is not None:
        raise ValueError("the stimuli are a stream, which holds its targets; pass no labels beside it")
    example, rows = stream_material(network, stimuli)
    return FromStream(example, stimuli, rows)


def cost_of(name: str, network: Model, learned: Material, options: SolverOptions) -> FixedPointCost:
    """Return the cost of stimuli, which must be finite. The cost of held-out stimuli may be infinite; the run continues.

    Raises
    ------
    ValueError
        For stimuli that do not fit the network, or are not finite.
    """
    cost = FixedPointCost(network, learned.stimuli, learned.loss, **vars(options))
    if not all_finite(cost.batch):  # the prepared batch is smaller, and contains NaN if the stimuli do
        check_finite(name, learned.stimuli)
    return cost
