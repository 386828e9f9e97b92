"""Costs, rules, pymanopt's solvers and comparisons with every array on a device: results equal NumPy's, nothing moves."""

import numpy as np
import pytest
from array_api_compat import array_namespace
from device import BATCH, OUTPUTS, N, nothing_moves, problem, same
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import Identity, PullbackManifold, Resolvent
from riemannrnn import CrossEntropy, FixedPointCost, Layer, SquaredError, Stack, compare, to_backend, train
from riemannrnn.cli.compared import digits_task
from riemannrnn.comparison import Contender
from riemannrnn.comparison.same_dtype import SameDtypeTrustRegions
from riemannrnn.data import Dataset, load_digits
from riemannrnn.metrics import AggregatedMetric, ResponseMetric
from riemannrnn.models import chunks
from riemannrnn.rules import KFAC, check_descent
from riemannrnn.rules.named import RULES

DTYPES = {"float64": 1e-8, "float32": 2e-3}


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.mark.parametrize("kind", ["squared error", "cross-entropy"])
def test_cost(xp, kind, dtype, generator):
    targets, V = (generator.standard_normal(shape).astype(dtype) for shape in ((BATCH, OUTPUTS), (N, N)))

    def evaluate(backend):
        network, W, stimuli, labels = problem(backend, dtype)
        V_there, targets_there = to_backend(V, backend), to_backend(targets, backend)
        with nothing_moves():
            cost = FixedPointCost(
                network, stimuli, SquaredError(targets_there) if kind == "squared error" else CrossEntropy(labels)
            )
            return cost(W), cost.gradient(W), cost.hessian(W, V_there), cost.at(W).outputs

    for found, expected in zip(evaluate(xp), evaluate("numpy"), strict=True):
        same(found, expected, DTYPES[dtype], xp)


@pytest.mark.parametrize("rule", RULES)
def test_training(xp, rule, dtype):
    def run(backend):
        network, W, stimuli, labels = problem(backend, dtype)
        with nothing_moves(uploads=2):  # the order of the stimuli, once an epoch
            return train(network, W, stimuli, labels, rule, 0.01, batch_size=4, epochs=2, seed=0, guard=False)

    found, expected = run(xp), run("numpy")
    assert found.stopped == expected.stopped == "All 2 epochs done."
    same(found.weights, expected.weights, DTYPES[dtype], xp)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=DTYPES[dtype])
    assert found.accuracy == pytest.approx(expected.accuracy)


def test_layers_of_images(xp, dtype, monkeypatch):
    """They learn by default, and answer in chunks."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4 * 18 * 8)
    generator = np.random.default_rng(0)
    stimuli, labels = generator.standard_normal((BATCH, 9)).astype(dtype), np.arange(BATCH) % OUTPUTS

    def run(backend):
        there = to_backend(stimuli, backend), to_backend(labels, backend)
        stack = Stack([Layer.convolution((3, 3, 1), 2, 3), Layer(4)], 9, OUTPUTS, "relu", 0, dtype, backend)
        history = train(
            stack, stack.initial_parameters(), *there, batch_size=5, epochs=2, seed=0, progress=False, held_out=there
        )
        model = history.model
        return history, [*history.parameters.values(), model.respond(there[0]).outputs, model.stability(there[0])]

    (history, found), (expected_history, expected) = run(xp), run("numpy")
    assert history.stopped == expected_history.stopped
    for mine, theirs in zip(found, expected, strict=True):
        same(mine, theirs, 10 * DTYPES[dtype], xp)
    np.testing.assert_allclose(history.test_loss, expected_history.test_loss, rtol=DTYPES[dtype])


def test_metrics_of_a_network(xp, dtype):
    def run(backend):
        network, W, stimuli, labels = problem(backend, dtype)
        with nothing_moves():
            cost = FixedPointCost(network, stimuli, CrossEntropy(labels))
            evaluation, gradient = cost.at(W), cost.gradient(W)
            metrics = AggregatedMetric(evaluation), ResponseMetric(evaluation, 0.1)
            steps = [each for metric in metrics for each in (metric.sharp(gradient), metric.flat(gradient))]
            return [*steps, KFAC().step(W, evaluation, 0.1)[0]], check_descent(evaluation).cosine

    (found, cosine), (expected, expected_cosine) = run(xp), run("numpy")
    assert cosine == pytest.approx(expected_cosine, rel=DTYPES[dtype])
    for each, other in zip(found, expected, strict=True):
        same(each, other, 10 * DTYPES[dtype], xp)


MANIFOLDS = {
    "identity": lambda **options: PullbackManifold(Identity(), N, **options),
    "resolvent, geodesic": lambda **options: PullbackManifold(Resolvent(), N, **options),
    "resolvent, additive": lambda **options: PullbackManifold(Resolvent(), N, "additive", **options),
}


def optimise(solver, manifold, backend, dtype):
    network, W, stimuli, labels = problem(backend, dtype)
    cost = FixedPointCost(network, stimuli, CrossEntropy(labels))
    with nothing_moves():
        return solver(verbosity=0, max_iterations=4).run(cost.problem(MANIFOLDS[manifold]()), initial_point=W)


@pytest.mark.parametrize("solver", [SteepestDescent, ConjugateGradient, TrustRegions])
@pytest.mark.parametrize("manifold", MANIFOLDS)
def test_solvers_of_pymanopt(xp, solver, manifold):
    found, expected = (optimise(solver, manifold, backend, "float64") for backend in (xp, "numpy"))
    same(found.point, expected.point, 1e-6, xp)
    assert found.cost == pytest.approx(expected.cost)
    assert found.iterations == expected.iterations


@pytest.mark.parametrize("solver", [SteepestDescent, ConjugateGradient, SameDtypeTrustRegions])
def test_solvers_of_pymanopt_in_float32(xp, solver):
    result = optimise(solver, "resolvent, geodesic", xp, "float32")
    assert array_namespace(result.point) is xp
    assert result.point.dtype == np.float32
    assert result.cost == pytest.approx(optimise(solver, "resolvent, geodesic", "numpy", "float32").cost, rel=1e-2)


def test_a_random_start_and_the_default_one(xp):
    network, W, stimuli, labels = problem(xp)
    cost = FixedPointCost(network, stimuli, CrossEntropy(labels))
    result = SteepestDescent(verbosity=0, max_iterations=2).run(cost.problem(MANIFOLDS["identity"](seed=0, like=W)))
    assert array_namespace(result.point) is xp


def test_a_comparison(xp):
    def run(backend):
        task = digits_task(8, 0.5, "tanh", 20, 0, "float64", backend)
        contenders = [Contender("resolvent", "geodesic", "trust-regions"), Contender("per-stimulus", "additive", "dW3")]
        return compare(task, contenders, budget=6, learning_rates=[0.3])

    for found, expected in zip(run(xp).entries, run("numpy").entries, strict=True):
        assert found.stopped == expected.stopped
        assert found.training_loss == pytest.approx(expected.training_loss)
        assert found.test_accuracy == pytest.approx(expected.test_accuracy)
        assert found.worst_abscissa == pytest.approx(expected.worst_abscissa)


def test_a_data_set_is_split_where_it_is(xp):
    here = load_digits()
    with nothing_moves(uploads=4):  # stimuli, labels, and the indices of the parts
        parts = here.to(xp).split(5, 3, seed=0)
    for found, expected in zip(parts, here.split(5, 3, seed=0), strict=True):
        assert isinstance(found, Dataset)
        same(found.stimuli, expected.stimuli, 0, xp)
        same(found.labels, expected.labels, 0, xp)
