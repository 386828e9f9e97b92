"""Importing the packages changes nothing in the process."""

import subprocess
import sys

import numpy as np

BEFORE_AND_AFTER = """
import contextvars, importlib, os, pkgutil, signal, sys, threading, traceback, warnings

import numpy as np
import threadpoolctl
import array_api_compat.numpy, autograd, h5py, matplotlib.pyplot, pymanopt, rich, scipy.linalg, scipy.sparse.linalg, xarray
import sklearn.preprocessing, sklearn.utils.validation  # what these change is not ours

large, forks, empty = [], [], np.empty


def ours():
    return any("riemannrnn" in frame.filename or "manifolds" in frame.filename for frame in traceback.extract_stack())


def counted(shape, *arguments, **options):
    result = empty(shape, *arguments, **options)
    if result.nbytes > 2**20:
        large.append(result.nbytes)
    return result


def registered(**hooks):
    if ours():
        forks.append(hooks)


np.empty, os.register_at_fork = counted, registered


def state():
    return {
        "threads": threading.active_count(),
        "environment": dict(os.environ),
        "BLAS": [each["num_threads"] for each in threadpoolctl.threadpool_info()],
        "errors": np.geterr(),
        "signals": [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)],
        "warnings": list(warnings.filters),
        "hooks": (sys.excepthook, threading.excepthook),
        "context": {name.name: value for name, value in contextvars.copy_context().items()},
    }


import manifolds
import manifolds.linear_algebra


def bits():
    rng = np.random.default_rng(0)
    manifold = manifolds.left_invariant(300, seed=0)
    W = manifold.random_point()
    return manifold.exp(W, manifold.random_tangent_vector(W)).tobytes()


alone, functions, before = bits(), dict(vars(manifolds.linear_algebra)), state()
import riemannrnn
for package in (manifolds, riemannrnn):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name != "riemannrnn.__main__" and not module.name.startswith("riemannrnn.explorer."):  # which imports Panel
            importlib.import_module(module.name)
after = state()
assert after == before, {key: (before[key], after[key]) for key in before if before[key] != after[key]}
assert dict(vars(manifolds.linear_algebra)) == functions
assert bits() == alone
assert not large and not forks, (large, forks)
"""


def test_importing_changes_nothing():
    """Checks threads, environment, the allocator, fork handlers, functions of `manifolds` and their bits."""
    done = subprocess.run([sys.executable, "-c", BEFORE_AND_AFTER], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_manifolds_have_the_same_bits_after_a_run(generator):
    """A run shares the rows of products while it lasts, and not afterwards."""
    from manifolds.linear_algebra import chain
    from riemannrnn.runtime import one_blas_thread

    a, b = generator.standard_normal((2, 300, 300))
    before = chain(a, b)
    with one_blas_thread():
        chain(a, b)
    np.testing.assert_array_equal(chain(a, b), before)
