"""
Learning rules as geometry
==========================

Zhu and Rosenbaum (2024) propose four rules for the fixed points of a recurrent network, ΔW1 to ΔW4. They look like four
formulas. They come from three independent choices:

- a **metric**, which turns the gradient ∇J into a direction, grad J;
- a **retraction**, which turns a direction into a step: along a geodesic, or along a straight line in the weights;
- a **memory**, which is carried from step to step: nothing, momentum, or the moments of Adam.

This page takes the rules apart into these choices, measures the angles between their steps, derives how far ΔW2 and ΔW3
are apart, and puts new rules together.
"""

# %%
# A task
# ------
# A linear network of 30 neurons, r = W r + x, learns to answer like another network, the teacher. The loss is the mean of ½ ‖r −
# t‖² over 60 stimuli. They are white: their second moment is the identity.

import matplotlib.pyplot as plt
import numpy as np

from manifolds import Identity, PullbackManifold, Resolvent, gain
from riemannrnn import FixedPointCost, RateNetwork, SquaredError, train
from riemannrnn.plots.paper import RULE_COLOURS, RULE_LABELS
from riemannrnn.rules.descent import Descent
from riemannrnn.rules.descent_check import descent_cosine
from riemannrnn.rules.named import make_rule
from riemannrnn.rules.paper import delta_w1, delta_w3

plt.rcParams.update(
    {"font.size": 8, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}
)

N, STIMULI = 30, 60
RULES = ("dW1", "dW2", "dW3", "dW4")
STYLES = {"dW1": "-", "dW2": "-", "dW3": "--", "dW4": ":"}
white = STIMULI**0.5 * np.linalg.qr(np.random.default_rng(0).standard_normal((STIMULI, N)))[0]
teacher = RateNetwork(N, seed=1).initial_weights(0.6)
start = RateNetwork(N, seed=2).initial_weights(0.6)


def make_cost(activation):
    """Return the cost of the task for a network of that activation."""
    network = RateNetwork(N, activation=activation)
    targets = network.fixed_points(teacher, white, tolerance=1e-13).rates
    return FixedPointCost(network, white, SquaredError(targets), tolerance=1e-13)


linear = make_cost("identity")

# %%
# Metric and retraction
# ---------------------
# A rule in this package has two parts. `rule.velocity` returns a tangent vector: which way and how far. `rule.move` walks along
# it. `rule.step` does both. Fixed points, gains, adjoints and the gradient at the weights are computed once, in `cost.at(W)`.

here = linear.at(start)
eta = 0.1
rules = {name: make_rule(name, N) for name in RULES}
ends = {name: rule.step(start, here, eta)[0] for name, rule in rules.items()}
steps = {name: end - start for name, end in ends.items()}

# %%
# **ΔW1** is the Euclidean metric. Directions are minus the gradient, and geodesics are straight lines. This is ordinary
# gradient descent. In the paper it is written as −η Σ u rᵀ with the adjoint u.

euclidean, resolvent = PullbackManifold(Identity(), N), PullbackManifold(Resolvent(), N)
assert np.allclose(steps["dW1"], -eta * here.gradient)
assert np.allclose(steps["dW1"], eta * delta_w1(here.rates, here.adjoint))

# %%
# **ΔW2** changes the metric. It measures a change of W by the change of A = (I − W)⁻¹, the matrix that turns stimuli into
# fixed points. The gradient becomes grad J = B Bᵀ ∇J Bᵀ B with B = I − W, and geodesics are the straight lines of A. ΔW2
# walks along one: W ← exp_W(−η grad J). In coordinates that is A ← A − η ∂J/∂A.

direction = resolvent.euclidean_to_riemannian_gradient(start, here.gradient)
B = np.eye(N) - start
A = np.linalg.inv(B)
assert np.allclose(direction, B @ B.T @ here.gradient @ B.T @ B)
assert np.allclose(steps["dW2"], resolvent.exp(start, -eta * direction) - start)
slope_of_response = here.errors.T @ white  # ∂J/∂A, as r = A x
assert np.allclose(np.linalg.inv(B - steps["dW2"]), A - eta * slope_of_response)

# %%
# **ΔW3** keeps that metric and changes the retraction: W ← W − η grad J, a straight line in the weights. It needs no
# linear solve: the inverse in ∇J and the B in front cancel, and four matrix products remain. **ΔW4** differs from ΔW3 by
# gains f′, which are all 1 in a linear network.

assert np.allclose(steps["dW3"], -eta * direction)
assert np.allclose(
    steps["dW3"], eta * delta_w3(start, here.rates, here.fixed_points.gains, here.errors)
)
assert np.allclose(steps["dW4"], steps["dW3"])

# %%
# Four rules, one table:
#
# ====================  ==========  ==============  ====================================
# rule                  metric      retraction      what it computes
# ====================  ==========  ==============  ====================================
# ΔW1                   Euclidean   straight in W   W − η ∇J
# ΔW2                   resolvent   geodesic        exp_W(−η grad J)
# ΔW3 (linear)          resolvent   straight in W   W − η grad J
# descent               yours       yours           exp_W(−η grad J), or W − η grad J
# momentum              yours       yours           momentum, carried along the step
# ====================  ==========  ==============  ====================================
#
# `Descent(manifold)` is the general form, and the names are short for it. The retraction belongs to the manifold.

straight = PullbackManifold(Resolvent(), N, "additive")
assert np.array_equal(Descent(resolvent).step(start, here, eta)[0], ends["dW2"])
assert np.allclose(Descent(straight).step(start, here, eta)[0], ends["dW3"])
assert np.array_equal(make_rule("descent", N, resolvent).step(start, here, eta)[0], ends["dW2"])

# %%
# Why geodesics matter: the loss of a linear network is a quadratic function of A, and for white stimuli its curvature is one
# in all directions. A geodesic step of rate 1 is then Newton's step, and ends at the minimum, from any start. The straight
# step of the same rate has the same direction and misses the minimum.

arrivals = {
    name: linear(rule.step(start, here, 1.0)[0]) / here.cost for name, rule in rules.items()
}
print(
    "loss after one step of rate 1, relative:",
    {RULE_LABELS[name]: f"{loss:.1e}" for name, loss in arrivals.items()},
)
assert arrivals["dW2"] < 1e-20
assert min(arrivals["dW1"], arrivals["dW3"]) > 1e-2

# %%
# The η² law
# ----------
# ΔW2 and ΔW3 leave along one direction V = −η grad J. How far apart do they end? A geodesic of the resolvent metric is
# exp_W(V) = I − (I + V A)⁻¹ B. The series of the inverse gives
#
#     exp_W(V) = W + V − V A V + V A V A V − …
#
# so ΔW2 − ΔW3 = −V A V + …, which is −η² (grad J) A (grad J) to leading order. Halve the rate, and the rules differ by a
# quarter. The term V A V is the acceleration that a straight line of A has in W: the *connection* of the metric, which
# says how directions turn from one point to the next.

etas = np.logspace(-5, 0, 16)
apart = np.array(
    [
        np.linalg.norm(resolvent.exp(start, -eta * direction) - (start - eta * direction))
        for eta in etas
    ]
)
constant = np.linalg.norm(direction @ A @ direction)
small = etas < 1e-2
slope = np.polyfit(np.log(etas[small]), np.log(apart[small]), 1)[0]
print(
    f"slope {slope:.4f}; ‖ΔW2 − ΔW3‖ / η² = {apart[3] / etas[3] ** 2:.4f} at η = {etas[3]:.0e}; ‖grad A grad‖ = {constant:.4f}"
)
assert abs(slope - 2) < 0.01
assert np.isclose(apart[3] / etas[3] ** 2, constant, rtol=1e-3)

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.6), layout="constrained")
figure.suptitle("ΔW2 and ΔW3 differ by a constant times η²", fontsize=9)
left.loglog(etas, apart, "o", color=RULE_COLOURS["dW2"], ms=4, label="measured")
left.loglog(etas, constant * etas**2, color="black", lw=1, label="η² ‖grad J · A · grad J‖")
left.loglog(
    etas,
    np.linalg.norm(direction) * etas,
    color="0.5",
    lw=1,
    ls="--",
    label="length of the step, ∝ η",
)
left.set(xlabel="learning rate η", ylabel="‖ΔW2 − ΔW3‖")
left.legend(frameon=False, fontsize=8)
right.semilogx(etas, apart / etas**2, "o-", color=RULE_COLOURS["dW2"], ms=4)
right.axhline(constant, color="black", lw=1)
right.set(
    xlabel="learning rate η",
    ylabel="‖ΔW2 − ΔW3‖ / η²",
    ylim=(0, 1.2 * max(constant, apart[-1] / etas[-1] ** 2)),
)
plt.show()

# %%
# Angles between the rules
# ------------------------
# With tanh units the four rules differ. ΔW3 adds, over stimuli, a natural gradient under a metric that contains the gains f′
# of the stimulus. ΔW4 leaves some of the gains out. ΔW2 contains no gains. We compare where the rules point, from the same
# weights at η = 0.01. An angle needs an inner product, so it needs a metric. The Euclidean metric asks whether synapses change
# alike. The resolvent metric asks whether the response of the linear network changes alike.

nonlinear = make_cost("tanh")


def angles(manifold, W, changes):
    """Return the angles between changes of W in the metric of a manifold, in degrees, shape (changes, changes)."""
    gram = np.array([[manifold.inner_product(W, U, V) for V in changes] for U in changes])
    lengths = np.sqrt(np.diag(gram))
    return np.degrees(np.arccos(np.clip(gram / np.outer(lengths, lengths), -1, 1)))


def first_steps(cost, some_rules):
    """Return the change of W by the first step of each rule."""
    return [rule.step(start, cost.at(start), 0.01)[0] - start for rule in some_rules]


found = {
    (network, metric): angles(manifold, start, first_steps(cost, rules.values()))
    for network, cost in (("linear", linear), ("tanh", nonlinear))
    for metric, manifold in (("Euclidean", euclidean), ("resolvent", resolvent))
}

figure, axes = plt.subplots(2, 2, figsize=(6.4, 5.8), layout="constrained")
figure.suptitle(
    "Angles between first steps: ΔW2, ΔW3 and ΔW4 are one direction until gains enter", fontsize=9
)
labels = [RULE_LABELS[name] for name in RULES]
for ax, ((network, metric), degrees) in zip(axes.flat, found.items(), strict=True):
    ax.imshow(degrees, vmin=0, vmax=90, cmap="cividis")
    for (row, column), value in np.ndenumerate(degrees):
        shade = "white" if value < 50 else "black"
        ax.text(column, row, f"{value:.0f}°", ha="center", va="center", color=shade)
    ax.set(xticks=range(4), yticks=range(4), xticklabels=labels, yticklabels=labels)
    ax.set_title(f"{network} network, {metric} metric")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
plt.show()

# %%
# In the linear network ΔW2, ΔW3 and ΔW4 are within 1°, as the η² law says, and far from ΔW1. In the tanh network the gains
# run from 0.004 to 1, and pull the rules apart. All four still descend here: the angle to −∇J is below 90°. For ΔW1 and
# ΔW2 that is certain, because they are steepest descent in some metric. For the sums ΔW3 and ΔW4 it is not certain:

assert found["linear", "Euclidean"][1, 2] < 1.5
assert found["linear", "Euclidean"][0, 1] > 80
assert found["tanh", "Euclidean"][1, 2] > 20
cosines = [
    descent_cosine(change, nonlinear.gradient(start))
    for change in first_steps(nonlinear, rules.values())
]
to_descent = [f"{np.degrees(np.arccos(min(1.0, cosine))):.0f}°" for cosine in cosines]
print("angle to −∇J:", dict(zip(labels, to_descent, strict=True)))
assert min(cosines) > 0

# %%
# A rule of your own
# ------------------
# If metric and retraction are free choices, a rule that the paper does not have is one line. ΔW2 contains no gains. ΔW3
# contains the gains of every stimulus. In between is the metric of the *mean* gains, `gain(g)`. It is flat and has geodesics in closed
# form, like the resolvent metric. Its direction is nearer to ΔW3 than the direction of ΔW2 is, in either metric.

mean_gains = nonlinear.at(start).fixed_points.gains.mean(axis=0)
gain_rule = Descent(gain(mean_gains))
paper_2, paper_3, ours = first_steps(nonlinear, [rules["dW2"], rules["dW3"], gain_rule])
for name, manifold in (("Euclidean", euclidean), ("resolvent", resolvent)):
    degrees = angles(manifold, start, [paper_2, paper_3, ours])
    print(
        f"{name} metric: from ΔW3 it is {degrees[0, 1]:.0f}° to ΔW2 and {degrees[1, 2]:.0f}° to the rule of mean gains"
    )
    assert degrees[1, 2] < degrees[0, 1]

# %%
# All five learn the task in the tanh network, each at the best of three rates. `train` takes a name or a rule object. Its
# guard, which shortens steps that would lose a fixed point, is off: we want to see the rules themselves.

RATES = (0.3, 1.0, 3.0)
targets = nonlinear.loss
contenders = {name: make_rule(name, N) for name in RULES} | {"gain": gain_rule}
histories = {}
for name, rule in contenders.items():
    runs = [
        train(nonlinear.model, start, white, targets, rule, rate, epochs=40, guard=False)
        for rate in RATES
    ]
    histories[name] = min(runs, key=lambda run: run.loss[-1] if len(run.loss) == 40 else np.inf)
final = {name: history.loss[-1] / history.loss[0] for name, history in histories.items()}
print({name: f"{value:.1e}" for name, value in final.items()})

figure, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
for name, history in histories.items():
    style = {"color": RULE_COLOURS.get(name, "#E69F00"), "ls": STYLES.get(name, "-.")}
    ax.semilogy(np.arange(40), history.loss, lw=1.6, **style)
    above = name in ("gain", "dW2")  # labels that would touch the next one
    label = RULE_LABELS.get(name, "mean gains, geodesic")
    ax.text(39.6, history.loss[-1], label, color=style["color"], va="bottom" if above else "top")
ax.set(
    xlabel="step",
    ylabel="loss J",
    xlim=(0, 50),
    title="In a tanh network the rules that know the gains learn faster, each at its best rate",
)
plt.show()
assert max(final["dW3"], final["dW4"], final["gain"]) < 0.2 * min(final["dW1"], final["dW2"])

# %%
# The order is not a law: it changes with other stimuli, activations and budgets, and ΔW3 and ΔW4 do not promise to descend.
# `riemannrnn compare` measures it on your task.

# %%
# Memory
# ------
# Momentum adds the last step to the next. On a manifold the last step is a vector at the *last* point. **Parallel
# transport** carries it to the present point, without turning or stretching it in the metric. In the Euclidean metric this
# changes nothing. In the resolvent metric it keeps the change of A, not the change of W. So momentum on this manifold is the
# heavy-ball method in A, which we can write by hand.

momentum = make_rule("momentum", N, resolvent)
W, memory = start, None
A_now, velocity = A, np.zeros_like(A)
for _ in range(5):
    W, memory = momentum.step(W, linear.at(W), 0.05, memory)
    velocity = 0.9 * velocity - 0.05 * (white @ A_now.T - linear.loss.targets).T @ white / STIMULI
    A_now = A_now + velocity
assert np.allclose(np.linalg.inv(np.eye(N) - W), A_now)

carried = resolvent.parallel_transport(start, -eta * direction, direction)
print(
    f"length before {resolvent.norm(start, direction):.6f}, after {resolvent.norm(ends['dW2'], carried):.6f}"
)
print(f"length of the same matrix, not carried: {resolvent.norm(ends['dW2'], direction):.6f}")
assert np.isclose(resolvent.norm(start, direction), resolvent.norm(ends["dW2"], carried))

# %%
# Momentum 0.9 should learn like a rate ten times larger. It does:

slow, fast = (
    train(nonlinear.model, start, white, targets, "dW2", rate, epochs=40, guard=False)
    for rate in (0.03, 0.3)
)
heavy = train(nonlinear.model, start, white, targets, "momentum", 0.03, epochs=40, guard=False)
for name, run in (("ΔW2 at 0.03", slow), ("with momentum", heavy), ("ΔW2 at 0.3", fast)):
    print(f"{name:14} loss {run.loss[-1] / run.loss[0]:.2f} of that at the start")
assert heavy.loss[-1] < 0.4 * slow.loss[-1]
assert heavy.loss[-1] < 1.5 * fast.loss[-1]

# %%
# What to try next
# ----------------
# - `Momentum(left_invariant(N))`: the same momentum on a curved manifold, where transport turns vectors.
# - `Adam(resolvent)`: the moments of Adam, kept in coordinates of the chart instead of synapse by synapse.
# - Give the stimuli a spread of variances, `white * np.geomspace(1, 0.1, N)`. One geodesic step of rate 1 no longer
#   arrives, and `Descent(response_metric(cost))` still nearly does.
# - `check_descent` of `riemannrnn.rules` tells where along a path ΔW3 and ΔW4 descend, and
#   `aggregated_metric` is a metric that takes gains from every stimulus and always does.
# - Write a metric of your own, in one function: see the tutorial "A manifold of your own".
