"""
Stacks: layers with trained read-in, biases and readout
=======================================================

The networks so far had one layer, and only their recurrent weights W learned. A ``Stack`` has several recurrent layers, and
trains every parameter. This tutorial asks three questions. What does a trained read-in change? What does depth change? And what
does the metric on W still matter then?
"""

# %%
# What is trained
# ---------------
# A layer solves r = f(W r + V s + b): V is its read-in, b its bias, and s the rates of the layer below. The outputs are
# y = C r + c of the highest layer. ``trained`` names the kinds of parameters that learn. ``train`` keeps W on a manifold on
# which every stimulus has exactly one fixed point, and that fixed point is stable. Read-ins and biases cannot change this.

import matplotlib.pyplot as plt
import numpy as np

from manifolds import (
    Identity,
    MonotoneManifold,
    ProductManifold,
    PullbackManifold,
    Resolvent,
    Weighted,
)
from riemannrnn import Layer, Stack, train
from riemannrnn.data import load_digits

plt.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.titlesize": 10}
)
digits, test = load_digits(np.float32).split(500, 1000, seed=0)


def make(layers, trained=("recurrent", "input", "bias", "readout"), seed=0):
    """Return a stack for the digits."""
    return Stack(layers, n_inputs=64, n_outputs=10, seed=seed, dtype="float32", trained=trained)


def learn(stack, epochs=10, **options):
    """Train on 500 digits, and test on 1000 others after the last epoch."""
    start = stack.initial_parameters()
    shared = {
        "batch_size": 50,
        "epochs": epochs,
        "seed": 0,
        "held_out": (test.stimuli, test.labels),
    }
    return train(stack, start, digits.stimuli, digits.labels, **shared, **options)


def last(values):
    """Return the mean of the last ten values of a history, which are one epoch."""
    return float(np.mean(values[-10:]))


kinds = {
    "W": ("recurrent",),
    "W, C, c": ("recurrent", "readout"),
    "W, V": ("recurrent", "input"),
    "all": ("recurrent", "input", "bias", "readout"),
}
runs = {name: learn(make([40], trained)) for name, trained in kinds.items()}
print(f"{'trained':>8s} {'numbers':>8s} {'accuracy':>8s} {'iterations':>10s} {'radius of W':>11s}")
radius = {}
for name, history in runs.items():
    parameters = history.parameters
    radius[name] = float(np.abs(np.linalg.eigvals(parameters["layers.0.recurrent"])).max())
    count = sum(value.size for value in parameters.values())
    accuracy, iterations = history.test_accuracy[-1], last(history.iterations)
    print(f"{name:>8s} {count:8,d} {accuracy:8.1%} {iterations:10.0f} {radius[name]:11.1f}")

# %%
# With W alone, the recurrent weights must make up for a random read-in. They grow large, and the fixed points take many
# iterations. With everything trained the network is more accurate, W stays small, and a step takes less than half of the
# iterations.

assert runs["all"].test_accuracy[-1] > runs["W"].test_accuracy[-1] + 0.05
assert runs["all"].test_accuracy[-1] > 0.92
assert runs["W, V"].test_accuracy[-1] > (1 + runs["W"].test_accuracy[-1]) / 2
assert last(runs["all"].iterations) < last(runs["W"].iterations) / 2
assert radius["all"] < radius["W"] / 5

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.3), sharey=True, layout="constrained")
colours = {"W": "#D55E00", "W, C, c": "#E69F00", "W, V": "#56B4E9", "all": "#0072B2"}
for place, (name, history) in enumerate(runs.items()):
    for ax, value, text in (
        (left, 100 * (1 - history.test_accuracy[-1]), "{:.1f}"),
        (right, last(history.iterations), "{:.0f}"),
    ):
        ax.barh(place, value, color=colours[name], height=0.6)
        ax.annotate(
            text.format(value),
            (value, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
        )
left.set(xlabel="wrong test digits (%)", ylim=(3.5, -0.5))
right.set(xlabel="iterations a step, at the end")
left.set_yticks(range(4), list(runs))
left.set_ylabel("trained")
for ax in (left, right):
    ax.margins(x=0.15)
figure.suptitle("A trained read-in more than halves the errors, and the fixed points get cheap")
plt.show()

# %%
# What does the read-in learn? A row of V has a weight for each of the 8 × 8 pixels. At the start the weights are independent.
# Their change is not: neighbouring pixels change together, as the strokes of digits cover several pixels.

stack = make([40])
before = stack.initial_parameters()["layers.0.input"]
change = runs["all"].parameters["layers.0.input"] - before


def likeness(V):
    """Return the correlation of the weights of pixels that are next to each other, over all units."""
    images = V.reshape(-1, 8, 8)
    pairs = [(images[:, :, :-1], images[:, :, 1:]), (images[:, :-1], images[:, 1:])]
    return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))


chosen = np.argsort(-np.linalg.norm(change, axis=1))[:8]
figure, axes = plt.subplots(2, 8, figsize=(6.4, 2.0), layout="constrained")
for row, (V, title) in zip(axes, ((before, "start"), (change, "change")), strict=True):
    for ax, unit in zip(row, chosen, strict=True):
        bound = np.abs(V[unit]).max()
        ax.imshow(V[unit].reshape(8, 8), cmap="RdBu_r", vmin=-bound, vmax=bound)
        ax.set_xticks([])
        ax.set_yticks([])
    row[0].set_ylabel(title)
figure.suptitle("Read-in of the eight units that change most: at the start, and its change")
plt.show()

print(
    f"correlation of neighbouring pixels' weights: {likeness(before):.2f} at the start, {likeness(change):.2f} of the change"
)
assert abs(likeness(before)) < 0.1
assert likeness(change) > 0.3

# %%
# What depth changes
# ------------------
# Here are stacks of one, two and four layers, with 40 units each, from two seeds. ``skips`` are connections from layers further
# below than the next one.

shapes = {
    "1 layer": [40],
    "2 layers": [20, 20],
    "4 layers": [10, 10, 10, 10],
    "4 layers, skips": [10, 10, Layer(10, skips=(0,)), Layer(10, skips=(0, 1))],
}
deep = {
    name: [learn(make(layers, seed=seed), 15) for seed in (0, 1)] for name, layers in shapes.items()
}
errors = {
    name: 100 * (1 - np.array([history.test_accuracy[-1] for history in pair]))
    for name, pair in deep.items()
}
work = {
    name: np.array([last(history.iterations) for history in pair]) for name, pair in deep.items()
}

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.3), sharey=True, layout="constrained")
for place, name in enumerate(shapes):
    colour = "#0072B2" if "skips" in name else "#D55E00"
    for ax, values, text in ((left, errors[name], "{:.1f}"), (right, work[name], "{:.0f}")):
        ax.barh(place, values.mean(), color=colour, height=0.6)
        ax.plot(values, [place, place], "o", color="black", ms=3)
        ax.annotate(
            text.format(values.mean()),
            (values.max(), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
        )
left.set(xlabel="wrong test digits (%)", ylim=(3.5, -0.5))
right.set(xlabel="iterations a step, of all layers together")
left.set_yticks(range(4), list(shapes))
for ax in (left, right):
    ax.margins(x=0.15)
figure.suptitle(
    "Narrow layers lose digits, and skips bring some of them back (dots: the two seeds)"
)
plt.show()

assert errors["1 layer"].mean() < errors["2 layers"].mean() < errors["4 layers"].mean() - 4
assert errors["4 layers, skips"].mean() < errors["4 layers"].mean() - 4
assert work["4 layers"].min() > 2 * work["1 layer"].max()

# %%
# With 40 units for 500 digits, depth does not pay. One wide layer is best. A narrow layer loses what the layers above would
# need, and a skip connection leads around it. The layers are solved one after the other, so that their iterations add up.
# ``python -m benchmarks stacks`` compares one layer and two on MNIST, with hundreds of units.
#
# At any depth, a stack of stable layers is stable. The Jacobian −I + G W of the whole stack is block-triangular, so that its
# eigenvalues are the eigenvalues of its layers. We test it on one stimulus.

stack, P = make([20, 20]), deep["2 layers"][0].parameters
response = stack.respond(P, stack.prepare(test.stimuli[:1]))
lower, upper = (layer.gains[0, :, None] for layer in response.layers)
W = [P[name] for name in stack.recurrent]
whole = np.block(
    [[lower * W[0], np.zeros((20, 20))], [upper * P["layers.1.input"], upper * W[1]]]
) - np.eye(40)
separate = np.concatenate(
    [np.linalg.eigvals(gain * each) - 1 for gain, each in zip((lower, upper), W, strict=True)]
)
joint = np.linalg.eigvals(whole)
print(
    f"largest real part: {joint.real.max():.3f} of the whole stack, {separate.real.max():.3f} of its layers"
)
assert abs(joint.real.max() - separate.real.max()) < 1e-3
assert joint.real.max() < 0

# %%
# Stable is not contracting. A read-in V may amplify, so that a small error in the rates of the lower layer can be a large one
# above. Every layer is therefore solved to the tolerance on its own, for the rates below it that are returned.

gain_of_layers = [np.linalg.norm(P[f"layers.{number}.input"], 2) for number in range(2)]
print("spectral norms of the read-ins:", ", ".join(f"{each:.1f}" for each in gain_of_layers))
assert min(gain_of_layers) > 1

# %%
# What the metric on W still matters
# ----------------------------------
# The trained parameters are a point of a product: a factor for each parameter. ``Weighted(manifold, s)`` makes a factor learn
# s times as fast under Adam. So the metric on W and its learning rate can be changed while everything else stays as it is.

METRICS = {
    "euclidean": lambda n: PullbackManifold(Identity(), n, "additive"),
    "resolvent": lambda n: PullbackManifold(Resolvent(), n),
    "monotone": MonotoneManifold,
}
RATES = (1, 3, 10)


def product(stack, metric, rate):
    """Return the manifold of all parameters: a metric on the recurrent weights, and Euclidean spaces."""
    factors = {}
    for name, value in stack.initial_parameters().items():
        flat = PullbackManifold(Identity(), value.shape, "additive")
        factors[name] = (
            Weighted(METRICS[metric](len(value)), rate) if name in stack.recurrent else flat
        )
    return ProductManifold(factors)


stack, ends = make([40]), {}
options = {
    "rule": "adam",
    "learning_rate": 0.01,
    "schedule": "cosine",
    "longest_step": 1.0,
    "guard": False,
}
for metric in METRICS:
    for rate in RATES:
        ends[metric, rate] = history = learn(
            stack, 6, manifold=product(stack, metric, rate), **options
        )
        end = (
            f"lost after {len(history.loss)} steps"
            if history.failed
            else f"{history.test_accuracy[-1]:.1%} right"
        )
        print(
            f"{metric:>9s}, W {rate:2d} times as fast: {end}, {last(history.iterations):.0f} iterations a step"
        )

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.9), layout="constrained")
for metric, colour, style in (
    ("euclidean", "#D55E00", "o--"),
    ("resolvent", "#009E73", "^-."),
    ("monotone", "#0072B2", "s-"),
):
    done = [rate for rate in RATES if not ends[metric, rate].failed]
    lost = [rate for rate in RATES if ends[metric, rate].failed]
    left.plot(
        done,
        [100 * ends[metric, rate].test_accuracy[-1] for rate in done],
        style,
        color=colour,
        label=metric,
    )
    right.plot(done, [last(ends[metric, rate].iterations) for rate in done], style, color=colour)
    height = {"euclidean": 0.15, "resolvent": 0.05}.get(metric, 0.0)
    left.plot(
        lost,
        [height] * len(lost),
        "x",
        color=colour,
        transform=left.get_xaxis_transform(),
        ms=7,
        mew=2,
    )
left.axhspan(90, 91, color="0.93")
left.annotate("run lost", (0.86, 90.4), color="0.4")
left.set(ylabel="test accuracy (%)", ylim=(90, 95))
right.set(ylabel="iterations a step, at the end", ylim=(0, None))
for ax in (left, right):
    ax.set(xscale="log", xlabel="learning rate of W over all others", xlim=(0.8, 13))
    ax.set_xticks(RATES, [f"{rate}" for rate in RATES])
    ax.xaxis.minorticks_off()
figure.legend(loc="outside lower center", ncols=3, frameon=False)
figure.suptitle("One accuracy, three prices; only the monotone metric can go on")
plt.show()

# %%
# - At the same rate as the rest, the three metrics reach **the same accuracy**. The read-in and the readout learn the digits.
# - The **price differs**: the monotone metric keeps W where fixed points are found in few iterations.
# - W can learn faster only where the metric **keeps the promise**. Under the other two the run loses a fixed point or the
#   manifold. Under the monotone metric it goes on, and a faster W is a better one.

slow = [ends[metric, 1].test_accuracy[-1] for metric in METRICS]
assert max(slow) - min(slow) < 0.02
assert (
    last(ends["monotone", 1].iterations)
    < last(ends["resolvent", 1].iterations)
    < last(ends["euclidean", 1].iterations)
)
assert ends["euclidean", 10].failed
assert ends["resolvent", 10].failed
assert not any(ends["monotone", rate].failed for rate in RATES)
assert ends["monotone", 10].test_accuracy[-1] > max(slow)

# %%
# What to try next
# ----------------
# - ``trained=("input", "bias", "readout")`` with ``rule="adam", manifold="euclidean"``: how much does W add at all?
# - ``guard=True`` for the Euclidean metric: how many steps does it shorten?
# - ``initial_parameters(radius=0.9)``: does depth cost more iterations then?
# - ``Layer(40, activation="softplus")``: each layer can have an activation of its own.
# - :doc:`/howto/stacks`: your own read-in, the command line, and the paths of the layers.
