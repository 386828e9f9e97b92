"""
Fixed points
============

Solve for the fixed points of a network, differentiate a loss of them, watch their stability, and see what goes wrong where
I − G W is singular.

A network of rate units obeys τ ṙ = −r + f(W r + x). While a stimulus lasts, its rates settle at a fixed point, r = f(W r + x).
The recurrent weights W are what learns; everything else is given.
"""

# %%
# Solve
# -----
# Stimuli are rows. Here they are handwritten digits of 8 × 8 pixels, which a fixed random read-in turns into the drive x.

import matplotlib.pyplot as plt
import numpy as np

from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, SquaredError
from riemannrnn.data import load_digits
from riemannrnn.equilibrium import Implicit
from riemannrnn.rules.paper import delta_w1, delta_w3

digits = load_digits()
stimuli, labels = digits.stimuli[:100], digits.labels[:100]
net = RateNetwork(n_units=100, n_inputs=64, n_outputs=10, activation="tanh", seed=0)
W = net.initial_weights(radius=0.9)

fixed_points = net.fixed_points(W, stimuli)
print(fixed_points.solver)
print(fixed_points.status[0])

# %%
# The residual ‖f(W r + x) − r‖ is recomputed at the rates that are returned, and every stimulus has a verdict of its own.

assert fixed_points.converged.all()
assert fixed_points.residual.max() < 1e-10

# %%
# Differentiate
# -------------
# A cost is the mean loss of the outputs at the fixed points. Its gradient is ∇J = Σ u rᵀ, where each adjoint solves
# u = G (ℓ + Wᵀ u) with the gains G = diag f′(W r + x): one more linear system a stimulus, and no unrolling in time. A finite
# difference along a random direction confirms it.

cost = FixedPointCost(net, stimuli, CrossEntropy(labels))
gradient = cost.gradient(W)

direction = np.random.default_rng(0).standard_normal(W.shape)
step = 1e-5
slope = (cost(W + step * direction) - cost(W - step * direction)) / (2 * step)
predicted = float(np.sum(gradient * direction))
print(
    f"J = {cost(W):.4f} nat; slope by finite difference {slope:.8f}, by the gradient {predicted:.8f}"
)
assert abs(slope - predicted) < 1e-6 * abs(slope)

# %%
# Watch stability
# ---------------
# A solver may find a fixed point to which the dynamics never go. Stable is one where the eigenvalues of −I + G W have negative
# real parts; the largest of these, the spectral abscissa, is the rate at which the slowest perturbation decays, in units of
# 1/τ. Take the digit whose fixed point is closest to losing stability, push the rates away from it in twenty random directions,
# and let the network run: once the quick parts of the perturbations have gone, they shrink as the abscissa says.

abscissa = fixed_points.stability()
closest = int(np.argmax(abscissa))
rest, drive = fixed_points.rates[closest], net.drive(stimuli)[closest]

dt = 0.02
time = np.arange(0, 40, dt)
rates = rest + 0.01 * np.random.default_rng(1).standard_normal((20, net.n_units))
distance = np.zeros(time.size)
for number in range(time.size):
    distance[number] = np.linalg.norm(rates - rest) / 20**0.5
    rates = rates + dt * (-rates + np.tanh(rates @ W.T + drive))

late = time > 25
measured = np.polyfit(time[late], np.log(distance[late]), 1)[0]
print(f"spectral abscissa {abscissa[closest]:.4f}/τ, decay of the distance {measured:.4f}/τ")
assert (abscissa < 0).all()
assert abs(measured - abscissa[closest]) < 0.05 * abs(abscissa[closest])

figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.semilogy(time, distance, color="#0072B2", lw=2, label="simulated")
predicted = distance[-1] * np.exp(abscissa[closest] * (time - time[-1]))
ax.semilogy(time, predicted, "--", color="black", lw=1.2, label="decay at the spectral abscissa")
ax.set(
    xlabel="time (τ)",
    ylabel="distance to the fixed point",
    title="The abscissa is the rate of return",
)
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

# %%
# Near a singularity
# ------------------
# A memory is a fixed point that holds on against the drive. Let one pattern p excite itself with strength s,
#
#     W = s p pᵀ / n + a weak random part,
#
# while the drive pulls against it. Started from the pattern, the network stays there as long as s is large. Weaken s, start
# each solution from the one before, and at some strength s* the memory is lost: its fixed point meets an unstable one and both
# vanish.

n = 50
memory = RateNetwork(n_units=n, activation="tanh", seed=0)
pattern = np.random.default_rng(2).choice([-1.0, 1.0], n)
background = memory.initial_weights(radius=0.3)
pull = -0.3 * pattern[None, :]


def weights(strength):
    """Return W for a strength s of the pattern."""
    return strength * np.outer(pattern, pattern) / n + background


def solve(strength, start):
    """Return the fixed point that is reached from given rates."""
    return memory.fixed_points(
        weights(strength),
        pull,
        initial_rates=start,
        solver="newton",
        max_iterations=30,
        on_failure="mask",
    )


def overlap(found):
    """Return pᵀ r / n: 1 where the pattern is held, negative where the pull has won."""
    return float(np.mean(found.rates * pattern)) if found.converged.all() else float("nan")


edge, held = 2.5, pattern[None, :]
for step in 10.0 ** -np.arange(1, 9):
    while overlap(found := solve(edge - step, held)) > 0.3:
        edge, held = edge - step, found.rates
print(f"the memory is lost at s* = {edge:.6f}")

# %%
# Now measure two steps along the branch, both at rate 1: that of ΔW1, the negative Euclidean gradient, and that of ΔW3, a rule
# of Zhu and Rosenbaum (2024). The first divides by I − G W. The second is the gradient under a metric in which the singular
# set is infinitely far away; its formula has four matrix products and no linear solve, so that nothing in it can blow up.

target = SquaredError(pattern[None, :])
strengths = edge + np.geomspace(0.8, 1e-6, 60)
rows, rates = [], pattern[None, :]
for strength in strengths:
    found = solve(strength, rates)
    rates, gains, errors = found.rates, found.gains, target.gradient(found.rates)
    adjoint = Implicit(found, solver="newton").adjoint(errors)
    rows.append(
        (
            overlap(found),
            np.linalg.norm(delta_w1(rates, adjoint)),
            np.linalg.norm(delta_w3(weights(strength), rates, gains, errors)),
            np.linalg.svd(np.eye(n) - gains.T * weights(strength), compute_uv=False)[-1],
            found.stability()[0],
        )
    )
overlaps, euclidean, natural, singular_value, abscissa = np.array(rows).T

beyond = edge - np.linspace(0.2, 1e-3, 20)
fallen = [overlap(solve(strength, -pattern[None, :])) for strength in beyond]

print(
    f"from s = {strengths[0]:.2f} to s*: ΔW1 grows from {euclidean[0]:.2f} to {euclidean[-1]:.0f},"
)
print(
    f"ΔW3 from {natural[0]:.2f} to {natural[-1]:.2f}; σ_min falls from {singular_value[0]:.2f} to {singular_value[-1]:.4f}"
)
near = strengths < edge + 0.01
product = euclidean[near] * singular_value[near]
assert product.max() < 1.2 * product.min()  # ΔW1 is inversely proportional to σ_min
assert euclidean[-1] > 1000 * euclidean[0]
assert natural.max() < 10 * natural[0]
assert (abscissa < 0).all()
assert abscissa[-1] > -0.01

figure, (upper, lower) = plt.subplots(2, 1, figsize=(5, 4.6), sharex=True, layout="constrained")
upper.plot(strengths, overlaps, color="black", lw=2, label="memory")
upper.plot(beyond, fallen, color="0.55", lw=2, ls="--", label="after its loss")
upper.set(
    ylabel="overlap pᵀ r / n",
    title="At a lost fixed point ΔW1 diverges, ΔW3 does not",
    ylim=(-1.1, 1.1),
)
lower.semilogy(strengths, euclidean, color="#D55E00", lw=2, ls="--", label="ΔW1, Euclidean")
lower.semilogy(strengths, natural, color="#0072B2", lw=2, label="ΔW3, resolvent of the gains")
lower.set(xlabel="strength s of the pattern", ylabel="length of the step")
for ax in (upper, lower):
    ax.axvline(edge, color="0.4", lw=0.8, ls=":")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
upper.annotate(
    "s*: I − G W is singular", (edge, -0.2), xytext=(6, 0), textcoords="offset points", fontsize=9
)

# %%
# The step of ΔW1 is inversely proportional to the smallest singular value of I − G W, and that is zero where the memory is
# lost. A learning rate that is small enough there is far too small everywhere else. The abscissa goes to zero at the same
# place: it warns of what is to come, for a network is slow before it loses a fixed point.
#
# What to try next
# ----------------
# - Make the pull stronger, or the pattern a mixture of two, and see where s* goes.
# - Look at the branch that vanishes together with the memory: start Newton's method between the two fixed points, and see that
#   its abscissa is positive.
# - The tutorial "Choosing a metric" says which metric suits which task, and "Rules as geometry" shows which metric each of the
#   rules ΔW1 to ΔW4 follows.
