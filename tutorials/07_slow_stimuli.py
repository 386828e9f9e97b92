"""
Slow stimuli: when is a fixed point an answer?
==============================================

A network that is trained on fixed points answers a static stimulus. Real stimuli change. If x(t) changes slowly, one expects
the rates r(t) of

.. math:: τ \\dot r = -r + f(W r + x(t))

to follow the fixed point r*(x(t)) of the stimulus at that moment. This tutorial asks how slow is slow enough, and
where no stimulus is slow enough.
"""

# %%
# A network with one slow mode
# ----------------------------
# Thirty units. A pattern m, in which all are equally active, excites itself with strength w; other patterns are connected
# weakly and at random. The stimulus goes round a circle, x(t) = a cos(t/T) + b sin(t/T), with a along m. The stimulus has the
# time scale T, and a unit has the time constant τ. Their ratio **ε = τ/T** is what matters: ε = 1 is as fast as a unit, and
# ε → 0 is infinitely slow. In the code ε is ``ratio``. We measure time in τ.

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

from riemannrnn import RateNetwork

plt.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.titlesize": 10}
)
BLUE, ORANGE, GREEN, PURPLE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
)  # Okabe and Ito's, for all eyes

n = 30
network = RateNetwork(
    n_units=n, activation="tanh", seed=0
)  # no inputs of its own: a stimulus drives the units directly
pattern = np.ones(n) / n**0.5
others = np.eye(n) - np.outer(pattern, pattern)
across = others @ np.random.default_rng(1).standard_normal(n)
across /= np.linalg.norm(across)


def weights(self_excitation):
    return (
        self_excitation * np.outer(pattern, pattern)
        + others @ network.initial_weights(radius=0.2) @ others
    )


def stimulus(phase, size=(0.4, 0.4)):
    return np.multiply.outer(size[0] * np.cos(phase), pattern) + np.multiply.outer(
        size[1] * np.sin(phase), across
    )


# %%
# The fixed points of the whole circle are one batch, and so is their stability.

phases = np.linspace(0, 2 * np.pi, 201)
W = weights(0.6)
instantaneous = network.fixed_points(W, stimulus(phases))
abscissa = instantaneous.stability().max()
print(f"worst abscissa of −I + G W over the circle: {abscissa:.3f} / τ")
assert instantaneous.converged.all()
assert abscissa < 0

# %%
# The answer of the network
# -------------------------
# scipy integrates the equation over several turns of the stimulus. We look at the last turn, when the start is forgotten.


def answer(W, ratio, turns=2, **options):
    """Return the rates over the last turn of a stimulus with ε = ratio, a row for each phase, from the fixed point at its start."""
    start = network.fixed_points(W, stimulus(phases[:1], **options)).rates[0]
    times = (2 * np.pi * (turns - 1) + phases) / ratio

    def velocity(time, rates):
        return -rates + np.tanh(W @ rates + stimulus(ratio * time, **options))

    return solve_ivp(velocity, (0, times[-1]), start, "LSODA", times, rtol=1e-8, atol=1e-10).y.T


figure, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
for ratio, colour, line in ((1, ORANGE, ":"), (0.3, PURPLE, "-."), (0.03, BLUE, "--")):
    ax.plot(
        phases / (2 * np.pi),
        answer(W, ratio) @ pattern,
        color=colour,
        ls=line,
        lw=1.8,
        label=f"ε = {ratio:g}",
    )
ax.plot(
    phases / (2 * np.pi),
    instantaneous.rates @ pattern,
    color="black",
    lw=1,
    label="instantaneous fixed point",
)
ax.set(xlabel="phase of the stimulus (turns)", ylabel="rate along the pattern m", xlim=(0, 1))
figure.legend(loc="outside lower center", ncols=4, frameon=False, columnspacing=1.2)
figure.suptitle("A slow stimulus is followed; a fast one is answered late and too weakly")
plt.show()

# %%
# How large is the error?
# -----------------------
# To first order in ε the network lags behind by
#
# .. math:: r(t) - r^*(t) ≈ -τ (I - G W)^{-1} \dot r^*(t),
#
# so that the error falls in proportion to ε. What is left after the lag is subtracted should fall as ε². The derivative of the
# fixed points needs no finite differences: ṙ* = (I − G W)⁻¹ G ẋ.


def lag(W, fixed_points, ratio):
    """Return −τ (I − G W)⁻¹ ṙ* for each phase."""
    jacobians = np.eye(n) - fixed_points.gains[:, :, None] * W
    motion = ratio * stimulus(phases + np.pi / 2)  # ẋ: the same circle, a quarter turn ahead
    along = np.linalg.solve(jacobians, (fixed_points.gains * motion)[:, :, None])
    return -np.linalg.solve(jacobians, along)[:, :, 0]


def error(difference, fixed_points):
    """Return the largest distance over the turn, relative to how far the fixed points go."""
    spread = np.linalg.norm(fixed_points.rates - fixed_points.rates.mean(axis=0), axis=1).max()
    return float(np.linalg.norm(difference, axis=1).max() / spread)


ratios = np.geomspace(0.01, 3, 11)
plain, corrected = [], []
for ratio in ratios:
    difference = answer(W, ratio) - instantaneous.rates
    plain.append(100 * error(difference, instantaneous))
    corrected.append(100 * error(difference - lag(W, instantaneous, ratio), instantaneous))

figure, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
ax.loglog(ratios, plain, "o-", color=BLUE, label="distance from the fixed point")
ax.loglog(ratios, corrected, "s--", color=ORANGE, label="after the lag is subtracted")
ax.set(xlabel="ε = τ/T", ylabel="largest error (% of the range of r*)")
ax.legend(frameon=False, loc="lower right")
figure.suptitle("The error falls with ε, and with ε² once the lag is known")
plt.show()

slopes = [np.polyfit(np.log(ratios[:4]), np.log(values[:4]), 1)[0] for values in (plain, corrected)]
print("slopes of the left ends:", np.round(slopes, 2))
assert abs(slopes[0] - 1) < 0.1
assert abs(slopes[1] - 2) < 0.2

# %%
# If the fixed points of a network are known, its answers to slow stimuli are known too, without integration. The correction
# takes two linear systems for each stimulus. Where the two lines cross, neither the correction nor the fixed point is useful.
#
# Near the edge of stability
# --------------------------
# How slow is slow? The more strongly m excites itself, the nearer is the spectral abscissa to zero, and the slower is the mode
# along m: its time constant is τ/\|abscissa\|. Now for four strengths w, and a small stimulus along m.

small = {"size": (0.02, 0.0)}
relative = np.geomspace(0.03, 3, 8)
errors, abscissae = {}, {}
for w in (0.3, 0.7, 0.9, 0.97):
    W = weights(w)
    fixed_points = network.fixed_points(W, stimulus(phases, **small))
    abscissae[w] = float(fixed_points.stability().max())
    ratios = relative * -abscissae[w]
    errors[w] = [
        100 * error(answer(W, ratio, turns=3, **small) - fixed_points.rates, fixed_points)
        for ratio in ratios
    ]
    print(
        f"w = {w:.2f}: abscissa {abscissae[w]:.3f} / τ, time constant of the slowest mode {-1 / abscissae[w]:.1f} τ"
    )

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.1), sharey=True, layout="constrained")
for w, colour, style in zip(
    errors, (BLUE, GREEN, ORANGE, PURPLE), ("o-", "s--", "^-.", "D:"), strict=True
):
    left.loglog(-abscissae[w] * relative, errors[w], style, color=colour, ms=4, label=f"w = {w:g}")
    right.loglog(relative, errors[w], style, color=colour, ms=4)
left.set(xlabel="ε = τ/T", ylabel="largest error (% of the range of r*)")
right.set(xlabel="time constant of the slowest mode / T")
figure.legend(loc="outside lower center", ncols=4, frameon=False)
figure.suptitle("What counts is the time constant of the slowest mode, not of a unit")
plt.show()

# %%
# With w = 0.97 a stimulus must be some twenty times slower than with w = 0.3 for the same error. On the scale of the slowest
# mode the four curves are one, as far as the network is linear. A rule of thumb: **the fixed point is the answer, to about
# 10 %, if T > 10 τ/\|abscissa\|**, that is ε < \|abscissa\|/10.

tenth = {w: float(np.interp(np.log(10), np.log(errors[w]), np.log(relative))) for w in errors}
tenth = {w: round(float(np.exp(value)), 3) for w, value in tenth.items()}
print("largest (slowest time constant) / T with an error of 10 %:", tenth)
assert all(0.08 < value < 0.15 for value in tenth.values())
assert abscissae[0.97] / abscissae[0.3] < 0.1

# %%
# ``FixedPoints.stability()`` of a trained network therefore says how fast its stimuli may change. A network that was trained
# towards the edge of stability pays with slowness.
#
# Beyond the edge
# ---------------
# With w > 1 the network has two stable fixed points along m for weak stimuli, and an unstable one between them. There is no
# single fixed point of a stimulus. Let a strong stimulus swing along m, and compare three things: the fixed
# points found from the usual start, f(x); the fixed points found one after the other, each from the last, with
# ``initial_rates``; and the running network.

W, strong = weights(1.3), {"size": (1.2, 0.0)}
drive = stimulus(phases, **strong)
alone = network.fixed_points(W, drive)

rates, followed = alone.rates[:1], []
for row in drive:
    rates = network.fixed_points(W, row[None], initial_rates=rates, solver="picard").rates
    followed.append(rates[0])
followed = np.array(followed)

slow = {ratio: answer(W, ratio, turns=1, **strong) for ratio in (0.03, 0.003)}

figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
rate = np.linspace(
    -0.97, 0.97, 401
)  # of each unit on the S-shaped curve x = f⁻¹(r) − w r of all fixed points along m
curve = n**0.5 * (np.arctanh(rate) - 1.3 * rate)
unstable = 1.3 * (1 - rate**2) > 1
along = drive @ pattern
ax.plot(
    curve,
    n**0.5 * np.where(unstable, np.nan, rate),
    color="black",
    lw=4,
    alpha=0.25,
    label="stable fixed points",
)
ax.plot(
    curve,
    n**0.5 * np.where(unstable, rate, np.nan),
    color="black",
    lw=1,
    ls=":",
    label="unstable fixed points",
)
ax.plot(
    along[::6],
    alone.rates[::6] @ pattern,
    "o",
    mfc="white",
    mec=GREEN,
    ms=5,
    label="found from f(x)",
)
ax.plot(along, slow[0.03] @ pattern, color=ORANGE, ls="--", lw=1.5, label="network, ε = 0.03")
ax.plot(along, slow[0.003] @ pattern, color=BLUE, lw=1.5, label="network, ε = 0.003")
ax.set(xlabel="stimulus along the pattern m", ylabel="rate along the pattern m", xlim=(-1.25, 1.25))
figure.legend(loc="outside lower center", ncols=3, frameon=False)
figure.suptitle("Beyond the edge the answer depends on the past, however slow the stimulus")
plt.show()

# %%
# The network stays on its branch until that branch ends, and then jumps. The fixed points followed one after the other do the
# same. The fixed points found from f(x) change branch where the stimulus changes its sign, and the network does not. Without a
# stimulus, the solver even finds the unstable fixed point, and ``stability()`` says so. A slower stimulus does not help: the
# error that remains is the distance between the branches.

distances = {}
for name, found in (("found from f(x)", alone.rates), ("followed", followed)):
    distances[name] = [
        float(np.mean(np.linalg.norm(rates - found, axis=1) > 1.0)) for rates in slow.values()
    ]
    told = ", ".join(
        f"{share:.1%} at ε = {ratio:g}" for ratio, share in zip(slow, distances[name], strict=True)
    )
    print(f"share of the turn that the network is far from the fixed points {name}: {told}")
assert network.fixed_points(W, np.zeros((1, n))).stability()[0] > 0
assert distances["found from f(x)"][1] > 0.1
assert distances["followed"][1] < 0.25 * distances["found from f(x)"][1]
assert distances["followed"][1] < 0.5 * distances["followed"][0]

# %%
# What to try next
# ----------------
# - A weaker stimulus beyond the edge, ``"size": (0.5, 0.0)``: the network never leaves its branch. It remembers.
# - ``MonotoneManifold`` or ``ScaledMonotoneManifold`` for the training of W: every stimulus then has one fixed point, and no
#   branch can be mistaken for another.
# - Your own network: ``network.fixed_points(W, stimuli).stability().max()`` and the speed of your stimuli tell whether fixed
#   points are its answers.
# - Oscillations: give W a strong antisymmetric part. The abscissa then says how fast errors decay, and the imaginary part at
#   what frequency the network resonates.
