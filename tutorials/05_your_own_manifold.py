"""
A manifold of your own
======================

A hypothesis about plasticity is often a statement about which changes of synapses are cheap and which are dear: a synapse near its
largest size hardly grows; a neuron keeps the sum of its inputs. Such a statement is a Riemannian metric on weight space. This page puts
two of them into code, from nothing, and trains networks with them:

- as a **chart**, two functions: coordinates in which equal changes cost the same;
- as a **metric**, two functions: how a gradient becomes a step, and back.

Which one? If you can name coordinates in which your space is plain, write the chart: it is shorter, faster, and geodesics are exact.
Most metrics have no such coordinates. Then write the metric.
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
from riemannrnn.learning.optimizers import MetricRule
from riemannrnn.learning.stopping import LossBelow

plt.rcParams.update({"font.size": 8, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False})
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
# No synapse shall be stronger than 0.5, excitatory or inhibitory. Clipping would do that and stop learning at the bound for good. A chart
# does it smoothly. Let the coordinate of a synapse be φ(W) = ½ artanh(2 W): nearly W itself in the middle, infinite at ±½.
# Learning moves freely in the coordinate, and the synapse never gets there.
#
# `AutogradChart` takes φ and its inverse. What the two must satisfy:
#
# 1. They take a matrix and return one of the same shape, and are written with `autograd.numpy`, which differentiates them.
# 2. They undo each other: inverse(forward(W)) = W for every point W.
# 3. `forward` is smooth with an invertible derivative. Points are the W at which it is finite; they form an open set.
# 4. `inverse` takes *every* matrix. Steps are made in coordinates, and any coordinates may come.
# 5. Random points are drawn around `inverse(0)`. If that is no good place, pass other coordinates as `origin`.

BOUND = 0.5


def forward(W):
    return BOUND * anp.arctanh(W / BOUND)


def inverse(Z):
    return BOUND * anp.tanh(Z / BOUND)


bounded = PullbackManifold(AutogradChart(forward, inverse), N, seed=0)

# %%
# That is a whole manifold. Metric, gradient, Hessian, geodesics, logarithm, distance and transport are derived from the two functions.
# `check_manifold` tests all of them at a random point, against each other and against finite steps. Its report is true if all is
# well, and prints a line for each formula.

report = check_manifold(bounded)
print(report)
assert report

# %%
# "Relative error" lines compare two ways to one result. "Slope" lines shorten a step t and watch the error of a formula: with a right
# first derivative it falls like t², with a right second one like t³.
#
# Reports differ from point to point, so check where you will work, too: `check_manifold(bounded, start)`.

assert check_manifold(bounded, start)

# %%
# When a chart is wrong
# ---------------------
# The usual mistake is a factor that one function has and the other lacks.


def failures(report):
    """Print the first line of a report, and the checks that failed, cut to the width of a page."""
    for line in str(report).splitlines():
        if "FAIL" in line:
            print(line if len(line) < 110 else line[:107] + "...")


def careless_inverse(Z):
    return BOUND * anp.tanh(Z)  # Z / BOUND was meant


wrong = check_manifold(PullbackManifold(AutogradChart(forward, careless_inverse), 4, seed=0))
failures(wrong)
assert not wrong
assert not wrong["chart inverse"]
assert wrong["chart differential"]

# %%
# Read such a report from the top. The first failure names the cause, "chart inverse": the functions do not undo each other. What
# is below follows from it. `chart differential` passed, for it concerns `forward` alone. Two more mistakes, and what they print:
#
# - φ(W) = W² breaks rule 2, since W and −W share their coordinate;
# - φ(W) = W + 0.3 with a forgotten shift in the inverse is the first mistake again, in disguise.

with np.errstate(invalid="ignore"):  # the square roots of negative coordinates
    square = AutogradChart(lambda W: W**2, lambda Z: anp.sqrt(Z), origin=1.0)
    failures(check_manifold(PullbackManifold(square, 4, seed=0), 0.3 * np.ones((4, 4)) - 0.5 * np.eye(4)))
    failures(check_manifold(PullbackManifold(AutogradChart(lambda W: W + 0.3, lambda Z: Z), 4, seed=0)))

# %%
# A chart in use
# --------------
# A manifold goes wherever the package takes one. `train` takes it with a rule: "geodesic_flow" is plain descent along geodesics,
# "adam" keeps its moments in your coordinates. We learn with and without the bound to one loss.

runs = {
    name: train(network, start, stimuli, loss, "adam", 0.03, epochs=200, manifold=manifold, stop=LossBelow(2e-3))
    for name, manifold in (("Euclidean", flat_space), ("bounded", bounded))
}
for name, run in runs.items():
    print(f"{name:10} {run.stopped} {len(run.loss)} steps, largest synapse {np.abs(run.weights).max():.3f}")
assert all(run.converged for run in runs.values())
assert np.abs(runs["bounded"].weights).max() < BOUND < np.abs(runs["Euclidean"].weights).max()
