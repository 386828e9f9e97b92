"""
In the weights or in the resolvent?
===================================

A network is described by its weights W, or just as well by A = (I − W)⁻¹. If the network is linear, r = W r + x, then A is its
response: r = A x. Zhu and Rosenbaum (2024) ask in which of the two gradient descent should be done. In the Euclidean
metric the answer matters, because the two descents follow different paths.

`MonotoneManifold` has a metric for which the answer does not matter. Write B = I − W, and let S be the symmetric part of B. The
manifold has a point for each B with a positive definite S, and the metric is

    g(U, V) = tr(S⁻¹ U S⁻¹ Vᵀ).

In this metric the map B ↦ B⁻¹ is an *isometry*: it preserves all lengths, distances and geodesics. So descent in W and descent
in A are the same descent. This page shows it in pictures for one neuron and for two, and in numbers for a network.
"""

# %%
# One neuron
# ----------
# For a single neuron B is a number b > 0. The weight is W = 1 − b, and A = 1 / b is the gain. The metric is (db / b)²,
# so a metric length is a change of log b. Since log A = −log b, the same ruler measures A: only its direction is reversed.

import matplotlib.pyplot as plt
import numpy as np

from manifolds import (
    Identity,
    MonotoneManifold,
    PullbackManifold,
    Resolvent,
    left_invariant,
    right_invariant,
)
from riemannrnn import FixedPointCost, RateNetwork, SquaredError
from riemannrnn.plots.geodesics import METRIC_STYLES

plt.rcParams.update(
    {"font.size": 8, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}
)

line = MonotoneManifold(1)
zero, direction = np.zeros((1, 1)), np.ones((1, 1))
units = np.arange(-5, 6) / 4
weights = np.array([line.exp(zero, unit * direction)[0, 0] for unit in units])
# A in the place of b
gains = np.array([1 - line.exp(zero, -unit * direction)[0, 0] for unit in units])
assert np.allclose(gains, 1 / (1 - weights), rtol=1e-14)

# %%
# We ask for a gain of 2, so the loss is J = ½ (A − 2)². The figure draws J over W, over A and over the ruler itself. The
# marks on the axis are a quarter of a unit apart in the metric, and each mark has the same colour in all three panels.


def loss_of_gain(gain):
    return 0.5 * (gain - 2) ** 2


fine = np.linspace(units[0], units[-1], 200)
over = {
    "weight W": (1 - np.exp(-fine), weights),
    "gain A = 1 / (1 − W)": (np.exp(fine), gains),
    "units of the ruler from W = 0": (fine, units),
}
figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.5), sharey=True, layout="constrained")
figure.suptitle(
    "One neuron: one ruler, drawn over the weight, over the gain, and over itself", fontsize=9
)
shades = plt.colormaps["viridis"](np.linspace(0, 0.9, len(units)))
for ax, (label, (curve, marks)) in zip(axes, over.items(), strict=True):
    ax.plot(curve, loss_of_gain(np.exp(fine)), color="0.6", lw=1, zorder=1)
    ax.scatter(marks, loss_of_gain(gains), color=shades, s=16, zorder=2)
    ax.vlines(marks, -0.42, -0.12, color=shades, lw=1.8)
    ax.set(xlabel=label, ylim=(-0.45, 1.75))
axes[0].set_ylabel("loss J")
axes[0].axvline(1, color="0.5", ls=":", lw=1)
axes[0].text(0.93, 1.6, "W = 1", color="0.3", ha="right")
plt.show()

# %%
# Over W the marks become dense towards W = 1, where the gain is infinite. Over A they become dense towards A = 0. The metric
# sees neither of these two pictures. It sees the third one, where neighbouring marks are equally far apart.
#
# Two neurons
# -----------
# Now let two neurons excite themselves with the weight 1 − x and act on each other with the weights y and −y:
#
#     B = x I + y R,    R = [[0, −1], [1, 0]], a quarter turn.
#
# A linear network with these weights relaxes at the rate x / τ and oscillates at the angular frequency y / τ. Here S = x I, so
# the metric is 2 (dx² + dy²) / x². Up to the factor 2 this is the *hyperbolic half-plane* x > 0. Its edge x = 0, where the
# oscillation no longer decays, is infinitely far away. Inversion stays in the plane: it maps z = x + i y to 1 / z.


def spiral(z):
    """Return the weights of z = x + i y, so that B = x I + y R."""
    return np.array([[1 - z.real, z.imag], [-z.imag, 1 - z.real]])


def number(W):
    """Return z of the weights."""
    return complex(1 - W[0, 0], W[0, 1])


plane = MonotoneManifold(2)
z, other = 0.7 + 0.4j, 0.3 - 0.9j
assert np.allclose(spiral(1 / z), np.eye(2) - np.linalg.inv(np.eye(2) - spiral(z)))
# the distance of the geometry books
half_plane = np.arccosh(1 + abs(z - other) ** 2 / (2 * z.real * other.real))
assert np.isclose(plane.dist(spiral(z), spiral(other)), 2**0.5 * half_plane, rtol=1e-12)

# %%
# The left panel of the next figure shows geodesics and balls in the plane of B. A geodesic is drawn by `geodesic`, both ways
# from a point. A ball is drawn by `exp`: send a geodesic of length 0.35 from the centre in every direction of the plane, and
# join the ends.
#
# The right panel shows what inversion makes of them. Each line is the image, 1 / z, of the line with the same colour on the
# left. The dots are computed again, by `geodesic` and `exp` from the inverted points. They lie on the lines. Each ball has the
# same number in both panels.

RADIUS = 0.35
centres = [0.5 + 0.6j, 0.5 - 0.6j, 1.15 - 0.15j, 1.7 + 1.35j, 1.0 - 1.35j, 2.1 - 0.85j, 0.3 + 0.35j]
lines = [
    (1.0 + 0.0j, 0.0),
    (1.0 + 0.0j, 90.0),
    (1.0 + 0.5j, 0.0),
    (0.55 + 1.0j, 90.0),
    (0.5 - 1.1j, 90.0),
]
"""A point of each geodesic, and the angle of its direction from the x axis."""


def ball(centre, angles):
    """Return the ends of geodesics of length `RADIUS` from a centre, as complex numbers."""
    W = spiral(centre)
    changes = [spiral(1 + np.exp(1j * angle)) for angle in angles]  # so that 1 − z is a change of W
    return np.array([number(plane.exp(W, RADIUS / plane.norm(W, V) * V)) for V in changes])


def geodesic(point, slope, times):
    """Return the points of a geodesic, whose initial change of z is `slope` up to its length, at distances `times`."""
    W, V = spiral(point), spiral(1 + slope)
    at = plane.geodesic(W, V / plane.norm(W, V))
    return np.array([number(at(time)) for time in times])


around, dotted = np.linspace(0, 2 * np.pi, 73), np.linspace(0, 2 * np.pi, 9)[:-1]
along, beads = np.linspace(-9, 9, 361), np.linspace(-6, 6, 25)
figure, axes = plt.subplots(1, 2, figsize=(6.4, 4.6), sharey=True, layout="constrained")
figure.suptitle(
    "Two neurons: inversion maps geodesics to geodesics, and balls to balls of the same size",
    fontsize=9,
)
colours = plt.colormaps["tab10"].colors
for (point, degrees), colour in zip(lines, colours, strict=False):
    slope = np.exp(1j * np.radians(degrees))
    drawn, image_slope = geodesic(point, slope, along), -slope / point**2
    axes[0].plot(drawn.real, drawn.imag, color=colour, lw=1.3)
    axes[1].plot((1 / drawn).real, (1 / drawn).imag, color=colour, lw=1.3)
    again = geodesic(1 / point, image_slope, beads)
    axes[1].plot(again.real, again.imag, "o", color=colour, ms=2.5)
    assert np.allclose(again, 1 / geodesic(point, slope, beads), rtol=1e-9)
for count, centre in enumerate(centres, 1):
    drawn, again = ball(centre, around), ball(1 / centre, dotted)
    for ax, outline in zip(axes, (drawn, 1 / drawn), strict=True):
        ax.fill(outline.real, outline.imag, fc="0.85", ec="black", lw=0.8)
        rightmost = outline[outline.real.argmax()]
        ax.annotate(
            f"{count}",
            (rightmost.real, rightmost.imag),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
        )
    axes[1].plot(again.real, again.imag, "o", color="black", ms=1.8)
    assert np.allclose(
        [plane.dist(spiral(1 / centre), spiral(1 / end)) for end in drawn], RADIUS, rtol=1e-12
    )
for ax, title in zip(axes, ("B = I − W", "B⁻¹ = A, the resolvent"), strict=True):
    ax.axvspan(-0.25, 0, color="0.6", lw=0)
    ax.set(
        xlim=(-0.1, 3.0),
        ylim=(-2.1, 2.1),
        aspect="equal",
        xlabel="x, the part along I",
        title=title,
    )
axes[0].set_ylabel("y, the part along R")
plt.show()

# the orange one is half of the unit circle
assert np.allclose(np.abs(geodesic(1.0 + 0.0j, 1j, along)), 1)

# %%
# Geodesics are half circles or straight lines, and they meet the edge x = 0 at right angles. Balls look like circles, smaller
# ones near the edge, and all have the same size in the metric. The two panels are two maps of one space. Nothing in the
# metric tells which of them is the plane of the weights.
#
# The same holds for matrices of any size. In the monotone metric, the distance of W and W′ is the distance of I − A and I − A′,
# to rounding. In other metrics it is not. Inversion *exchanges* some of them: the resolvent metric of W is the Euclidean metric
# of A, and the left-invariant metric of W is the right-invariant metric of A.

N = 8
eye = np.eye(N)
monotone, euclidean, resolvent = (
    MonotoneManifold(N, seed=2),
    PullbackManifold(Identity(), N),
    PullbackManifold(Resolvent(), N),
)


def exchanged(weights):
    """Return I − A for W, and I − B = W for I − A."""
    return eye - np.linalg.inv(eye - weights)


ratios = []
for _ in range(20):
    W, other = monotone.random_point(), monotone.random_point()
    distance, distance_of_resolvents = (
        monotone.dist(W, other),
        monotone.dist(exchanged(W), exchanged(other)),
    )
    assert abs(distance - distance_of_resolvents) < 1e-12 * distance
    assert np.isclose(
        resolvent.dist(W, other), euclidean.dist(exchanged(W), exchanged(other)), rtol=1e-12
    )
    ratios.append(euclidean.dist(W, other) / euclidean.dist(exchanged(W), exchanged(other)))
print(f"distance of W and W′ {distance:.12f}, of I − A and I − A′ {distance_of_resolvents:.12f}")
print(
    f"ratios of the two distances in the Euclidean metric: {min(ratios):.2f} to {max(ratios):.2f}"
)
assert max(ratios) > 1.1 * min(ratios)

# %%
# One descent or two
# ------------------
# Let a network of eight tanh neurons learn the rates of another network, the teacher, for twenty stimuli. The cost J is a
# function of W, and ∇J its gradient. As a function of A it has the gradient
#
#     ∇_A J = A⁻ᵀ ∇J A⁻ᵀ,    because W = I − A⁻¹ changes by A⁻¹ dA A⁻¹.
#
# For a descent in A we let I − A take the place of the weights. It is a point of the same manifold, with A in the place of B.
# Its Euclidean gradient is −∇_A J. Both descents take steps along geodesics, exp(−η grad J), and both start from the same W.

METRICS = {
    "euclidean": euclidean,
    "resolvent": resolvent,
    "left-invariant": left_invariant(N),
    "monotone": monotone,
}
RATE, STEPS = 0.4, 60

network = RateNetwork(N, activation="tanh", seed=1)
start = network.initial_weights(0.4)
teacher = network.initial_weights(0.7)[::-1, ::-1]
x = np.random.default_rng(3).standard_normal((20, N))
cost = FixedPointCost(
    network, x, SquaredError(network.fixed_points(teacher, x).rates), tolerance=1e-13
)


def descend_in_weights(manifold):
    """Return the weights of all steps."""
    path = [start]
    for _ in range(STEPS):
        gradient = manifold.euclidean_to_riemannian_gradient(path[-1], cost.gradient(path[-1]))
        path.append(manifold.exp(path[-1], -RATE * gradient))
    return path


def descend_in_resolvent(manifold):
    """Return the weights of all steps, where the steps are taken by A."""
    path, point = [start], exchanged(start)
    for _ in range(STEPS):
        W = path[-1]
        by_resolvent = (eye - W).T @ cost.gradient(W) @ (eye - W).T
        gradient = manifold.euclidean_to_riemannian_gradient(point, -by_resolvent)
        point = manifold.exp(point, -RATE * gradient)
        path.append(exchanged(point))
    return path


def gap(path, other_path):
    """Return ‖W − W′‖ / ‖W‖ after each step."""
    return np.array(
        [np.linalg.norm(W - V) / np.linalg.norm(W) for W, V in zip(path, other_path, strict=True)]
    )


in_weights = {name: descend_in_weights(manifold) for name, manifold in METRICS.items()}
in_resolvent = {name: descend_in_resolvent(manifold) for name, manifold in METRICS.items()}
gaps = {name: gap(in_weights[name], in_resolvent[name]) for name in METRICS}

# %%
# The upper panels show the loss over the steps. The lower panel shows how far apart the weights of the two descents are.

figure = plt.figure(figsize=(6.4, 4.6), layout="constrained")
panels = figure.subplot_mosaic([list(METRICS), ["gap"] * 4], height_ratios=(1, 1.1))
figure.suptitle(
    "Under the monotone metric, descent in W and descent in A are the same path", fontsize=9
)
for name in METRICS:
    ax, (colour, line) = panels[name], METRIC_STYLES[name]
    ax.semilogy([cost(W) for W in in_weights[name]], color=colour, lw=1.5, label="in W")
    ax.semilogy([cost(W) for W in in_resolvent[name]], "--", color="black", lw=1, label="in A")
    ax.set_title(name, color=colour)
    ax.sharey(panels["euclidean"])
    ax.set(xlabel="step", xticks=[0, 30, 60])
    if name != "euclidean":
        ax.tick_params(labelleft=False)
    panels["gap"].semilogy(
        np.arange(1, STEPS + 1), gaps[name][1:], color=colour, ls=line, lw=1.6, label=name
    )
panels["euclidean"].set_ylabel("loss J")
panels["euclidean"].legend(frameon=False, handlelength=1.5)
panels["gap"].set(
    xlabel="step", ylabel="distance of the two paths\n‖W − W′‖ / ‖W‖", ylim=(1e-17, 10)
)
panels["gap"].legend(frameon=False, ncols=4, loc="center")
plt.show()

print({name: f"{each[-1]:.1e}" for name, each in gaps.items()})
assert max(gaps["monotone"]) < 1e-12
assert all(gaps[name][-1] > 0.05 for name in METRICS if name != "monotone")

# %%
# Under the three other metrics the two descents part at the first step. Under the monotone metric they differ by rounding
# errors. The exchange shows here too: Euclidean descent in A is descent under the resolvent metric in W, step for step.

assert max(gap(in_resolvent["euclidean"], in_weights["resolvent"])) < 1e-10
assert max(gap(in_resolvent["left-invariant"], descend_in_weights(right_invariant(N)))) < 1e-10

# %%
# What it means for training
# --------------------------
# - You do not have to choose coordinates. Code that stores W and code that stores A take the same steps.
# - Every point is stable. If the activation is non-decreasing with slope at most 1, each stimulus has exactly one fixed point,
#   and the network settles there. The edge is infinitely far away, so no step of any length loses a fixed point.
# - A step costs little: the gradient is S ∇J S, two products of matrices.
#
# How well does it learn? In the benchmarks of the documentation, conjugate gradients on handwritten digits reach a higher test
# accuracy in this metric than in the Euclidean, the resolvent and the left-invariant metric, and no stimulus loses its fixed
# point.

# %%
# What to try next
# ----------------
# - Set ``RATE`` to 2 and then to 4. Which paths still reach a small loss, and which raise an error?
# - Add a skew matrix K to the B of two points. This is an isometry, too: their distance does not change.
