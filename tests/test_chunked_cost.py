"""A cost over the chunks of a file equals the cost in memory, and every optimiser of pymanopt runs on it unchanged."""

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pymanopt.optimizers import ConjugateGradient, TrustRegions

from manifolds import PullbackManifold, Resolvent
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, SquaredError, Stack
from riemannrnn.data import DatasetError, open_table
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.training import ChunkedCost
from riemannrnn.training.by_name import product_of
from riemannrnn.training.streamed import Rows

M, N, INPUTS = 101, 9, 6
NETWORK = RateNetwork(N, INPUTS, 3, seed=0)
GENERATOR = np.random.default_rng(0)
STIMULI, LABELS = GENERATOR.standard_normal((M, INPUTS)), np.arange(M) % 3
W, V = NETWORK.initial_weights(0.5), GENERATOR.standard_normal((N, N))
OPTIONS = {"tolerance": 1e-12}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of 20 rows, of which the last has one."""
    monkeypatch.setattr("riemannrnn.data.source.CHUNK_BYTES", 20 * INPUTS * 8)


def table(folder: Path, targets=LABELS, **options):
    """Return a table whose stimuli are a file."""
    np.save(folder / "stimuli.npy", STIMULI)
    return open_table(folder / "stimuli.npy", targets, dtype="float64", **options)


def test_value_gradient_and_hessian_are_those_in_memory(tmp_path):
    cost, whole = (
        ChunkedCost(NETWORK, table(tmp_path), **OPTIONS),
        FixedPointCost(NETWORK, STIMULI, CrossEntropy(LABELS), **OPTIONS),
    )
    assert cost(W) == pytest.approx(whole(W), rel=1e-11)
    np.testing.assert_allclose(cost.gradient(W), whole.gradient(W), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(cost.hessian(W, V), whole.hessian(W, V), rtol=1e-8, atol=1e-10)
    assert repr(cost).startswith("ChunkedCost(stimuli: 101, chunks: 6, network: ")
    cost.gradient(W)[...] = 0  # an array of the caller's own
    assert np.abs(cost.gradient(W)).max() > 1e-3
    counts = cost.evaluations
    assert (counts.cost, counts.gradient, counts.hessian) == (1, 1, 1)
    assert counts.iterations == pytest.approx(whole.evaluations.iterations, abs=2)


@pytest.mark.parametrize(("optimiser", "steps"), [(ConjugateGradient, 4), (TrustRegions, 2)])
def test_optimisers_of_pymanopt_run_on_it_unchanged(tmp_path, optimiser, steps):
    costs = ChunkedCost(NETWORK, table(tmp_path), **OPTIONS), FixedPointCost(NETWORK, STIMULI, CrossEntropy(LABELS), **OPTIONS)
    manifold = PullbackManifold(Resolvent(), N)
    ends = [optimiser(verbosity=0, max_iterations=steps).run(cost.problem(manifold), initial_point=W) for cost in costs]
    assert ends[0].cost < 0.97 * costs[1](W)
    assert ends[0].cost == pytest.approx(ends[1].cost, rel=1e-6)
    np.testing.assert_allclose(ends[0].point, ends[1].point, rtol=1e-4, atol=1e-6)


def test_a_stack_learns_numbers_of_which_some_are_missing(tmp_path):
    """Targets have mean 0 and standard deviation 1, as `train` makes them, so that no scale is applied."""
    targets = GENERATOR.standard_normal((M, 2))
    targets[GENERATOR.random((M, 2)) < 0.3] = np.nan
    targets[40:60] = np.nan  # a whole chunk
    targets = (targets - np.nanmean(targets, axis=0)) / np.nanstd(targets, axis=0)
    stack = Stack([5, 4], INPUTS, 2, seed=0)
    cost = ChunkedCost(stack, table(tmp_path, targets, task="regression"), **OPTIONS)
    whole = FixedPointCost(stack, STIMULI, SquaredError(targets), **OPTIONS)
    manifold, point = product_of(stack, stack.flat(stack.initial_parameters()), "monotone")
    problems = cost.problem(manifold), whole.problem(manifold)
    assert problems[0].cost(point) == pytest.approx(problems[1].cost(point), rel=1e-10)
    gradients = [problem.riemannian_gradient(point) for problem in problems]
    for here, there in zip(*gradients, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-8, atol=1e-11)


def test_memory_does_not_grow_with_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr("riemannrnn.data.source.CHUNK_BYTES", 500 * 50 * 8)
    network, peaks = RateNetwork(20, 50, 3, seed=0), []
    for count in (4_000, 32_000):
        np.save(tmp_path / "stimuli.npy", GENERATOR.standard_normal((count, 50)))
        cost = ChunkedCost(network, open_table(tmp_path / "stimuli.npy", np.arange(count) % 3, dtype="float64"))
        weights = network.initial_weights(0.3)
        gc.collect()
        gc.disable()  # a chunk is freed when it is done with, not at some later time
        tracemalloc.start()
        try:
            cost.gradient(weights)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
            gc.enable()
    assert peaks[1] < 1.3 * peaks[0]
    assert peaks[1] < 32_000 * 50 * 8 / 2  # less than half of the table


def test_a_lost_fixed_point_makes_the_cost_infinite_and_ends_the_pass(tmp_path, monkeypatch):
    cost = ChunkedCost(NETWORK, table(tmp_path), max_iterations=2, solver="picard")
    solved, make = [], Rows.cost
    monkeypatch.setattr(Rows, "cost", lambda *arguments: solved.append(1) or make(*arguments))
    assert cost(W) == np.inf
    assert len(solved) == 1
    with pytest.raises(FixedPointError, match="gradient does not exist"):
        cost.gradient(W)


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'mask' needs all stimuli in one place"):
        ChunkedCost(NETWORK, table(tmp_path), on_failure="mask")
    with pytest.raises(DatasetError, match="no targets"):
        ChunkedCost(NETWORK, table(tmp_path, None))
