"""Training on mini-batches: the loop, the guard of stability, the history, stopping and checkpoints."""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from riemannrnn.training.chunked import ChunkedCost
    from riemannrnn.training.guard import StabilityGuard, UnstableStartError, stable_start
    from riemannrnn.training.held_out import accuracy
    from riemannrnn.training.history import History, Recorder
    from riemannrnn.training.options import TrainingOptions
    from riemannrnn.training.outcome import LossNotFallenWarning
    from riemannrnn.training.range_test import RangeTest, Trial
    from riemannrnn.training.training import train
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = [
    "ChunkedCost",
    "History",
    "LossNotFallenWarning",
    "RangeTest",
    "Recorder",
    "StabilityGuard",
    "TrainingOptions",
    "Trial",
    "UnstableStartError",
    "accuracy",
    "stable_start",
    "train",
]
