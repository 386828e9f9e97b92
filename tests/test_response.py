"""The response metric against dense Jacobians, its derivatives against differences, and its Kronecker approximation."""

import numpy as np
import pytest
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import OutsideManifoldError, PullbackManifold, Resolvent, SingularPointError
from riemannrnn import FixedPointCost, RateNetwork, SquaredError, train
from riemannrnn.metrics import ResponseMetric, response_metric
from riemannrnn.metrics.kronecker import KroneckerFactors, ResponseStatistics
from riemannrnn.rules import KFAC, Descent
from riemannrnn.rules.descent_check import descent_cosine

N, BATCH = 4, 11
ACTIVATIONS = ["identity", "tanh", "softplus"]


def make_cost(activation="tanh", seed=0, n=N, batch=BATCH, dtype=np.float64, stimuli=None, **options):
    """Return a cost and weights to evaluate it at; tolerances are so tight that differences do not show them."""
    generator = np.random.default_rng(seed)
    network = RateNetwork(n, None, 2, activation, seed=seed, dtype=dtype)
    stimuli = generator.standard_normal((batch, n)) if stimuli is None else stimuli
    targets = generator.standard_normal((len(stimuli), 2)).astype(dtype)
    settings = {"tolerance": 1e-13, "adjoint_solver": "newton"} | options
    return FixedPointCost(network, stimuli.astype(dtype), SquaredError(targets), **settings), network.initial_weights(0.7)


def dense(evaluation, damping):
    """Return ♭ as a matrix on stacked rows of V, from the Jacobian of every stimulus."""
    W, n = evaluation.weights, len(evaluation.weights)
    total = damping * np.eye(n * n)
    for r, g in zip(evaluation.rates, evaluation.gains, strict=True):
        jacobian = np.kron(np.linalg.inv(np.eye(n) - g[:, None] * W) * g, r[None, :])  # δr = J V r
        total += jacobian.T @ jacobian / len(evaluation.rates)
    return total


@pytest.mark.parametrize("damping", [0.0, 0.3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_flat_and_sharp_agree_with_the_dense_jacobian(activation, damping, generator):
    cost, W = make_cost(activation, batch=60)
    metric = ResponseMetric(cost.at(W), damping)
    matrix, V = dense(cost.at(W), damping), generator.standard_normal((N, N))
    np.testing.assert_allclose(metric.flat(V).reshape(-1), matrix @ V.reshape(-1), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(metric.sharp(V).reshape(-1), np.linalg.solve(matrix, V.reshape(-1)), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(metric.sharp(metric.flat(V)), V, rtol=1e-8, atol=1e-8)


def white(n, batch, generator):
    """Return stimuli with XᵀX ∝ I."""
    return 2.5 * np.linalg.qr(generator.standard_normal((batch, n)))[0]


@pytest.mark.parametrize("seed", range(3))
def test_white_stimuli_to_a_linear_network_make_the_resolvent_metric(seed, generator):
    stimuli = white(N, 9, generator)
    cost, W = make_cost("identity", seed, stimuli=stimuli)
    scale = np.trace(stimuli.T @ stimuli) / (9 * N)
    gradient = PullbackManifold(Resolvent(), N).euclidean_to_riemannian_gradient(W, cost.gradient(W))
    found = response_metric(cost).euclidean_to_riemannian_gradient(W, cost.gradient(W))
    np.testing.assert_allclose(scale * found, gradient, rtol=1e-10, atol=1e-10 * np.abs(gradient).max())


def counted(monkeypatch):
    """Return a list that grows by one entry at every ♭."""
    calls, flat = [], ResponseMetric._flat
    monkeypatch.setattr(ResponseMetric, "_flat", lambda self, *arguments: calls.append(1) or flat(self, *arguments))
    return calls


@pytest.mark.parametrize("damping", [0.0, 1e-3, 10.0])
def test_in_a_linear_network_the_kronecker_approximation_is_exact(damping, generator, monkeypatch):
    cost, W = make_cost("identity")
    metric, V = ResponseMetric(cost.at(W), damping), generator.standard_normal((N, N))
    exact = metric.flat(V)
    np.testing.assert_allclose(metric.factors.product(V), exact, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(metric.factors.solve(exact), V, rtol=1e-9, atol=1e-9)
    calls = counted(monkeypatch)
    metric.sharp(V)
    assert len(calls) <= 3, "one iteration, and some for rounding"


@pytest.mark.parametrize(("activation", "most"), [("tanh", 45), ("softplus", 45), ("relu", 60)])
def test_conjugate_gradients_take_few_iterations(activation, most, monkeypatch):
    cost, W = make_cost(activation, n=12, batch=100, tolerance=1e-10)
    evaluation = cost.at(W)
    metric = ResponseMetric(evaluation, 0.01)
    calls = counted(monkeypatch)
    metric.sharp(evaluation.gradient)
    preconditioned = len(calls)
    monkeypatch.setattr(KroneckerFactors, "solve", lambda self, covector: covector)
    ResponseMetric(evaluation, 0.01).sharp(evaluation.gradient)
    assert preconditioned <= most
    assert len(calls) - preconditioned > 1.3 * preconditioned


def test_an_inexact_gradient_near_singular_points_takes_few_iterations(monkeypatch):
    """Some stimuli respond far more than others there. The gradient achieves at least nine tenths of the exact decrease."""
    cost, W = make_cost(n=12, batch=60, tolerance=None, adjoint_solver=None)
    W *= 1.9 / np.abs(np.linalg.eigvals(W)).max()
    cost = FixedPointCost(cost.model, cost.batch, cost.loss, on_failure="mask")
    evaluation, damping = cost.at(W), 1e-3
    sizes = np.linalg.norm(evaluation.tangents(np.ones_like(W))[0], axis=1)
    assert sizes.max() > 8 * np.median(sizes)
    calls, gradient = counted(monkeypatch), evaluation.gradient
    exact = ResponseMetric(evaluation, damping).sharp(gradient)
    needed = len(calls)
    found = ResponseMetric(evaluation, damping, enough=np.inf).sharp(gradient)
    assert len(calls) - needed < needed / 3
    assert np.vdot(found, gradient) > 0.9 * np.vdot(exact, gradient) > 0
    again = ResponseMetric(evaluation, damping, enough=1e-6).sharp(gradient)
    np.testing.assert_allclose(again, exact, atol=1e-2 * np.abs(exact).max())


def test_cached_results_at_a_point_are_not_solved_again(monkeypatch):
    cost, W = make_cost()
    manifold = response_metric(cost, 0.1)
    gradient = manifold.euclidean_to_riemannian_gradient(W, cost.gradient(W))
    calls = counted(monkeypatch)
    np.testing.assert_array_equal(manifold.euclidean_to_riemannian_gradient(W.copy(), cost.gradient(W)), gradient)
    assert (calls, cost.evaluations.cost) == ([], 1), "the fixed points are shared with the cost"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_change_in_place_does_not_change_cached_results(activation, generator):
    cost, W = make_cost(activation)
    manifold, covector = response_metric(cost, 0.1), generator.standard_normal((N, N))
    first = manifold.euclidean_to_riemannian_gradient(W, covector)
    kept = first.copy()
    first *= -0.1  # a change in place
    np.testing.assert_array_equal(manifold.euclidean_to_riemannian_gradient(W, covector), kept)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_agree_with_differences(activation, generator):
    cost, W = make_cost(activation, batch=30)
    P, Q, V = generator.standard_normal((3, N, N))
    step = 1e-5

    def at(t):
        return ResponseMetric(cost.at(W + t * V), 0.1)

    metric = at(0.0)
    difference = (at(step).flat(P) - at(-step).flat(P)) / (2 * step)
    np.testing.assert_allclose(metric.flat_derivative(P, V), difference, rtol=1e-6, atol=1e-6)
    assert np.vdot(metric.flat_gradient(P, Q), V) == pytest.approx(np.vdot(Q, difference), rel=1e-6)
    difference = (at(step).sharp(P) - at(-step).sharp(P)) / (2 * step)
    np.testing.assert_allclose(metric.sharp_derivative(P, V), difference, rtol=1e-5, atol=1e-5)
    assert np.vdot(metric.sharp_gradient(Q, P), V) == pytest.approx(np.vdot(Q, difference), rel=1e-5)


def test_a_geodesic_and_its_hessian():
    """J(exp(tV)) has the slope of the gradient and the curvature of the Hessian, and its speed is constant."""
    cost, W = make_cost(n=3, batch=4, tolerance=1e-11, solver="newton")
    manifold = response_metric(cost, 0.1, "geodesic", seed=0)
    V = manifold.random_tangent_vector(W)
    gradient, hessian = cost.gradient(W), cost.hessian(W, V)
    step = 0.02
    ahead, behind = manifold.retraction(W, step * V), manifold.exp(W, -step * V)
    slope = manifold.inner_product(W, manifold.euclidean_to_riemannian_gradient(W, gradient), V)
    curvature = manifold.inner_product(W, manifold.euclidean_to_riemannian_hessian(W, gradient, hessian, V), V)
    assert (cost(ahead) - cost(behind)) / (2 * step) == pytest.approx(slope, rel=1e-2)
    assert (cost(ahead) + cost(behind) - 2 * cost(W)) / step**2 == pytest.approx(curvature, rel=1e-2, abs=1e-3)
    assert manifold.norm(ahead, manifold.parallel_transport(W, step * V, step * V)) == pytest.approx(step, rel=1e-8)
    np.testing.assert_allclose(manifold.log(W, ahead), step * V, rtol=1e-6, atol=1e-8)


def test_a_geodesic_is_no_more_accurate_than_the_cost():
    """Its field is known only to the tolerance, and refining it further would take for ever."""
    points = []
    for tolerance in (1e-7, 1e-11):
        cost, W = make_cost(n=3, batch=4, tolerance=tolerance, solver="newton")
        V = response_metric(cost, 0.1, seed=0).random_tangent_vector(W)
        response_metric(cost, 0.1).exp(W, 0.3 * V)
        points.append(cost.evaluations.cost)
    assert points[0] < 30 < points[1]


def test_the_hessian_is_symmetric(generator):
    cost, W = make_cost()
    manifold = response_metric(cost, 0.1)
    U, V = generator.standard_normal((2, N, N))
    HU, HV = (manifold.euclidean_to_riemannian_hessian(W, cost.gradient(W), cost.hessian(W, X), X) for X in (U, V))
    assert manifold.inner_product(W, HV, U) == pytest.approx(manifold.inner_product(W, V, HU), rel=1e-8)


def test_there_is_no_curvature(generator):
    cost, W = make_cost()
    with pytest.raises(NotImplementedError, match="autograd; leave out sharp_gradient"):
        response_metric(cost, 0.1).sectional_curvature(W, *generator.standard_normal((2, N, N)))


@pytest.mark.parametrize("optimizer", [SteepestDescent, ConjugateGradient, TrustRegions])
def test_pymanopt_decreases_the_cost(optimizer):
    cost, W = make_cost(n=3, batch=6, tolerance=1e-10)
    start = cost(W)
    result = optimizer(verbosity=0, max_iterations=4).run(cost.problem(response_metric(cost, 0.05)), initial_point=W)
    assert result.cost < 0.8 * start


def test_it_is_the_metric_of_a_rule():
    cost, W = make_cost()
    found, _ = Descent(response_metric(cost, 0.1)).step(W, cost.at(W), 0.5)
    np.testing.assert_allclose(found, W - 0.5 * ResponseMetric(cost.at(W), 0.1).sharp(cost.gradient(W)), rtol=1e-9)


def test_single_precision_is_kept(generator):
    cost, W = make_cost(dtype=np.float32, batch=40, tolerance=None, adjoint_solver=None)
    double, W64 = make_cost(batch=40)
    V = generator.standard_normal((N, N))
    for damping in (0.0, 0.1):
        single, exact = ResponseMetric(cost.at(W), damping), ResponseMetric(double.at(W64), damping)
        assert single.sharp(V.astype(np.float32)).dtype == single.flat(V.astype(np.float32)).dtype == np.float32
        np.testing.assert_allclose(single.sharp(V.astype(np.float32)), exact.sharp(V), rtol=1e-2, atol=1e-2)
    weights, _ = KFAC().step(W, cost.at(W), 0.1)
    assert weights.dtype == np.float32


def test_too_few_stimuli_need_damping():
    cost, W = make_cost(batch=N - 1)
    with pytest.raises(SingularPointError, match=r"eigenvalues of the second moment .*length zero.*positive damping, or add"):
        ResponseMetric(cost.at(W)).sharp(cost.gradient(W))
    assert descent_cosine(-ResponseMetric(cost.at(W), 1e-6).sharp(cost.gradient(W)), cost.gradient(W)) > 0


def test_an_invalid_damping():
    cost, W = make_cost()
    with pytest.raises(ValueError, match=r"damping = -1 is negative or NaN; choose zero or more"):
        ResponseMetric(cost.at(W), -1)


def supralinear(on_failure, drive):
    """Return a cost of separate supralinear units at W = 0.5; the drives 5 and NaN make them diverge."""
    stimuli = np.array(drive)[:, None]
    loss = SquaredError(np.zeros_like(stimuli))
    return FixedPointCost(RateNetwork(1, activation="power-law"), stimuli, loss, on_failure=on_failure, max_iterations=100)


@pytest.mark.parametrize("bad", [5.0, np.nan])
def test_stimuli_without_a_fixed_point(bad):
    W = np.array([[0.5]])
    masked, alone = (ResponseMetric(supralinear("mask", drive).at(W), 0.1) for drive in ((0.1, bad), (0.1,)))
    np.testing.assert_allclose(masked.sharp(W), alone.sharp(W), rtol=1e-9)
    np.testing.assert_allclose(masked.sharp_gradient(W, W), alone.sharp_gradient(W, W), rtol=1e-7)
    np.testing.assert_allclose(masked.sharp_derivative(W, W), alone.sharp_derivative(W, W), rtol=1e-7)
    sentence = r"not defined here: .*1 of 2 stimuli have no fixed point.*[^.]\. Shorten the step\.$"
    with pytest.raises(OutsideManifoldError, match=sentence):
        response_metric(supralinear("inf", (0.1, bad)), 0.1).norm(W, W)


def test_statistics_are_running_averages(generator):
    batches = [ResponseStatistics(*generator.standard_normal((2, N, N))) for _ in range(60)]
    mean, few = batches[0], batches[0]
    for batch in batches[1:]:
        mean, few = mean.updated(batch, 1.0), few.updated(batch, 0.9)
    np.testing.assert_allclose(mean.gains, np.mean([batch.gains for batch in batches], axis=0), atol=1e-12)
    weights = [0.9**10 / 10] * 10 + [0.1 * 0.9**power for power in range(49, -1, -1)]
    weights[:10] = [0.9**50 / 10] * 10  # the first ten have equal weights
    expected = sum(w * batch.second_moments for w, batch in zip(weights, batches, strict=True))
    np.testing.assert_allclose(few.second_moments, expected, atol=1e-12)


def test_the_kronecker_rule(generator):
    cost, W = make_cost("tanh", batch=40)
    evaluation = cost.at(W)
    direction, memory = KFAC(0.2).direction(evaluation)
    R, mean = evaluation.rates, np.diag(evaluation.gains.mean(axis=0))
    J = np.linalg.inv(np.eye(N) - mean @ W) @ mean
    matrix = np.kron(J.T @ J, R.T @ R / len(R))
    matrix += 0.2 * np.trace(matrix) / N**2 * np.eye(N * N)
    np.testing.assert_allclose(direction.reshape(-1), -np.linalg.solve(matrix, evaluation.gradient.reshape(-1)), rtol=1e-9)
    again, memory = KFAC(0.2).direction(evaluation, memory)
    np.testing.assert_allclose(again, direction, rtol=1e-10)
    assert memory.batches == 2
    with pytest.raises(ValueError, match=r"damping = 0, decay = 0\.95; choose a positive one"):
        KFAC(0)


def test_the_kronecker_damping_follows_the_scale_of_the_rates(generator):
    """In a linear network rates ten times as large, with the same errors, make a step ten times as short."""
    small, W = make_cost("identity", batch=40)
    large = FixedPointCost(small.model, 10 * small.batch, SquaredError(10 * small.loss.targets), tolerance=1e-13)
    directions = [KFAC().direction(cost.at(W))[0] for cost in (small, large)]
    np.testing.assert_allclose(*directions, rtol=1e-9, atol=1e-12)


def test_the_kronecker_rule_continues_after_silent_stimuli():
    """Without drive all gains and rates of relu units are zero, and so are the factors, their damping, and the gradient."""
    network = RateNetwork(6, None, None, "relu", seed=0)
    drive = np.concatenate([-np.ones((4, 6)), np.ones((4, 6))])
    for order in (drive, drive[::-1]):
        silent_first = train(
            network,
            network.initial_weights(0.5),
            order,
            SquaredError(np.ones((8, 6))),
            KFAC(),
            batch_size=2,
            seed=4,
        )
        assert silent_first.stopped == "All 1 epochs done."
        assert len(silent_first.loss) == 4


def test_the_kronecker_rule_trains():
    cost, W = make_cost("tanh", batch=64, n=8)
    history = train(cost.model, W, cost.batch, cost.loss, KFAC(), 0.1, batch_size=16, epochs=5, seed=0)
    assert history.stopped == "All 5 epochs done."
    assert np.mean(history.loss[-4:]) < 0.9 * np.mean(history.loss[:4])
