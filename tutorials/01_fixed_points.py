"""
Fixed points
============

Solve for the fixed points of a network, watch the rates settle there, look at stability, differentiate a loss, and train.
The last part shows what goes wrong where I − G W is singular.

A network of rate units obeys τ ṙ = −r + f(W r + x). While a stimulus lasts, its rates settle at a fixed point,
r = f(W r + x). The recurrent weights W learn. The read-in and the readout are given.
"""

# %%
# The network
# -----------
# A stimulus s is a row of numbers, here a handwritten digit of 8 × 8 pixels. A fixed, random read-in turns it into the drive x.
# The recurrent units settle at the fixed point r. A fixed readout turns r into the outputs y, one for each digit.

import matplotlib.pyplot as plt
import numpy as np

from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, SquaredError, train
from riemannrnn.data import load_digits
from riemannrnn.equilibrium import Implicit
from riemannrnn.rules.paper import delta_w1, delta_w3

plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

training, test = load_digits().split(300, 200, seed=0)
stimuli, labels = training.stimuli, training.labels
net = RateNetwork(n_units=100, n_inputs=64, n_outputs=10, activation="tanh", seed=0)
W = net.initial_weights(radius=0.9)

figure, ax = plt.subplots(figsize=(6.4, 2.2), layout="constrained")
ax.imshow(stimuli[0].reshape(8, 8), cmap="Greys", extent=(-2.5, -1.1, -0.7, 0.7))
angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
units = np.stack([0.9 * np.cos(angles) + 2, 0.9 * np.sin(angles)], axis=1)
pairs = np.random.default_rng(0).integers(0, 12, (22, 2))
ax.plot(*units[pairs].transpose(2, 1, 0), color=BLUE, lw=0.6, alpha=0.6)
ax.plot(*units.T, "o", color=BLUE, ms=10)
ax.plot(np.full(10, 5), np.linspace(-0.9, 0.9, 10), "s", color=GREEN, ms=6)
for start, end, label in ((-1, 0.9, "x: read-in"), (3.1, 4.8, "y: readout")):
    ax.annotate("", (end, 0), (start, 0), arrowprops={"arrowstyle": "->", "lw": 1.5})
    ax.text((start + end) / 2, 0.12, label, ha="center")
for place, label in ((-1.8, "stimulus s"), (2, "r = f(W r + x)"), (5, "10 outputs")):
    ax.text(place, -1.35, label, ha="center")
ax.set(xlim=(-2.8, 5.8), ylim=(-1.6, 1.1), aspect="equal")
ax.axis("off")
plt.show()

# %%
# Solve
# -----
# All stimuli are solved at once. The residual ‖f(W r + x) − r‖ is computed again at the rates that are returned, and every
# stimulus has a status.

fixed_points = net.fixed_points(W, stimuli)
print(fixed_points.solver)
print(fixed_points.status[0])
assert fixed_points.converged.all()
assert fixed_points.residual.max() < 1e-10

# %%
# The rates settle there
# ----------------------
# Let the network run from rest, in small time steps, with one digit switched on at time 0. The rates settle at the fixed
# point that the solver found. No simulation was needed to find it.

drive = net.drive(stimuli)[0]
dt, time = 0.02, np.arange(0, 40, 0.02)
rates, course = np.zeros(net.n_units), []
for _ in time:
    course.append(rates)
    rates = rates + dt * (-rates + np.tanh(W @ rates + drive))
course = np.array(course)

figure, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
for unit in range(8):
    ax.plot(time, course[:, unit], color=BLUE, lw=1.2)
    ax.plot(time[-1] + 1, fixed_points.rates[0, unit], "o", color=ORANGE, ms=5, clip_on=False)
ax.plot([], [], "o", color=ORANGE, label="fixed point, from the solver")
ax.plot([], [], color=BLUE, label="rates of eight units, simulated")
ax.set(
    xlabel="time (τ)",
    ylabel="rate",
    xlim=(0, 42),
    ylim=(-0.9, 1),
    title="The rates settle at the fixed point",
)
ax.legend(frameon=False, ncols=2, loc="upper center")
plt.show()
assert abs(course[-1] - fixed_points.rates[0]).max() < 0.02

# %%
# Is it stable?
# -------------
# A solver may find a fixed point where the dynamics never stay. A fixed point is stable if all eigenvalues of −I + G W have
# negative real parts, where G = diag f′(W r + x) holds the gains of the units. The largest real part is the spectral
# abscissa. It is also the rate at which the slowest perturbation decays, in units of 1/τ.

abscissa = fixed_points.stability()
closest = int(np.argmax(abscissa))
print(f"the worst spectral abscissa of {len(stimuli)} stimuli is {abscissa[closest]:.3f} / τ")
assert (abscissa < 0).all()


def eigenvalues(weights, found, stimulus):
    """Return the eigenvalues of −I + G W for a stimulus."""
    return np.linalg.eigvals(-np.eye(net.n_units) + found.gains[stimulus][:, None] * weights)


before = eigenvalues(W, fixed_points, closest)
assert np.isclose(before.real.max(), abscissa[closest], atol=1e-6)

# %%
# Differentiate
# -------------
# A cost is the mean loss of the outputs at the fixed points. Its gradient is ∇J = Σ u rᵀ, where each adjoint u solves
# u = G (ℓ + Wᵀ u) with ℓ = ∂L/∂r. This is one more linear system for each stimulus. Nothing is unrolled in time. A finite
# difference along a random direction confirms the gradient.

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
# Train
# -----
# ``train`` takes mini-batches and steps. Without further arguments it runs Adam on the scaled monotone manifold, where every
# stimulus has exactly one fixed point, and a stable one. It starts from weights of a smaller spectral radius.

history = train(
    net, net.initial_weights(radius=0.5), stimuli, labels, batch_size=100, epochs=15, seed=0,
    held_out=(test.stimuli, test.labels),
)  # fmt: skip
trained = net.fixed_points(history.weights, stimuli)
after = eigenvalues(history.weights, trained, int(np.argmax(trained.stability())))
print(history.stopped, f"Test accuracy {history.test_accuracy[-1]:.1%}.")
assert history.test_accuracy[-1] > 0.75
assert trained.stability().max() < 0

figure, (left, right) = plt.subplots(1, 2, figsize=(6.8, 2.9), layout="constrained")
left.plot(np.arange(1, len(history.loss) + 1), history.loss, color=BLUE)
left.set(xlabel="step", ylabel="training loss (nats)", title="Training", ylim=(0, None))
right.plot(before.real, before.imag, "o", color="0.6", ms=3, label="before, radius 0.9")
right.plot(after.real, after.imag, "o", color=BLUE, ms=3, label="after training")
right.axvline(0, color="black", lw=1)
right.text(0.03, right.get_ylim()[1], "unstable →", va="top")
right.set(
    xlabel="real part (1/τ)",
    ylabel="imaginary part (1/τ)",
    title="Eigenvalues of −I + G W, worst stimulus",
)
right.set_xlim(right.get_xlim()[0], 0.6)
right.legend(frameon=False, loc="lower left", fontsize=8)
plt.show()

# %%
# Near a singularity
# ------------------
# A memory is a fixed point that holds on against the drive. Let one pattern p excite itself with strength s,
#
#     W = s p pᵀ / n + a weak random part,
#
# while the drive pulls against it. Started from the pattern, the network stays there as long as s is large. Weaken s, and
# start each solution from the last one. At some strength s* the memory is lost: its fixed point meets an unstable fixed point,
# and both vanish.

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
# Now measure two steps along the branch, both at rate 1: the step of ΔW1, which is the negative Euclidean gradient, and the
# step of ΔW3, a rule of Zhu and Rosenbaum (2024). The first divides by I − G W. The second is the gradient under a metric in
# which the singular set is infinitely far away. Its formula has four matrix products and no linear solve, so that nothing in
# it can blow up.

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
lower.semilogy(strengths, euclidean, color=ORANGE, lw=2, ls="--", label="ΔW1, Euclidean")
lower.semilogy(strengths, natural, color=BLUE, lw=2, label="ΔW3, resolvent of the gains")
lower.set(xlabel="strength s of the pattern", ylabel="length of the step")
for ax in (upper, lower):
    ax.axvline(edge, color="0.4", lw=0.8, ls=":")
    ax.legend(frameon=False)
upper.annotate(
    "s*: I − G W is singular", (edge, -0.2), xytext=(6, 0), textcoords="offset points", fontsize=9
)

# %%
# The step of ΔW1 is inversely proportional to the smallest singular value of I − G W, and that is zero where the memory is
# lost. A learning rate that is small enough there is far too small everywhere else. The abscissa goes to zero at the same
# place. It is a warning: a network becomes slow before it loses a fixed point.
#
# What to try next
# ----------------
# - Make the pull stronger, or the pattern a mixture of two, and see where s* goes.
# - Look at the branch that vanishes together with the memory: start Newton's method between the two fixed points, and see that
#   its abscissa is positive.
# - The tutorial "Choosing a metric" says which metric suits which task, and "Rules as geometry" shows which metric each of the
#   rules ΔW1 to ΔW4 follows.
