"""
Pymanopt's optimisers, and how to read what they report
=======================================================

The loss of fixed points is a cost on a manifold. So every optimiser of `pymanopt <https://pymanopt.org>`_ runs on it:
steepest descent, conjugate gradients and trust regions. This tutorial runs the three on scikit-learn's handwritten digits,
under three metrics, and then reads the result with care. Three habits are worth having:

- count **evaluations** of the cost, its gradient and its Hessian, because iterations of different optimisers cost different amounts;
- put the **test accuracy** beside the training loss;
- ask whether the fixed points at the end are **stable**, because a network never rests at an unstable fixed point.
"""

# %%
# A problem for pymanopt
# ----------------------
# A network of 40 rate units answers an image x with the fixed point r = f(W r + W_in x), and a readout names the digit. The
# read-in and the readout are random and fixed. Only W learns.

import matplotlib.pyplot as plt
import numpy as np
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import PullbackManifold, Resolvent
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, Task, compare
from riemannrnn.comparison import Contender
from riemannrnn.data import load_digits
from riemannrnn.plots import plot_stability

plt.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.titlesize": 10}
)

training, validation, test = load_digits().split(120, 40, 200, seed=0)
network = RateNetwork(n_units=40, n_inputs=64, n_outputs=10, activation="tanh", seed=0)
W = network.initial_weights(radius=0.5)

# %%
# ``FixedPointCost.problem(manifold)`` is all that pymanopt needs. The cost counts its own evaluations, and remembers what it
# has computed at a point: a value that is asked for twice counts once.

manifold = PullbackManifold(Resolvent(), 40, retraction="additive")
print(
    f"{'optimiser':20s} {'iterations':>10s} {'by pymanopt':>12s} {'by our count':>13s}   loss (nat)"
)
for optimiser in (SteepestDescent, ConjugateGradient, TrustRegions):
    cost = FixedPointCost(
        network, training.stimuli, CrossEntropy(training.labels), max_iterations=100
    )
    result = optimiser(max_iterations=4, verbosity=0).run(cost.problem(manifold), initial_point=W)
    ours, theirs = cost.evaluations.total, result.cost_evaluations or 0
    print(
        f"{optimiser.__name__:20s} {result.iterations:10d} {theirs:12d} {ours:13d}   {result.cost:.3f}"
    )
    assert (
        ours > 2 * result.iterations >= 2 * theirs
    )  # each iteration takes a cost and a gradient at least

# %%
# Four iterations of the three optimisers take quite different numbers of evaluations: line searches try several step lengths,
# and trust regions ask for products with the Hessian. pymanopt 2.2.1 reports the number of iterations
# as evaluations of the cost, or nothing. **Compare optimisers at equal evaluations by your own count.** The three kinds
# of evaluations have similar prices: the fixed points of all stimuli, or one or two linear systems for each stimulus.
#
# Nine contenders, one budget
# ---------------------------
# ``compare`` does that. Every contender is a metric, a retraction and an optimiser; all start from the same W and get 32
# evaluations. Where a stimulus has no fixed point the cost is +∞, from which every line search backs away. By default
# ``compare`` also asks every fixed point to be stable. Here ``stable=None`` leaves that out, to show what a loss alone hides.

METRICS = {
    "euclidean": ("additive", "#D55E00", "Euclidean"),
    "resolvent": ("additive", "#56B4E9", "resolvent"),
    "scaled-monotone": ("geodesic", "#000000", "scaled monotone"),
}
OPTIMISERS = {
    "steepest-descent": ("--", "s"),
    "conjugate-gradient": ("-", "^"),
    "trust-regions": (":", "D"),
}

task = Task(network, W, training, validation, test, max_iterations=100)
contenders = [
    Contender(metric, METRICS[metric][0], optimiser)
    for metric in METRICS
    for optimiser in OPTIMISERS
]
comparison = compare(task, contenders, budget=32, stable=None)
entries = comparison.entries

print(
    f"{'contender':43s} {'J, ∇J, ∇²J':>12s} {'loss':>6s} {'test':>6s} {'abscissa':>9s} {'lost':>5s}"
)
for entry in entries:
    counts = f"{entry.cost_evaluations}, {entry.gradient_evaluations}, {entry.hessian_evaluations}"
    print(
        f"{entry.contender.name:43s} {counts:>12s} {entry.training_loss:6.3f} {entry.test_accuracy:6.3f}"
        f" {entry.worst_abscissa:9.3f} {entry.without_stable_fixed_point:5d}"
    )

# %%
# First the loss. The markers are points that an optimiser accepted.

figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.9), sharey=True, layout="constrained")
for ax, (metric, (_, colour, title)) in zip(axes, METRICS.items(), strict=True):
    for entry in (each for each in entries if each.contender.manifold == metric):
        line, marker = OPTIMISERS[entry.contender.optimiser]
        used, losses = (
            [point.evaluations for point in entry.history],
            [point.loss for point in entry.history],
        )
        label = entry.contender.optimiser.replace("-", " ")
        ax.plot(used, losses, color=colour, ls=line, marker=marker, ms=3.5, lw=1.3, label=label)
    ax.set(title=title, xlim=(0, 33), xlabel="evaluations")
axes[0].set_ylabel("training loss (nat)")
figure.legend(handles=axes[2].get_lines(), loc="outside lower center", ncols=3, frameon=False)
figure.suptitle("In loss, the resolvent metric is ahead of the Euclidean metric")
plt.show()

# %%
# On average over the optimisers, the loss is lower under the resolvent metric than under the Euclidean metric, and the test
# accuracies in the table agree. Many comparisons end here.

losses = {
    m: np.mean([e.training_loss for e in entries if e.contender.manifold == m]) for m in METRICS
}
print({name: round(float(value), 3) for name, value in losses.items()})
assert losses["resolvent"] < losses["euclidean"]
assert all(entry.training_loss < entry.history[0].loss - 0.5 for entry in entries)

# %%
# What the running network answers
# --------------------------------
# The cost is evaluated at fixed points that a root finder found. It does not ask whether τ ṙ = −r + f(W r + x) would go
# there. So let it run, from rest, for 100 τ (Runge and Kutta's method of fourth order), and read it out then.


def run_network(weights, drive, duration=100.0, step=0.25):
    """Return the rates after a time in units of τ, from rest."""

    def velocity(rates):
        return np.tanh(rates @ weights.T + drive) - rates

    rates = np.zeros_like(drive)
    for _ in range(round(duration / step)):
        k1 = velocity(rates)
        k2 = velocity(rates + step / 2 * k1)
        k3 = velocity(rates + step / 2 * k2)
        k4 = velocity(rates + step * k3)
        rates = rates + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return rates, np.linalg.norm(velocity(rates), axis=1)


drive = network.drive(test.stimuli)
running, at_rest = [], []
for entry in entries:
    rates, speed = run_network(entry.weights, drive)
    running.append(float(np.mean(np.argmax(network.outputs(rates), axis=1) == test.labels)))
    at_rest.append(float(np.mean(speed < 1e-3)))

figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for place, (entry, accuracy) in enumerate(zip(entries, running, strict=True)):
    _, colour, label = METRICS[entry.contender.manifold]
    ax.plot(
        [100 * accuracy, 100 * entry.test_accuracy], [place, place], color=colour, lw=1.5, zorder=1
    )
    ax.plot(100 * entry.test_accuracy, place, "o", mfc="white", mec=colour, mew=1.5, ms=8)
    ax.plot(100 * accuracy, place, "o", color=colour, ms=5)
names = [
    f"{METRICS[e.contender.manifold][2]}, {e.contender.optimiser.replace('-', ' ')}"
    for e in entries
]
ax.set_yticks(range(len(entries)), names)
ax.set(xlabel="test accuracy (%)", ylim=(len(entries) - 0.5, -0.5), xlim=(0, 100))
ax.axvline(10, color="0.6", lw=1, ls=":")
ax.annotate(
    "chance", (10, 8.3), xytext=(3, 0), textcoords="offset points", color="0.4", va="center"
)
ax.plot([], [], "o", mfc="white", mec="0.3", mew=1.5, ms=8, label="at the fixed points found")
ax.plot([], [], "o", color="0.3", ms=5, label="after running for 100 τ")
figure.legend(loc="outside lower right", ncols=2, frameon=False)
figure.suptitle("A fixed point that is not stable is of no use to the running network")
plt.show()

for name, accuracy, share in zip(names, running, at_rest, strict=True):
    print(
        f"{name:38s} running network: accuracy {accuracy:.3f}, at rest for {share:.0%} of the stimuli"
    )

# %%
# Under the resolvent metric, the accuracies of the table belong to fixed points that the network does not reach. For nearly all
# stimuli its activity has not come to rest after 100 τ, and its answers are far worse. The column ``lost`` gave the warning:
# it counts the training and test stimuli without a stable fixed point. Neither the loss nor the accuracy shows this.

gap = {
    m: np.mean(
        [
            e.test_accuracy - r
            for e, r in zip(entries, running, strict=True)
            if e.contender.manifold == m
        ]
    )
    for m in METRICS
}
print({name: round(float(value), 3) for name, value in gap.items()})
assert gap["resolvent"] > 0.1
assert abs(gap["scaled-monotone"]) < 1e-9

# %%
# Stability at the end
# --------------------
# A fixed point is stable where the spectral abscissa of −I + G W, the largest real part of its eigenvalues, is negative.

figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
plot_stability(entries, ax)
ax.set_yticks(np.arange(len(entries))[::-1], names, fontsize=9)
ax.margins(x=0.2)
for text in ax.texts:
    text.set_fontsize(8)
figure.suptitle("Only the scaled monotone manifold keeps every fixed point stable")
plt.show()

lost = {
    m: sum(e.without_stable_fixed_point for e in entries if e.contender.manifold == m)
    for m in METRICS
}
print(lost)
assert lost["scaled-monotone"] == 0
assert lost["euclidean"] > 0
assert lost["resolvent"] > 100

# %%
# The resolvent metric puts the singular set det(I − W) = 0 infinitely far away, but that is a statement about W without gains,
# and about continuous flow: a step of a line search has a length, and lands where the loss is low. On the scaled monotone
# manifold stability is a property of every point, so that no step of any optimiser can lose it.
#
# Which optimiser? With 200 test stimuli the standard error of an accuracy is about 3.5 percentage points: differences of less
# than 7 points decide nothing. In loss, conjugate gradients are ahead on the scaled monotone manifold at this budget; Trust
# regions spend half of the budget on products with the Hessian, and this has not paid off after 32 evaluations.

best = min(
    (e for e in entries if e.contender.manifold == "scaled-monotone"), key=lambda e: e.training_loss
)
print(best.contender.name, round(best.training_loss, 3), round(best.test_accuracy, 3))
assert best.contender.optimiser == "conjugate-gradient"
assert best.test_accuracy > 0.6

# %%
# What to try next
# ----------------
# - Ask for stability: ``compare(task, contenders, budget=32)``. Which metric reaches the lowest loss then?
# - Another budget: ``compare(task, contenders, budget=200)``. Do trust regions catch up?
# - Every contender: ``compare(task)``, or ``riemannrnn compare --manifold all`` in a terminal.
# - ``train(network, W, ..., rule="descent")`` on the resolvent metric: there a guard shortens the steps that would lose
#   stability.
# - ``Contender("resolvent", "geodesic", optimiser)``: the same metric with exact geodesics as steps. Does it lose fewer?
