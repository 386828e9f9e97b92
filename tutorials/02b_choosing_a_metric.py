"""
Choosing a metric
=================

The page before shows metrics in pictures. This page counts what they cost and what they risk. The same five metrics descend from the
same weights in three situations, each with one difficulty. We count steps and losses of stability.
"""

# %%
# Three situations
# ----------------
# A linear network of ten neurons learns the fixed points of another network, the teacher:
#
# - **white**: the stimuli are uncorrelated, the teacher is an ordinary random network;
# - **correlated**: the same teacher, stimuli whose standard deviations span a factor of ten;
# - **slow**: white stimuli, and a teacher with one mode near the edge of stability, of time constant 20 τ. Integrators are
#   made like that.
#
# Each metric takes steps W ← exp_W(−η grad J) at four learning rates, from too short to too long. (Geodesics of the
# response metric would be integrated numerically, so it takes its steps in a straight line.) Guards and line searches
# are off. We count steps until the loss is 1 % of the loss at the start, and watch the spectral abscissa: the largest real part
# of the eigenvalues of −I + W, in units of 1/τ. Where it is positive the fixed points still solve r = W r + x, but they
# are unstable and no network would ever be found there: they are lost, and the run ends.

import matplotlib.pyplot as plt
import numpy as np

from manifolds import (
    Identity,
    ManifoldError,
    MonotoneManifold,
    PullbackManifold,
    Resolvent,
    left_invariant,
)
from riemannrnn import FixedPointCost, FixedPointError, RateNetwork, SquaredError
from riemannrnn.metrics.response import response_metric
from riemannrnn.rules.descent import Descent

METRICS = ("euclidean", "resolvent", "left-invariant", "monotone", "response")
N, MOST_STEPS = 10, 100
RATES = (1 / 16, 1 / 4, 1.0, 4.0)
network = RateNetwork(N, activation="identity", seed=1)
start = network.initial_weights(0.3)
teacher = RateNetwork(N, seed=5).initial_weights(0.6)
mode = np.ones((N, N)) / N  # projects on the mean of all neurons
slow_teacher = 0.95 * mode + 0.5 * (np.eye(N) - mode) @ teacher @ (np.eye(N) - mode)
white, correlated = np.eye(N), np.diag(np.geomspace(4, 0.04, N))
SITUATIONS = {
    "white": (white, teacher),
    "correlated": (correlated, teacher),
    "slow": (white, slow_teacher),
}

MAKE = {
    "euclidean": lambda cost: Descent(PullbackManifold(Identity(), N)),
    "resolvent": lambda cost: Descent(PullbackManifold(Resolvent(), N)),
    "left-invariant": lambda cost: Descent(left_invariant(N)),
    "monotone": lambda cost: Descent(MonotoneManifold(N)),
    "response": lambda cost: Descent(response_metric(cost)),
}


def stimuli_with(covariance, count, seed=0):
    """Return stimuli, a row each, with exactly this second moment."""
    orthonormal, _ = np.linalg.qr(
        np.random.default_rng(seed).standard_normal((count, len(covariance)))
    )
    return count**0.5 * orthonormal @ np.linalg.cholesky(covariance).T


def learn(rule, cost, rate):
    """Return the steps to 1 % of the loss (infinity: not reached), the worst abscissa met, and whether a step met an edge."""
    W, goal, worst = start, 0.01 * cost(start), -np.inf
    for step in range(MOST_STEPS + 1):
        worst = max(worst, np.linalg.eigvals(W).real.max() - 1)
        if worst >= 0:
            break
        try:
            at = cost.at(W)
            if at.cost < goal:
                return step, worst, False
            if at.cost > 1e3 * goal:  # ten times the loss at the start: the step was too long
                break
            W, _ = rule.step(W, at, rate)
        except (ManifoldError, FixedPointError):
            return np.inf, worst, True
    return np.inf, worst, False


runs = {}
for situation, (moments, true) in SITUATIONS.items():
    x = stimuli_with(moments, 40)
    cost = FixedPointCost(network, x, SquaredError(network.fixed_points(true, x).rates))
    for name in METRICS:
        runs[name, situation] = [learn(MAKE[name](cost), cost, rate) for rate in RATES]

# %%
# The table has the fewest steps over the four rates for each situation; and over all twelve runs the worst abscissa, how many
# runs became unstable, and how many met an edge of their manifold, where `exp` raises an error.

fewest = {key: min(steps for steps, _, _ in of) for key, of in runs.items()}
worst = {
    name: max(abscissa for key, of in runs.items() if key[0] == name for _, abscissa, _ in of)
    for name in METRICS
}
unstable = {
    name: sum(abscissa >= 0 for key, of in runs.items() if key[0] == name for _, abscissa, _ in of)
    for name in METRICS
}
edges = {
    name: sum(edge for key, of in runs.items() if key[0] == name for _, _, edge in of)
    for name in METRICS
}


def shown(steps):
    return f"{steps}" if np.isfinite(steps) else f"> {MOST_STEPS}"


print(
    f"{'metric':15}"
    + "".join(f"{each:>12}" for each in (*SITUATIONS, "worst 1/τ", "unstable", "edge met"))
)
for name in METRICS:
    counts = "".join(f"{shown(fewest[name, situation]):>12}" for situation in SITUATIONS)
    print(f"{name:15}{counts}{worst[name]:>+12.3g}{unstable[name]:>12}{edges[name]:>12}")

assert fewest["resolvent", "white"] == fewest["resolvent", "slow"] == 1
assert fewest["response", "correlated"] <= 5
assert 20 <= fewest["resolvent", "correlated"] < 50 <= fewest["monotone", "correlated"]
assert not np.isfinite(fewest["euclidean", "correlated"])
assert not np.isfinite([fewest[name, "slow"] for name in METRICS if name != "resolvent"]).any()
assert unstable["monotone"] == edges["monotone"] == 0
assert unstable["resolvent"] == 0 < edges["resolvent"]
assert min(unstable["euclidean"], unstable["left-invariant"], unstable["response"]) > 0

# %%
# The same as a picture, with a mark for each situation. An open mark at the right edge did not get there in 100 steps.

plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
figure, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
marks = zip(SITUATIONS, "os^", ("#0072B2", "#D55E00", "#009E73"), (-0.22, 0, 0.22), strict=True)
for situation, marker, colour, offset in marks:
    steps = np.array([fewest[name, situation] for name in METRICS])
    y, reached = np.arange(len(METRICS)) + offset, np.isfinite(steps)
    ax.plot(steps[reached], y[reached], marker, color=colour, ms=7, label=situation)
    ax.plot(np.full((~reached).sum(), 140), y[~reached], marker, mec=colour, mfc="none", ms=7)
ax.axvline(MOST_STEPS, color="0.6", lw=0.8, ls=":")
ax.set(xscale="log", xlim=(0.8, 180), xlabel="steps to 1 % of the loss, at the best of four rates")
ax.set_yticks(range(len(METRICS)), METRICS)
ax.invert_yaxis()
ax.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
plt.show()

# %%
# Which one, then?
# ----------------
# - **Resolvent: for nearly linear networks and slow modes.** With white stimuli the loss of a linear network is a round bowl
#   in A, and one geodesic step of rate 1 ends at its bottom. The slow mode costs nothing extra. The metric has an edge, where
#   A is singular and weights are infinite. A geodesic that is too long meets the edge, and `exp` raises an error. A line
#   search on a nonlinear network can run to this edge: the page "Choosing" of the documentation shows one.
# - **Response: where stimuli are correlated.** It needs as few steps for correlated as for white stimuli. Each step costs
#   a solve with the response of the network. Its straight steps must be guarded: without a guard it lost the slow teacher at
#   every rate.
# - **Monotone: where nothing may be lost.** At none of the rates did it lose a fixed point, and for activations with slopes
#   in [0, 1] that is a theorem, for every stimulus and every step. It pays beside the edge: the slow teacher is close to
#   it, so the way there is long. `ScaledMonotoneManifold`, the default of `train`, holds more weights with the same promise.
#   The next page shows what sets the metric of `MonotoneManifold` apart: it is the same in W and in A.
# - **Left-invariant: where det(I − W) must keep its sign.** No step crosses the singularity. A pair of complex eigenvalues
#   needs no singularity to cross into instability, and at the long rates it did.
# - **Euclidean: as the baseline.** Correlated stimuli and the slow mode both defeat it, and it lost fixed points in more
#   runs than any other.
#
# These are fixed steps on a linear task, chosen to show one difficulty at a time. On your task, ask `riemannrnn compare`: it
# runs all of them from one start within one budget.

assert unstable["euclidean"] == max(unstable.values())

# %%
# What to try next
# ----------------
# - Let a line search choose the rate: `ConjugateGradient().run(cost.problem(manifold), initial_point=start)` of pymanopt.
# - Put a guard on the fixed steps: `train(..., rule=Descent(manifold))` shortens those that would lose a fixed point.
