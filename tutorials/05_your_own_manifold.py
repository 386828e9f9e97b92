"""
A manifold of your own
======================

A hypothesis about plasticity is often a statement about which changes of synapses are cheap and which are dear: a synapse
near its largest size hardly grows; a neuron keeps the sum of its inputs. Such a statement is a Riemannian metric on weight
space. This page puts two of them into code, from nothing, and trains networks with them:

- as a **chart**, two functions: coordinates in which equal changes cost the same;
- as a **metric**, two functions: how a gradient becomes a step, and back.

Which one? If you can name coordinates in which your space is plain, write the chart: it is shorter, faster, and geodesics
are exact. Most metrics have no such coordinates. Then write the metric.
"""

# %%
# The task that both will learn: 20 tanh units take over the fixed points of another network, for 40 stimuli.

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
    SubspaceManifold,
    check_manifold,
    zero_diagonal,
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
SOLVERS = (SteepestDescent, ConjugateGradient, TrustRegions)

# %%
# A chart: synapses with a largest size
# -------------------------------------
# No synapse shall be stronger than 0.5, excitatory or inhibitory. Clipping would do that and stop learning at the bound
# for good. A chart does it smoothly. Let the coordinate of a synapse be φ(W) = ½ artanh(2 W): nearly W itself in the
# middle, infinite at ±½. Learning moves freely in the coordinate, and the synapse never gets there.
#
# `AutogradChart` takes φ and its inverse. What the two must satisfy:
#
# 1. They take a matrix and return one of the same shape, and are written with `autograd.numpy`, which differentiates them.
# 2. They undo each other: inverse(forward(W)) = W for every point W.
# 3. `forward` is smooth with an invertible derivative. Points are the W at which it is finite; they form an open set.
# 4. `inverse` takes *every* matrix. Steps are made in coordinates, and any coordinates may come. The check tries
#    coordinates of the size of its points; where an inverse ends further out, as arctanh does at 1, only a long step tells: try
#    `inverse` there yourself.
# 5. Random points are drawn around `inverse(0)`. If that is no good place, pass other coordinates as `origin`.

BOUND = 0.5


def forward(W):
    return BOUND * anp.arctanh(W / BOUND)


def inverse(Z):
    return BOUND * anp.tanh(Z / BOUND)


bounded = PullbackManifold(AutogradChart(forward, inverse), N, seed=0)

# %%
# That is a whole manifold. Metric, gradient, Hessian, geodesics, logarithm, distance and transport are derived from the
# two functions. `check_manifold` tests all of them at a random point, against each other and against finite steps. Its
# report is true if all is well, and prints a line for each formula.

report = check_manifold(bounded)
print(report)
assert report

# %%
# "Relative error" lines compare two ways to one result. "Slope" lines shorten a step t and watch the error of a formula:
# with a right first derivative it falls like t², with a right second one like t³.
#
# Reports differ from point to point, so check where you will work, too: `check_manifold(bounded, start)`.

assert check_manifold(bounded, start)

# %%
# When a chart is wrong
# ---------------------
# The usual mistake is a factor that one function has and the other lacks.


def failures(report):
    """Print how many checks failed, and the first four of them."""
    failed = [result for result in report if not result]
    print(f"{len(failed)} checks failed, the first of them:")
    for result in failed[:4]:
        print(f"  {result}")


def careless_inverse(Z):
    return BOUND * anp.tanh(Z)  # Z / BOUND was meant


wrong = check_manifold(PullbackManifold(AutogradChart(forward, careless_inverse), 4, seed=0))
failures(wrong)
assert not wrong
assert not wrong["chart inverse"]
assert wrong["chart differential"]

# %%
# Read such a report from the top. The first failure names the cause, "chart inverse": the functions do not undo each
# other. What is below follows from it. `chart differential` passed, for it concerns `forward` alone.
#
# A second one: φ(W) = W² breaks rules 2 and 4. W and −W share their coordinate, and negative coordinates have no root. The
# report names the inverse again, and then what fails for it: steps end in NaN. In training you would meet that as an error
# of a later step, or not at all: a wrong inverse can train to the end, to something else than you meant. Here you
# meet it at once.

with np.errstate(invalid="ignore"):  # roots of negative coordinates
    square = PullbackManifold(AutogradChart(lambda W: W**2, anp.sqrt, origin=1.0), 4, seed=0)
    report = check_manifold(square, 0.3 - 0.5 * np.eye(4))
failures(report)
assert not report["chart inverse"]

# %%
# Weights that are no point are refused, with the reason.

try:
    train(network, 3 * np.eye(N), stimuli, loss, "descent", manifold=bounded)
except ManifoldError as error:
    print(f"{type(error).__name__}: {error}")
else:
    raise AssertionError("weights beyond the bound were accepted")

# %%
# A chart in use
# --------------
# A manifold goes wherever the package takes one. `train` takes it with a rule: "descent" is plain descent along
# geodesics, "adam" keeps its moments in your coordinates. We learn with and without the bound until the loss is the same.

runs = {
    name: train(
        network,
        start,
        stimuli,
        loss,
        "adam",
        0.04,
        epochs=150,
        manifold=manifold,
        guard=False,
        stop=LossBelow(4e-3),
    )
    for name, manifold in (("Euclidean", flat_space), ("bounded", bounded))
}
for name, run in runs.items():
    print(
        f"{name:10} {len(run.loss)} steps, largest synapse {np.abs(run.weights).max():.3f}. {run.stopped}"
    )
assert all(run.converged for run in runs.values())
assert np.abs(runs["bounded"].weights).max() < BOUND < np.abs(runs["Euclidean"].weights).max()

figure, ax = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
bins = np.linspace(-0.7, 0.7, 43)
ax.hist(
    runs["Euclidean"].weights.ravel(),
    bins,
    histtype="step",
    color=EUCLIDEAN,
    lw=1.5,
    ls="--",
    label="Euclidean",
)
ax.hist(
    runs["bounded"].weights.ravel(),
    bins,
    histtype="step",
    color=OURS,
    lw=1.5,
    label="bounded chart",
)
for edge in (-BOUND, BOUND):
    ax.axvline(edge, color="black", lw=0.8, ls=":")
ax.set(
    xlabel="learned weight",
    ylabel="synapses per bin",
    xlim=(-0.7, 0.7),
    title="The chart keeps every synapse between −0.5 and 0.5",
)
ax.legend(frameon=False)
plt.show()

# %%
# `cost.problem(manifold)` is a problem for any optimiser of pymanopt. Trust regions use the Hessian, which is there as well.

for solver in SOLVERS:
    result = solver(verbosity=0, max_iterations=6).run(cost.problem(bounded), initial_point=start)
    largest = np.abs(result.point).max()
    print(
        f"{solver.__name__:18} loss {cost(start):.3f} → {result.cost:.4f}, largest synapse {largest:.3f}"
    )
    assert result.cost < 0.5 * cost(start)
    assert largest < BOUND

# %%
# And it combines with what is there. No self-excitation *and* a largest size:

hollow = SubspaceManifold(PullbackManifold(bounded.chart, N, seed=0), zero_diagonal(N))
bare = start * (1 - np.eye(N))
result = ConjugateGradient(verbosity=0, max_iterations=6).run(
    cost.problem(hollow), initial_point=bare
)
assert np.all(np.diag(result.point) == 0)
assert np.abs(result.point).max() < BOUND

# %%
# A metric: neurons that keep the strength of their input
# -------------------------------------------------------
# Synaptic scaling holds the total input strength of a neuron near a set point, while single synapses come and go. As a
# metric: to stretch or shrink the whole row w of incoming weights is dear; to redistribute strength among its synapses is
# cheap. The Riemannian gradient of a row with Euclidean gradient p is then p, less most of its part along w:
#
#     ♯p = p − k w (w·p) / (s² + w·w),    0 ≤ k < 1.
#
# No coordinates make this metric plain, as we shall see. `MetricManifold` takes two functions, sharp and flat:
#
# 1. `sharp(W, P)` returns ♯P. In P it is **linear**, **symmetric**: ⟨Q, ♯P⟩ = ⟨P, ♯Q⟩, and **positive**: ⟨P, ♯P⟩ > 0. It
#    is smooth in W and written with `autograd.numpy`, for geodesics need its derivative.
# 2. `flat(W, V)` is its inverse in the second argument: flat(W, sharp(W, P)) = P. It is optional; without it conjugate
#    gradients invert `sharp`, some calls each time. Here Sherman and Morrison's formula gives it.
#
# Rows do not mix, so for k < 1 the metric is positive: along w the factor is 1 − k w·w / (s² + w·w) > 0, across it 1.

STIFFNESS, SCALE = 0.9, 0.25  # k and s²


def sharp(W, P):
    along, size = anp.sum(W * P, axis=1, keepdims=True), anp.sum(W**2, axis=1, keepdims=True)
    return P - STIFFNESS * W * along / (SCALE + size)


def flat(W, V):
    along, size = anp.sum(W * V, axis=1, keepdims=True), anp.sum(W**2, axis=1, keepdims=True)
    return V + STIFFNESS * W * along / (SCALE + (1 - STIFFNESS) * size)


# %%
# Geodesics have no formula now: they are integrated, with the derivative of `sharp` in W, by autograd. So check a small
# case. One neuron with two inputs, a 1 × 2 matrix, holds all of it. And check where the metric bends little on the scale
# of the vectors, which have length one: here at a long row. Near w = 0 it bends so much that a logarithm may find another
# geodesic than the one that was sent out, and seem wrong.
#
# Two functions make the metric. Two more are optional, for speed: the derivative along V of ♯P, and that of ⟨P, ♯Q⟩. With
# them the check takes a ninth of the time (else some 15 seconds), and checks them, too.


def sharp_derivative(W, P, V):
    size, along = (
        SCALE + anp.sum(W**2, axis=1, keepdims=True),
        anp.sum(W * P, axis=1, keepdims=True),
    )
    changes = V * along + W * anp.sum(V * P, axis=1, keepdims=True)
    return -STIFFNESS * (
        changes / size - 2 * W * along * anp.sum(W * V, axis=1, keepdims=True) / size**2
    )


def sharp_gradient(W, P, Q):
    size = SCALE + anp.sum(W**2, axis=1, keepdims=True)
    p, q = anp.sum(W * P, axis=1, keepdims=True), anp.sum(W * Q, axis=1, keepdims=True)
    return -STIFFNESS * ((P * q + Q * p) / size - 2 * W * p * q / size**2)


derivatives = {"sharp_derivative": sharp_derivative, "sharp_gradient": sharp_gradient}
small = MetricManifold(sharp, (1, 2), flat=flat, seed=0, **derivatives)
report = check_manifold(small, np.array([[4.0, 2.0]]))
print(report)
assert report

# %%
# When a metric is wrong
# ----------------------
# A wrong `flat` is found by "gradient duality", ⟨grad J, V⟩ = DJ[V]: metric and gradient must speak of one another. A
# `sharp` that is not positive stops conjugate gradients, which the error says. Both are cheap to find, without any
# geodesic to wait for, if the metric is tried before it is checked:


def careless_flat(W, V):
    along, size = anp.sum(W * V, axis=1, keepdims=True), anp.sum(W**2, axis=1, keepdims=True)
    return V + STIFFNESS * W * along / (SCALE + size)  # the factor (1 − k) was forgotten


w, U, V = np.array([[0.5, 0.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
careless = MetricManifold(sharp, (1, 2), flat=careless_flat)
predicted = careless.inner_product(w, careless.euclidean_to_riemannian_gradient(w, U), U)
print(f"⟨grad J, V⟩ = {predicted:.3f}, and DJ[V] = {np.sum(U * U):.3f}")
assert abs(predicted - 1) > 0.05


def too_stiff(W, P):
    return P - 3 * W * anp.sum(W * P, axis=1, keepdims=True) / (
        SCALE + anp.sum(W**2, axis=1, keepdims=True)
    )


try:
    MetricManifold(too_stiff, (1, 2)).norm(np.array([[0.6, 0.8]]), np.array([[0.6, 0.8]]))
except ManifoldError as error:
    print(f"{type(error).__name__}: {error}")
else:
    raise AssertionError("a metric that is not positive was accepted")

# %%
# Is it true that no coordinates make it plain? A metric has such coordinates where its curvature is zero, and there alone.

curvature = MetricManifold(sharp, (1, 2), flat=flat).sectional_curvature(w, U, V)
print(f"sectional curvature {curvature:.2f}; of the bounded chart it is 0 everywhere")
assert abs(curvature) > 0.1

# %%
# A metric in use
# ---------------
# With `retraction="additive"` a step is W + V and no geodesic is ever integrated. That is the choice for learning; the
# gradient is what the metric is for. As a rule it is `Descent(manifold)`;
# "adam" needs coordinates for its moments, which a chart has and a metric alone has not. Both runs end at the same loss.

scaling = MetricManifold(sharp, N, "additive", flat=flat, seed=0)
ends = {
    name: train(
        network, start, stimuli, loss, Descent(manifold), 0.1, epochs=60, stop=LossBelow(0.3)
    )
    for name, manifold in (("Euclidean", flat_space), ("scaling", scaling))
}
assert all(run.converged for run in ends.values())


def change_of_rows(W):
    """Return the relative change of the length of each row, and the angle in degrees by which it turned."""
    before, after = np.linalg.norm(start, axis=1), np.linalg.norm(W, axis=1)
    turned = np.degrees(np.arccos(np.sum(start * W, axis=1) / (before * after)))
    return after / before - 1, turned


stretch = {}
figure, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
for (name, run), colour, marker in zip(ends.items(), (EUCLIDEAN, OURS), "os", strict=True):
    stretched, turned = change_of_rows(run.weights)
    stretch[name] = np.mean(np.abs(stretched))
    print(
        f"{name:10} {len(run.loss)} steps: lengths change by {stretch[name]:.0%}, directions by {turned.mean():.0f}°"
    )
    ax.plot(turned, 100 * stretched, marker, color=colour, ms=5, label=name)
pairs = [
    change_of_rows(run.weights) for run in ends.values()
]  # a line joins the two fates of a neuron
ax.plot(
    *np.transpose([(turned, 100 * stretched) for stretched, turned in pairs], (1, 0, 2)),
    color="0.6",
    lw=0.8,
    zorder=0,
)
ax.axhline(0, color="black", lw=0.8)
ax.set(
    xlabel="turn of a neuron's input weights (degrees)", ylabel="change of their length (%)",
    title="The same loss, learned with less change of total input strength",
)  # fmt: skip
ax.legend(frameon=False)
plt.show()
assert stretch["scaling"] < 0.9 * stretch["Euclidean"]

# %%
# And under the optimisers of pymanopt, as before:

for solver in SOLVERS:
    result = solver(verbosity=0, max_iterations=6).run(cost.problem(scaling), initial_point=start)
    print(f"{solver.__name__:18} loss {cost(start):.3f} → {result.cost:.4f}")
    assert result.cost < 0.5 * cost(start)

# %%
# What to try next
# ----------------
# - Move the bound to 0.3. Which loss can still be reached?
# - Give each neuron a bound of its own: BOUND may be a column of shape (N, 1).
# - Put one chart after another: `Composition(AutogradChart(forward, inverse), another)`.
# - Raise STIFFNESS to 0.99, and watch lengths and steps.
# - For speed, float32 or a GPU, derive a class from `manifolds.Chart`; `Resolvent` is an example of its nine formulas and
#   three edges.
# - Functions of the network, not only of W, make metrics too: `response_metric(cost)` is one.
