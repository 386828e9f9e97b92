"""The manifolds by name: each runs in a comparison and keeps its guarantee."""

from dataclasses import replace

import numpy as np
import pytest

from manifolds import check_manifold
from riemannrnn import RateNetwork, compare
from riemannrnn.comparison.contenders import OPTIMISERS, all_contenders, choose_contenders, contenders_on
from riemannrnn.cost.task import Task
from riemannrnn.data import load_digits
from riemannrnn.metrics.catalogue import CATALOGUE, EVERY_MANIFOLD
from riemannrnn.rules.adam import Adam

BUDGET = 7


@pytest.fixture(scope="module")
def task():
    training, validation, test = load_digits().split(30, 21, 22, seed=0)
    network = RateNetwork(8, 64, 10, "tanh", 0)
    return Task(network, network.initial_weights(0.5), training, validation, test, 1e-7)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_optimiser_learns_on_the_manifold(name, task):
    comparison = compare(task, contenders_on([name]), BUDGET, learning_rates=(0.1,))
    assert {entry.contender.optimiser for entry in comparison.entries} >= {"descent", "steepest-descent", "conjugate-gradient"}
    for entry in comparison.entries:
        assert entry.training_loss < entry.history[0].loss, entry.contender.name
        assert entry.stopped == f"Used its {BUDGET} evaluations.", entry.contender.name


@pytest.mark.parametrize("name", CATALOGUE)
def test_it_starts_on_its_manifold(name, task):
    geometry = CATALOGUE[name]
    for retraction in geometry.retractions:
        manifold, point, there = geometry.start(task, retraction)
        vector = manifold.random_tangent_vector(point)
        assert manifold.norm(point, vector) == pytest.approx(1)
        assert there.training is task.training


@pytest.mark.parametrize("name", ["gain", "dale", "scaled-monotone"])
def test_check_manifold_passes_at_the_start(name, task):
    manifold, point, _ = CATALOGUE[name].start(task, "geodesic")
    report = check_manifold(manifold, point)
    assert report, str(report)


@pytest.mark.parametrize(
    ("name", "other"),
    [("monotone", "additive"), ("scaled-monotone", "additive"), ("low-rank", "additive"), ("sparse", "geodesic")],
)
def test_a_missing_retraction_is_refused(name, other, task):
    with pytest.raises(ValueError, match=f"the retraction of manifold '{name}' is .*, and not '{other}'; choose"):
        CATALOGUE[name].start(task, other)


def test_constraints_hold_exactly_at_the_start(task):
    W = CATALOGUE["dale"].start(task, "geodesic").point
    assert np.all(W[:, [4]] < 0)
    assert np.all(np.delete(W, 4, axis=1) > 0)
    radius = np.abs(np.linalg.eigvals(W)).max()
    assert radius == pytest.approx(np.abs(np.linalg.eigvals(task.weights)).max())
    sparse = CATALOGUE["sparse"].start(task, "additive").point
    assert 10 < np.count_nonzero(sparse) < 54
    assert not CATALOGUE["hollow"].start(task, "additive").point.diagonal().any()
    symmetric = CATALOGUE["symmetric"].start(task, "geodesic").point
    np.testing.assert_array_equal(symmetric, symmetric.T)
    ring = CATALOGUE["circulant"].start(task, "geodesic").point
    np.testing.assert_array_equal(ring, np.roll(ring, (1, 1), (0, 1)))


def test_an_activation_or_a_start_that_does_not_fit_is_a_row_with_its_reason(task):
    contenders = choose_contenders(["conjugate"], ["monotone", "scaled-monotone"])
    steep = replace(task.network.activation, derivative=lambda z, r: 1.5 + 0 * r)
    network = RateNetwork(8, 64, 10, steep, 0)
    for entry in compare(replace(task, network=network), contenders, BUDGET).entries:
        assert "'tanh' has slope 1.5" in entry.stopped
    for entry in compare(replace(task, weights=5 * task.weights), contenders, BUDGET).entries:
        assert "Failed: smallest eigenvalue of sym(I − W) = -" in entry.stopped


def test_the_list_of_contenders():
    manifolds = {contender.manifold for contender in all_contenders()}
    assert manifolds == {*CATALOGUE, "per-stimulus"}
    optimisers = [contender.optimiser for contender in contenders_on(["gain"])]
    assert optimisers == ["descent", *OPTIMISERS]
    assert len(contenders_on(["resolvent"])) == 2 * len(optimisers)
    assert choose_contenders([], ["gain", "gain"]) == contenders_on(["gain"])
    with pytest.raises(ValueError, match="manifold 'dales' is unknown; choose among euclidean, resolvent"):
        contenders_on(["dales"])


def test_manifolds_of_a_custom_function_have_no_name(task):
    yours = next(geometry for geometry in EVERY_MANIFOLD if geometry.call.startswith("MetricManifold"))
    with pytest.raises(ValueError, match="takes a function of your own"):
        yours.start(task, "geodesic")


@pytest.mark.parametrize("name", ["euclidean", "resolvent", "left-invariant", "monotone", "scaled-monotone", "dale"])
def test_frames_are_orthonormal(name, task, generator):
    manifold, point, _ = CATALOGUE[name].start(task, CATALOGUE[name].retractions[0])
    U, V = manifold.random_tangent_vector(point), manifold.random_tangent_vector(point)
    parts = [vector if isinstance(vector, list) else [vector] for vector in (manifold.to_frame(point, each) for each in (U, V))]
    flat = [np.concatenate([np.ravel(part) for part in vector]) for vector in parts]
    assert flat[0] @ flat[1] == pytest.approx(manifold.inner_product(point, U, V), rel=1e-9, abs=1e-12)
    back = manifold.from_frame(point, manifold.to_frame(point, V))
    assert manifold.norm(point, back - V) < 1e-12
    gradients = manifold.frame_gradient(point, U), manifold.to_frame(point, manifold.euclidean_to_riemannian_gradient(point, U))
    for own, expected in zip(*(each if isinstance(each, list) else [each] for each in gradients), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-9, atol=1e-12)


def test_two_sided_metrics_say_so(task, generator):
    two_sided = set()
    for name, geometry in CATALOGUE.items():
        manifold, point, _ = geometry.start(task, geometry.retractions[0])
        factors = manifold.sharp_factors(point) if hasattr(manifold, "sharp_factors") else None
        if factors is not None:
            two_sided.add(name)
            U = generator.standard_normal(point.shape)
            expected = manifold.euclidean_to_riemannian_gradient(point, U)
            np.testing.assert_allclose(factors[0] @ U @ factors[1], expected, rtol=1e-12, atol=1e-12, err_msg=name)
    assert two_sided == {"resolvent", "left-invariant", "right-invariant", "gain", "monotone"}


@pytest.mark.parametrize("name", ["euclidean", "resolvent", "left-invariant", "right-invariant", "monotone", "scaled-monotone"])
def test_adam_learns_in_the_frame(name, task):
    manifold, point, there = CATALOGUE[name].start(task, CATALOGUE[name].retractions[0])
    cost, rule, memory = there.cost(there.training), Adam(manifold), None
    losses = []
    for _ in range(6):
        evaluation = cost.at(rule.parameterization.weights(point))
        losses.append(evaluation.cost)
        point, memory = rule.step(point, evaluation, 0.01, memory)
    assert losses == sorted(losses, reverse=True)


def test_adam_is_adam_in_coordinates(task):
    """On a flat manifold the steps equal Kingma and Ba's algorithm 1 on φ(W), written without a manifold."""
    manifold, W, there = CATALOGUE["resolvent"].start(replace(task, tolerance=1e-13), "geodesic")
    cost, rule, memory = there.cost(there.training), Adam(manifold, decays=(0.8, 0.95), epsilon=1e-4), None
    A, first, second, point = np.linalg.inv(np.eye(8) - W), 0.0, 0.0, W
    for count in range(1, 5):
        B = np.eye(8) - W
        gradient = B.T @ cost.gradient(W) @ B.T
        first, second = 0.8 * first + 0.2 * gradient, 0.95 * second + 0.05 * gradient**2
        A = A - 0.02 * (first / (1 - 0.8**count)) / (np.sqrt(second / (1 - 0.95**count)) + 1e-4)
        W = np.eye(8) - np.linalg.inv(A)
        point, memory = rule.step(point, cost.at(point), 0.02, memory)
        np.testing.assert_allclose(point, W, atol=1e-9)


def test_adam_refuses_a_manifold_without_frame(task):
    with pytest.raises(ValueError, match="has no frame in which moments"):
        Adam(CATALOGUE["sparse"].start(task, "additive").manifold)
    with pytest.raises(ValueError, match=r"decays = \(1, 0\)"):
        Adam(CATALOGUE["resolvent"].start(task, "geodesic").manifold, decays=(1, 0))
