"""Functions for tests on a device: comparison with NumPy's results, and proof that no array moves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from refusing import RefusingArray

from manifolds.arrays import to_numpy
from riemannrnn import RateNetwork, to_backend

N, INPUTS, OUTPUTS, BATCH = 6, 4, 3, 9
"""Sizes of the small problem."""


def same(found: Any, expected: Any, tolerance: float, xp: Any) -> None:
    """Assert that a result is on the device (or a Python number) and equals NumPy's, including the dtype."""
    if isinstance(expected, float):
        assert type(found) is float
    else:
        assert array_namespace(found) is xp
        assert found.dtype == expected.dtype
        found = to_numpy(found)
    scale = 1 + np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


@contextmanager
def nothing_moves(uploads: int = 0) -> Iterator[None]:
    """Assert that no array leaves the device within the block, and that at most `uploads` arrays come to it.

    Refusing arrays are counted. CuPy arrays are not, but they leave only by `get`, which is counted for refusing arrays.
    """
    before = RefusingArray.uploads, RefusingArray.downloads
    yield
    assert RefusingArray.downloads == before[1]
    assert RefusingArray.uploads - before[0] <= uploads


def problem(backend: Any, dtype: str = "float64") -> tuple[Any, ...]:
    """Return a network, weights, stimuli and labels on a backend."""
    network = RateNetwork(N, INPUTS, OUTPUTS, seed=0, dtype=dtype, backend=backend)
    stimuli = np.random.default_rng(1).standard_normal((BATCH, INPUTS)).astype(dtype)
    labels = np.arange(BATCH) % OUTPUTS
    return network, network.initial_weights(0.5), to_backend(stimuli, backend), to_backend(labels, backend)
