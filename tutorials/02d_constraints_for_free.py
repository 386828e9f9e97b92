"""
Constraints for free
====================

The metric of `MonotoneManifold` has many isometries: with B = I − W, the map B ↦ Q B Qᵀ is an isometry for each invertible Q, and
so is B ↦ Bᵀ. If an isometry leaves some weights fixed, then a geodesic between two such weights stays among them. These constraints are of this kind:

- symmetric weights: transposition leaves them fixed,
- block-diagonal weights: fixed if Q changes the sign of the units of a block,
- circulant weights: fixed if Q rotates the units in their order,
- all weights that commute with given permutations of the units, see `equivariant`.
"""

# %%
# A reflection
# ------------
# As an example, let the first four neurons be the left half of a brain and the last four the right half. The network has to
# be the same after a reflection, which exchanges the halves. It is enough to project the Euclidean gradient onto such weights.
# The Riemannian gradient is then S P(∇J) S, with the projection P, and its geodesics stay inside without a correction.

import matplotlib.pyplot as plt
import numpy as np

from manifolds import MonotoneManifold, SubspaceManifold, equivariant, zero_diagonal
from riemannrnn import FixedPointCost, RateNetwork, SquaredError

N, RATE, STEPS = 8, 0.4, 60
monotone = MonotoneManifold(N, seed=2)
network = RateNetwork(N, activation="tanh", seed=1)
start = network.initial_weights(0.4)
x = np.random.default_rng(3).standard_normal((20, N))
teacher = network.initial_weights(0.7)[::-1, ::-1]
rates = network.fixed_points(teacher, x).rates
cost = FixedPointCost(network, x, SquaredError(rates), tolerance=1e-13)

mirror = equivariant([4, 5, 6, 7, 0, 1, 2, 3])
W = mirror.project(start)
losses = [cost(W)]
for _ in range(STEPS):
    gradient = monotone.euclidean_to_riemannian_gradient(W, mirror.project(cost.gradient(W)))
    W = monotone.exp(W, -RATE * gradient)
    losses.append(cost(W))
print(f"{mirror.dimension} free parameters of {W.size}, loss {losses[0]:.3f} → {losses[-1]:.3f}")
print(
    f"largest difference between the halves {max(abs(W[:4] - np.roll(W, 4, axis=1)[4:]).ravel()):.0e}"
)
assert np.allclose(W, mirror.project(W), rtol=0, atol=1e-14)
assert losses[-1] < 0.7 * losses[0]

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.6), layout="constrained")
left.semilogy(losses, color="black")
left.set(xlabel="step", ylabel="loss J")
largest = abs(W).max()
right.imshow(W, cmap="RdBu_r", vmin=-largest, vmax=largest)
right.axhline(3.5, color="black", lw=0.8)
right.axvline(3.5, color="black", lw=0.8)
right.set(xlabel="from neuron", ylabel="to neuron", title="W: red excites, blue inhibits")
plt.show()

# %%
# The four blocks of W show the constraint. The two blocks on the diagonal, within a half, are equal, and so are the two blocks
# between the halves.
#
# `SubspaceManifold(monotone, mirror)` has the same gradients, for every solver. It finds them without solving any equations.
#
# A zero diagonal, sparsity and the fixed signs of Dale's law are *not* of this kind: geodesics leave them. For example, start
# at weights without self-connections and change them by a matrix with a zero diagonal. The end has self-connections.

assert np.allclose(
    SubspaceManifold(monotone, mirror).euclidean_to_riemannian_gradient(W, cost.gradient(W)),
    monotone.euclidean_to_riemannian_gradient(W, mirror.project(cost.gradient(W))),
)
hollow = zero_diagonal(N).project(start)
change = zero_diagonal(N).project(-cost.gradient(hollow))
end = monotone.exp(hollow, change / monotone.norm(hollow, change))
print(f"largest self-connection after a step of length 1: {abs(end.diagonal()).max():.2f}")
assert abs(end.diagonal()).max() > 0.01

# %%
# What to try next
# ----------------
# - Constrain the weights to be symmetric, and descend in W and in A as the tutorial before does. The paths are still the same.
# - Take another permutation of the units, such as a rotation. How many free parameters are left?
