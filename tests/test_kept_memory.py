"""Memory that a step of training frees serves the next step, also in the workers of a sweep."""

import os
import platform
import subprocess
import sys

import pytest

from riemannrnn.sweep import local_client

FAULTS = """
from resource import RUSAGE_SELF, getrusage

import numpy as np

from riemannrnn import solve_fixed_points

rng = np.random.default_rng(0)
weights, drive = 0.5 * rng.standard_normal((300, 300)) / 300**0.5, rng.standard_normal((512, 300))
for repeat in range(10):
    before = getrusage(RUSAGE_SELF).ru_minflt
    solve_fixed_points(weights, drive, "tanh")
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps its memory as it likes")
def test_memory_of_one_step_serves_the_next():
    """Returning and fetching pages in each step took a quarter of a step in float64: thousands of pages, unless kept."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}  # limits of glibc
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    assert int(done.stdout) < 500


def test_workers_keep_freed_memory_and_leave_the_environment_as_it_was():
    before = dict(os.environ)
    with local_client(1) as client:
        (inside,) = client.run(lambda: dict(os.environ)).values()
    assert "MALLOC_TRIM_THRESHOLD_" not in inside
    assert "PYTHONHASHSEED" in inside  # dask sets this one in the parent process, too
    assert dict(os.environ) == before
