"""
A manifold of your own
======================

A hypothesis about plasticity is often a statement about which changes of synapses are cheap, and which are expensive: a synapse
near its largest size hardly grows; a neuron keeps the sum of its inputs. Such a statement is a Riemannian metric on weight space.
This page puts two of them into code and trains networks with them:

- as a **chart**, two functions: coordinates in which equal changes cost the same;
- as a **metric**, two functions: how a gradient becomes a step, and back.

If you can name coordinates in which your space is flat, write the chart. It is shorter and faster, and geodesics are exact. Most
metrics have no such coordinates. Then write the metric.
"""

# %%
# The task for both: 20 tanh units learn the fixed points of another network, for 40 stimuli.

import autograd.numpy as anp
import matplotlib.pyplot as plt
import numpy as np
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import (
    AutogradChart,
    Identity,
    ManifoldError,
    MetricManifold,
    PullbackManifold,
    check_manifold,
)
from riemannrnn import FixedPointCost, RateNetwork, SquaredError, train
from riemannrnn.rules.descent import Descent
from riemannrnn.training.stopping import LossBelow

plt.rcParams.update(
    {"font.size": 8, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}
)
EUCLIDEAN, OURS = "#D55E00", "#0072B2"

N = 20
network = RateNetwork(N, seed=0)
stimuli = 0.5 * np.random.default_rng(0).standard_normal((40, N))
teacher = RateNetwork(N, seed=1).initial_weights(0.9)
loss = SquaredError(network.fixed_points(teacher, stimuli).rates)
cost = FixedPointCost(network, stimuli, loss)
start = network.initial_weights(0.4)
flat_space = PullbackManifold(Identity(), N)

# %%
# A chart: synapses with a largest size
# -------------------------------------
# No synapse shall be stronger than 0.5. Clipping would do that, but learning would stop at the bound for good. A chart does it
# smoothly. Let the coordinate of a synapse be φ(W) = ½ artanh(2 W): nearly W in the middle, infinite at ±½. Learning moves
# freely in the coordinate, and the synapse never reaches the bound.
#
# `AutogradChart` takes φ and its inverse. Both take a matrix and return a matrix of the same shape, and are written with
# `autograd.numpy`, which differentiates them. Points are the W at which φ is finite. The inverse must take *every* matrix,
# because steps are made in coordinates.

BOUND = 0.5


def forward(W):
    return BOUND * anp.arctanh(W / BOUND)


def inverse(Z):
    return BOUND * anp.tanh(Z / BOUND)


bounded = PullbackManifold(AutogradChart(forward, inverse), N, seed=0)

# %%
# That is a whole manifold. Metric, gradient, Hessian, geodesics, logarithm, distance and transport are derived from the
# two functions. `check_manifold` tests all of them at a random point. Its report is true if all is well.

report = check_manifold(bounded)
print(report)
assert report

# %%
# Look at it
# ----------
# Two synapses can be drawn. An ellipse shows the changes of one length: near the bound, a small change is as long as a large
# change in the middle. The geodesic, the shortest path between two points, bends away from the bound.


def draw_ellipses(ax, manifold, places, radius, colour):
    """Draw the changes of length `radius` of two synapses, a 1 × 2 matrix, at several places."""
    angles = np.linspace(0, 2 * np.pi, 61)
    basis = np.eye(2)[:, None, :]
    for place in places:
        W = np.array([place])
        gram = [[manifold.inner_product(W, U, V) for V in basis] for U in basis]
        values, vectors = np.linalg.eigh(gram)
        x, y = radius * (vectors / np.sqrt(values)) @ [np.cos(angles), np.sin(angles)]
        ax.plot(place[0] + x, place[1] + y, color=colour, lw=0.9)


def draw_geodesic(ax, manifold, first, last, colour):
    """Draw the geodesic between two places, and return its points."""
    first, last = np.array([first]), np.array([last])
    path = manifold.geodesic(first, manifold.log(first, last))
    points = np.array([path(time)[0] for time in np.linspace(0, 1, 40)])
    ax.plot(*points.T, color=colour, lw=2)
    ax.plot(*points[[0, -1]].T, "o", color=colour, ms=4)
    return points


def grid(half_width, count=5):
    """Return places on a square."""
    axis = np.linspace(-half_width, half_width, count)
    return [(x, y) for x in axis for y in axis]


two_flat = PullbackManifold(Identity(), (1, 2))
two_bounded = PullbackManifold(AutogradChart(forward, inverse), (1, 2))
figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.2), layout="constrained", sharey=True)
for ax, manifold, colour, title in (
    (axes[0], two_flat, EUCLIDEAN, "Euclidean"),
    (axes[1], two_bounded, OURS, "bounded chart"),
):
    draw_ellipses(ax, manifold, grid(0.42), 0.08, colour)
    points = draw_geodesic(ax, manifold, (-0.47, -0.3), (0.3, 0.47), colour)
    ax.set(
        xlim=(-0.55, 0.55), ylim=(-0.55, 0.55), aspect="equal", xlabel="first synapse", title=title
    )
    for edge in (-BOUND, BOUND):
        ax.axvline(edge, color="black", lw=0.8, ls=":")
        ax.axhline(edge, color="black", lw=0.8, ls=":")
axes[0].set_ylabel("second synapse")
plt.show()
assert abs(points).max() < BOUND

# %%
# When a chart is wrong
# ---------------------
# The usual mistake is a factor that one function has and the other lacks. Read the report from the top. The first failure
# names the cause, "chart inverse": the functions do not undo each other. The failures below follow from it.


def careless_inverse(Z):
    return BOUND * anp.tanh(Z)  # Z / BOUND was meant


wrong = check_manifold(PullbackManifold(AutogradChart(forward, careless_inverse), 4, seed=0))
failed = [result for result in wrong if not result]
print(f"{len(failed)} checks failed, the first of them:", *failed[:3], sep="\n  ")
assert not wrong
assert not wrong["chart inverse"]
assert wrong["chart differential"]

# %%
# Weights that are not a point of the manifold are refused, with the reason.

try:
    train(network, 3 * np.eye(N), stimuli, loss, "descent", manifold=bounded)
except ManifoldError as error:
    print(f"{type(error).__name__}: {error}")
else:
    raise AssertionError("weights beyond the bound were accepted")

# %%
# A chart in use
# --------------
# A manifold goes wherever the package takes one. We learn with and without the bound until the loss is the same.

runs = {
    name: train(
        network, start, stimuli, loss, "adam", 0.04, epochs=150, manifold=manifold, guard=False,
        stop=LossBelow(4e-3),
    )
    for name, manifold in (("Euclidean", flat_space), ("bounded", bounded))
}  # fmt: skip
for name, run in runs.items():
    print(
        f"{name:10} {len(run.loss)} steps, largest synapse {np.abs(run.weights).max():.3f}. {run.stopped}"
    )
assert all(run.converged for run in runs.values())
assert np.abs(runs["bounded"].weights).max() < BOUND < np.abs(runs["Euclidean"].weights).max()

# %%
# `cost.problem(manifold)` is a problem for any optimiser of pymanopt. Trust regions use the Hessian, which is there as well.

for solver in (SteepestDescent, ConjugateGradient, TrustRegions):
    result = solver(verbosity=0, max_iterations=6).run(cost.problem(bounded), initial_point=start)
    largest = np.abs(result.point).max()
    print(
        f"{solver.__name__:18} loss {cost(start):.3f} → {result.cost:.4f}, largest synapse {largest:.3f}"
    )
    assert result.cost < 0.5 * cost(start)
    assert largest < BOUND

# %%
# A metric: neurons that keep the strength of their input
# -------------------------------------------------------
# Synaptic scaling holds the total input strength of a neuron near a set point, while single synapses come and go. As a
# metric: it is expensive to stretch or shrink the whole row w of incoming weights, and cheap to redistribute strength among
# its synapses. The Riemannian gradient of a row with Euclidean gradient p is then p, less most of its part along w:
#
#     ♯p = p − k w (w·p) / (s² + w·w),    0 ≤ k < 1.
#
# `MetricManifold` takes this function. In P it must be **linear**, **symmetric**, ⟨Q, ♯P⟩ = ⟨P, ♯Q⟩, and **positive**,
# ⟨P, ♯P⟩ > 0. It is smooth in W and written with `autograd.numpy`, because geodesics need its derivative. `flat`, the inverse
# of `sharp`, is optional. Without it, conjugate gradients invert `sharp`.

STIFFNESS, SCALE = 0.9, 0.25  # k and s²


def sharp(W, P):
    along, size = anp.sum(W * P, axis=1, keepdims=True), anp.sum(W**2, axis=1, keepdims=True)
    return P - STIFFNESS * W * along / (SCALE + size)


def flat(W, V):
    along, size = anp.sum(W * V, axis=1, keepdims=True), anp.sum(W**2, axis=1, keepdims=True)
    return V + STIFFNESS * W * along / (SCALE + (1 - STIFFNESS) * size)


# %%
# Check a small case, because geodesics are integrated. One neuron with two inputs, a 1 × 2 matrix, has everything. These two
# derivatives are optional. With them, the check takes a ninth of the time, and tests them too.


def sharp_derivative(W, P, V):
    """Return the derivative of ♯P along V."""
    size, along = (
        SCALE + anp.sum(W**2, axis=1, keepdims=True),
        anp.sum(W * P, axis=1, keepdims=True),
    )
    changes = V * along + W * anp.sum(V * P, axis=1, keepdims=True)
    return -STIFFNESS * (
        changes / size - 2 * W * along * anp.sum(W * V, axis=1, keepdims=True) / size**2
    )


def sharp_gradient(W, P, Q):
    """Return the gradient of ⟨P, ♯Q⟩ in W."""
    size = SCALE + anp.sum(W**2, axis=1, keepdims=True)
    p, q = anp.sum(W * P, axis=1, keepdims=True), anp.sum(W * Q, axis=1, keepdims=True)
    return -STIFFNESS * ((P * q + Q * p) / size - 2 * W * p * q / size**2)


derivatives = {"sharp_derivative": sharp_derivative, "sharp_gradient": sharp_gradient}
small = MetricManifold(sharp, (1, 2), flat=flat, seed=0, **derivatives)
report = check_manifold(small, np.array([[4.0, 2.0]]))
print(report)
assert report

# %%
# In the picture, ellipses are long across the row and short along it: turning is cheap, and growing is expensive. The geodesic
# between two rows of equal strength goes around the origin.

figure, ax = plt.subplots(figsize=(3.4, 3.2), layout="constrained")
draw_ellipses(ax, small, grid(1.6), 0.22, OURS)
points = draw_geodesic(ax, small, (1.5, -0.6), (-0.6, 1.5), OURS)
ax.plot([1.5, -0.6], [-0.6, 1.5], color=EUCLIDEAN, ls="--", label="straight line")
ax.plot([], [], color=OURS, lw=2, label="geodesic")
ax.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal", xlabel="first synapse", ylabel="second synapse")
ax.legend(frameon=False, loc="lower left")
plt.show()
assert (
    np.linalg.norm(points, axis=1).min() > 0.64
)  # the distance of the straight line from the origin

# %%
# No coordinates make this metric flat, because its curvature is not zero:

w, U, V = np.array([[0.5, 0.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
curvature = MetricManifold(sharp, (1, 2), flat=flat).sectional_curvature(w, U, V)
print(f"sectional curvature {curvature:.2f}; on the bounded chart it is 0 everywhere")
assert abs(curvature) > 0.1

# %%
# A `sharp` that is not positive is found at once. Here the stiffness is above 1:


def too_stiff(W, P):
    along, size = anp.sum(W * P, axis=1, keepdims=True), anp.sum(W**2, axis=1, keepdims=True)
    return P - 3 * W * along / (SCALE + size)


try:
    MetricManifold(too_stiff, (1, 2)).norm(np.array([[0.6, 0.8]]), np.array([[0.6, 0.8]]))
except ManifoldError as error:
    print(f"{type(error).__name__}: {error}")
else:
    raise AssertionError("a metric that is not positive was accepted")

# %%
# A metric in use
# ---------------
# With `retraction="additive"` a step is W + V, and no geodesic is integrated. This is the choice for learning. As a rule it is
# `Descent(manifold)`. Both runs end at the same loss.

scaling = MetricManifold(sharp, N, "additive", flat=flat, seed=0)
ends = {
    name: train(
        network, start, stimuli, loss, Descent(manifold), 0.1, epochs=60, stop=LossBelow(0.3)
    )
    for name, manifold in (("Euclidean", flat_space), ("scaling", scaling))
}
assert all(run.converged for run in ends.values())

stretch = {}
figure, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
for (name, run), colour, marker in zip(ends.items(), (EUCLIDEAN, OURS), "os", strict=True):
    before, after = np.linalg.norm(start, axis=1), np.linalg.norm(run.weights, axis=1)
    turned = np.degrees(np.arccos(np.sum(start * run.weights, axis=1) / (before * after)))
    stretch[name] = np.mean(np.abs(after / before - 1))
    print(
        f"{name:10} {len(run.loss)} steps: lengths change by {stretch[name]:.0%}, directions by {turned.mean():.0f}°"
    )
    ax.plot(turned, 100 * (after / before - 1), marker, color=colour, ms=5, label=name)
ax.axhline(0, color="black", lw=0.8)
ax.set(
    xlabel="turn of a neuron's input weights (degrees)",
    ylabel="change of their length (%)",
    title="The same loss, learned with less change of total input strength",
)
ax.legend(frameon=False)
plt.show()
assert stretch["scaling"] < 0.9 * stretch["Euclidean"]

# %%
# What to try next
# ----------------
# - Move the bound to 0.3. Which loss can still be reached?
# - Give each neuron a bound of its own: BOUND may be a column of shape (N, 1).
# - Forbid self-excitation as well: `SubspaceManifold(bounded, zero_diagonal(N))`.
# - Put one chart after another: `Composition(AutogradChart(forward, inverse), another)`.
# - Raise STIFFNESS to 0.99, and watch lengths and steps.
# - For speed, float32 or a GPU, derive a class from `manifolds.Chart`. `Resolvent` is an example.
# - Functions of the network, not only of W, make metrics too: `response_metric(cost)` is one.
