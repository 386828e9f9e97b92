"""Networks of low rank agree with dense ones on W = u diag(s) vᵀ, and never form it."""

import tracemalloc
from dataclasses import replace

import array_api_strict as strict
import numpy as np
import pytest
from pymanopt.manifolds import FixedRankEmbedded
from pymanopt.optimizers import ConjugateGradient, SteepestDescent

from manifolds import FixedRank
from manifolds.points import map_arrays
from riemannrnn import CrossEntropy, FixedPointCost, LowRank, RateNetwork, SquaredError, solve_fixed_points, train
from riemannrnn.equilibrium.auto import Automatic
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation
from riemannrnn.equilibrium.stability import survey_stability
from riemannrnn.network import ACTIVATIONS, Dense

N, RANK, BATCH = 30, 3, 12
SOLVERS = ["auto", "chord", "splitting", "picard", "anderson", "newton"]
MANIFOLDS = {"pymanopt's": FixedRankEmbedded, "ours": FixedRank}


def matrix(point):
    u, s, vt = point
    return (u * s) @ vt


def networks(rank=RANK, n=N, **options):
    """Return a network of low rank and the dense network with the same read-in and readout."""
    common = {"n_inputs": 4, "n_outputs": 3, "seed": 0, **options}
    return RateNetwork(n, connectivity=LowRank(rank), **common), RateNetwork(n, **common)


def stimuli(batch=BATCH, dtype=np.float64):
    return np.random.default_rng(1).standard_normal((batch, 4)).astype(dtype)


def costs(loss=None, **options):
    low, dense = networks(**options)
    loss = loss or CrossEntropy(np.arange(BATCH) % 3)
    return tuple(FixedPointCost(net, stimuli(), loss, tolerance=1e-13) for net in (low, dense))


@pytest.fixture(params=MANIFOLDS)
def manifold(request):
    return MANIFOLDS[request.param](N, N, RANK)


@pytest.fixture
def tangent_vector(generator):
    point = networks()[0].initial_weights()
    return FixedRank(N, N, RANK, seed=generator).random_tangent_vector(point)


@pytest.mark.parametrize("radius", [0.3, 0.9, 1.4])
@pytest.mark.parametrize("solver", SOLVERS)
def test_rates_by_every_solver(solver, radius):
    low, dense = networks()
    point = low.initial_weights(radius)
    found = low.fixed_points(point, stimuli(), solver=solver, tolerance=1e-12)
    # From these, because a stimulus may have several fixed points.
    expected = dense.fixed_points(matrix(point), stimuli(), initial_rates=found.rates, tolerance=1e-12, solver="newton")
    np.testing.assert_allclose(found.rates, expected.rates, atol=1e-10)
    np.testing.assert_allclose(found.stability(), expected.stability(), atol=1e-10)


@pytest.mark.parametrize("rank", [1, RANK, N])
@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_gradient_and_hessian(rank, activation, generator):
    cost, dense = costs(rank=rank, activation=activation)
    point, manifold = cost.model.initial_weights(0.4), FixedRank(N, N, rank, seed=generator)
    assert cost(point) == pytest.approx(dense(matrix(point)), abs=1e-12)
    gradient = manifold.euclidean_to_riemannian_gradient(point, cost.gradient(point))
    for found, expected in zip(gradient, manifold.projection(point, dense.gradient(matrix(point))), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-10)
    left, core, right = manifold.embedding(point, manifold.random_tangent_vector(point))
    core = core + 0.1 * generator.standard_normal(core.shape)  # any change of W is allowed, not only a tangent one
    hessian = manifold.euclidean_to_riemannian_gradient(point, cost.hessian(point, (left, core, right)))
    expected = manifold.projection(point, dense.hessian(matrix(point), left @ core @ right.T))
    for found, wanted in zip(hessian, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-10)


@pytest.mark.parametrize("factor", range(3))
def test_the_gradient_agrees_in_each_factor(factor, generator):
    cost, _ = costs(SquaredError(generator.standard_normal((BATCH, 3))))
    point = cost.model.initial_weights(0.8)
    direction, h = generator.standard_normal(point[factor].shape), 1e-5

    def moved(step):
        return tuple(array + (step * direction if index == factor else 0) for index, array in enumerate(point))

    difference = (cost(moved(h)) - cost(moved(-h))) / (2 * h)
    assert np.sum(cost.gradient(point)[factor] * direction) == pytest.approx(difference, rel=1e-7)


def test_the_gradient_along_a_retraction(manifold, tangent_vector):
    cost, _ = costs()
    point, h = cost.model.initial_weights(), 1e-5
    gradient = manifold.euclidean_to_riemannian_gradient(point, cost.gradient(point))
    ahead, behind = (cost(manifold.retraction(point, step * tangent_vector)) for step in (h, -h))
    assert manifold.inner_product(point, gradient, tangent_vector) == pytest.approx((ahead - behind) / (2 * h), rel=1e-6)


@pytest.mark.parametrize(("least", "wanted"), [(0.0, 1), (1e-6, 1), (-1e-6, 1), (0.2, 0), (-0.2, 0)])
def test_a_dense_propagator_takes_a_product_only_where_a_gain_is_small(least, wanted, generator, monkeypatch):
    weights, products = generator.standard_normal((N, N)).astype(np.float32) / N**0.5, []
    gain = np.linspace(0.9, 0.3, N).astype(np.float32)
    gain[1] = least
    monkeypatch.setattr("riemannrnn.network.dense.chain", lambda a, b: products.append(1) or a @ b)
    found = Dense().bind(weights).propagator(gain).matrix
    exact = weights.astype(float)
    np.testing.assert_allclose(found, np.linalg.solve(np.eye(N) - exact * gain, exact), atol=1e-5)
    assert (len(products), found.dtype) == (wanted, np.float32)


@pytest.mark.parametrize("transposed", [False, True])
def test_propagator_and_maps(transposed, generator):
    low, _ = networks()
    point, gain = low.initial_weights(0.8), generator.random(N)
    T = matrix(point).T if transposed else matrix(point)
    x, z = generator.standard_normal((2, BATCH, N))
    gains = generator.random((BATCH, N))
    M = np.linalg.solve(np.eye(N) - T * gain, T)
    V = np.linalg.inv(2 * np.eye(N) - T)
    reflected = 2 * np.tanh(z) - z
    for connectivity, parameters in ((LowRank(RANK), point), (Dense(), matrix(point))):
        equation = FixedPointEquation(connectivity.bind(parameters).directed(transposed), x, ACTIVATIONS["tanh"])
        np.testing.assert_allclose(equation.operator.propagator(gain).apply(z), z @ M.T, atol=1e-12)
        image = ChordMap.build(equation, gain).image(z)
        np.testing.assert_allclose(image, x + (np.tanh(z) - gain * (z - x)) @ M.T, atol=1e-12)
        relu = (ACTIVATIONS["relu"], lambda z: np.maximum(z, 0))  # it is not computed in place
        for activation, respond in ((ACTIVATIONS["tanh"], np.tanh), relu, (gains, lambda z: gains * z)):
            swept = z.copy()  # each block with the inputs that those before it have just got
            thirds = (slice(0, N // 3), slice(N // 3, 2 * N // 3), slice(2 * N // 3, N))
            for units in thirds if equation.operator.divisible else (slice(None),):
                swept[:, units] = (x + (respond(swept) - gain * (swept - x)) @ M.T)[:, units]
            chord = ChordMap.build(replace(equation, activation=activation), gain, 3)
            np.testing.assert_allclose(chord.image(z), swept, atol=1e-12)
        other = replace(equation, operator=connectivity.bind(parameters).directed(not transposed))
        image = ChordMap.build(other, gain).at(equation).image(z)  # the factor of the transpose serves, too
        np.testing.assert_allclose(image, x + (np.tanh(z) - gain * (z - x)) @ M.T, atol=1e-12)
        image = ChordMap.splitting(equation).image(z)  # the formula of Peaceman and Rachford
        np.testing.assert_allclose(image, 2 * (reflected + x) @ V.T - reflected, atol=1e-12)


@pytest.mark.parametrize("rank", [1, RANK, N])
def test_a_survey_of_stability(rank, generator):
    point = LowRank(rank).initial(N, 4.0, generator)
    gains = generator.random((50, N))
    every = np.linalg.eigvals(gains[:, :, None] * matrix(point)).real.max(axis=1) - 1
    worst, unstable = survey_stability(LowRank(rank).bind(point), gains)
    assert worst == pytest.approx(every.max(), abs=1e-10)
    assert unstable == np.count_nonzero(every >= 0)
    assert (unstable > 0) == (rank > 1)  # the only nonzero eigenvalue of rank 1 is negative here, so zeros are rightmost
    assert survey_stability(LowRank(rank).bind(map_arrays(np.negative, point)), 0 * gains) == (-1.0, 0)


def test_at_full_rank_no_eigenvalue_need_be_zero():
    point = (np.eye(4), np.array([4.0, 3.0, 2.0, 1.0]), -np.eye(4))
    assert survey_stability(LowRank(4).bind(point), np.full((2, 4), 0.5)) == (pytest.approx(-1.5), 0)


@pytest.mark.parametrize("optimizer", [SteepestDescent, ConjugateGradient])
def test_optimisers_of_pymanopt(manifold, optimizer):
    cost, dense = costs()
    start = cost.model.initial_weights()
    result = optimizer(verbosity=0, max_iterations=10).run(cost.problem(manifold), initial_point=start)
    assert result.cost < 0.8 * cost(start)
    assert result.cost == pytest.approx(dense(matrix(result.point)), abs=1e-10)
    u, _, vt = result.point
    np.testing.assert_allclose(u.T @ u, np.eye(RANK), atol=1e-12)
    np.testing.assert_allclose(vt @ vt.T, np.eye(RANK), atol=1e-12)
    vector = manifold.random_tangent_vector(start) if isinstance(manifold, FixedRank) else manifold.zero_vector(start)
    euclidean = cost.problem(manifold).euclidean_hessian(start, vector)
    assert [array.shape for array in euclidean] == [(N, RANK), (RANK,), (RANK, N)]


def test_no_square_matrix_is_ever_formed(generator):
    n, rank, batch = 10_000, 5, 8  # in float64 a matrix would take 800 MB
    net = RateNetwork(n, n_inputs=4, n_outputs=3, seed=0, connectivity=LowRank(rank))
    cost = FixedPointCost(net, stimuli(batch), CrossEntropy(np.arange(batch) % 3))
    manifold = FixedRank(n, n, rank, seed=generator)
    tracemalloc.start()
    try:
        point = net.initial_weights(0.9)
        for solver in SOLVERS:
            found = net.fixed_points(point, stimuli(batch), solver=solver)
        assert survey_stability(net.connectivity.bind(point), found.gains)[0] == pytest.approx(found.stability().max())
        cost.problem(manifold).euclidean_hessian(point, manifold.random_tangent_vector(point))
        for optimizer, where in ((SteepestDescent, FixedRankEmbedded(n, n, rank)), (ConjugateGradient, manifold)):
            result = optimizer(verbosity=0, max_iterations=2).run(cost.problem(where), initial_point=point)
            assert result.cost < cost(point)
        assert tracemalloc.get_traced_memory()[1] < 8 * n * n / 10
    finally:
        tracemalloc.stop()


def test_float32_stays_float32(generator):
    low, _ = networks(dtype=np.float32)
    point, manifold = low.initial_weights(), FixedRank(N, N, RANK, seed=generator)
    cost = FixedPointCost(low, stimuli(dtype=np.float32), CrossEntropy(np.arange(BATCH) % 3))
    found = low.fixed_points(point, stimuli(dtype=np.float32))
    product = cost.problem(manifold).euclidean_hessian(point, manifold.random_tangent_vector(point))
    result = ConjugateGradient(verbosity=0, max_iterations=5).run(cost.problem(manifold), initial_point=point)
    arrays = [*point, *cost.gradient(point), *product, *result.point, found.rates, found.stability()]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    assert result.cost < cost(point)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("solver", ["auto", "splitting", "newton"])
def test_strict_arrays(solver, dtype):
    low, _ = networks(dtype=dtype)
    abroad, _ = networks(dtype=dtype, backend=strict)
    x, point, there = stimuli(dtype=dtype), low.initial_weights(0.9), abroad.initial_weights(0.9)
    labels, tolerance = np.arange(BATCH) % 3, {"float64": 1e-9, "float32": 1e-4}[dtype]
    here_cost = FixedPointCost(low, x, CrossEntropy(labels), solver=solver)
    there_cost = FixedPointCost(abroad, strict.asarray(x), CrossEntropy(strict.asarray(labels)), solver=solver)
    vector = FixedRank(N, N, RANK, seed=0).random_tangent_vector(point)
    vector = FixedRank(N, N, RANK).embedding(point, vector)
    assert there_cost(there) == pytest.approx(here_cost(point), rel=tolerance)
    found = (
        *there_cost.gradient(there),
        *there_cost.hessian(there, map_arrays(strict.asarray, vector)),
        abroad.fixed_points(there, strict.asarray(x)).stability(),
    )
    expected = (*here_cost.gradient(point), *here_cost.hessian(point, vector), low.fixed_points(point, x).stability())
    for array, wanted in zip(found, expected, strict=True):
        assert isinstance(array, type(strict.zeros(1)))
        np.testing.assert_allclose(np.asarray(array), wanted, atol=tolerance)


def test_points_are_remembered_and_watched():
    cost, _ = costs()
    point = cost.model.initial_weights()
    before = cost(point)
    assert cost(tuple(array.copy() for array in point)) == before
    assert cost.evaluations.cost == 1
    point[1][...] *= 0.5
    assert cost(point) != before
    assert cost.evaluations.cost == 2


def test_initial_weights():
    net = RateNetwork(400, seed=0, connectivity=LowRank(100))
    point, again = net.initial_weights(0.7), net.initial_weights(0.7)
    for array, other in zip(point, again, strict=True):
        np.testing.assert_array_equal(array, other)
    W = matrix(point)
    assert np.linalg.matrix_rank(W) == 100
    assert np.abs(np.linalg.eigvals(W)).max() == pytest.approx(0.7, rel=0.2)
    assert W.std() == pytest.approx(0.7 / 20, rel=0.05)
    u, s, vt = point
    np.testing.assert_allclose(u.T @ u, np.eye(100), atol=1e-12)
    np.testing.assert_allclose(vt @ vt.T, np.eye(100), atol=1e-12)
    assert (np.diff(s) < 0).all()


def test_mismatches_are_reported():
    low, dense = networks()
    point = low.initial_weights()
    with pytest.raises(ValueError, match=r"shape \(30, 30\), the network has 30 units and rank 3; pass a tuple \(u, s, vt\)"):
        low.fixed_points(matrix(point), stimuli())
    with pytest.raises(ValueError, match=r"shape \(\(30, 3\), \(3,\), \(30, 3\)\), .*shapes \(30, 3\), \(3,\) and \(3, 30\)"):
        low.fixed_points((point[0], point[1], point[2].T), stimuli())
    with pytest.raises(ValueError, match=r"the network has 30 units; pass \(30, 30\)"):
        dense.fixed_points(point, stimuli())
    with pytest.raises(ValueError, match="the weights are float32, the drive is float64; convert one"):
        low.fixed_points((point[0], point[1].astype(np.float32), point[2]), stimuli())
    with pytest.raises(ValueError, match="NaN or infinity"):
        low.fixed_points((point[0], np.nan * point[1], point[2]), stimuli())
    with pytest.raises(ValueError, match="rank = 0 is below 1"):
        LowRank(0)
    with pytest.raises(ValueError, match="rank = 31 is above the 30 units"):
        networks(rank=31)[0].initial_weights()
    with pytest.raises(ValueError, match=r"rule 'adam' moves a matrix of weights.*FixedRank"):
        train(low, point, stimuli(), np.zeros(BATCH, int))


def test_a_singular_factor_leaves_the_other_solvers():
    """I − vᵀ Ḡ u diag(s) is singular for the gains of relu, all one; plain iteration diverges; the rest have no solution."""
    point = (np.array([[1.0], [0.0]]), np.ones(1), np.array([[1.0, 0.0]]))
    with pytest.raises(np.linalg.LinAlgError):
        LowRank(1).bind(point).propagator(np.ones(2))
    found = solve_fixed_points(
        point, np.array([[1.0, 1.0], [-1.0, -1.0]]), "relu", connectivity=LowRank(1), on_failure="mask", max_iterations=50
    )
    assert found.converged.tolist() == [False, True]


def test_our_manifold_is_pymanopts(generator, tangent_vector):
    ours, theirs = FixedRank(N, N, RANK, seed=0), FixedRankEmbedded(N, N, RANK)
    point, Z = networks()[0].initial_weights(), generator.standard_normal((N, N))
    u, s, vt = point
    derivatives = (Z @ vt.T * s, np.einsum("ik,ij,kj->k", u, Z, vt), s[:, None] * (u.T @ Z))
    other = theirs.retraction(point, tangent_vector)
    for call in (
        lambda m: m.projection(point, Z),
        lambda m: m.projection(point, m.embedding(point, tangent_vector)),
        lambda m: m.euclidean_to_riemannian_gradient(point, derivatives),
        lambda m: m.transport(point, other, tangent_vector),
        lambda m: m.retraction(point, tangent_vector),
        lambda m: m.to_tangent_space(point, ours.zero_vector(point) + tangent_vector),
    ):
        for found, expected in zip(call(ours), call(theirs), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-12)
    triple = (Z[:, :4], generator.standard_normal((4, 4)), Z[:, 4:8])  # pymanopt uses Sᵀ for S
    for found, expected in zip(ours.projection(point, triple), ours.projection(point, triple[0] @ triple[1] @ triple[2].T)):
        np.testing.assert_allclose(found, expected, atol=1e-11)


def test_equal_singular_values_and_seeds():
    ours = FixedRank(N, N, RANK, seed=3)
    u, _, vt = point = ours.random_point()
    np.testing.assert_allclose(u.T @ u, np.eye(RANK), atol=1e-12)
    np.testing.assert_allclose(vt @ vt.T, np.eye(RANK), atol=1e-12)
    for found, expected in zip(point, FixedRank(N, N, RANK, seed=3).random_point(), strict=True):
        np.testing.assert_array_equal(found, expected)
    Z, s = np.arange(float(N * N)).reshape(N, N) / N**2, np.ones(RANK)
    gradient = ours.euclidean_to_riemannian_gradient((u, s, vt), (Z @ vt.T, np.diag(u.T @ Z @ vt.T), u.T @ Z))
    for found, expected in zip(gradient, ours.projection((u, s, vt), Z), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    vector = ours.random_tangent_vector(point)
    assert ours.norm(point, vector) == pytest.approx(1)
    np.testing.assert_allclose(u.T @ vector.Up, 0, atol=1e-12)


def test_factors_are_not_swept(generator):
    """Every block would need the product with vᵀ, half of the work; for slow contraction, differences are used instead."""
    point = LowRank(20).initial(400, 1.2, generator)
    drive = generator.standard_normal((300, 400))
    for connectivity, parameters, picked in ((LowRank(20), point, ", accelerated"), (Dense(), matrix(point), " in sweeps")):
        found = solve_fixed_points(parameters, drive, connectivity=connectivity, solver=Automatic(precision="native"))
        assert found.solver == f"auto (chord map{picked})"


def test_the_norms_and_multiples_agree_with_the_matrix():
    """This includes factors that are not orthonormal."""
    generator, connectivity = np.random.default_rng(0), LowRank(3)
    factors = generator.standard_normal((7, 3)), generator.standard_normal(3), generator.standard_normal((3, 7))
    for transposed, axis in ((False, 1), (True, 0)):
        for operator in (connectivity.bind(factors), Dense().bind(matrix(factors))):
            norms = operator.directed(transposed).row_norms
            np.testing.assert_allclose(norms, np.linalg.norm(matrix(factors), axis=axis))
    np.testing.assert_allclose(matrix(connectivity.scaled(factors, -0.3)), -0.3 * matrix(factors))
