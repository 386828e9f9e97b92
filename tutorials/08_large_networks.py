"""
Large networks: precision, low rank, and the GPU
================================================

A network of thousands of units needs the same code as a network of fifty. Only the price changes. This tutorial measures the price
in double and single precision, with weights of low rank, and on a GPU if there is one. Times are ratios on the machine that runs
it. Accuracies hold everywhere.
"""

# %%
# One gradient, three precisions
# ------------------------------
# The task: the gradient of the loss on 256 handwritten digits. That takes the fixed points of all stimuli and one linear
# system for each. ``clock`` gives the least time of three.

import time

import matplotlib.pyplot as plt
import numpy as np

from manifolds import FixedRank
from riemannrnn import (
    Automatic,
    BackendError,
    CrossEntropy,
    FixedPointCost,
    LowRank,
    RateNetwork,
    to_backend,
    train,
)
from riemannrnn.data import load_digits
from riemannrnn.rules import Descent

plt.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.titlesize": 10}
)
digits, test = load_digits().split(256, 500, seed=0)


def gradient(network, weights, solver="auto"):
    """Return the evaluation of the cost at the weights, with its gradient computed."""
    dataset = digits.to(network.namespace)
    stimuli = network.namespace.astype(dataset.stimuli, network.input_weights.dtype)
    evaluation = FixedPointCost(network, stimuli, CrossEntropy(dataset.labels), solver=solver).at(
        weights
    )
    _ = evaluation.gradient
    return evaluation


def clock(*arguments):
    """Return the evaluation, and the least time of three in seconds."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        evaluation = gradient(*arguments)
        times.append(time.perf_counter() - started)
    return evaluation, min(times)


# %%
# The ``dtype`` of a network is float64 or float32, and everything that is computed with it has this dtype. For a float64
# network the automatic solver iterates in float32, and corrects and certifies the result in float64.
# ``Automatic(precision="native")`` iterates in float64.

variants = {
    "float64, native": (np.float64, Automatic(precision="native")),
    "float64, mixed": (np.float64, Automatic(precision="mixed")),  # the default
    "float32": (np.float32, Automatic()),
}
found, seconds = {}, {}
for name, (dtype, solver) in variants.items():
    network = RateNetwork(500, 64, 10, seed=0, dtype=dtype)
    found[name], seconds[name] = clock(network, network.initial_weights(radius=0.9), solver)

exact = found["float64, native"]
error = {
    name: float(np.linalg.norm(each.gradient - exact.gradient) / np.linalg.norm(exact.gradient))
    for name, each in found.items()
}
for name, each in found.items():
    points = each.fixed_points
    print(f"{name}: {points.solver}")
    print(
        f"  residual {float(points.residual.max()):.0e}, gradient off by {error[name]:.0e}, dtype {each.gradient.dtype}"
    )

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.4), sharey=True, layout="constrained")
colours = {"float64, native": "#D55E00", "float64, mixed": "#0072B2", "float32": "#009E73"}
for place, name in enumerate(variants):
    share = 100 * seconds[name] / seconds["float64, native"]
    left.barh(place, share, color=colours[name], height=0.6)
    left.annotate(
        f"{share:.0f}", (share, place), xytext=(3, 0), textcoords="offset points", va="center"
    )
    if error[name]:
        right.plot(error[name], place, "o", color=colours[name], ms=8)
        right.annotate(
            f"{error[name]:.0e}",
            (error[name], place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
        )
right.annotate("the reference", (1e-12, 0), xytext=(3, 0), textcoords="offset points", va="center")
left.set(xlabel="time (% of float64, native)", xlim=(0, 118), ylim=(2.5, -0.5))
left.set_yticks(range(3), list(variants))
right.set(xscale="log", xlim=(1e-12, 1e-3), xlabel="relative error of the gradient")
figure.suptitle("Mixed precision is as exact as float64, float32 exact enough for learning")
plt.show()

assert exact.gradient.dtype == found["float64, mixed"].gradient.dtype == np.float64
assert error["float64, mixed"] < 1e-8
assert found["float32"].gradient.dtype == np.float32
assert error["float32"] < 1e-4
assert "float32 corrected in float64" in found["float64, mixed"].fixed_points.solver

# %%
# Mixed precision gives the same gradient as float64, to the tolerance asked for. Pure float32 gives five digits. A
# mini-batch estimates the mean over all stimuli much less precisely: **train in float32, analyse in float64**.
#
# What "auto" says
# ----------------
# The automatic solver looks at a sample of the batch, picks a method, and writes in ``.solver`` what it picked. Here it
# meets weights of growing spectral radius.

print(f"{'radius':>6s} {'dtype':>8s} {'iterations':>10s} {'converged':>9s}  solver")
picked = {}
for radius in (0.05, 0.5, 0.9, 1.6):
    for dtype in (np.float32, np.float64):
        network = RateNetwork(200, 64, 10, seed=0, dtype=dtype)
        points = network.fixed_points(
            network.initial_weights(radius),
            digits.stimuli.astype(dtype),
            on_failure="mask",
            max_iterations=200,
        )
        picked[radius, dtype] = points
        converged, iterations = points.converged.mean(), points.iterations.max()
        print(
            f"{radius:6.2f} {np.dtype(dtype).name:>8s} {iterations:10d} {converged:9.0%}  {points.solver}"
        )

# %%
# - Where r ↦ f(W r + x) contracts fast it is simply iterated: **plain iteration**.
# - Where it contracts, the **chord map** takes the mean gains of the sample into account: one factor of a matrix for all
#   stimuli. The slower the contraction, the more acceleration.
# - Where it does not, a stimulus may have several fixed points. The solver follows the **dynamics** from f(x) to the fixed
#   point at which they settle. If they settle nowhere, it tries Newton's method. Weights of this size are chaotic without a
#   stimulus, and for some stimuli no fixed point may be found. These stimuli are marked in ``converged``.

assert "plain iteration" in picked[0.05, np.float32].solver
assert "chord map" in picked[0.5, np.float32].solver
assert "the dynamics" in picked[1.6, np.float32].solver
assert all(points.converged.all() for (radius, _), points in picked.items() if radius < 1)

# %%
# Weights of low rank
# -------------------
# ``connectivity=LowRank(k)`` makes the weights W = u diag(s) vᵀ, of which only the factors exist: a product with W takes 2 n
# k numbers instead of n². Everything else stays as it was. To see that, compare it with the dense network of the same W.

low, dense = (
    RateNetwork(300, 64, 10, seed=0, connectivity=connectivity)
    for connectivity in (LowRank(10), None)
)
u, s, vt = low.initial_weights(radius=0.5)
difference = (
    low.fixed_points((u, s, vt), digits.stimuli).rates
    - dense.fixed_points((u * s) @ vt, digits.stimuli).rates
)
print(f"largest difference of the rates: {np.abs(difference).max():.0e}")
assert np.abs(difference).max() < 1e-8

# %%
# How the price grows with the number of units, in float32, relative to 250 dense units:

sizes = {"dense": (250, 500, 1000), "rank 10": (250, 500, 1000, 2000, 4000)}
price = {}
for name, connectivity in (("dense", None), ("rank 10", LowRank(10))):
    for n in sizes[name]:
        network = RateNetwork(n, 64, 10, seed=0, dtype=np.float32, connectivity=connectivity)
        _, price[name, n] = clock(network, network.initial_weights(radius=0.5))

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.9), layout="constrained")
for name, colour, style in (("dense", "#D55E00", "o--"), ("rank 10", "#0072B2", "s-")):
    units = np.array(sizes[name])
    left.loglog(
        units,
        [price[name, n] / price["dense", 250] for n in units],
        style,
        color=colour,
        label=name,
    )
units = np.array(sizes["rank 10"])
right.loglog(units, 4 * units**2 / 2**20, "o--", color="#D55E00")
right.loglog(units, 4 * (2 * 10 * units + 10) / 2**20, "s-", color="#0072B2")
left.set(ylabel="time of a gradient\n(250 dense units: 1)")
right.set(ylabel="memory of the weights (MiB)")
for ax in (left, right):
    ax.set(xlabel="units")
    ax.set_xticks(units, [f"{n}" for n in units])
    ax.xaxis.minorticks_off()
    ax.yaxis.set_major_formatter("{x:g}")
figure.legend(loc="outside lower center", ncols=2, frameon=False)
figure.suptitle("Low rank makes thousands of units affordable")
plt.show()

# %%
# Learning at low rank is learning on a manifold: ``FixedRank(n, n, k)`` holds the matrices of rank k. Two thousand units, on
# one core, in seconds:

n, k = 2000, 10
network = RateNetwork(n, 64, 10, seed=0, dtype=np.float32, connectivity=LowRank(k))
start = network.initial_weights(radius=0.5)
stimuli = {
    name: data.stimuli.astype(np.float32) for name, data in (("training", digits), ("test", test))
}
history = train(
    network,
    start,
    stimuli["training"],
    digits.labels,
    rule=Descent(FixedRank(n, n, k)),
    learning_rate=1.0,
    batch_size=64,
    epochs=6,
    seed=0,
    held_out=(stimuli["test"], test.labels),
)
u, s, vt = history.weights
print(
    f"{history.stopped} The guard shortened {history.guard_actions} of {len(history.loss)} steps."
)
print(
    f"test accuracy {history.test_accuracy[-1]:.2f}; {u.size + s.size + vt.size:,} numbers instead of {n * n:,}"
)
assert history.loss[-1] < history.loss[0] - 0.3
assert (u.shape, s.shape, vt.shape) == ((n, k), (k,), (k, n))
assert u.dtype == np.float32

# %%
# On a GPU
# --------
# ``RateNetwork(..., backend="cupy")`` puts the weights on the GPU, with the same numbers. Stimuli are moved there once, by
# ``Dataset.to`` or ``to_backend``. Mixing arrays of two places is an error, because moving them silently would be slow.

try:
    on_gpu = RateNetwork(2000, 64, 10, seed=0, dtype=np.float32, backend="cupy")
except BackendError as refusal:
    print(f"No GPU was found, so this part is left out. {refusal}")
else:
    in_memory = RateNetwork(2000, 64, 10, seed=0, dtype=np.float32)
    pair = [clock(each, each.initial_weights(radius=0.5)) for each in (in_memory, on_gpu)]
    gradients = [to_backend(evaluation.gradient, "numpy") for evaluation, _ in pair]
    print(
        f"2000 dense units: the GPU takes 1/{pair[0][1] / pair[1][1]:.0f} of the time of the processor."
    )
    assert np.linalg.norm(gradients[1] - gradients[0]) < 1e-3 * np.linalg.norm(gradients[0])

# %%
# A GPU pays for large dense networks and large batches. A network of 50 units is faster on a processor.
#
# What to try next
# ----------------
# - ``RateNetwork(4000, ..., dtype=np.float32)``, dense: what do the times of the second figure let you expect?
# - ``adjoint_solver=Neumann(3)`` for ``FixedPointCost`` and ``train``: inexact gradients, which cost less.
# - ``LowRank(2)`` against ``LowRank(50)``: how much rank does the task need?
# - ``make bench``: a training step beside the matrix products that it uses, and beside other libraries.
