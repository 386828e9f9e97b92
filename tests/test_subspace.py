"""Subspaces and the induced metric, against brute force in coordinates, especially where they are curved."""

import array_api_strict as strict
import numpy as np
import pymanopt
import pytest
from cases import SUBSPACES, N, signs
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import (
    Composition,
    ConvergenceError,
    Identity,
    InvalidArrayError,
    MonotoneManifold,
    NoGeodesicError,
    OutsideManifoldError,
    PullbackManifold,
    Resolvent,
    SignedLog,
    SubspaceManifold,
    mask,
    symmetric,
    tied,
    toeplitz,
    zero_diagonal,
)
from manifolds.checks import check_slope

UNITS = np.eye(N * N).reshape(-1, N, N)
AROUND = {
    "resolvent": lambda: PullbackManifold(Resolvent(), N, "additive", seed=0),
    "monotone": lambda: MonotoneManifold(N, seed=0),
}
"""Manifolds in which most subspaces are not totally geodesic."""


def basis(subspace):
    """Return an orthonormal basis of a subspace, shape (dimension, N, N)."""
    spanning = np.stack([subspace.project(unit).reshape(-1) for unit in UNITS])
    left, sizes, _ = np.linalg.svd(spanning)
    return left[:, sizes > 0.5].T.reshape(-1, N, N)


@pytest.mark.parametrize("name", SUBSPACES)
def test_projections_are_orthogonal(name, generator):
    subspace = SUBSPACES[name]
    matrix = np.stack([subspace.project(unit).reshape(-1) for unit in UNITS])
    np.testing.assert_allclose(matrix @ matrix, matrix, atol=1e-15)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.trace(matrix) == pytest.approx(subspace.dimension)
    V = generator.standard_normal((N, N))
    there = subspace.project(strict.asarray(V))
    np.testing.assert_array_equal(np.asarray(there), subspace.project(V))
    assert subspace.project(V.astype(np.float32)).dtype == np.float32


def test_subspaces_match_their_definition(generator):
    V = generator.standard_normal((N, N))
    P = {name: subspace.project(V) for name, subspace in SUBSPACES.items()}
    np.testing.assert_array_equal(np.diag(P["zero diagonal"]), 0)
    np.testing.assert_array_equal(P["symmetric"], P["symmetric"].T)
    np.testing.assert_array_equal(P["toeplitz"][1:, 1:], P["toeplitz"][:-1, :-1])
    np.testing.assert_array_equal(np.roll(P["circulant"], (1, 1), (0, 1)), P["circulant"])
    np.testing.assert_array_equal(P["blocks"][:2, 2:], 0)
    assert P["toeplitz"][1, 0] == pytest.approx(np.diag(V, -1).mean())
    with pytest.raises(InvalidArrayError, match="Pass integers"):
        tied(np.zeros((2, 2)))


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", ["mask", "zero diagonal", "toeplitz", "tied blocks"])
def test_gradient_and_projection_against_coordinates(name, around, generator):
    manifold = SubspaceManifold(AROUND[around](), SUBSPACES[name])
    W, vectors = 0.5 * manifold.random_point(), basis(SUBSPACES[name])
    V = generator.standard_normal((N, N))
    inner = manifold.manifold.inner_product
    metric = np.array([[inner(W, a, b) for a in vectors] for b in vectors])

    def combined(right):
        return np.tensordot(np.linalg.solve(metric, right), vectors, 1)

    expected = combined([np.sum(a * V) for a in vectors])
    np.testing.assert_allclose(manifold.euclidean_to_riemannian_gradient(W, V), expected, atol=1e-11)
    expected = combined([inner(W, a, V) for a in vectors])
    np.testing.assert_allclose(manifold.projection(W, V), expected, atol=1e-11)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", ["mask", "zero diagonal", "toeplitz", "tied blocks"])
def test_the_hessian_of_the_curved_subspace(name, around, generator):
    """⟨Hess[V], V⟩ = D²J[V, V] − ⟨∇J, Γ(V, V)⟩ with the Christoffel symbols of the coordinates, by differences."""
    manifold = SubspaceManifold(AROUND[around](), SUBSPACES[name])
    W, vectors = 0.5 * manifold.random_point(), basis(SUBSPACES[name])
    G, V = generator.standard_normal((N, N)), SUBSPACES[name].project(generator.standard_normal((N, N)))
    inner, h = manifold.inner_product, 1e-5
    metric = np.array([[inner(W, a, b) for a in vectors] for b in vectors])
    along = np.array([inner(W + h * V, V, a) - inner(W - h * V, V, a) for a in vectors]) / (2 * h)
    across = np.array([inner(W + h * a, V, V) - inner(W - h * a, V, V) for a in vectors]) / (2 * h)
    christoffel = np.tensordot(np.linalg.solve(metric, along - across / 2), vectors, 1)
    expected = np.sum(V * V) - np.sum(G * christoffel)
    hessian = manifold.euclidean_to_riemannian_hessian(W, G, V, V)  # of ⟨G, W⟩ + ½‖W − W₀‖², with D²J[V] = V
    assert inner(W, hessian, V) == pytest.approx(expected, abs=1e-6)
    U = SUBSPACES[name].project(generator.standard_normal((N, N)))
    other = manifold.euclidean_to_riemannian_hessian(W, G, U, U)
    assert inner(W, hessian, U) == pytest.approx(inner(W, other, V))


@pytest.mark.parametrize("optimizer", [SteepestDescent, ConjugateGradient, TrustRegions])
@pytest.mark.parametrize("name", ["mask", "toeplitz"])
def test_pymanopt_solvers_run_without_geodesics(name, optimizer):
    manifold = SubspaceManifold(AROUND["resolvent"](), SUBSPACES[name])
    target, start = 0.5 * manifold.random_point(), 0.3 * manifold.random_point()
    decorate = pymanopt.function.numpy(manifold)
    problem = pymanopt.Problem(
        manifold,
        decorate(lambda W: float(np.sum((W - target) ** 2)) / 2),
        euclidean_gradient=decorate(lambda W: W - target),
        euclidean_hessian=decorate(lambda W, V: V),
    )
    result = optimizer(verbosity=0, max_iterations=60, min_gradient_norm=1e-6).run(problem, initial_point=start)
    assert 0 <= result.cost < 1e-6 * problem.cost(start)
    np.testing.assert_array_equal(SUBSPACES[name].project(result.point), result.point)


def test_a_step_in_the_euclidean_metric_is_plain_projection(generator):
    manifold = SubspaceManifold(PullbackManifold(Identity(), N), toeplitz(N))
    W, G = toeplitz(N).project(generator.standard_normal((N, N))), generator.standard_normal((N, N))
    np.testing.assert_allclose(manifold.euclidean_to_riemannian_gradient(W, G), toeplitz(N).project(G), atol=1e-15)


def test_the_retraction_goes_along_the_subspace():
    """Geodesics of the surrounding manifold leave a curved subspace; their projections do not."""
    manifold = SubspaceManifold(PullbackManifold(Resolvent(), N, "geodesic", seed=0), zero_diagonal(N))
    W = manifold.random_point()
    V = manifold.random_tangent_vector(W) / 10
    np.testing.assert_array_equal(np.diag(manifold.retraction(W, V)), 0)

    def error(step):
        return np.linalg.norm(manifold.retraction(W, step * V) - W - step * V)

    assert check_slope("velocity", error, 2, np.linalg.norm(W), np.finfo(float).eps)


def test_conjugate_gradients_take_one_sharp_a_dimension(monkeypatch, generator):
    manifold = SubspaceManifold(AROUND["monotone"](), SUBSPACES["toeplitz"])
    W, G, calls = 0.5 * manifold.random_point(), generator.standard_normal((N, N)), []
    sharp = manifold.manifold.euclidean_to_riemannian_gradient
    monkeypatch.setattr(manifold.manifold, "euclidean_to_riemannian_gradient", lambda W, G: calls.append(1) or sharp(W, G))
    manifold.euclidean_to_riemannian_gradient(W, G)
    assert len(calls) <= 1 + (N * N - manifold.dim) + 2  # one for G, one for each missing dimension, and some for rounding


def test_units_of_unequal_weights_need_a_solve_in_a_two_sided_metric(monkeypatch, generator):
    n = 40
    manifold = SubspaceManifold(PullbackManifold(Resolvent(), n, seed=0), mask(generator.random((n, n)) < 0.5))
    unequal = np.geomspace(0.3, 20, n)[:, None]
    W = manifold.subspace.project(generator.standard_normal((n, n)) / n**0.5 * unequal)
    G, V = generator.standard_normal((n, n)), manifold.random_tangent_vector(W)
    gradient = manifold.euclidean_to_riemannian_gradient(W, G)
    assert manifold.inner_product(W, gradient, V) == pytest.approx(np.sum(G * V), rel=1e-6)
    monkeypatch.setattr(PullbackManifold, "sharp_factors", lambda manifold, point: None)
    with pytest.raises(ConvergenceError, match="ill-conditioned"):
        manifold.euclidean_to_riemannian_gradient(W, G)


def test_rounding_is_not_solved_for(generator):
    """♯ maps symmetric covectors to symmetric vectors, up to rounding, which is relative to ‖B‖⁴ and not to ♯∇."""
    n = 40
    basis, scales = np.linalg.qr(generator.standard_normal((n, n)))[0], np.logspace(0, 4, n)
    W = symmetric(n).project(np.eye(n) - basis * scales @ basis.T)
    expected = symmetric(n).project(generator.standard_normal((n, n)))
    gradient = symmetric(n).project(basis @ (expected / scales[:, None] ** 2 / scales**2) @ basis.T)
    raised = SubspaceManifold(PullbackManifold(Resolvent(), n), symmetric(n)).euclidean_to_riemannian_gradient(W, gradient)
    np.testing.assert_array_equal(raised, raised.T)
    assert np.linalg.norm(basis.T @ raised @ basis - expected) < 0.01 * np.linalg.norm(expected)


def test_missing_operations_are_named():
    manifold = SubspaceManifold(AROUND["resolvent"](), zero_diagonal(N))
    W = manifold.random_point()
    V = manifold.random_tangent_vector(W) / 10
    for call in (lambda: manifold.exp(W, V), lambda: manifold.dist(W, W + V)):
        with pytest.raises(NoGeodesicError, match=r"distance .* from the mask of 12 weights.*not totally geodesic.*retraction"):
            call()
    with pytest.raises(OutsideManifoldError, match="the point lies outside the subspace"):
        manifold.norm(np.eye(N), V)
    with pytest.raises(InvalidArrayError, match="shape"):
        SubspaceManifold(AROUND["monotone"](), mask(np.ones((N, N)))).norm(np.eye(3), V)


def test_geodesics_of_signed_weights_are_exponentiated_gradient(generator):
    manifold = PullbackManifold(SignedLog(signs()), N, seed=0)
    W, G = manifold.random_point(), generator.standard_normal((N, N))
    step = manifold.exp(W, -0.1 * manifold.euclidean_to_riemannian_gradient(W, G))
    np.testing.assert_allclose(step, W * np.exp(-0.1 * W * G), rtol=1e-14)
    np.testing.assert_array_equal(np.sign(step), np.broadcast_to(signs(), (N, N)))
    far = manifold.exp(W, 50 * manifold.random_tangent_vector(W))
    np.testing.assert_array_equal(np.sign(far), np.broadcast_to(signs(), (N, N)))
    additive = PullbackManifold(SignedLog(signs()), N, "additive", seed=0)
    far = additive.retraction(W, -10 * W)
    np.testing.assert_allclose(far, 0.1 * W)


def test_signed_weights_refuse_other_signs():
    manifold = PullbackManifold(SignedLog(signs()), N, seed=0)
    W = manifold.random_point()
    with pytest.raises(OutsideManifoldError, match="wrong sign"):
        manifold.norm(-W, W)
    with pytest.raises(InvalidArrayError, match="Pass one sign a column"):
        SignedLog(np.array([1.0, 0.5]))
    with pytest.raises(InvalidArrayError, match="4 signs at a point"):
        SignedLog(signs()).value(np.ones((3, 3)))


@pytest.mark.parametrize(
    ("chart", "message"),
    [
        (SignedLog(np.ones(10)), r"10 signs for points of shape \(20, 20\): each column has one sign. Pass 20 signs"),
        (Resolvent(np.ones(10)), r"a point of shape \(20, 20\) with gains of shape \(10,\)"),
        (Composition(Resolvent(np.ones(10)), Identity()), "with gains of shape"),
        (Composition(Identity(), SignedLog(np.ones(10))), "10 signs for points of shape"),
    ],
    ids=["signs", "gains", "outer", "inner"],
)
def test_a_chart_of_the_wrong_shape_is_refused_at_construction(chart, message):
    with pytest.raises(InvalidArrayError, match=message):
        PullbackManifold(chart, 20)


def test_a_mask_is_not_the_callers_array():
    present = np.ones((2, 2), bool)
    subspace = mask(present)
    present[0, 0] = False
    np.testing.assert_array_equal(subspace.project(np.ones((2, 2))), 1)
