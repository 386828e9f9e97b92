"""A cost over partitions on workers equals the cost in memory, and every optimiser of pymanopt runs on it unchanged."""

import tracemalloc

import dask.array as da
import numpy as np
import pytest
from pymanopt.optimizers import ConjugateGradient, TrustRegions

from manifolds import PullbackManifold, Resolvent
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, SquaredError
from riemannrnn.cost import PartitionedCost
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.sweep import local_client

M, N, CHUNKS = 100, 9, (13, 20, 1, 0, 15, 11, 17, 9, 14)
NETWORK = RateNetwork(N, 6, 3, seed=0)
GENERATOR = np.random.default_rng(0)
STIMULI, LABELS = GENERATOR.standard_normal((M, 6)), GENERATOR.integers(0, 3, M)
W, V = NETWORK.initial_weights(0.5), GENERATOR.standard_normal((N, N))
OPTIONS = {"tolerance": 1e-12}


@pytest.fixture(scope="module")
def client():
    """A client of two worker processes."""
    with local_client(2) as each:
        yield each


@pytest.fixture(scope="module")
def cost(client):
    """A cost over eight partitions of different sizes, with targets in memory."""
    return PartitionedCost(NETWORK, da.from_array(STIMULI, chunks=(CHUNKS, 3)), LABELS, client=client, **OPTIONS)


@pytest.fixture(scope="module")
def whole():
    """The same cost in memory."""
    return FixedPointCost(NETWORK, STIMULI, CrossEntropy(LABELS), **OPTIONS)


def test_value_gradient_and_hessian_are_those_in_memory(cost, whole):
    assert cost(W) == pytest.approx(whole(W), rel=1e-11)
    np.testing.assert_allclose(cost.gradient(W), whole.gradient(W), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(cost.hessian(W, V), whole.hessian(W, V), rtol=1e-8, atol=1e-10)
    assert repr(cost).startswith("PartitionedCost(stimuli: 100, partitions: 8, network: ")


@pytest.mark.parametrize(("optimiser", "steps"), [(ConjugateGradient, 4), (TrustRegions, 1)])
def test_optimisers_of_pymanopt_run_on_the_manifold(cost, whole, optimiser, steps):
    manifold = PullbackManifold(Resolvent(), N)
    ends = [optimiser(verbosity=0, max_iterations=steps).run(each.problem(manifold), initial_point=W) for each in (cost, whole)]
    assert ends[0].cost < 0.95 * whole(W)
    assert ends[0].cost == pytest.approx(ends[1].cost, rel=1e-6)
    np.testing.assert_allclose(ends[0].point, ends[1].point, rtol=1e-4, atol=1e-6)


def test_targets_of_a_dask_array_with_other_chunks_and_another_loss(client):
    targets = GENERATOR.standard_normal((M, 3))
    stimuli, chunked = da.from_array(STIMULI, chunks=(30, 6)), da.from_array(targets, chunks=(45, 2))
    cost = PartitionedCost(NETWORK, stimuli, chunked, SquaredError, client=client, **OPTIONS)
    whole = FixedPointCost(NETWORK, STIMULI, SquaredError(targets), **OPTIONS)
    assert cost(W) == pytest.approx(whole(W), rel=1e-11)
    np.testing.assert_allclose(cost.gradient(W), whole.gradient(W), rtol=1e-8, atol=1e-12)


def test_weights_are_sent_once_for_a_point(cost, client, monkeypatch):
    sent, scatter = [], client.scatter
    monkeypatch.setattr(client, "scatter", lambda data, **options: sent.append(data) or scatter(data, **options))
    other = 0.9 * W
    before = vars(cost.evaluations).copy()
    cost(other), cost.gradient(other), cost(other), cost.hessian(other, V), cost.gradient(other)
    assert len(sent) == 2
    np.testing.assert_array_equal(sent, [other, V])
    after = vars(cost.evaluations)
    assert [after[kind] - before[kind] for kind in ("cost", "gradient", "hessian")] == [1, 1, 1]
    assert after["iterations"] > before["iterations"]


def test_partitions_are_on_all_workers(cost, client):
    cost(W)
    assert len(set().union(*client.who_has(cost.partitions).values())) == 2


def test_single_precision_stays_single(client):
    network = RateNetwork(N, 6, 3, seed=0, dtype=np.float32)
    stimuli = da.from_array(STIMULI.astype(np.float32), chunks=(40, 6))
    cost = PartitionedCost(network, stimuli, LABELS, client=client)
    weights = network.initial_weights(0.5)
    assert cost.gradient(weights).dtype == cost.hessian(weights, weights).dtype == np.float32


def test_the_memory_of_the_client_does_not_grow_with_the_stimuli(client):
    peaks = []
    for count in (800, 80_000):
        random = da.random.default_rng(0)
        stimuli = random.standard_normal((count, 6), chunks=(count // 8, 6))
        labels = random.integers(0, 3, count, chunks=count // 8)
        tracemalloc.start()
        cost = PartitionedCost(NETWORK, stimuli, labels, client=client)
        assert np.isfinite(cost.gradient(W)).all()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 200_000, "the labels alone take 640 kB, the rates 5.8 MB"


def test_without_a_fixed_point_it_is_infinite(cost):
    network = RateNetwork(N, 6, 3, activation="power-law", seed=0)
    assert cost.model is NETWORK
    stimuli = da.from_array(100 * np.abs(STIMULI), chunks=(50, 6))
    infinite = PartitionedCost(network, stimuli, LABELS, max_iterations=20)
    assert infinite(9 * np.abs(W)) == np.inf
    with pytest.raises(FixedPointError, match="a stimulus of some partition has no fixed point and J is infinite"):
        infinite.gradient(9 * np.abs(W))


@pytest.mark.parametrize(
    ("stimuli", "targets", "options", "message"),
    [
        (STIMULI, LABELS, {}, "not a dask array"),
        (da.from_array(STIMULI[:, 0]), LABELS, {}, "not a dask array"),
        (da.from_array(STIMULI)[da.from_array(LABELS) > 0], LABELS, {}, r"call compute_chunk_sizes\(\)"),
        (da.from_array(STIMULI), LABELS[:3], {}, "100 stimuli and 3 targets"),
        (da.from_array(STIMULI[:0]), LABELS[:0], {}, "0 stimuli and 0 targets"),
        (da.from_array(STIMULI), LABELS, {"on_failure": "mask"}, "on_failure = 'mask' needs all stimuli in one place"),
    ],
)
def test_invalid_arguments_are_refused(client, stimuli, targets, options, message):
    with pytest.raises(ValueError, match=message):
        PartitionedCost(NETWORK, stimuli, targets, client=client, **options)
