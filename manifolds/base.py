"""An open set of matrices as a pymanopt manifold, with its own random generator and checked arguments."""

from abc import abstractmethod
from collections.abc import Callable
from math import inf, prod, sqrt
from typing import get_args

import numpy as np
from array_api_compat import array_namespace, device

from manifolds.arguments import check_array, check_finite
from manifolds.arrays import Array, largest, least_square, machine_epsilon
from manifolds.charts import Retraction
from manifolds.deferred import Manifold
from manifolds.errors import InvalidArrayError, OutsideManifoldError
from manifolds.parameterization import Parameterization
from manifolds.points import all_finite

PARALLEL = 4
"""Vectors span a plane if its squared area is at least this many machine epsilons, relative to ‖U‖²‖V‖²."""


class WeightManifold(Parameterization, Manifold):
    """An open set of matrices: every matrix of the point's shape is a tangent vector.

    Parameters
    ----------
    name
        Name in messages and tables.
    shape
        Shape of points, tangent vectors and gradients.
    retraction
        The retraction: "geodesic" is the exponential map, "additive" is W + V.
    seed
        Seed or generator for random points and vectors; the global NumPy state is never touched.
    like
        An array whose namespace, dtype and device random points take. Default: NumPy, float64.
    validate
        Also refuse points and vectors that hold NaN or infinity, at the cost of a pass over each argument.

    Attributes
    ----------
    flat
        Whether all curvature is zero: the tangent vectors `chart.differential` of all points live in one Euclidean space.
    closed_logarithm
        Whether `log` has a closed form. Otherwise it is found by shooting, which takes seconds.
    frame_logarithm
        Whether `frame_log`, `frame_logs` and `frame_curvature` exist: the logarithms and the curvature in the frame.
    has_curvature
        Whether `sectional_curvature` exists.
    thread_safe
        Whether copies may be used in several threads at once. Manifolds that use autograd may not: it has one global stack.

    Raises
    ------
    InvalidArrayError
        From every method, for an argument that is not a plain array (a list, a masked array) or has the wrong shape or dtype.
    ValueError
        For a shape that is not one or more positive integers, or an unknown retraction.
    """

    flat = False
    closed_logarithm = True
    frame_logarithm = False
    has_curvature = False
    thread_safe = False

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        retraction: Retraction = "geodesic",
        *,
        seed: int | np.random.Generator | None = None,
        like: Array | None = None,
        validate: bool = False,
    ) -> None:
        if not shape or min(shape) < 1:
            raise ValueError(f"shape = {shape} is not a shape of weights; pass positive integers, two of them for a matrix")
        if retraction not in get_args(Retraction):
            raise ValueError(f"retraction = {retraction!r} is unknown; choose one of {get_args(Retraction)}")
        super().__init__(name, prod(shape))
        self.shape = shape
        self.retraction_kind = retraction
        self.generator = np.random.default_rng(seed)
        self._like = np.empty(0) if like is None else like
        check_array("like", self._like, tuple(getattr(self._like, "shape", ())), self)
        self._validate = validate

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"manifold": self, "dimension": self.dim}

    @property
    def typical_dist(self) -> float:
        """Norm of the identity, √n: the scale of W and of A, and so of a trust region."""
        return sqrt(max(self.shape))

    def point_at(self, weights: Array) -> Array:
        """Return W; raise an error of the manifold if W is not a point."""
        self.norm(weights, weights)
        return weights

    def norm(self, point: Array, tangent_vector: Array) -> float:
        """Return √g_W(V, V); where the square overflows or underflows, s √g_W(V/s, V/s) with s the largest entry of V."""
        with np.errstate(over="ignore", invalid="ignore"):
            squared = self.inner_product(point, tangent_vector, tangent_vector)
        if least_square(tangent_vector) < squared < inf:
            return sqrt(squared)
        size = largest(tangent_vector)
        if not 0 < size < inf:
            return sqrt(max(squared, 0.0))
        scaled = tangent_vector / size
        return size * sqrt(max(self.inner_product(point, scaled, scaled), 0.0))

    def projection(self, point: Array, vector: Array) -> Array:
        """Return `vector`: in an open set every matrix is tangent."""
        self.check(point, vector)
        return vector

    def to_tangent_space(self, point: Array, vector: Array) -> Array:
        """Return `vector`, which is tangent already."""
        return self.projection(point, vector)

    def zero_vector(self, point: Array) -> Array:
        """Return the zero tangent vector, with the namespace, dtype and device of `point`."""
        self.check(point)
        return array_namespace(point).zeros_like(point)

    def random_tangent_vector(self, point: Array) -> Array:
        """Return a tangent vector of unit norm in a random direction."""
        vector = self.normal(point)
        return vector / self.norm(point, vector)

    def geodesic(self, point: Array, tangent_vector: Array) -> Callable[[float], Array]:
        """Return the geodesic t ↦ exp_W(t V). On some manifolds many points of it cost less than as many calls of `exp`."""
        self.check(point, tangent_vector)
        return lambda time: self.exp(point, time * tangent_vector)

    def has_geodesics(self, point: Array) -> bool:
        """Tell whether `exp`, `log`, `dist` and `parallel_transport` exist at W. `retraction` and `transport` always exist."""
        self.check(point)
        return True

    def sharp_factors(self, point: Array) -> tuple[Array, Array] | None:
        """Return P and Q of a two-sided metric, with gradient ♯∇ = P ∇ Q; None if the metric is not two-sided."""
        self.check(point)
        return None

    def pair_mean(self, point_a: Array, point_b: Array) -> Array:
        """Return the midpoint of the geodesic between two points."""
        self.check(point_a, point_b)
        return self.exp(point_a, self.log(point_a, point_b) / 2)

    def normal(self, like: Array | None = None) -> Array:
        """Return a matrix of independent standard normal entries, in the namespace and dtype of `like`."""
        if like is None:
            like = self._like
        else:
            self.check(like)
        sample = self.generator.standard_normal(self.shape)
        return array_namespace(like).asarray(sample, dtype=like.dtype, device=device(like))

    def check(self, point: Array, *vectors: Array) -> None:
        """Check the type, shape and dtype of arguments, and under `validate` that they are finite.

        Raises
        ------
        InvalidArrayError
            Naming the argument's type, shape, dtype or entry, and what was expected.
        """
        for name, array in (("point", point), *(("tangent vector", vector) for vector in vectors)):
            check_array(name, array, self.shape, self, None if array is point else point)
            if self._validate:
                check_finite(name, array)

    def arrived(self, point: Array) -> Array:
        """Return `point`, the end of a step, after a check that it is finite.

        Raises
        ------
        OutsideManifoldError
            If it holds NaN or infinity.
        """
        if not all_finite(point):
            raise OutsideManifoldError(
                "the step ends in NaN or infinity",
                "it left the manifold, or the step or the start was not finite",
                "Shorten the step, and pass validate=True to find the argument that is not finite",
            )
        return point

    @abstractmethod
    def parallel_transport(self, point: Array, tangent_vector: Array, carried: Array) -> Array:
        """Return the tangent vector `carried` after parallel transport along the geodesic exp_W(t V), 0 ≤ t ≤ 1.

        `transport`, which pymanopt calls, knows two points but no path. It is a cheap map and need not be parallel.

        Parameters
        ----------
        point, tangent_vector
            W and V, start and velocity of the geodesic.
        carried
            A tangent vector at W.

        Returns
        -------
        Array
            A tangent vector at exp_W(V), of the same norm.
        """

    def random_point(self) -> Array:
        """Return a point of normal entries, with standard deviation 0.5/√n; overridden if such a matrix need not be a point."""
        return 0.5 / max(self.shape) ** 0.5 * self.normal()

    def exit_time(self, point: Array, tangent_vector: Array) -> float:
        """Return the t > 0 at which the geodesic exp_W(t V) leaves the manifold; infinity if no edge is known."""
        self.check(point, tangent_vector)
        return inf

    def moved(self, point: Array, tangent_vector: Array) -> Array:
        """Return `exp`, or W + V if the retraction is "additive"; the step is never shortened."""
        if self.retraction_kind == "geodesic":
            return self.exp(point, tangent_vector)
        self.check(point, tangent_vector)
        return self.arrived(point + tangent_vector)

    def carried(self, point: Array, tangent_vector: Array, vector: Array) -> Array:
        """Return the parallel transport along the geodesic, or the transport to W + V if the retraction is "additive"."""
        if self.retraction_kind == "geodesic":
            return self.parallel_transport(point, tangent_vector, vector)
        return self.transport(point, self.moved(point, tangent_vector), vector)

    def retraction_exit_time(self, point: Array, tangent_vector: Array) -> float:
        """Return the t > 0 at which the path t ↦ R_W(t V) of `retraction` meets the edge; infinity if no edge is known."""
        return self.exit_time(point, tangent_vector) if self.retraction_kind == "geodesic" else inf

    def edge_distance(self, point: Array) -> float:
        """Return the distance to the nearest edge that a geodesic can reach; infinity if no edge is known."""
        self.check(point)
        return inf


def described(shape: tuple[int, ...]) -> str:
    """Return the word for points of a shape: vectors, matrices or arrays."""
    names = {1: "vectors", 2: "matrices"}
    return f"{'×'.join(map(str, shape))} {names.get(len(shape), 'arrays')}"


def squared_area(first: float, second: float, mixed: float, like: Array) -> float:
    """Return ‖U‖²‖V‖² − ⟨U, V⟩² from ‖U‖², ‖V‖² and ⟨U, V⟩, in the precision of `like`.

    Raises
    ------
    InvalidArrayError
        If the vectors are parallel, to working precision.
    """
    area = first * second - mixed**2
    if not area > PARALLEL * machine_epsilon(like) * first * second:
        raise InvalidArrayError(
            f"‖U‖²‖V‖² − ⟨U, V⟩² = {area:.3g}", "parallel vectors span no plane", "Pass two vectors in different directions"
        )
    return area
