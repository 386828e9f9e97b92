"""The isometries of the symmetric space of monotone weights preserve distances, and commute with exp, log and transport."""

import numpy as np
import pytest

from manifolds import (
    InvalidArrayError,
    MonotoneManifold,
    SubspaceManifold,
    circulant,
    equivariant,
    left_invariant,
    mask,
    symmetric,
)

N = 5
GENERATOR = np.random.default_rng(5)
Q = np.linalg.qr(GENERATOR.standard_normal((N, N)))[0]
MIXING = np.eye(N) + 0.4 * GENERATOR.standard_normal((N, N))
SKEW = np.triu(GENERATOR.standard_normal((N, N)), 1)
SKEW = SKEW - SKEW.T
IDENTITY = np.eye(N)


def inverted(B):
    return np.linalg.inv(B)


ISOMETRIES = {
    "inversion": (inverted, lambda B, V: -inverted(B) @ V @ inverted(B)),
    "orthogonal congruence": (lambda B: Q @ B @ Q.T, lambda B, V: Q @ V @ Q.T),
    "congruence": (lambda B: MIXING @ B @ MIXING.T, lambda B, V: MIXING @ V @ MIXING.T),
    "skew shift": (lambda B: B + SKEW, lambda B, V: V),
    "transposition": (lambda B: B.T, lambda B, V: V.T),
    "inversion after a shift": (
        lambda B: inverted(B + SKEW),
        lambda B, V: -inverted(B + SKEW) @ V @ inverted(B + SKEW),
    ),
}
"""Maps of B = I − W, and their action on changes of B."""


@pytest.fixture(params=ISOMETRIES)
def isometry(request):
    """Return the map of W and its differential."""
    image, change = ISOMETRIES[request.param]
    return (
        lambda W: IDENTITY - image(IDENTITY - W),
        lambda W, V: -change(IDENTITY - W, -V),
    )


@pytest.fixture(params=[1e-3, 0.5, 4.0])
def step(request):
    """Return a manifold, a point, a tangent vector of a given length, and another tangent vector."""
    manifold = MonotoneManifold(N, seed=3)
    W = manifold.random_point()
    return manifold, W, request.param * manifold.random_tangent_vector(W), manifold.random_tangent_vector(W)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * (1 + np.abs(expected).max()))


def test_isometries_preserve_the_metric_and_distances(isometry, step):
    image, change = isometry
    manifold, W, V, U = step
    other = manifold.exp(W, V)
    assert manifold.inner_product(image(W), change(W, U), change(W, V)) == pytest.approx(
        manifold.inner_product(W, U, V), rel=1e-10, abs=1e-10 * manifold.norm(W, V)
    )
    assert manifold.dist(image(W), image(other)) == pytest.approx(manifold.dist(W, other), rel=1e-10)


def test_isometries_commute_with_exp_log_and_transport(isometry, step):
    image, change = isometry
    manifold, W, V, U = step
    there, other = image(W), manifold.exp(W, V)
    close(manifold.exp(there, change(W, V)), image(other))
    close(manifold.log(there, image(other)), change(W, manifold.log(W, other)))
    close(manifold.parallel_transport(there, change(W, V), change(W, U)), change(other, manifold.parallel_transport(W, V, U)))
    close(manifold.transport(there, image(other), change(W, U)), change(other, manifold.transport(W, other, U)))


def test_isometries_keep_the_curvature(isometry, step):
    image, change = isometry
    manifold, W, V, U = step
    expected = manifold.sectional_curvature(W, U, V)
    assert manifold.sectional_curvature(image(W), change(W, U), change(W, V)) == pytest.approx(expected, rel=1e-9)


def test_descent_in_the_weights_and_in_the_resolvent_is_the_same_path(generator):
    """The cost is ½ ‖A − A*‖², once as a function of W and once of A, with A in place of B."""
    manifold = MonotoneManifold(N, seed=1)
    W, target = manifold.random_point(), generator.standard_normal((N, N))
    A = inverted(IDENTITY - W)
    for _ in range(20):
        slope = A - target
        by_weights = manifold.euclidean_to_riemannian_gradient(W, A.T @ slope @ A.T)
        by_resolvent = manifold.euclidean_to_riemannian_gradient(IDENTITY - A, -slope)
        W = manifold.exp(W, -0.2 * by_weights)
        A = IDENTITY - manifold.exp(IDENTITY - A, -0.2 * by_resolvent)
        close(inverted(IDENTITY - W), A)
    assert np.linalg.norm(A - target) < 0.9 * np.linalg.norm(inverted(IDENTITY) - target)


FIXED = {
    "symmetric": symmetric(N),
    "circulant": circulant(N),
    "blocks": mask(np.equal.outer(np.arange(N) < 2, np.arange(N) < 2)),
    "equivariant": equivariant([1, 0, 2, 3, 4], [0, 1, 3, 4, 2]),
}
"""Subspaces that isometries leave fixed."""


@pytest.mark.parametrize("length", [0.5, 4.0])
@pytest.mark.parametrize("name", FIXED)
def test_fixed_sets_of_isometries_are_totally_geodesic(name, length, generator, monkeypatch):
    monkeypatch.setattr("manifolds.subspace.conjugate_gradient", lambda *arguments, **options: pytest.fail("solved"))
    around, project = MonotoneManifold(N, seed=0), FIXED[name].project
    manifold = SubspaceManifold(around, FIXED[name])
    W = manifold.random_point()
    V, U = length * manifold.random_tangent_vector(W), manifold.random_tangent_vector(W)
    G, H = generator.standard_normal((2, N, N))
    S = IDENTITY - (W + W.T) / 2
    close(manifold.euclidean_to_riemannian_gradient(W, G), S @ project(G) @ S)
    close(
        manifold.euclidean_to_riemannian_hessian(W, G, H, V),
        around.euclidean_to_riemannian_hessian(W, project(G), project(H), V),
    )
    end = manifold.exp(W, V)
    close(end, around.exp(W, V))
    np.testing.assert_allclose(project(end), end, rtol=1e-15)  # a mean of equal numbers is rounded
    close(manifold.log(W, end), V)
    close(manifold.transport(W, end, U), around.parallel_transport(W, V, U))
    close(manifold.moved(W, V), end)
    close(manifold.carried(W, V, U), around.parallel_transport(W, V, U))


def test_equivariant_weights_commute_with_their_permutations(generator):
    swap, cycle = [1, 0, 2, 3, 4], [0, 1, 3, 4, 2]
    weights = FIXED["equivariant"].project(generator.standard_normal((N, N)))
    for order in (swap, cycle):
        permutation = IDENTITY[order]
        close(permutation @ weights, weights @ permutation)
    assert FIXED["equivariant"].dimension == 7  # two within the pair, three within the triple, one each way between them
    assert equivariant([1, 2, 3, 0]).dimension == circulant(4).dimension
    for wrong in ((), ([0, 0],), ([0, 1], [0, 1, 2]), ([1, 2],)):
        with pytest.raises(InvalidArrayError, match="0 to n − 1 once"):
            equivariant(*wrong)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_sets_of_isometries_are_stable_by_construction(name, generator):
    subspace = FIXED[name]
    assert SubspaceManifold(MonotoneManifold(N), subspace).stable_by_construction
    assert not SubspaceManifold(left_invariant(N), subspace).stable_by_construction
    for _ in range(20):  # a mean over isometries, for points near the edge
        root = generator.standard_normal((N, 2))
        skew = generator.standard_normal((N, N))
        W = (1 - 1e-9) * IDENTITY - root @ root.T + skew - skew.T
        assert np.linalg.eigvalsh(IDENTITY - (subspace.project(W) + subspace.project(W).T) / 2)[0] > 0


@pytest.mark.parametrize(
    "present", [~np.eye(N, dtype=bool), np.tri(N, dtype=bool), np.abs(np.subtract.outer(range(N), range(N))) < 2]
)
def test_other_masks_promise_no_stability(present):
    assert not SubspaceManifold(MonotoneManifold(N), mask(present)).stable_by_construction
