"""Training from a file beside training from memory: the same images and as many steps, in turn."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.records import Row
from riemannrnn import Stack, train
from riemannrnn.data import Dataset, Stream, open_table
from riemannrnn.training import History

UNITS, BATCH = 300, 256
"""Units of the layer, and stimuli of a batch."""

FIRST = 20
"""Steps of a run that are not counted."""

Learn = Callable[[Callable[[int, History], None]], object]


def streamed_row(images: Dataset, repeats: int) -> Row:
    """Return the seconds of a step from memory and from a file, measured in turn, and the ratio of their speeds."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "stimuli.npy"
        np.save(path, images.stimuli)
        runs: dict[str, Learn] = {
            "memory": lambda clock: learn(images, clock, images.stimuli, images.labels),
            "file": lambda clock: learn(
                images, clock, Stream(open_table(path, images.labels, task="classification"), BATCH, 0)
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(repeats):
            for name, run in runs.items():
                times[name].append(step_seconds(run))
    return {
        "units": UNITS,
        "inputs": images.stimuli.shape[1],
        "stimuli": len(images.labels),
        "memory_ms": 1e3 * median(times["memory"]),
        "file_ms": 1e3 * median(times["file"]),
        "speed": median(here / there for here, there in zip(times["memory"], times["file"], strict=True)),
    }


def learn(images: Dataset, clock: Callable[[int, History], None], *material: object) -> None:
    """Train one layer for an epoch as `train` does by default."""
    stack = Stack([UNITS], images.stimuli.shape[1], images.n_classes, seed=0, dtype=images.stimuli.dtype)
    options = {} if len(material) == 1 else {"batch_size": BATCH}
    train(stack, stack.initial_parameters(), *material, epochs=1, seed=0, callback=clock, progress=False, **options)  # type: ignore[arg-type]


def step_seconds(run: Learn) -> float:
    """Return the mean time of the steps of a run after the first ones, by the wall clock."""
    marks: list[float] = []
    run(lambda step, history: marks.append(time.perf_counter()))
    return fmean(np.diff(marks)[FIRST:])
