"""A user-defined metric: given ♯, and optionally ♭, the rest of its geometry is derived."""

from typing import final

import numpy as np
from array_api_compat import is_numpy_array

from manifolds.arrays import Array, inner, machine_epsilon
from manifolds.base import WeightManifold, squared_area
from manifolds.charts import Retraction
from manifolds.cometric import Cometric, Derivative, Musical
from manifolds.errors import InvalidArrayError
from manifolds.geodesics import integrate_geodesic, shoot


@final
class MetricManifold(WeightManifold):
    """Weight space under the metric g_W(U, V) = ⟨♭_W U, V⟩ of a given ♯ = ♭⁻¹, the map from covectors to vectors.

    Metric, gradient, additive retraction and `transport` work for every array namespace that `sharp` and `flat` work for.
    The rest needs NumPy: autograd differentiates `sharp`, and SciPy integrates geodesics (in float64 for every dtype).

    Parameters
    ----------
    sharp
        (W, P) ↦ ♯_W P, written with `autograd.numpy`: linear, symmetric and positive definite in P. All shapes are that of W.
    n
        Number of rows and columns, or the shape of a rectangular point.
    retraction
        "geodesic" integrates Hamilton's equations; "additive" is W + V, at no cost.
    flat
        The inverse (W, V) ↦ ♭_W V. Default: conjugate gradients, one product with ♯ an iteration.
    sharp_derivative
        (W, P, V) ↦ D_W(♯_W P)[V], if a formula is faster than autograd on `sharp`. It must use `autograd.numpy` too: autograd
        computes its adjoint in V (Hamilton's equations) and its derivative in W (the curvature).
    sharp_gradient
        (W, P, Q) ↦ ∂_W⟨P, ♯_W Q⟩, this adjoint itself, if autograd cannot differentiate `sharp`. There is then no curvature.
    accuracy
        Relative accuracy of these functions, if it is worse than rounding. Geodesics are integrated to this accuracy.
    seed, like, validate
        See `WeightManifold`.

    Notes
    -----
    The metric costs a ♭, the gradient a ♯, the Hessian a ♭, two ♯ and three derivatives of ♯. A geodesic of unit length costs
    about 150 evaluations of ♯ and its gradient, a tiny one 14; `log` and `dist` cost 10 to 80 geodesics to a lower accuracy;
    `parallel_transport` costs four or five geodesics. `transport` is free: it returns U itself, the derivative of the additive
    retraction, a vector transport that is neither parallel nor an isometry.

    No edge is known: `exit_time` and `edge_distance` are infinite, and a geodesic that ends raises `OutsideManifoldError`.

    Raises
    ------
    NotImplementedError
        From `sectional_curvature`, where `sharp_gradient` is given.
    InvalidArrayError
        Where NumPy is needed, for an array of another kind.
    SingularPointError
        From conjugate gradients, where ♯ is not positive definite.
    OutsideManifoldError
        From `exp`, `retraction` and `parallel_transport`, if the geodesic ends before t = 1.
    ConvergenceError
        From `log`, `dist` and `pair_mean`, if no geodesic between the points is found; from iterations that do not converge.

    Examples
    --------
    >>> from manifolds import MetricManifold
    >>> m = MetricManifold(lambda W, P: (0.1 + W**2) * P, 3, seed=0)
    >>> W = m.random_point()
    >>> V = m.random_tangent_vector(W)
    >>> round(m.norm(m.exp(W, V), m.parallel_transport(W, V, V)), 9)
    1.0
    """

    closed_logarithm = False
    has_curvature = True

    def __init__(
        self,
        sharp: Musical,
        n: int | tuple[int, int],
        retraction: Retraction = "geodesic",
        *,
        flat: Musical | None = None,
        sharp_derivative: Derivative | None = None,
        sharp_gradient: Derivative | None = None,
        accuracy: float = 0.0,
        seed: int | np.random.Generator | None = None,
        like: Array | None = None,
        validate: bool = False,
    ) -> None:
        shape = n if isinstance(n, tuple) else (int(n), int(n))
        name = f"Metric manifold of {shape[0]}×{shape[1]} matrices, {retraction} retraction"
        super().__init__(name, shape, retraction, seed=seed, like=like, validate=validate)
        self._cometric = Cometric(sharp, flat, sharp_derivative, sharp_gradient)
        self._accuracy = accuracy

    def inner_product(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return g_W(U, V) = ⟨♭U, V⟩."""
        self.check(point, tangent_vector_a, tangent_vector_b)
        return inner(self._cometric.flat(point, tangent_vector_a), tangent_vector_b)

    def euclidean_to_riemannian_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return grad = ♯∇."""
        self.check(point, euclidean_gradient)
        return self._cometric.sharp(point, euclidean_gradient)

    def euclidean_to_riemannian_hessian(
        self, point: Array, euclidean_gradient: Array, euclidean_hessian: Array, tangent_vector: Array
    ) -> Array:
        """Return Hess[V] = ∇_V(♯∇J) = ♯H + D(♯∇)[V] + Γ(V, ♯∇), with H the Euclidean Hessian along V."""
        self._check_numpy(point, euclidean_gradient, euclidean_hessian, tangent_vector)
        return self._cometric.hessian(point, euclidean_gradient, euclidean_hessian, tangent_vector)

    def exp(self, point: Array, tangent_vector: Array) -> Array:
        """Return the end of the geodesic of velocity V, by Hamilton's equations."""
        self._check_numpy(point, tangent_vector)
        displacement, *_ = self._integrate(point, tangent_vector, tolerance=self._resolution(point))
        return self.arrived((point + displacement).astype(point.dtype))

    def retraction(self, point: Array, tangent_vector: Array) -> Array:
        """Return the point reached by the chosen retraction: `exp`, or W + V."""
        if self.retraction_kind == "geodesic":
            return self.exp(point, tangent_vector)
        self.check(point, tangent_vector)
        return self.arrived(point + tangent_vector)

    def log(self, point_a: Array, point_b: Array) -> Array:
        """Return V with exp_W(V) = W′, by shooting; one solution, if there are several."""
        self._check_numpy(point_a, point_b)
        start = point_a.astype(np.float64)

        def end(velocity: Array, tolerance: float) -> Array:
            return self._integrate(start, velocity, tolerance=tolerance)[0]

        velocity = shoot(end, self.arrived(point_b) - start, 4 * self._resolution(point_a))
        return velocity.astype(point_a.dtype)

    def dist(self, point_a: Array, point_b: Array) -> float:
        """Return the length of the geodesic that `log` finds. It is the distance, unless a shorter geodesic exists."""
        return self.norm(point_a, self.log(point_a, point_b))

    def transport(self, point_a: Array, point_b: Array, tangent_vector_a: Array) -> Array:
        """Return U itself, the derivative of the additive retraction (Absil, Mahony and Sepulchre, 2008, section 8.1.2)."""
        self.check(point_a, point_b, tangent_vector_a)
        return tangent_vector_a

    def parallel_transport(self, point: Array, tangent_vector: Array, carried: Array) -> Array:
        self._check_numpy(point, tangent_vector, carried)
        _, _, moved = self._integrate(point, tangent_vector, carried, tolerance=self._resolution(point))
        return moved.astype(point.dtype)

    def sectional_curvature(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return K = ⟨R(U, V)V, U⟩ / (‖U‖²‖V‖² − ⟨U, V⟩²) of the plane of U and V, at the cost of some tens of ♯.

        Zero means flat. Negative curvature means that geodesics in that plane diverge, so learning forgets its start. For
        parallel vectors `InvalidArrayError` is raised.
        """
        self._check_numpy(point, tangent_vector_a, tangent_vector_b)
        a, b = (self._cometric.flat(point, vector) for vector in (tangent_vector_a, tangent_vector_b))
        products = inner(a, tangent_vector_a), inner(b, tangent_vector_b), inner(a, tangent_vector_b)
        return self._cometric.curvature(point, a, b) / squared_area(*products, point)

    def _integrate(self, point: Array, tangent_vector: Array, *carried: Array, tolerance: float) -> tuple[Array, ...]:
        covector = self._cometric.flat(point, self.arrived(tangent_vector))
        return integrate_geodesic(self._cometric, point, covector, *carried, tolerance=tolerance)

    def _resolution(self, point: Array) -> float:
        """Return an integration accuracy just above the rounding of the points, or the accuracy of the metric, if worse."""
        return max(500 * machine_epsilon(point), self._accuracy)

    def _check_numpy(self, point: Array, *vectors: Array) -> None:
        self.check(point, *vectors)
        for array in (point, *vectors):
            if not is_numpy_array(array):
                raise InvalidArrayError(
                    f"an array of type {type(array).__name__}",
                    "autograd differentiates the metric and SciPy integrates its geodesics, both on NumPy arrays",
                    "Convert it to NumPy",
                )
