"""The table of manifolds for the conformance suite: to test a new manifold, add it here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import autograd.numpy as anp
import numpy as np

from manifolds import (
    AutogradChart,
    Chart,
    Composition,
    Identity,
    MetricManifold,
    MonotoneManifold,
    PullbackManifold,
    Resolvent,
    Retraction,
    SignedLog,
    SpectralMonotone,
    SpectralResolvent,
    Subspace,
    SubspaceManifold,
    WeightManifold,
    circulant,
    equivariant,
    left_invariant,
    mask,
    right_invariant,
    symmetric,
    tied,
    toeplitz,
    zero_diagonal,
)

N = 4
"""Rows and columns of a point."""


def resolvent_twin(dtype: type = np.float64, n: int = N) -> AutogradChart:
    """Return the resolvent chart as a user would write it."""
    identity = np.eye(n, dtype=dtype)
    return AutogradChart(lambda W: anp.linalg.inv(identity - W), lambda A: identity - anp.linalg.inv(A), origin=identity)


def arcsinh_chart() -> AutogradChart:
    """Return an elementwise chart, which has no edge."""
    return AutogradChart(anp.arcsinh, anp.sinh)


def gains(dtype: type = np.float64, n: int = N) -> np.ndarray:
    """Return gains that differ from unit to unit."""
    return np.linspace(0.5, 1.5, n).astype(dtype)


def signs(dtype: type = np.float64, n: int = N) -> np.ndarray:
    """Return signs of units, one in four inhibitory."""
    return np.where(np.arange(n) % 4 == 3, -1, 1).astype(dtype)


CHARTS: dict[str, Callable[[type], Chart]] = {
    "identity": lambda dtype: Identity(),
    "resolvent": lambda dtype: Resolvent(),
    "resolvent with gains": lambda dtype: Resolvent(gains(dtype)),
    "signed logarithm": lambda dtype: SignedLog(signs(dtype)),
    "resolvent by autograd": resolvent_twin,
    "arcsinh by autograd": lambda dtype: arcsinh_chart(),
    "linear by autograd": lambda dtype: AutogradChart(lambda W: 2 * W.T, lambda Z: Z.T / 2),
    "resolvent after arcsinh": lambda dtype: Composition(Resolvent(), arcsinh_chart()),
    "arcsinh after resolvent": lambda dtype: Composition(arcsinh_chart(), Resolvent()),
}


def complement(W: np.ndarray) -> np.ndarray:
    """Return B = I − W."""
    return np.eye(len(W), dtype=W.dtype) - W


def plastic_rows(W: np.ndarray, P: np.ndarray) -> np.ndarray:
    """Return ♯P of a curved metric without closed form: a unit with strong synapses changes all of them faster."""
    return (0.1 + anp.sum(W**2, axis=1, keepdims=True)) * P


SHARPS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "left-invariant": lambda W, P: complement(W) @ (complement(W).T @ P),
    "right-invariant": lambda W, P: (P @ complement(W).T) @ complement(W),
    "resolvent": lambda W, P: complement(W) @ (complement(W).T @ P @ complement(W).T) @ complement(W),
    "plastic rows": plastic_rows,
}
"""Metrics as a user would write them."""


def _pullback(chart: str, retraction: Retraction, dtype: type, seed: int) -> PullbackManifold:
    return PullbackManifold(CHARTS[chart](dtype), N, retraction, seed=seed, like=np.empty(0, dtype))


def _invariant(make: Callable[..., WeightManifold], retraction: Retraction, dtype: type, seed: int) -> WeightManifold:
    return make(N, retraction, seed=seed, like=np.empty(0, dtype))


def _metric(sharp: str, retraction: Retraction, dtype: type, seed: int) -> WeightManifold:
    return MetricManifold(SHARPS[sharp], N, retraction, seed=seed, like=np.empty(0, dtype))


def _monotone(retraction: Retraction, dtype: type, seed: int) -> WeightManifold:
    return MonotoneManifold(N, seed=seed, like=np.empty(0, dtype))


def blocks(n: int = N) -> np.ndarray:
    """Return the mask of two blocks on the diagonal."""
    side = np.arange(n) < n // 2
    return np.equal.outer(side, side)


SUBSPACES: dict[str, Subspace] = {
    "mask": mask(np.arange(N * N).reshape(N, N) % 3 > 0),
    "blocks": mask(blocks()),
    "zero diagonal": zero_diagonal(N),
    "symmetric": symmetric(N),
    "toeplitz": toeplitz(N),
    "circulant": circulant(N),
    "equivariant": equivariant([1, 0, 3, 2]),
    "tied blocks": tied(np.where(blocks(), np.arange(N) % 2, -1)),
}
"""Subspaces of every kind."""


def _subspace(subspace: str, metric: str, retraction: Retraction, dtype: type, seed: int) -> WeightManifold:
    around = {**CLOSED, **GEODESIC}[metric](retraction, dtype, seed)
    return SubspaceManifold(around, SUBSPACES[subspace])


TOTALLY_GEODESIC = {
    **{f"{subspace} in identity": partial(_subspace, subspace, "identity") for subspace in SUBSPACES},
    **{f"{subspace} in resolvent": partial(_subspace, subspace, "resolvent") for subspace in ("circulant", "symmetric")},
    "blocks in arcsinh by autograd": partial(_subspace, "blocks", "arcsinh by autograd"),
}
"""Subspaces with geodesics that are geodesics of the surrounding manifold."""

KERNELS = 2, 2, 3, 2
"""The shape of global kernels: two channels on a grid of 3 × 2."""


def _kernels(chart: Chart, retraction: Retraction, dtype: type, seed: int) -> PullbackManifold:
    return PullbackManifold(chart, KERNELS, retraction, seed=seed, like=np.empty(0, dtype))


def _spectral_monotone(retraction: Retraction, dtype: type, seed: int) -> WeightManifold:
    return SpectralMonotone(KERNELS[0], KERNELS[2:], seed=seed, like=np.empty(0, dtype))


OF_KERNELS: dict[str, Callable[..., Any]] = {
    "Euclidean kernels": partial(_kernels, Identity()),
    "spectral resolvent": partial(_kernels, SpectralResolvent(KERNELS[2:])),
}
"""Manifolds of the global kernels of convolutions."""

CLOSED: dict[str, Callable[..., Any]] = {
    **{chart: partial(_pullback, chart) for chart in CHARTS},
    "left-invariant": partial(_invariant, left_invariant),
    "right-invariant": partial(_invariant, right_invariant),
    **TOTALLY_GEODESIC,
    **OF_KERNELS,
}
"""Manifolds in closed form, made from retraction, dtype and seed."""

GEODESIC: dict[str, Callable[..., Any]] = {
    "monotone": _monotone,
    "spectral monotone": _spectral_monotone,
    **{
        f"{subspace} in monotone": partial(_subspace, subspace, "monotone")
        for subspace in ("symmetric", "circulant", "blocks", "equivariant")
    },
}
"""Manifolds with only one retraction, the geodesic."""

INTEGRATED: dict[str, Callable[..., Any]] = {"plastic rows": partial(_metric, "plastic rows")}
"""Manifolds with integrated geodesics; the other metrics of `SHARPS` are compared with their closed forms."""


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    metric: str
    retraction: Retraction
    dtype: type

    def __str__(self) -> str:
        return f"{self.metric}, {self.retraction}, {self.dtype.__name__}"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a point."""
        return KERNELS if self.metric in (*OF_KERNELS, "spectral monotone") else (N, N)

    def manifold(self, seed: int = 0) -> Any:
        """Return a new manifold, with random numbers from the seed."""
        return {**CLOSED, **GEODESIC, **INTEGRATED}[self.metric](self.retraction, self.dtype, seed)


CASES = [
    *(
        Case(metric, retraction, dtype)
        for metric in CLOSED
        for retraction in ("geodesic", "additive")
        for dtype in (np.float64, np.float32)
    ),
    *(Case(metric, "geodesic", dtype) for metric in GEODESIC for dtype in (np.float64, np.float32)),
    # Integration is slow: half of the combinations cover all differences.
    *(Case(metric, "geodesic", np.float64) for metric in INTEGRATED),
    *(Case(metric, "additive", np.float32) for metric in INTEGRATED),
]

CATALOGUE = [case for case in CASES if case.retraction == "geodesic" and case.dtype is np.float64]
"""One case for each metric, for tests that depend on neither retraction nor dtype."""

FLAT_GEOMETRIES = [case for case in CATALOGUE if case.metric in CHARTS]
"""Cases that a chart defines."""


def short_vector(manifold: WeightManifold, point: np.ndarray) -> np.ndarray:
    """Return a tangent vector whose geodesic stays well inside the manifold."""
    vector = manifold.random_tangent_vector(point)
    return vector * min(0.1, 0.3 * manifold.exit_time(point, vector))


TWINS = {
    "identity": lambda z: z,
    "tanh": anp.tanh,
    "relu": lambda z: anp.maximum(z, 0.0),
    "softplus": lambda z: anp.log(1 + anp.exp(z)),
    "sigmoid": lambda z: 1 / (1 + anp.exp(-z)),
    "power-law": lambda z: anp.where(z > 0, z, 0.0) ** 2,
}
"""The named activations, written for autograd."""


CALLS = {
    "inner product": lambda m, W, W2, V: m.inner_product(W, V, W2),
    "norm": lambda m, W, W2, V: m.norm(W, V),
    "gradient": lambda m, W, W2, V: m.euclidean_to_riemannian_gradient(W, V),
    "Hessian": lambda m, W, W2, V: m.euclidean_to_riemannian_hessian(W, V, W2, V),
    "exp": lambda m, W, W2, V: m.exp(W, V),
    "retraction": lambda m, W, W2, V: m.retraction(W, 100 * V),
    "log": lambda m, W, W2, V: m.log(W, W2),
    "distance": lambda m, W, W2, V: m.dist(W, W2),
    "transport": lambda m, W, W2, V: m.transport(W, W2, V),
    "middle": lambda m, W, W2, V: m.pair_mean(W, W2),
    "zero": lambda m, W, W2, V: m.zero_vector(W),
    "projection": lambda m, W, W2, V: m.projection(W, V),
    "exit time": lambda m, W, W2, V: m.exit_time(W, V),
    "edge": lambda m, W, W2, V: m.edge_distance(W),
    "random point": lambda m, W, W2, V: m.random_point(),
    "random vector": lambda m, W, W2, V: m.random_tangent_vector(W),
}
"""Calls of every method of a manifold, given the manifold, two points and a short tangent vector at the first."""


def fixed_point_problem(n=40, batch=200, radius=0.9, dtype=np.float64, seed=0, drive=1.0):
    """Return weights with a given spectral radius, and the drive of a batch."""
    generator = np.random.default_rng(seed)
    weights = radius * generator.standard_normal((n, n)) / n**0.5
    return weights.astype(dtype), (drive * generator.standard_normal((batch, n))).astype(dtype)
