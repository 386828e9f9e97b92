"""A full step of the default of `train` beside one of the same optimiser on Euclidean weights, and its factorisations."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import scipy.linalg

from benchmarks.products import STIMULI, UNITS, random_task
from benchmarks.records import Row
from benchmarks.timing import interleaved, ratio
from manifolds import Array, Identity, Point, PullbackManifold, ScaledMonotoneManifold
from riemannrnn import CrossEntropy, FixedPointCost
from riemannrnn.equilibrium.auto import Automatic
from riemannrnn.equilibrium.chunks import one_blas_thread
from riemannrnn.learning import Adam
from riemannrnn.learning.training import ADAM_RATE, GROWTH, single_residual

AGES = (0, 50)
"""Steps of the default that are taken before the one that is measured; the Euclidean one is measured at the start."""

FACTORISATIONS = ("inv", "solve", "eigh", "eigvalsh", "eig", "eigvals", "cholesky", "qr", "svd")


class Learner:
    """Adam on a manifold, at some age, on one batch."""

    def __init__(self, manifold: Any, dtype: np.dtype[Any], age: int, **options: Any) -> None:
        network, weights, images, labels = random_task(dtype)
        self.cost = FixedPointCost(network, images, CrossEntropy(labels), on_failure="raise", **options)
        self.rule, self.memory = Adam(manifold), None
        self.point: Point = self.rule.parameterization.point_at(weights)
        for _ in range(age):
            self.point, self.memory = self.step(self.point)

    def step(self, point: Point, rate: float = ADAM_RATE) -> tuple[Point, Any]:
        """Solve the fixed points from a cold start and the adjoints, and take the Riemannian step."""
        batch = self.cost.take(np.arange(STIMULI))
        with one_blas_thread():  # as in `train`
            evaluation = batch.at(self.rule.parameterization.weights(point))
            return self.rule.step(point, evaluation, rate, self.memory)

    def creep(self) -> None:
        """Take a step so short that the next is as this one, from a point of which nothing is remembered."""
        self.point, _ = self.step(self.point, 1e-3 * ADAM_RATE)


def learners(dtype: np.dtype[Any], age: int) -> dict[str, Learner]:
    """Return the two that are compared."""
    promised: dict[str, Any] = {"solver": Automatic("splitting")}
    if dtype == np.float32:
        promised["tolerance"] = single_residual(UNITS)
    return {
        "default": Learner(ScaledMonotoneManifold(UNITS, GROWTH), dtype, age, **promised),
        "euclidean": Learner(PullbackManifold(Identity(), UNITS, "additive"), dtype, 0),
    }


def beside_euclidean(dtype: np.dtype[Any], age: int, repeats: int) -> Row:
    """Return the times of both steps, their ratio, and the factorisations of the default one."""
    each = learners(dtype, age)
    for learner in each.values():
        learner.creep()
    with factorisations(UNITS) as seen:
        each["default"].creep()
    times = interleaved({name: learner.creep for name, learner in each.items()}, repeats)
    return {
        "dtype": dtype.name,
        "age": age,
        **{f"{name}_ms": 1e3 * statistics.median(spent) for name, spent in times.items()},
        "ratio": ratio(times["default"], times["euclidean"]),
        "factorisations": sum(seen.values()),
        "repeated": sum(count - 1 for count in seen.values()),
    }


@contextmanager
def factorisations(n: int) -> Iterator[Counter[tuple[str, bytes]]]:
    """Count what is factored meanwhile, of n rows and columns: kind and matrix."""
    seen: Counter[tuple[str, bytes]] = Counter()

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(matrix: Array, *arguments: Any, **options: Any) -> Any:
            if np.shape(matrix)[-2:] == (n, n):
                seen[name, np.asarray(matrix).tobytes()] += 1
            return original(matrix, *arguments, **options)

        return call

    with ExitStack() as patches:
        for library in (np.linalg, scipy.linalg):
            for name in FACTORISATIONS:
                patches.enter_context(patch.object(library, name, counted(name, getattr(library, name))))
        yield seen
