"""Constrained weights: a linear subspace of a manifold of matrices, with the induced metric."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import final

from array_api_compat import array_namespace

from manifolds.arrays import Array, frobenius_norm, machine_epsilon
from manifolds.base import WeightManifold
from manifolds.cometric import conjugate_gradient
from manifolds.errors import (
    ConvergenceError,
    InvalidArrayError,
    ManifoldError,
    NoGeodesicError,
    OutsideManifoldError,
    SingularPointError,
)
from manifolds.subspaces import Subspace

ROUNDING = 1e3
"""Largest distance of a matrix from its subspace, in machine epsilons, relative to its norm and the norm of I."""

GOAL, MOST_ITERATIONS = 100, 2000
"""Conjugate gradients stop at a residual of this many machine epsilons, relative to the vector, or after this many iterations.

If rounding keeps the residual above this, half of the digits are enough.
"""


@final
class SubspaceManifold(WeightManifold):
    """The points of a manifold that lie in a linear subspace, under the induced metric.

    Points and tangent vectors are whole matrices of the subspace. With P the Frobenius projection onto it, Q = I − P and ♯ the
    map from Euclidean to Riemannian gradients of the surrounding manifold, the metric projection of any matrix is

        P_W V = V − ♯N,    where N = Q N solves Q ♯ Q N = Q V,

    and grad = P_W ♯∇ = ♯(∇ − N). Conjugate gradients solve for N with one ♯ an iteration. The Euclidean metric needs no
    iteration. If the metric is two-sided, ♯U = P U Q, one ♯ is two products, and the diagonal of ♯ is the preconditioner.
    The part N of the gradient adds to the Riemannian Hessian of the surrounding manifold only one tangent term, the curvature
    of the subspace. So P_W Hess(∇ − N, H)[V] is the Hessian of the subspace.

    With k iterations a gradient takes at least 1 + k times the products of an unconstrained gradient. In the resolvent metric,
    for random masks of 100 units in float64, k is from 60 to 500. It grows with the condition numbers of P and Q. The
    restricted inverse of ♯ is not a better preconditioner in general. It divided k by 3 where 10 % of the weights were free. It
    multiplied k by 6 where 50 % were free and I − W was ill-conditioned.

    If the subspace is totally geodesic, its geodesics are geodesics of the surrounding manifold. In the Euclidean metric this
    holds for every subspace. In the resolvent metric it holds for circulant, block-diagonal and symmetric weights. On
    `MonotoneManifold` it holds for the subspaces fixed by isometries: `symmetric` (by transposition), block-diagonal masks,
    `circulant` and `equivariant` weights (by congruences). There ♯ maps the subspace to itself, grad = S (P∇) S, nothing is
    solved for, and every point is stable by construction. Isometries do not fix sparsity, a zero diagonal or fixed signs. For
    other subspaces (a sparsity mask in the resolvent metric) `exp`, `log`, `dist` and `parallel_transport` raise an error;
    pymanopt's solvers need none of them. If the surrounding manifold has edges, the projection of a step that stays inside may
    be outside. The next call at that point then raises an error.

    Parameters
    ----------
    manifold
        The surrounding manifold; its seed, namespace and dtype are used.
    subspace
        The subspace: `mask`, `symmetric`, `tied` and others of `manifolds.subspaces`, or your own.

    Raises
    ------
    InvalidArrayError
        For a subspace of dimension 0.
    OutsideManifoldError
        For a point that does not lie in the subspace.
    NoGeodesicError
        From `exp`, `log`, `dist` and `parallel_transport` where the subspace is not totally geodesic.
    ConvergenceError
        If ♯ is too ill-conditioned for conjugate gradients.

    References
    ----------
    Boumal, *An Introduction to Optimization on Smooth Manifolds*, 2023, sections 3.8 and 5.11.

    Examples
    --------
    >>> from manifolds import PullbackManifold, Resolvent, SubspaceManifold, zero_diagonal
    >>> m = SubspaceManifold(PullbackManifold(Resolvent(), 3, seed=0), zero_diagonal(3))
    >>> W = m.random_point()
    >>> [float(entry) for entry in m.random_tangent_vector(W).diagonal()]
    [0.0, 0.0, 0.0]
    """

    def __init__(self, manifold: WeightManifold, subspace: Subspace) -> None:
        if subspace.dimension < 1:
            raise InvalidArrayError(
                f"{subspace.name}: dimension {subspace.dimension}",
                "the subspace is a single point, so no step is possible",
                "Leave at least one weight free",
            )
        name = f"Subspace ({subspace.name}) of the {manifold}"
        super().__init__(name, manifold.shape, manifold.retraction_kind, seed=manifold.generator, like=manifold._like)
        self.manifold = manifold
        self.subspace = subspace
        self.closed_logarithm, self.thread_safe = manifold.closed_logarithm, manifold.thread_safe
        self.stable_by_construction = manifold.stable_by_construction and subspace.fixed_by_isometries

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"subspace": self.subspace.name, "of": self.manifold, "dimension": self.dim}

    @property
    def dim(self) -> int:
        """Dimension of the subspace."""
        return self.subspace.dimension

    def check(self, point: Array, *vectors: Array) -> None:
        """Check the arguments as the surrounding manifold does, and that the point is in the subspace."""
        self.manifold.check(point, *vectors)
        self._inside(
            point, OutsideManifoldError, "the point lies outside the subspace", "Project it first, with subspace.project"
        )

    def has_geodesics(self, point: Array) -> bool:
        """Tell whether the subspace is totally geodesic at W: its second fundamental form, ⟨♭Hess(N, 0)[V], V⟩, is zero.

        N and V are random; N is orthogonal to the subspace, and V is in it. Hess is the Riemannian Hessian of J(W) = ⟨N, W⟩.
        """
        self.check(point)
        V, N = self.random_tangent_vector(point), self._beside(self.normal(point))
        bent = self.manifold.euclidean_to_riemannian_hessian(point, N, array_namespace(point).zeros_like(N), V)
        form = abs(self.manifold.inner_product(point, bent, V))
        return bool(form <= ROUNDING * machine_epsilon(point) * self.manifold.norm(point, bent) + machine_epsilon(point))

    def projection(self, point: Array, vector: Array) -> Array:
        """Return P_W V, the tangent vector nearest to the matrix V in the metric at W."""
        self.check(point, vector)
        return self._split(vector, *self._sharp(point))[0]

    def random_tangent_vector(self, point: Array) -> Array:
        """Return a tangent vector of unit norm in a random direction."""
        vector = self.subspace.project(self.normal(point))
        return vector / self.norm(point, vector)

    def inner_product(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return g_W(U, V), the metric of the surrounding manifold."""
        self.check(point, tangent_vector_a, tangent_vector_b)
        return float(self.manifold.inner_product(point, tangent_vector_a, tangent_vector_b))

    def euclidean_to_riemannian_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return grad = P_W ♯∇."""
        self.check(point, euclidean_gradient)
        return self._raised(point, euclidean_gradient)[0]

    def euclidean_to_riemannian_hessian(
        self, point: Array, euclidean_gradient: Array, euclidean_hessian: Array, tangent_vector: Array
    ) -> Array:
        """Return P_W Hess(∇ − N, H)[V]: J + ⟨−N, W⟩ is the same cost in the subspace, and its gradient ♯(∇ − N) is tangent."""
        self.check(point, euclidean_gradient, euclidean_hessian, tangent_vector)
        _, covector = self._raised(point, euclidean_gradient)
        change = self.subspace.project(euclidean_hessian)
        ambient = self.manifold.euclidean_to_riemannian_hessian(point, covector, change, tangent_vector)
        return self._split(ambient, *self._sharp(point))[0]

    def exp(self, point: Array, tangent_vector: Array) -> Array:
        """Return the exponential map of the surrounding manifold, if it stays in the subspace."""
        self.check(point, tangent_vector)
        return self._geodesic(self.manifold.exp(point, tangent_vector))

    def retraction(self, point: Array, tangent_vector: Array) -> Array:
        """Return P of the retraction of the surrounding manifold; the two are equal if the subspace is totally geodesic."""
        self.check(point, tangent_vector)
        return self.subspace.project(self.manifold.retraction(point, tangent_vector))

    def moved(self, point: Array, tangent_vector: Array) -> Array:
        """Return P of the end of the step in the surrounding manifold; this is `exp` if the subspace is totally geodesic."""
        self.check(point, tangent_vector)
        return self.subspace.project(self.manifold.moved(point, tangent_vector))

    def carried(self, point: Array, tangent_vector: Array, vector: Array) -> Array:
        """Return the transport to the end of the step; it is parallel if the subspace is totally geodesic."""
        return self.transport(point, self.moved(point, tangent_vector), vector)

    def log(self, point_a: Array, point_b: Array) -> Array:
        """Return the logarithm of the surrounding manifold, if it is tangent to the subspace."""
        self.check(point_a)
        self.check(point_b)
        return self._geodesic(self.manifold.log(point_a, point_b))

    def dist(self, point_a: Array, point_b: Array) -> float:
        """Return the length of the geodesic in the subspace."""
        return self.norm(point_a, self.log(point_a, point_b))

    def transport(self, point_a: Array, point_b: Array, tangent_vector_a: Array) -> Array:
        """Return P_W′ of the transport in the surrounding manifold; the two are equal if the subspace is totally geodesic."""
        self.check(point_a, tangent_vector_a)
        return self.projection(point_b, self.manifold.transport(point_a, point_b, tangent_vector_a))

    def parallel_transport(self, point: Array, tangent_vector: Array, carried: Array) -> Array:
        self.check(point, tangent_vector, carried)
        return self._geodesic(self.manifold.parallel_transport(point, tangent_vector, carried))

    def random_point(self) -> Array:
        """Return the Frobenius projection of a random point."""
        return self.subspace.project(self.manifold.random_point())

    def exit_time(self, point: Array, tangent_vector: Array) -> float:
        self.check(point, tangent_vector)
        return self.manifold.exit_time(point, tangent_vector)

    def retraction_exit_time(self, point: Array, tangent_vector: Array) -> float:
        self.check(point, tangent_vector)
        return self.manifold.retraction_exit_time(point, tangent_vector)

    def edge_distance(self, point: Array) -> float:
        self.check(point)
        return self.manifold.edge_distance(point)

    def _raised(self, point: Array, gradient: Array) -> tuple[Array, Array]:
        """Return grad and the covector ∇ − N with ♯(∇ − N) = grad.

        The component of ∇ orthogonal to the subspace is removed first. If ♯ maps the subspace to itself, nothing is left to
        solve for; otherwise less is left.
        """
        within = self.subspace.project(gradient)
        sharp, diagonal = self._sharp(point)
        raised = sharp(within)
        if frobenius_norm(self._beside(raised)) <= self._rounding(point, within):
            return self.subspace.project(raised), within
        tangent, normal = self._split(raised, sharp, diagonal)
        return tangent, within - normal

    def _rounding(self, point: Array, covector: Array) -> float:
        """Return the rounding error of ♯∇ = P ∇ Q, ε ‖P‖ ‖∇‖ ‖Q‖; zero if P and Q are not known."""
        factors = self.manifold.sharp_factors(point) or ()
        return machine_epsilon(point) * prod(map(frobenius_norm, (covector, *factors))) if factors else 0.0

    def _split(self, vector: Array, sharp: Callable[[Array], Array], diagonal: Array | float) -> tuple[Array, Array]:
        """Return P_W V and N, with V = P_W V + ♯N, by preconditioned conjugate gradients on Q ♯ Q N = Q V."""
        outside, epsilon = self._beside(vector), machine_epsilon(vector)
        share = frobenius_norm(outside) / (frobenius_norm(vector) or 1.0)
        if share <= GOAL * epsilon:
            return self.subspace.project(vector), array_namespace(vector).zeros_like(vector)
        try:
            normal = conjugate_gradient(
                lambda covector: self._beside(sharp(covector)),
                outside,
                lambda residual: self._beside(residual / diagonal),
                tolerance=GOAL * epsilon / share,
                enough=epsilon**0.5 / share,
                most=MOST_ITERATIONS,
            )
        except (ConvergenceError, SingularPointError) as error:
            raise ConvergenceError(
                error.value,
                "the metric at this point is too ill-conditioned for conjugate gradients",
                "Keep away from the edge, or work in float64",
            ) from error
        return self.subspace.project(vector - sharp(normal)), normal

    def _sharp(self, point: Array) -> tuple[Callable[[Array], Array], Array | float]:
        """Return ♯ and the diagonal of its matrix, all ones if it is not known."""
        factors = self.manifold.sharp_factors(point)
        if factors is None:
            return partial(self.manifold.euclidean_to_riemannian_gradient, point), 1.0
        left, right = factors
        diagonal = array_namespace(point).linalg.diagonal
        return lambda covector: left @ covector @ right, diagonal(left)[:, None] * diagonal(right)

    def _beside(self, vector: Array) -> Array:
        """Return Q V."""
        return vector - self.subspace.project(vector)

    def _geodesic(self, matrix: Array) -> Array:
        self._inside(
            matrix,
            NoGeodesicError,
            "geodesics leave the subspace, which is not totally geodesic, and its own have no closed form",
            "Use retraction and transport, or a metric in which the subspace is totally geodesic",
        )
        return self.subspace.project(matrix)

    def _inside(self, matrix: Array, error: type[ManifoldError], reason: str, remedy: str) -> None:
        distance = frobenius_norm(matrix - self.subspace.project(matrix))
        if not distance <= ROUNDING * machine_epsilon(matrix) * (frobenius_norm(matrix) + self.typical_dist):
            raise error(f"distance {distance:.3g} from the {self.subspace.name}", reason, remedy)
