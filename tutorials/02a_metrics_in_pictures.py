"""
Metrics in pictures
===================

A learning rule needs to know what a *small* change of the weights is. A metric says so: it measures the length of a change
V at the weights W. Gradient descent takes the step that lowers the loss most for its length, so another metric is another
learning rule, with another path to the same minimum.

This page draws five metrics on two circuits that are small enough to see whole. The next page counts steps and losses in a larger
network. The circuits here are linear, r = W r + x, so that every picture can be checked with pencil and paper. The names and calls
are the same for nonlinear circuits.
"""

# %%
# One neuron
# ----------
# A neuron that excites itself with weight W answers a stimulus x with the fixed point r = a x, where a = 1 / (1 − W) is its
# gain. We ask for a gain of 2, so the best weight is ½. The loss is the mean of ½ (r − 2x)², that is J = ½ (a − 2)² for stimuli
# of unit variance.

import matplotlib.pyplot as plt
import numpy as np

from manifolds import (
    AutogradChart,
    Composition,
    Identity,
    ManifoldError,
    MonotoneManifold,
    PullbackManifold,
    Resolvent,
    SubspaceManifold,
    left_invariant,
    mask,
)
from riemannrnn import FixedPointCost, RateNetwork, SquaredError
from riemannrnn.metrics.response import response_metric
from riemannrnn.plots.geodesics import METRIC_STYLES

plt.rcParams.update({"font.size": 8, "axes.titlesize": 9})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

COLOURS = {name: colour for name, (colour, _) in METRIC_STYLES.items()} | {"response": "#E69F00"}
METRICS = ("euclidean", "resolvent", "left-invariant", "monotone", "response")

neuron = RateNetwork(1, activation="identity")
x = np.array([[1.0], [-1.0]])
neuron_cost = FixedPointCost(neuron, x, SquaredError(2 * x))
flat = PullbackManifold(Identity(), 1)
resolvent = PullbackManifold(Resolvent(), 1)
invariant = left_invariant(1)

# %%
# A metric is a ruler. In one dimension it only says how many of its units lie between two weights:
#
# - **Euclidean**: W′ − W.
# - **Resolvent**: a′ − a, the change of the gain.
# - **Left-invariant**: log(1 − W) − log(1 − W′), the *relative* change of the gain.
#
# The singularity W = 1, where the fixed point runs away, is one unit from W = 0 on the first ruler. On the other two it is
# infinitely far away. No step of finite length reaches it.

zero, near_one = np.zeros((1, 1)), np.array([[1 - 1e-6]])
for manifold in (flat, resolvent, invariant):
    print(f"{manifold}: from W = 0 to W = 0.999999 it is {manifold.dist(zero, near_one):.4g}")
assert resolvent.dist(zero, near_one) > 9e5
assert np.isclose(invariant.dist(zero, near_one), np.log(1e6))

# %%
# In the figure every ruler is drawn under the loss, with a tick each quarter of a unit, both ways from W = 0. Where ticks are
# dense, steps are short. Before the singularity the loss rises without bound. A Euclidean step gets longer there, and the two
# other rulers make it shorter. Far to the left the loss is nearly level. There the ticks of the resolvent metric are far apart,
# so it crosses the plain in a few steps. Its ticks end at a = 0, that is at W = −∞, one unit from W = 0. It has no other edge.


def marks(manifold, spacing=0.25, least=-3.01):
    """Return the weights at multiples of `spacing` from W = 0 on a manifold of one neuron, from `least` on."""
    found = [0.0]
    for sign in (-1, 1):
        for count in range(1, 80):
            try:
                W = manifold.exp(zero, np.array([[sign * spacing * count]]))[0, 0]
            except ManifoldError:  # the geodesic has met the edge
                break
            if not least < W < 1:
                break
            found.append(W)
    return found


W_axis = np.linspace(-3, 0.93, 300)
a_axis = np.linspace(0, 4, 100)
assert np.isclose(neuron_cost(np.array([[-1.0]])), 0.5 * (0.5 - 2) ** 2)

figure, (left, right) = plt.subplots(
    1, 2, figsize=(6.4, 3.2), width_ratios=(2, 1), layout="constrained", sharey=True
)
figure.suptitle("One neuron: towards the cliff at W = 1 two of three rulers get finer", fontsize=9)
left.plot(W_axis, 0.5 * (1 / (1 - W_axis) - 2) ** 2, color="black")
left.axvline(1, color="0.5", ls=":", lw=1)
left.text(1.05, 3.7, "W = 1", color="0.3")
rulers = {"euclidean": flat, "resolvent": resolvent, "left-invariant": invariant}
for height, (name, manifold) in zip((-0.5, -1.0, -1.5), rulers.items(), strict=True):
    at = marks(manifold)
    left.plot(at, np.full(len(at), height), "|", color=COLOURS[name], ms=10, mew=1.3)
    left.text(-3.1, height, name, color=COLOURS[name], ha="right", va="center")
left.set(xlim=(-3, 1.5), ylim=(-1.9, 4), xlabel="weight W", ylabel="loss J", yticks=[0, 1, 2, 3, 4])
left.yaxis.set_label_coords(-0.08, 0.66)
right.plot(a_axis, 0.5 * (a_axis - 2) ** 2, color="black")
right.set(xlabel="gain a = 1 / (1 − W)", xlim=(0, 4))
plt.show()

# %%
# The five metrics of this page are only three in one dimension. Monotone and left-invariant agree there, and so do resolvent
# and response. (The response metric measures the change of the rates, here a x.) Two neurons tell them apart.

V = np.ones((1, 1))
for W in (np.array([[-1.0]]), np.array([[0.8]])):
    assert np.isclose(MonotoneManifold(1).norm(W, V), invariant.norm(W, V))
    assert np.isclose(response_metric(neuron_cost).norm(W, V), resolvent.norm(W, V))

# %%
# Two neurons
# -----------
# Neuron 1 excites itself with weight w and listens to neuron 2 with weight c. The other two synapses are absent:
#
#     W = [[w, c], [0, 0]],    r₂ = x₂,    r₁ = a x₁ + b x₂    with a = 1 / (1 − w), b = a c.
#
# The first row of A = (I − W)⁻¹ is (a, b). The stimuli of the two neurons are correlated by 0.8, as the stimuli of neighbours
# often are. The target is a = b = 2, so w = ½ and c = 1.


def stimuli_with(covariance, count, seed=0):
    """Return stimuli, a row each, with exactly this second moment."""
    sample = np.random.default_rng(seed).standard_normal((count, len(covariance)))
    orthonormal, _ = np.linalg.qr(sample)
    return count**0.5 * orthonormal @ np.linalg.cholesky(covariance).T


def circuit(w, c):
    return np.array([[w, c], [0.0, 0.0]])


covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
pair = RateNetwork(2, activation="identity")
x = stimuli_with(covariance, 20)
target = circuit(0.5, 1.0)
cost = FixedPointCost(pair, x, SquaredError(pair.fixed_points(target, x).rates))


def loss_of_response(a, b):
    """Return J(a, b) = ½ (δa, δb) C (δa, δb)ᵀ, a bowl whose contours are ellipses."""
    return 0.5 * ((a - 2) ** 2 + 1.6 * (a - 2) * (b - 2) + (b - 2) ** 2)


assert np.isclose(cost(circuit(-0.5, 0.3)), loss_of_response(1 / 1.5, 0.3 / 1.5))

# %%
# Each metric is a manifold. The response metric g(V, V) = mean ‖δr[V]‖² has no chart in general. In a linear network it has
# one, φ(W) = A √C with C the second moment of the stimuli, because δr = δA x. Two charts make it up, and with a chart all of
# its geometry is in closed form. We check it against the metric that the package computes from the network.

root = np.linalg.cholesky(covariance)
times_root = AutogradChart(lambda A: A @ root, lambda Z: Z @ np.linalg.inv(root))
manifolds = {
    "euclidean": PullbackManifold(Identity(), 2),
    "resolvent": PullbackManifold(Resolvent(), 2),
    "left-invariant": left_invariant(2),
    "monotone": MonotoneManifold(2),
    "response": PullbackManifold(Composition(times_root, Resolvent()), 2),
}
W = circuit(-0.5, 0.3)
as_chart = manifolds["response"].euclidean_to_riemannian_gradient(W, cost.gradient(W))
as_package = response_metric(cost).euclidean_to_riemannian_gradient(W, cost.gradient(W))
assert np.allclose(as_chart, as_package)

# %%
# The synapses that are absent must stay absent: `SubspaceManifold(manifold, mask(...))` is the same metric with only the two
# synapses free. Its gradients make the arrows of the next figures. All arrows have one length.
#
# A *geodesic ball* is the set of all weights within a given distance, here 0.2. It is drawn by its definition: send a geodesic
# of length 0.2 from the centre in every direction of the plane, by `exp`, and join the ends. (In the left-invariant metric a
# geodesic of the four weights bends slightly out of the plane. Then its shadow on the plane is drawn.) All balls of a panel
# have the same size in that metric. Where a ball looks small, the metric takes short steps.

synapses = mask([[True, True], [False, False]])
planes = {name: SubspaceManifold(manifold, synapses) for name, manifold in manifolds.items()}
basis = (circuit(1.0, 0.0), circuit(0.0, 1.0))


def direction_of_descent(name, W):
    """Return −grad J on the plane, shape (2,)."""
    return -planes[name].euclidean_to_riemannian_gradient(W, cost.gradient(W))[0]


def ball(manifold, W, radius=0.2, points=41):
    """Return the ends of geodesics of that length from W in the plane, shape (points, 2)."""
    gram = np.array([[manifold.inner_product(W, U, V) for V in basis] for U in basis])
    angles = np.linspace(0, 2 * np.pi, points)
    unit_circle = np.array([np.cos(angles), np.sin(angles)])
    circle = np.linalg.solve(np.linalg.cholesky(gram).T, unit_circle).T
    return np.array([manifold.exp(W, radius * circuit(*direction))[0] for direction in circle])


def response_of(plane_points):
    """Return (a, b) of the weights (w, c), any leading shape."""
    w, c = np.moveaxis(plane_points, -1, 0)
    return np.stack([1 / (1 - w), c / (1 - w)], axis=-1)


START = (-0.9, -1.0)


def descent_path(name, step=0.01, most=600):
    """Return the path of steepest descent in a metric, in steps of equal length on the page, shape (points, 2)."""
    path = [np.array(START)]
    while len(path) < most and np.linalg.norm(path[-1] - target[0]) > step:
        direction = direction_of_descent(name, circuit(*path[-1]))
        path.append(path[-1] + step * direction / np.linalg.norm(direction))
    return np.array(path)


def has_point(name, w, c):
    """Tell whether the weights are a point of the manifold; the monotone one ends at 1 − w = c² / 4."""
    return name != "monotone" or 1 - w > c**2 / 4


excitations = [-0.6, -0.6, -0.6, 0.0, 0.55, 0.45, 0.3, 0.75]
centres = list(zip(excitations, [1.2, 0.0, -1.1, 0.0, 0.0, 1.25, -0.9, 0.45], strict=True))
for name, manifold in manifolds.items():
    ends = manifold.exp(circuit(-0.6, 1.2), circuit(0.1, 0.1))
    assert np.allclose(ends[1], 0, atol=1e-12) == (name != "left-invariant")
balls = {
    name: [ball(manifold, circuit(*centre)) for centre in centres if has_point(name, *centre)]
    for name, manifold in manifolds.items()
}
paths = {name: descent_path(name) for name in METRICS}

# %%
# In the weights
# ^^^^^^^^^^^^^^
# The loss in the plane of w and c is a bent valley beside a cliff: it is singular along w = 1.

w_grid, c_grid = np.meshgrid(np.linspace(-1.2, 0.985, 150), np.linspace(-1.6, 1.9, 150))
levels = [0.05, 0.2, 0.5, 1, 2, 4, 8, 16]
contours = {"levels": levels, "colors": "0.75", "linewidths": 0.7}
places = [(w, c) for w in np.linspace(-1.05, 0.8, 6) for c in np.linspace(-1.3, 1.5, 7)]


def draw_loss(ax):
    values = response_of(np.stack([w_grid, c_grid], axis=-1))
    ax.contour(w_grid, c_grid, loss_of_response(values[..., 0], values[..., 1]), **contours)
    ax.plot(*target[0, :2], "*", color="white", mec="black", ms=9, zorder=5)
    ax.axvline(1, color="0.5", ls=":", lw=1)
    ax.set(xlim=(-1.2, 1.1), ylim=(-1.5, 1.7), aspect="equal")


def draw_arrows(ax, name):
    at = [place for place in places if has_point(name, *place)]
    directions = np.array([direction_of_descent(name, circuit(*place)) for place in at])
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    style = {"color": "0.45", "angles": "xy", "pivot": "mid", "scale": 13, "width": 0.007}
    ax.quiver(*np.transpose(at), *unit.T, **style)


shared = {"sharex": True, "sharey": True, "layout": "constrained"}
figure, axes = plt.subplots(2, 3, figsize=(6.4, 6), **shared)
title = "Two neurons, in the weights: near the cliff all balls shrink but the Euclidean ones"
figure.suptitle(title, fontsize=9)
for ax, name in zip(axes.flat, METRICS, strict=False):
    draw_loss(ax)
    draw_arrows(ax, name)
    for outline in balls[name]:
        ax.plot(*outline.T, color=COLOURS[name], lw=1.3)
    ax.set_title(name, color=COLOURS[name])
c_axis = np.linspace(-1.6, 1.9, 100)
axes[1, 0].fill_betweenx(c_axis, 1 - c_axis**2 / 4, 1.1, color="0.85", lw=0)
axes[1, 2].set_title("paths of descent")
draw_loss(axes[1, 2])
for name in METRICS:
    line = (0, (3, 3)) if name == "left-invariant" else "-"
    axes[1, 2].plot(*paths[name].T, color=COLOURS[name], lw=1.4, ls=line)
axes[1, 2].plot(*START, "o", color="white", mec="black", ms=5)
figure.supxlabel("self-excitation w", fontsize=8)
figure.supylabel("input weight c", fontsize=8)
plt.show()

# %%
# What to see, panel by panel. The star is the minimum, and the dotted line is the singularity. The grey region is outside.
#
# - **Euclidean**: the same circle everywhere, also on the cliff, where it nearly touches the singularity.
# - **Resolvent**: the balls shrink towards the cliff in the direction across it, and grow on the plain.
# - **Left-invariant**: balls are circles of radius ∝ 1 − w. On this plane it is the hyperbolic half-plane of the geometry
#   books. Its arrows and its path are Euclidean, and only the step lengths differ.
# - **Monotone**: balls shrink towards the parabola 1 − w = c² / 4 as well. Beyond it a nonlinear network with these
#   weights may lose its fixed points, so the manifold ends there, infinitely far away. The price is that strong
#   one-way amplification is left out. This metric is the same in W and in A, as the page after the next one shows.
# - **Response**: as the resolvent, and long along the valley. Its arrows point to the minimum from everywhere.

for W in (circuit(-0.5, 0.3), circuit(0.7, -0.8)):
    ratio = direction_of_descent("left-invariant", W) / direction_of_descent("euclidean", W)
    assert np.allclose(ratio, (1 - W[0, 0]) ** 2)  # the same direction, other lengths

# %%
# In the response
# ^^^^^^^^^^^^^^^
# The same balls and paths can be drawn over a and b, the entries of A. There the loss is a bowl, and a resolvent ball is a
# circle. A Euclidean ball on the cliff is huge.

figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.7), **shared)
title = "The same in A: the loss is a bowl, and the response metric has its shape"
figure.suptitle(title, fontsize=9)
a_grid, b_grid = np.meshgrid(np.linspace(0, 4, 100), np.linspace(-2, 4, 100))
for ax, name in zip(axes, ("euclidean", "resolvent", "response"), strict=True):
    ax.contour(a_grid, b_grid, loss_of_response(a_grid, b_grid), **contours)
    for outline in balls[name]:
        ax.plot(*response_of(outline).T, color=COLOURS[name], lw=1.3)
    ax.plot(*response_of(paths[name]).T, color=COLOURS[name], lw=1.4, ls="--")
    ax.plot(*response_of(np.array(START)), "o", color="white", mec="black", ms=5)
    ax.plot(2, 2, "*", color="white", mec="black", ms=9)
    ax.set(xlim=(0, 4), ylim=(-1.5, 4), xlabel="a = A₁₁", aspect="equal")
    ax.set_title(name, color=COLOURS[name])
axes[0].set_ylabel("b = A₁₂")
plt.show()

# %%
# The contours of the bowl are ellipses because the two inputs are correlated. The resolvent path descends a round metric in an
# oblong bowl, falls into the valley and turns. The response metric is as oblong as the bowl: its path is straight. The
# singularity is one problem, and the correlation of the stimuli is another. The resolvent metric solves the first problem. The
# response metric solves both.


def bend(path):
    """Return the largest distance from the straight line between the ends of a path, relative to its length."""
    chord = path[-1] - path[0]
    across = np.array([-chord[1], chord[0]]) / np.linalg.norm(chord)
    return np.max(np.abs((path - path[0]) @ across)) / np.linalg.norm(chord)


bends = {name: bend(response_of(paths[name])) for name in METRICS}
print({name: f"{value:.1%}" for name, value in bends.items()})
assert bends["response"] < 0.02
assert min(bends["euclidean"], bends["resolvent"]) > 0.05

# %%
# What to try next
# ----------------
# - Set the correlation of the two neurons to −0.8, or to 0, and look at the response panel again.
# - Replace "identity" by "tanh", and the closed form of the loss by `cost` on a coarser grid.
# - Draw another metric: `right_invariant(2)`, or `gain(g)` for gains g that differ between the neurons.
