"""The manifolds by name: a description of each, when to use it, and how it is made for a task.

The command line prints these texts, and the table of metrics in the documentation is made from them.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from math import inf

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import (
    Array,
    FixedRank,
    Identity,
    MonotoneManifold,
    PullbackManifold,
    Resolvent,
    Retraction,
    ScaledMonotoneManifold,
    SignedLog,
    Subspace,
    SubspaceManifold,
    WeightManifold,
    circulant,
    gain,
    left_invariant,
    mask,
    right_invariant,
    symmetric,
    zero_diagonal,
)
from manifolds.linear_algebra import eigenvalues
from riemannrnn.cost.task import Task
from riemannrnn.metrics.aggregated import aggregated_metric
from riemannrnn.metrics.convolutions import OF_KERNELS, euclidean_kernels, monotone_kernels, spectral_resolvent
from riemannrnn.metrics.entry import ManifoldEntry, Placed, Start
from riemannrnn.metrics.response import response_metric
from riemannrnn.network import Convolution, LowRank

RANK = 10
"""Rank of the low-rank weights of the comparison."""

DAMPING = 0.1
"""λ of the response metric of the comparison."""

ENOUGH = inf
"""Accepted relative residual of a gradient under the response metric after its inner iterations are used up. Any residual is
accepted, because every iterate descends."""

GROWTH = 3.0
"""Growth of the scales of scaled monotone weights, chosen by the accuracy on MNIST; see the benchmarks."""

DENSITY = 0.5
"""Share of the weights that the mask of the comparison keeps."""

INHIBITORY = 5
"""In the comparison one unit in this many is inhibitory under Dale's law."""


def _measured(make: Callable[[Task, Retraction], WeightManifold]) -> Callable[[Task, Retraction], Start]:
    """Return the start for a manifold with a metric that depends on the task, with the task's weights as point."""

    def begin(task: Task, retraction: Retraction) -> Start:
        manifold = make(task, retraction)
        return Start(manifold, manifold.point_at(task.weights), task)

    return begin


def _units(task: Task) -> int:
    return int(task.network.units[0])


def _mean_gains(task: Task, retraction: Retraction) -> WeightManifold:
    gains = task.cost(task.training).at(task.weights).gains
    return gain(array_namespace(gains).mean(gains, axis=0), retraction)


def _scaled(weights: Array, retraction: Retraction) -> Placed:
    return Placed(ScaledMonotoneManifold(weights.shape[0], GROWTH), weights)


def _signed(weights: Array, retraction: Retraction) -> Placed:
    """Dale's law with the signs of the columns of the weights.

    If they have no signs, one unit in `INHIBITORY` is inhibitory, and the weights are scaled back to their spectral radius.
    """
    xp, W = array_namespace(weights), weights
    signs = xp.sign(xp.sum(W, axis=0))
    if bool(xp.all((signs != 0) & (xp.min(signs * W, axis=0) >= 0))):
        return Placed(PullbackManifold(SignedLog(signs), W.shape[0], retraction), W)
    signs = np.where(np.arange(W.shape[0]) % INHIBITORY == INHIBITORY - 1, -1.0, 1.0)
    signs = xp.asarray(signs, dtype=W.dtype, device=device(W))
    start = abs(W) * signs
    start = start * (_radius(W) / _radius(start))
    return Placed(PullbackManifold(SignedLog(signs), W.shape[0], retraction), start)


def _radius(W: Array) -> float:
    return float(array_namespace(W).max(abs(eigenvalues(W))))


def _resolvent(n: int) -> WeightManifold:
    return PullbackManifold(Resolvent(), n, "additive")


def _constrained(
    make: Callable[[int], Subspace], around: Callable[[int], WeightManifold]
) -> Callable[[Array, Retraction], Placed]:
    """Return the function that makes a subspace of a manifold and projects the weights onto it for the start."""

    def place(weights: Array, retraction: Retraction) -> Placed:
        n = weights.shape[0]
        subspace = make(n)
        return Placed(SubspaceManifold(around(n), subspace), subspace.project(weights))

    return place


def _low_rank(task: Task, retraction: Retraction) -> Start:
    """Return the nearest weights of rank 10, by their singular value decomposition."""
    n = _units(task)
    rank = min(RANK, n)
    u, s, vt = array_namespace(task.weights).linalg.svd(task.weights)
    network = copy(task.network)
    network.connectivity = LowRank(rank)
    point = (u[:, :rank], s[:rank], vt[:rank, :])
    return Start(FixedRank(n, n, rank), point, replace(task, network=network, weights=point))


def _sparse(n: int) -> Subspace:
    return mask(np.random.default_rng(0).random((n, n)) < DENSITY)


EVERY_MANIFOLD = (
    ManifoldEntry(
        "euclidean",
        "Identity()",
        "φ = W",
        "Euclidean descent, the paper's ΔW1: the baseline. Its loss surface is full of singularities, where I − G W "
        "loses rank.",
        lambda n, retraction: PullbackManifold(Identity(), n, retraction),
        connected={Convolution: euclidean_kernels},
        retractions=("additive",),
    ),
    ManifoldEntry(
        "resolvent",
        "Resolvent()",
        "φ = (I − W)⁻¹ = A",
        "The paper's metric: for nearly linear networks and slow modes, with short steps. The singularities are infinitely far "
        "away. A geodesic can reach the edge W → ∞, where A is singular, and a line search may stop there. A geodesic step is "
        "ΔW2; in a linear network an additive step is ΔW3.",
        lambda n, retraction: PullbackManifold(Resolvent(), n, retraction),
        connected={Convolution: spectral_resolvent},
        retractions=("geodesic", "additive"),
    ),
    ManifoldEntry(
        "gain",
        "gain(g)",
        "grad J = L Lᵀ ∇J Rᵀ R, L = I − W G, R = I − G W",
        "The resolvent of units with gain g, also `Resolvent(g)`: for gains that differ much from 1 and between units. For one "
        "stimulus with gains g it is ΔW3. The comparison uses the mean gains at the start.",
        begin=_measured(_mean_gains),
    ),
    ManifoldEntry(
        "left-invariant",
        "left_invariant(n)",
        "grad J = B Bᵀ ∇J, B = I − W",
        "Reaches the lowest training loss in the benchmarks, and can lose stability. No step reaches the singular set or "
        "infinity. Curved; its formulas are in closed form.",
        left_invariant,
    ),
    ManifoldEntry(
        "right-invariant",
        "right_invariant(n)",
        "grad J = ∇J Bᵀ B",
        "As left-invariant, with the factors on the right. It removes the correlations of rates, not those of adjoints.",
        right_invariant,
    ),
    ManifoldEntry(
        "monotone",
        "MonotoneManifold(n)",
        "grad J = S ∇J S, S the symmetric part of I − W",
        "At every point each stimulus has exactly one fixed point, a stable one. Descent in W and descent in (I − W)⁻¹ are "
        "the same. No geodesic ends, and all formulas are in closed form: the first choice for line searches.",
        lambda n, retraction: MonotoneManifold(n),
        connected={Convolution: monotone_kernels},
    ),
    ManifoldEntry(
        "scaled-monotone",
        "ScaledMonotoneManifold(n)",
        "points [M, ε], I − W = diag(exp ε) (I − M)",
        "The same guarantee for more weights, including strong feedforward amplification: the default of training.",
        place=_scaled,
    ),
    ManifoldEntry(
        "response",
        "response_metric(cost, damping)",
        "g(V, V) = mean over stimuli of ‖δr[V]‖² + λ ‖V‖²",
        "Gauss–Newton: the length of a step is the change of the rates. For white stimuli and a linear network it is the "
        "resolvent metric. Correlated stimuli need many times fewer steps than under the resolvent metric, but each step costs "
        "more. `KFAC()` is its rule for mini-batches.",
        begin=_measured(
            lambda task, retraction: response_metric(
                task.cost(task.training, "mask"), DAMPING, max_iterations=task.inner_iterations, enough=ENOUGH
            )
        ),
        retractions=("additive",),
    ),
    ManifoldEntry(
        "aggregated",
        "aggregated_metric(cost)",
        "♯ = mean over stimuli of L Lᵀ · Rᵀ R",
        "The mean of the metrics that ΔW3 uses for each stimulus. Unlike ΔW3 it always descends; `check_descent` tells "
        "where ΔW3 and ΔW4 descend.",
        begin=_measured(lambda task, retraction: aggregated_metric(task.cost(task.training, "mask"))),
        retractions=("additive",),
    ),
    ManifoldEntry(
        "low-rank",
        "FixedRank(n, n, k)",
        "points (u, s, vᵀ) of W = u diag(s) vᵀ",
        "Large networks: a network with `connectivity=LowRank(k)` never forms W. The comparison uses rank 10. No trust "
        "regions.",
        begin=_low_rank,
        second_order=False,
    ),
    ManifoldEntry(
        "dale",
        "SignedLog(signs)",
        "φ = log(s W)",
        "Dale's law: no unit changes between excitation and inhibition, exactly; geodesics are exponentiated gradient. The "
        "comparison starts from the absolute weights, with one unit in five inhibitory. If all columns of the weights have "
        "signs, they are kept: the manifold of networks with `signs` or `inhibitory`.",
        place=_signed,
        keeps_signs=True,
    ),
    ManifoldEntry(
        "sparse",
        "SubspaceManifold(…, mask(present))",
        "induced by the resolvent",
        "Absent synapses stay absent, blocks stay blocks. The comparison keeps a random half of the weights.",
        place=_constrained(_sparse, _resolvent),
        retractions=("additive",),
    ),
    ManifoldEntry(
        "hollow",
        "SubspaceManifold(…, zero_diagonal(n))",
        "induced by the resolvent",
        "No unit excites itself.",
        place=_constrained(zero_diagonal, _resolvent),
        retractions=("additive",),
    ),
    ManifoldEntry(
        "symmetric",
        "SubspaceManifold(…, symmetric(n))",
        "grad J = S P(∇J) S, P the projection onto symmetric matrices",
        "Networks with an energy, and no oscillations. Stable by construction.",
        place=_constrained(symmetric, MonotoneManifold),
    ),
    ManifoldEntry(
        "circulant",
        "SubspaceManifold(…, circulant(n))",
        "grad J = S P(∇J) S, P the mean along circular diagonals",
        "Ring networks with the same synapses around every unit: n parameters. Stable by construction. Similar: `equivariant`.",
        place=_constrained(circulant, MonotoneManifold),
    ),
    *OF_KERNELS,
    ManifoldEntry("", "AutogradChart(forward, inverse)", "yours", "Your own chart, in two functions, as below."),
    ManifoldEntry("", "Composition(outer, inner)", "φ = outer(inner(W))", "Two charts, one after the other."),
    ManifoldEntry("", "MetricManifold(sharp, n)", "grad J = ♯∇J, yours", "Your own metric, in one function, as below."),
)
"""All manifolds in the documentation's table; a manifold without a name needs a function of the user."""

BY_NAME = {entry.name: entry for entry in EVERY_MANIFOLD if entry.name}
"""The manifolds with a name."""

CATALOGUE = {name: entry for name, entry in BY_NAME.items() if entry.of_matrices}
"""The manifolds of matrices of recurrent weights, by name: those that a comparison can start on."""


def metrics_table() -> str:
    """Return the table of metrics in the documentation, in Markdown."""
    rows = [f"| {each.name} | `{each.call}` | {each.formula} | {each.use} |" for each in EVERY_MANIFOLD]
    return "\n".join(
        ["| name | made by | chart φ(W), or gradient | what it is, and when to use it |", "|---|---|---|---|", *rows]
    )
