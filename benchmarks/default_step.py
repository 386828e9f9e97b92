"""A full step of the default of `train` beside the same optimiser on Euclidean weights, and its factorisations."""

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
from riemannrnn.metrics.catalogue import GROWTH
from riemannrnn.rules import Adam
from riemannrnn.runtime import one_blas_thread
from riemannrnn.training.options import ADAM_RATE, LONGEST_STEP
from riemannrnn.training.training import single_residual

AGES = (0, 50)
"""Steps of the default before the measured step."""

FACTORISATIONS = ("inv", "solve", "eigh", "eigvalsh", "eig", "eigvals", "cholesky", "qr", "svd")


class Learner:
    """Adam on a manifold, from given weights, on one batch."""

    def __init__(self, cost: FixedPointCost, manifold: Any, weights: Point) -> None:
        self.cost, self.rule, self.memory = cost, Adam(manifold), None
        self.point: Point = self.rule.parameterization.point_at(weights)

    def step(self, rate: float = ADAM_RATE) -> None:
        """Solve the fixed points from a cold start and the adjoints, and take a step with the length limit of `train`."""
        batch = self.cost.take(np.arange(STIMULI))
        with one_blas_thread():  # as in `train`
            evaluation = batch.at(self.rule.parameterization.weights(self.point))
            velocity, self.memory = self.rule.velocity(self.point, evaluation, rate, self.memory)
            velocity = self.rule.shortened(self.point, velocity, LONGEST_STEP)
            self.memory = self.rule.carry(self.point, velocity, self.memory)
            self.point = self.rule.move(self.point, velocity)

    def creep(self) -> None:
        """Take a very short step to a point that no cache knows; the next step then takes as long as this one."""
        self.step(1e-3 * ADAM_RATE)


def learners(dtype: np.dtype[Any], age: int) -> dict[str, Learner]:
    """Return the default after `age` steps, Euclidean weights that equal it with the same solver, and new Euclidean weights."""
    asked: dict[str, Any] = {"tolerance": single_residual(UNITS)} if dtype == np.float32 else {}
    promised: dict[str, Any] = {"solver": Automatic("splitting"), **asked}
    default = learner(ScaledMonotoneManifold(UNITS, GROWTH), dtype, **promised)
    for _ in range(age):
        default.step()
    flat, weights = PullbackManifold(Identity(), UNITS, "additive"), default.rule.parameterization.weights(default.point)
    return {"default": default, "same": learner(flat, dtype, weights, **promised), "new": learner(flat, dtype, **asked)}


def learner(manifold: Any, dtype: np.dtype[Any], weights: Array | None = None, **options: Any) -> Learner:
    """Return Adam on a manifold for the network of the MNIST experiment, from given weights or the manifold's default start."""
    network, start, images, labels = random_task(dtype)
    cost = FixedPointCost(network, images, CrossEntropy(labels), on_failure="raise", **options)
    return Learner(cost, manifold, start if weights is None else weights)


def beside_euclidean(dtype: np.dtype[Any], age: int, repeats: int) -> Row:
    """Return the times of the steps, their ratios, and the factorisations of the default step."""
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
        **{f"over_{name}": ratio(times["default"], times[name]) for name in ("same", "new")},
        "factorisations": sum(seen.values()),
        "repeated": sum(count - 1 for count in seen.values()),
    }


@contextmanager
def factorisations(n: int) -> Iterator[Counter[tuple[str, bytes]]]:
    """Count the factorisations of n × n matrices within a `with` block, by kind and matrix."""
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
