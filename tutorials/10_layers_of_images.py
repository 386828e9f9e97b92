"""
Layers of images: what a convolution does while it settles
==========================================================

A network of images has the same weights at every position. This tutorial trains such a layer on digits of 8 × 8 pixels, and
watches an image settle in it. Which stimuli have a fixed point? How far does a pixel reach? And what happens on an image of
another size?
"""

# %%
# A layer with the same weights everywhere
# ----------------------------------------
# A layer of images solves r = f(W r + V s + b), as any layer of a ``Stack``. Here W is a convolution on a grid with periodic
# edges, V is a convolution of the image, and b has one number for each channel. ``pool`` is the size of the windows whose means
# the readout takes. The units of 8 channels on 8 × 8 positions number 512, but W has 1,600 numbers in place of 262,144.

import matplotlib.pyplot as plt
import numpy as np

from riemannrnn import Layer, Stack, solve_fixed_points, train
from riemannrnn.data import load_digits
from riemannrnn.training.by_name import product_of

plt.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.titlesize": 10}
)
PICTURE = {"xticks": [], "yticks": [], "frame_on": False}
digits, test = load_digits(np.float32).split(500, 1000, seed=0)
CHANNELS = 8

layer = Layer.convolution((8, 8, 1), CHANNELS, support=5, pool=2)
stack = Stack([layer], n_inputs=64, n_outputs=10, activation="relu", seed=0, dtype="float32")
history = train(
    stack,
    stack.initial_parameters(),
    digits.stimuli,
    digits.labels,
    batch_size=50,
    epochs=20,
    seed=0,
    held_out=(test.stimuli, test.labels),
)
parameters = history.parameters
for name, value in parameters.items():
    print(f"{name:>20s} {value.shape!s:>16s} {value.size:6,d} numbers")
print(
    f"{history.test_accuracy[-1]:.1%} of 1000 test digits are right after {len(history.loss)} steps"
)
assert history.test_accuracy[-1] > 0.93

# %%
# Every image has one fixed point
# -------------------------------
# ``train`` keeps W on ``ConvolutionalMonotone``: I − W = E (m I + AᵀA + P − Pᵀ), with kernels A and P and a scale for each
# channel in E. So the symmetric part of E⁻¹ (I − W) is at least m, and each stimulus has exactly one fixed point, which is
# stable. ``certificate`` checks this on a grid of any size. The Fourier transform makes W block-diagonal, so that the smallest
# eigenvalue on n units is the smallest of matrices of the size of the channels, one for each frequency.

manifold, _ = product_of(stack, stack.flat(parameters), "monotone")
kernels, point = (
    manifold.factors["layers.0.recurrent"],
    manifold.named(history.point)["layers.0.recurrent"],
)
smallest = {size: kernels.certificate(point, (size, size)) for size in (8, 28, 64)}
for size, value in smallest.items():
    print(
        f"grid of {size:2d} × {size:2d}, {size * size * CHANNELS:6,d} units: smallest eigenvalue {value:.6f}"
    )
assert min(smallest.values()) >= kernels.margin - 1e-6

response = stack.respond(parameters, stack.prepare(test.stimuli))
print(f"{int(response.converged.sum())} of {len(test.stimuli)} test stimuli converged")
assert response.converged.all()
few = stack.respond(parameters, stack.prepare(test.stimuli[:4]))
assert few.layers[0].stability().max() < 0

# %%
# An image settles
# ----------------
# The rates follow τ ṙ = −r + f(W r + x), where x = V s + b is the drive. We start at zero rates and take small steps of time.
# Each row is a channel, and each column a time in units of τ. The last column is the fixed point that the solver found.

TIMES = (0.5, 2.0, 5.0, 15.0, 50.0)
STEP = 0.05


def settle(s, weights=1.0):
    """Return the rates at `TIMES` from zero, for recurrent weights times a factor, shape (times, 8, 8, channels)."""
    read_in = layer.read_in.apply(parameters["layers.0.input"], s[None, :])
    drive = (read_in.reshape(-1, CHANNELS) + parameters["layers.0.bias"]).reshape(1, -1)
    operator = layer.connectivity.bind(weights * parameters["layers.0.recurrent"])
    rates, seen = np.zeros_like(drive), []
    for step in range(1, round(TIMES[-1] / STEP) + 1):
        rates = rates + STEP * (np.maximum(operator.apply(rates) + drive, 0) - rates)
        if any(abs(step * STEP - time) < STEP / 2 for time in TIMES):
            seen.append(rates.reshape(8, 8, CHANNELS))
    return np.array(seen)


number = int(np.flatnonzero(test.labels == 3)[0])
image = test.stimuli[number]
frames, alone = settle(image), settle(image, 0.0)
fixed = response.layers[0].rates[number].reshape(8, 8, CHANNELS)
shown = np.argsort(-np.abs(frames[-1] - alone[-1]).sum(axis=(0, 1)))[
    :3
]  # where the recurrent weights do most

figure, axes = plt.subplots(3, 8, figsize=(7.2, 3.2), layout="constrained", subplot_kw=PICTURE)
titles = ["image", "without W", *(f"t = {time:g} τ" for time in TIMES), "fixed point"]
for row, channel in zip(axes, shown, strict=True):
    top = max(frames[..., channel].max(), fixed[..., channel].max())
    row[0].imshow(image.reshape(8, 8), cmap="gray_r")
    row[1].imshow(alone[-1, ..., channel], cmap="magma", vmin=0)  # on a scale of its own
    for ax, picture in zip(row[2:], [*frames, fixed], strict=True):
        ax.imshow(picture[..., channel], cmap="magma", vmin=0, vmax=top)
    row[0].set_ylabel(f"channel {channel}")
for ax, title in zip(axes[0], titles, strict=True):
    ax.set_title(title, fontsize=8)
figure.suptitle("Rates of three channels while a digit settles (without W: on a scale of its own)")
plt.show()

distances = [float(np.linalg.norm(frame - fixed) / np.linalg.norm(fixed)) for frame in frames]
changed = float(np.linalg.norm(fixed - alone[-1]) / np.linalg.norm(alone[-1]))
print(
    "distance from the fixed point:",
    ", ".join(f"{each:.0%} at {time:g} τ" for each, time in zip(distances, TIMES, strict=True)),
)
print(f"the recurrent weights change the rates by {changed:.0%}")
assert distances == sorted(distances, reverse=True)
assert distances[-1] < 0.05
assert distances[1] > 0.5
assert changed > 2

# %%
# Without the recurrent weights a channel is a filter of the image, and it settles in a few τ. The recurrent weights make the
# rates several times as large, and they spread activity to positions beside the strokes. This takes tens of τ, because the
# smallest eigenvalue of the last section is near 0.1: what belongs to it decays with a time constant of about 10 τ. The solver
# finds the same fixed point in a few iterations.
#
# How far a pixel reaches
# -----------------------
# The read-in sees one pixel to each side, and a kernel of W two positions. But rates act on rates again and again. We change
# one pixel by a little, and measure how much the rates of all channels change at each distance from it: of the drive alone, and
# at the fixed point.

PIXEL, SMALL = (3, 3), 1e-2
nudged = test.stimuli[:200].copy()
nudged[:, 8 * PIXEL[0] + PIXEL[1]] += SMALL


def rates_of(stimuli):
    """Return the settled rates of stimuli, shape (stimuli, 8, 8, channels)."""
    return (
        stack.respond(parameters, stack.prepare(stimuli))
        .layers[0]
        .rates.reshape(-1, 8, 8, CHANNELS)
    )


def reach(change):
    """Return the root mean square over stimuli and channels at each position, shape (8, 8)."""
    return np.sqrt(np.mean(change.astype(float) ** 2, axis=(0, 3))) / SMALL


rates, moved = rates_of(test.stimuli[:200]), rates_of(nudged)
pixel = np.zeros((1, 64), np.float32)
pixel[0, 8 * PIXEL[0] + PIXEL[1]] = SMALL
of_drive = reach(
    layer.read_in.apply(parameters["layers.0.input"], pixel).reshape(1, 8, 8, CHANNELS)
)
of_rates = reach(moved - rates)
row, column = np.indices((8, 8))
distance = np.maximum(abs(row - PIXEL[0]), abs(column - PIXEL[1]))
profile = {
    name: [float(values[distance == d].mean()) for d in range(5)]
    for name, values in (("drive", of_drive), ("rates", of_rates))
}
for d in range(5):
    print(
        f"{d} pixels away: {profile['drive'][d]:.3f} of the drive, {profile['rates'][d]:.4f} of the rates"
    )

figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.3), layout="constrained")
for ax, values, title in zip(
    axes, (of_drive, of_rates), ("change of the drive", "change of the settled rates"), strict=False
):
    picture = ax.imshow(np.log10(np.maximum(values, 1e-2)), cmap="viridis", vmin=-2, vmax=0.5)
    ax.set(**PICTURE)
    ax.set_title(title, fontsize=8)
figure.colorbar(picture, ax=axes[:2], label="log₁₀ of the change", shrink=0.9)
axes[2].semilogy(profile["rates"], "o-", color="#0072B2", label="settled rates")
axes[2].semilogy(profile["drive"][:2], "s--", color="#D55E00", label="drive")
axes[2].set(xlabel="distance from the pixel", ylabel="change")
axes[2].legend(frameon=False)
figure.suptitle("One pixel reaches all positions, ever less with the distance")
plt.show()

assert profile["drive"][2] == 0
assert profile["rates"][1:] == sorted(profile["rates"][1:], reverse=True)
assert profile["rates"][4] > 0.05

# %%
# The same weights on an image of another size
# --------------------------------------------
# Kernels do not know the size of the grid, and the promise holds on every grid. Here three digits stand side by side in one
# image of 8 × 24 pixels. The same parameters make it settle, too. Inside each digit the rates are nearly the rates of the digit
# alone, because a pixel reaches only as far as the last figure shows.

wide = Layer.convolution((8, 24, 1), CHANNELS, support=5)
three = np.concatenate(
    [test.stimuli[each].reshape(8, 8) for each in (number, number + 1, number + 2)], axis=1
)
W = parameters["layers.0.recurrent"]
drive = wide.read_in.apply(parameters["layers.0.input"], three.reshape(1, -1)).reshape(-1, CHANNELS)
drive = (drive + parameters["layers.0.bias"]).reshape(1, -1)
together = solve_fixed_points(
    W, drive, "relu", connectivity=wide.connectivity, solver="splitting", tolerance=1e-4
)
assert together.converged.all()
joint = together.rates.reshape(8, 24, CHANNELS)
apart = np.concatenate(list(rates_of(test.stimuli[number : number + 3])), axis=1)

figure, axes = plt.subplots(3, 1, figsize=(5.4, 4.6), layout="constrained")
channel = shown[0]
top = max(joint[..., channel].max(), apart[..., channel].max())
for ax, picture, title, options in (
    (axes[0], three, "image", {"cmap": "gray_r"}),
    (
        axes[1],
        joint[..., channel],
        f"channel {channel}, settled as one image",
        {"cmap": "magma", "vmin": 0, "vmax": top},
    ),
    (
        axes[2],
        apart[..., channel],
        "settled digit by digit",
        {"cmap": "magma", "vmin": 0, "vmax": top},
    ),
):
    ax.imshow(picture, **options)
    ax.set(**PICTURE)
    ax.set_title(title, fontsize=8)
figure.suptitle("Three digits in one image, with the weights that were trained on single digits")
plt.show()

likeness = float(np.corrcoef(joint.ravel(), apart.ravel())[0, 1])
print(f"correlation of the rates in one image and digit by digit: {likeness:.3f}")
assert likeness > 0.9

# %%
# What to try next
# ----------------
# - ``manifold="euclidean"`` with ``rule="adam"``: how many steps does the guard shorten, and what does a step cost?
# - ``support=8`` with ``manifold="spectral-monotone"``: kernels as large as the grid, on the symmetric space of monotone
#   weights.
# - Two layers: ``first = Layer.convolution((8, 8, 1), 8, pool=2)`` and ``Layer.convolution(first.image, 16, pool=2)``.
# - ``python -m benchmarks convolution-epochs`` trains 16 channels on MNIST, and certifies each test image.
# - On the command line, write ``channels = 8`` and ``pool = 2`` into a table ``[[network.layers]]`` of the file of
#   ``riemannrnn train``.
