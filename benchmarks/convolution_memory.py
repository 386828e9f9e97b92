"""The peak memory of a process that trains a layer of images by batches of MNIST's shape."""

import json
import subprocess
import sys
from math import prod

import numpy as np

from benchmarks.convolution_epochs import ACTIVATION, POOL
from benchmarks.records import Row
from riemannrnn import Layer, Stack, train

IMAGE, CLASSES, BATCH, STEPS = (28, 28, 1), 10, 128, 5


def training_peak(channels: int, batch: int = BATCH) -> Row:
    """Return the peak memory of training in a process of its own, and the memory before, in GiB."""
    command = [sys.executable, "-m", "benchmarks.convolution_memory", str(channels), str(batch)]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return {"channels": channels, "stimuli": batch} | json.loads(printed)


def measured(channels: int, batch: int) -> Row:
    """Train for a few steps in this process, and return the peak memory before and after, in GiB."""
    generator, count = np.random.default_rng(0), STEPS * batch
    stimuli, labels = generator.standard_normal((count, prod(IMAGE)), dtype=np.float32), generator.integers(CLASSES, size=count)
    layer = Layer.convolution(IMAGE, channels, pool=POOL)
    stack = Stack([layer], prod(IMAGE), CLASSES, ACTIVATION, 0, np.float32)
    start, before = stack.initial_parameters(), peak()
    train(stack, start, stimuli, labels, batch_size=batch, epochs=1, seed=0, progress=False)
    return {"before_gib": before, "peak_gib": peak()}


def peak() -> float:
    """Return the largest memory that this process has had in use, in GiB."""
    import resource  # it is not there on Windows

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**30 if sys.platform == "darwin" else 2**20)  # macOS counts bytes, Linux KiB


if __name__ == "__main__":
    print(json.dumps(measured(*map(int, sys.argv[1:]))))
