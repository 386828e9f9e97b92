"""Every manifold × every optimiser × both dtypes: the cost falls, and every array keeps the dtype of the start."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymanopt
import pytest
from cases import CASES, N
from pymanopt.manifolds import Euclidean, Sphere
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import (
    Identity,
    InvalidArrayError,
    MonotoneManifold,
    ProductManifold,
    PullbackManifold,
    ScaledMonotoneManifold,
    SubspaceManifold,
    Weighted,
    left_invariant,
    symmetric,
)
from manifolds.points import arrays_of, map_arrays
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork
from riemannrnn.cli.compared import digits_task
from riemannrnn.comparison import SameDtypeConjugateGradient, SameDtypeTrustRegions
from riemannrnn.comparison.comparison import compare
from riemannrnn.comparison.contenders import Contender


def problem_on(manifold, target):
    """Return the problem of approaching a target, Σ log cosh (x − x*), over all arrays of a point."""
    decorate = pymanopt.function.numpy(manifold)
    single = len(arrays_of(target)) == 1
    targets = arrays_of(target)

    def cost(*point):
        gaps = [np.float64(x - y) for x, y in zip(point, targets, strict=True)]  # near the target rounding dominates in float32
        return sum(float(np.sum(np.logaddexp(gap, -gap) - np.log(2))) for gap in gaps)

    def gradient(*point):
        slopes = [np.tanh(x - y) for x, y in zip(point, targets, strict=True)]
        return slopes[0] if single else slopes

    def hessian(*arrays):
        point, vector = arrays[: len(targets)], arrays[len(targets) :]
        changes = [v * (1 - np.tanh(x - y) ** 2) for x, y, v in zip(point, targets, vector, strict=True)]
        return changes[0] if single else changes

    return pymanopt.Problem(
        manifold, decorate(cost), euclidean_gradient=decorate(gradient), euclidean_hessian=decorate(hessian)
    )


def in_dtype(point, dtype):
    """Return a point of one or several arrays in a dtype; pymanopt draws random points in float64."""
    return map_arrays(lambda part: part.astype(dtype), point)


def approaches(manifold, dtype, optimizer, iterations=30, **options):
    start, target = (in_dtype(manifold.random_point(), dtype) for _ in range(2))
    problem = problem_on(manifold, target)
    result = optimizer(verbosity=0, max_iterations=iterations, min_gradient_norm=1e-4, **options).run(
        problem, initial_point=start
    )
    assert {part.dtype for part in arrays_of(result.point)} == {np.dtype(dtype)}
    assert 0 <= result.cost < 0.1 * problem.cost(start)
    assert result.cost == pytest.approx(problem.cost(result.point), rel=1e-5)


OURS = [SteepestDescent, SameDtypeConjugateGradient, SameDtypeTrustRegions]
"""The optimisers of `compare`, which keep float32 on every manifold."""

EVERY = [*OURS, ConjugateGradient, TrustRegions]
"""Those of pymanopt, too: in float32 on products of this package, whose vectors keep their dtype."""


def optimisers_on_matrices(dtype):
    """Return the optimisers that keep the dtype of one matrix; pymanopt's trust regions turn float32 into float64."""
    return EVERY if dtype is np.float64 else [*OURS, ConjugateGradient]


@pytest.mark.parametrize(
    ("case", "optimizer"), [(case, each) for case in CASES for each in optimisers_on_matrices(case.dtype)], ids=str
)
def test_manifolds_of_matrices(case, optimizer):
    approaches(case.manifold(seed=3), case.dtype, optimizer, 30 if case.shape == (N, N) else 60)


def like(dtype):
    return {"seed": 0, "like": np.empty(0, dtype)}


@dataclass(frozen=True)
class Row:
    """A product, made from a dtype, and the optimisers that run on it in both dtypes."""

    make: Callable[[Any], Any]
    optimisers: tuple[Any, ...] = tuple(EVERY)


PRODUCTS = {
    "scaled monotone": Row(lambda dtype: ScaledMonotoneManifold(N, 2.0, **like(dtype))),
    "monotone x Euclidean": Row(
        lambda dtype: ProductManifold({"first": MonotoneManifold(N, **like(dtype)), "second": Euclidean(N, 2)})
    ),
    "left-invariant x Sphere": Row(
        lambda dtype: ProductManifold({"first": left_invariant(N, **like(dtype)), "second": Sphere(N)})
    ),
    "weighted and nested": Row(
        lambda dtype: ProductManifold(
            {
                "scaled": ScaledMonotoneManifold(N, 2.0, **like(dtype)),
                "weighted": Weighted(PullbackManifold(Identity(), (N, 2), **like(dtype)), 0.5),
                "vector": PullbackManifold(Identity(), (3,), **like(dtype)),
            }
        )
    ),
    "subspace x monotone": Row(
        lambda dtype: ProductManifold(
            {
                "first": SubspaceManifold(MonotoneManifold(N, **like(dtype)), symmetric(N)),
                "second": MonotoneManifold(3, **like(dtype)),
            }
        )
    ),
    "pymanopt's product, monotone x Euclidean": Row(
        lambda dtype: pymanopt.manifolds.Product([MonotoneManifold(N, **like(dtype)), Euclidean(N, 2)]), tuple(OURS)
    ),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("name", "optimizer"),
    [(name, optimizer) for name, row in PRODUCTS.items() for optimizer in row.optimisers],
)
def test_products(name, optimizer, dtype):
    np.random.seed(0)  # noqa: NPY002  manifolds of pymanopt draw from the global state
    approaches(PRODUCTS[name].make(dtype), dtype, optimizer)


def test_scalars_of_numpy_keep_the_dtype_of_product_vectors():
    manifold = ScaledMonotoneManifold(N, **like(np.float32))
    point = manifold.random_point()
    vector = manifold.random_tangent_vector(point)
    for scaled in (np.float64(2) * vector, vector * np.float64(2), vector / np.float64(2), -vector + np.float64(2) * vector):
        assert [part.dtype for part in manifold.exp(point, scaled)] == [np.float32, np.float32]
    for number in (manifold.norm(point, vector), manifold.dist(point, point), manifold.typical_dist):
        assert type(number) is float


def test_a_product_refuses_another_number_of_arrays():
    manifold = ScaledMonotoneManifold(N, seed=0)
    point = manifold.random_point()
    for wrong, found in ((point[:1], "1 arrays"), ([*point, point[1]], "3 arrays"), (point[0], "1 arrays")):
        with pytest.raises(InvalidArrayError, match=f"of {found}: the points of the product have 2.*sequence of that length"):
            manifold.norm(point, wrong)


@pytest.mark.parametrize("optimizer", EVERY)
def test_costs_of_networks_on_the_scaled_monotone_manifold_in_single_precision(optimizer):
    network = RateNetwork(6, 4, 2, "tanh", seed=0, dtype=np.float32)
    stimuli = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    cost = FixedPointCost(network, stimuli, CrossEntropy(np.arange(8) % 2))
    manifold = ScaledMonotoneManifold(6, 2.0, like=stimuli)
    start = manifold.point_at(network.initial_weights())
    result = optimizer(verbosity=0, max_iterations=10).run(cost.problem(manifold), initial_point=start)
    assert [part.dtype for part in result.point] == [np.float32, np.float32]
    assert result.cost < 0.7 * cost(network.initial_weights())


@pytest.mark.parametrize("solver", ["steepest-descent", "conjugate-gradient", "trust-regions"])
def test_a_comparison_on_the_scaled_monotone_manifold_in_single_precision(solver):
    task = digits_task(6, 0.2, "tanh", 12, 0, "float32")
    comparison = compare(task, [Contender("scaled-monotone", "geodesic", solver)], budget=5)
    (entry,) = comparison.entries
    assert np.isfinite(entry.training_loss), entry.stopped
    assert entry.weights.dtype == np.float32
