"""Derivatives three ways: implicit, unrolled by autograd, and finite differences."""

import autograd.numpy as anp
import numpy as np
import pymanopt
import pytest
from autograd import grad
from cases import TWINS

from manifolds import Identity, PullbackManifold, Resolvent
from manifolds.checks import check_gradient, check_hessian
from riemannrnn import (
    AutogradLoss,
    CrossEntropy,
    FixedPointCost,
    FixedPointError,
    RateNetwork,
    SquaredError,
    differentiable_fixed_points,
    solve_fixed_points,
)
from riemannrnn.equilibrium import Implicit

N, BATCH, INPUTS, OUTPUTS = 5, 4, 3, 2
SOLVERS = ["auto", "picard", "anderson", "newton"]


def network(activation, dtype=np.float64):
    return RateNetwork(N, INPUTS, OUTPUTS, activation, seed=0, dtype=dtype)


@pytest.fixture
def stimuli(generator):
    return generator.standard_normal((BATCH, INPUTS))


@pytest.fixture
def targets(generator):
    return generator.standard_normal((BATCH, OUTPUTS))


@pytest.fixture(name="V")
def direction(generator):
    return generator.standard_normal((N, N)) / N


def unrolled_cost(network, stimuli, targets, function):
    """Return J(W) through 150 plain iterations, for autograd."""

    def cost(W):
        drive = anp.dot(stimuli, network.input_weights.T)
        rates = function(drive)
        for _ in range(150):
            rates = function(anp.dot(rates, W.T) + drive)
        return 0.5 * anp.sum((anp.dot(rates, network.readout.T) - targets) ** 2) / BATCH

    return cost


@pytest.mark.filterwarnings("ignore:Output seems independent")  # by autograd, for the second derivative of relu
@pytest.mark.parametrize("activation", TWINS)
def test_implicit_is_unrolled_is_finite_differences(activation, stimuli, targets, V):
    net = network(activation)
    W = net.initial_weights(0.3)
    unrolled = unrolled_cost(net, stimuli, targets, TWINS[activation])
    gradient = grad(unrolled)
    product = grad(lambda W: anp.sum(gradient(W) * V))(W)
    for solver in SOLVERS:
        cost = FixedPointCost(net, stimuli, SquaredError(targets), solver=solver, tolerance=1e-13)
        assert cost(W) == pytest.approx(unrolled(W), rel=1e-12)
        np.testing.assert_allclose(cost.gradient(W), gradient(W), atol=1e-8 * np.abs(gradient(W)).max(), rtol=0)
        np.testing.assert_allclose(cost.hessian(W, V), product, atol=1e-8 * np.abs(product).max(), rtol=0)


@pytest.mark.parametrize("chart", [Identity(), Resolvent()], ids=["Euclidean", "resolvent"])
@pytest.mark.parametrize("activation", TWINS)
def test_slopes(activation, chart, stimuli, targets, V):
    net = network(activation)
    W = net.initial_weights(0.3)
    cost = FixedPointCost(net, stimuli, SquaredError(targets), tolerance=5e-15)
    manifold = PullbackManifold(chart, N)
    for result in (
        check_gradient(manifold, cost, cost.gradient, W, 0.2 * V),
        check_hessian(manifold, cost, cost.gradient, cost.hessian, W, 0.2 * V),
    ):
        assert result, str(result)


@pytest.mark.parametrize("solver", SOLVERS)
def test_slopes_of_every_solver(solver, stimuli, V):
    net = network("tanh")
    W = net.initial_weights(0.5)
    cost = FixedPointCost(net, stimuli, CrossEntropy(np.array([0, 1, 1, 0])), solver=solver, tolerance=5e-15)
    manifold = PullbackManifold(Identity(), N)
    assert check_gradient(manifold, cost, cost.gradient, W, 0.2 * V)
    assert check_hessian(manifold, cost, cost.gradient, cost.hessian, W, 0.2 * V)


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_autograd_primitive_agrees(activation, stimuli, targets, V):
    net = network(activation)
    W, drive = net.initial_weights(0.5), net.drive(stimuli)
    rates = differentiable_fixed_points(activation, tolerance=1e-13)
    manifold = PullbackManifold(Resolvent(), N)

    @pymanopt.function.autograd(manifold)
    def own_cost(W):
        return 0.5 * anp.sum((anp.dot(rates(W, drive), net.readout.T) - targets) ** 2) / BATCH

    own = pymanopt.Problem(manifold, own_cost)
    cost = FixedPointCost(net, stimuli, SquaredError(targets), tolerance=1e-13)
    problem = cost.problem(manifold)
    assert own.cost(W) == pytest.approx(problem.cost(W), rel=1e-12)
    np.testing.assert_allclose(own.euclidean_gradient(W), cost.gradient(W), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(own.riemannian_gradient(W), problem.riemannian_gradient(W), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(own.euclidean_hessian(W, V), cost.hessian(W, V), rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(own.riemannian_hessian(W, V), problem.riemannian_hessian(W, V), rtol=1e-8, atol=1e-11)


def test_autograd_primitive_is_differentiable_in_the_drive(stimuli, generator):
    """Compares the gradient and the mixed second derivative in x with the unrolled computation."""
    net = network("tanh")
    W, drive = net.initial_weights(0.5), net.drive(stimuli)
    weights = generator.standard_normal(drive.shape)
    rates = differentiable_fixed_points("tanh", tolerance=1e-13)

    def unrolled(W, x):
        r = anp.tanh(x)
        for _ in range(150):
            r = anp.tanh(anp.dot(r, W.T) + x)
        return r

    def second(solve):
        first = grad(lambda x, W: anp.sum(weights * solve(W, x) ** 2))
        return first(drive, W), grad(lambda W: anp.sum(weights * first(drive, W)))(W)

    for implicit, explicit in zip(second(rates), second(unrolled), strict=True):
        np.testing.assert_allclose(implicit, explicit, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
def test_linear_systems_against_explicit_inverses(solver, generator):
    """Compares adjoint and tangent of every stimulus with the explicit inverse of I − G W."""
    W, x = 0.5 * generator.standard_normal((N, N)) / N**0.5, generator.standard_normal((BATCH, N))
    errors, V = generator.standard_normal((BATCH, N)), generator.standard_normal((N, N))
    fixed_points = solve_fixed_points(W, x)
    implicit = Implicit(fixed_points, solver=solver)
    for row, (r, g) in enumerate(zip(fixed_points.rates, fixed_points.gains, strict=True)):
        G = np.diag(g)
        u = np.linalg.inv(np.eye(N) - G @ W.T) @ G @ errors[row]
        t = np.linalg.inv(np.eye(N) - G @ W) @ G @ V @ r
        np.testing.assert_allclose(implicit.adjoint(errors)[row], u, atol=1e-8)
        np.testing.assert_allclose(implicit.tangent(V)[row], t, atol=1e-8)


def test_large_and_small_errors_are_solved_equally(generator):
    W, x = 0.5 * generator.standard_normal((N, N)) / N**0.5, generator.standard_normal((BATCH, N))
    errors = generator.standard_normal((BATCH, N))
    implicit = Implicit(solve_fixed_points(W, x))
    np.testing.assert_allclose(implicit.adjoint(1e9 * errors), 1e9 * implicit.adjoint(errors), rtol=1e-7)


def test_an_unsolved_adjoint_is_an_error():
    """At the fixed point r = 0 of r = tanh(r) the gain is 1 and I − G W = 0."""
    fixed_points = solve_fixed_points(np.array([[1.0]]), np.zeros((2, 1)))
    with pytest.raises(FixedPointError, match=r"the adjoint of 2 of 2 stimuli .*close to singular there\. Shorten the step"):
        Implicit(fixed_points).adjoint(np.ones((2, 1)))


def test_errors_that_are_not_finite_are_named_as_the_cause(generator):
    errors = np.zeros((BATCH, N))
    errors[2] = np.nan
    implicit = Implicit(solve_fixed_points(np.zeros((N, N)), generator.standard_normal((BATCH, N))))
    with pytest.raises(FixedPointError, match=r"adjoint of 1 of .* stimulus 2 with a residual of nan.* holds NaN or infinity"):
        implicit.adjoint(errors)


TWIN_LOSSES = {
    "squared error": (
        lambda generator: SquaredError(generator.standard_normal((6, 3))),
        lambda loss: AutogradLoss(lambda y, t: 0.5 * anp.sum((y - t) ** 2, axis=1), loss.targets),
    ),
    "cross-entropy": (
        lambda generator: CrossEntropy(generator.integers(0, 3, 6)),
        lambda loss: AutogradLoss(
            lambda y, t: anp.log(anp.sum(anp.exp(y), axis=1)) - y[np.arange(len(t)), t],
            loss.labels,
        ),
    ),
    "autograd": (
        lambda generator: AutogradLoss(lambda y, t: anp.sum(anp.cosh(y - t), axis=1), generator.standard_normal((6, 3))),
        lambda loss: loss,
    ),
}


@pytest.mark.parametrize("name", TWIN_LOSSES)
def test_losses(name, generator):
    make, make_twin = TWIN_LOSSES[name]
    loss = make(generator)
    twin = make_twin(loss)
    outputs, vectors = generator.standard_normal((2, 6, 3))
    step = 1e-6
    for other in (loss, twin):
        assert other.value(outputs).shape == (6,)
        np.testing.assert_allclose(loss.value(outputs), other.value(outputs), rtol=1e-12)
        np.testing.assert_allclose(loss.gradient(outputs), other.gradient(outputs), rtol=1e-11)
        np.testing.assert_allclose(loss.hessian(outputs, vectors), other.hessian(outputs, vectors), rtol=1e-10)
    slope = (loss.value(outputs + step * vectors) - loss.value(outputs - step * vectors)) / (2 * step)
    np.testing.assert_allclose(np.sum(loss.gradient(outputs) * vectors, axis=1), slope, rtol=1e-7, atol=1e-9)
    change = (loss.gradient(outputs + step * vectors) - loss.gradient(outputs - step * vectors)) / (2 * step)
    np.testing.assert_allclose(loss.hessian(outputs, vectors), change, rtol=1e-7, atol=1e-8)
    rows = np.array([4, 1])
    np.testing.assert_array_equal(loss.take(rows).value(outputs[rows]), loss.value(outputs)[rows])


def test_cross_entropy_of_large_outputs_is_finite():
    loss = CrossEntropy(np.array([0, 1]))
    outputs = np.array([[1e4, 0.0], [1e4, 0.0]])
    np.testing.assert_allclose(loss.value(outputs), [0, 1e4])
    np.testing.assert_allclose(loss.gradient(outputs), [[0, 0], [1, -1]], atol=1e-300)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64])
def test_labels_of_any_width_point_to_one_output(dtype, generator):
    """Outputs beyond the range of the labels' dtype must not match any label."""
    labels, outputs = np.array([1, 120, 44]), generator.standard_normal((3, 600))
    wide, narrow = CrossEntropy(labels), CrossEntropy(labels.astype(dtype))
    np.testing.assert_array_equal(narrow.value(outputs), wide.value(outputs))
    np.testing.assert_array_equal(narrow.gradient(outputs), wide.gradient(outputs))


def test_wide_targets_of_a_custom_loss_keep_float32(generator):
    loss = AutogradLoss(lambda y, t: anp.sum((y - t) ** 4, axis=1), generator.standard_normal((6, 3)))
    outputs, vectors = generator.standard_normal((2, 6, 3)).astype(np.float32)
    assert loss.gradient(outputs).dtype == loss.hessian(outputs, vectors).dtype == np.float32


def test_a_linear_loss_has_no_curvature(generator):
    loss = AutogradLoss(lambda y, t: anp.sum(y * t, axis=1), generator.standard_normal((6, 3)))
    outputs = generator.standard_normal((6, 3))
    np.testing.assert_array_equal(loss.gradient(outputs), loss.targets)
    np.testing.assert_array_equal(loss.hessian(outputs, outputs), 0)


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_derivatives_keep_float32(loss, stimuli, targets, V):
    net = network("tanh", np.float32)
    W, x, t, v = (array.astype(np.float32) for array in (net.initial_weights(0.5), stimuli, targets, V))
    single = FixedPointCost(net, x, SquaredError(t) if loss == "squared" else CrossEntropy(np.array([0, 1, 1, 0])))
    double_net = network("tanh")
    double_net.input_weights, double_net.readout = (w.astype(float) for w in (net.input_weights, net.readout))
    other = SquaredError(t.astype(float)) if loss == "squared" else single.loss
    double = FixedPointCost(double_net, x.astype(float), other)
    assert single(W) == pytest.approx(double(W.astype(float)), rel=1e-4)
    for found, expected in (
        (single.gradient(W), double.gradient(W.astype(float))),
        (single.hessian(W, v), double.hessian(W.astype(float), v.astype(float))),
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
