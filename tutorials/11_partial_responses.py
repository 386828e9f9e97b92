"""
Partly observed responses: a network of excitatory and inhibitory units
=======================================================================

An experiment never measures every response. Neurons are lost, stimuli are repeated in different numbers, and repeats differ by
noise. This tutorial fits a recurrent network with excitatory and inhibitory units and a power-law activation to such responses.
They come from a hidden network of the same kind, so that we can check the result. How much of the explainable variance does the
fitted network predict? Does it have the tuning curves and the stability of the hidden network?
"""

# %%
# The hidden network
# ------------------
# Twelve excitatory and three inhibitory units are driven by eight channels, which are tuned to the direction of a grating. A
# stimulus is the sum of two gratings with random directions and contrasts. The activation is the supralinear power law
# f(z) = z²/2 for z > 0. Inhibition is strong and broad, and it is faster than excitation. Time is in units of 10 ms.

import matplotlib.pyplot as plt
import numpy as np

from manifolds import ProductManifold, PullbackManifold, SignedLog
from riemannrnn import Layer, SquaredError, Stack, power_law, train
from riemannrnn.analysis import noise_ceiling, noise_power, r_squared

plt.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.titlesize": 10}
)
EXCITATORY, INHIBITORY, CHANNELS, STIMULI = 12, 3, 8, 400
UNITS = EXCITATORY + INHIBITORY
SIGNS = np.repeat([1.0, -1.0], [EXCITATORY, INHIBITORY])
PREFERRED = np.concatenate(
    [2 * np.pi * np.arange(count) / count for count in (EXCITATORY, INHIBITORY)]
)
CENTRES = 2 * np.pi * np.arange(CHANNELS) / CHANNELS
TOTAL = np.array(
    [[0.6, -2.0], [1.2, -0.8]]
)  # summed weights onto an excitatory and an inhibitory unit, from each kind


def gratings(direction, contrast):
    """Return the activity of the channels, shape (stimuli, channels)."""
    return np.asarray(contrast)[:, None] * np.exp(
        2 * np.cos(np.asarray(direction)[:, None] - CENTRES) - 2
    )


def network(times, seed=0):
    """Return a network with excitatory and inhibitory units, whose outputs are the rates of all units."""
    layer = Layer(UNITS, activation=power_law(2.0, 0.5), signs=SIGNS, time_constants=times)
    return Stack([layer], n_inputs=CHANNELS, trained=("recurrent", "input"), seed=seed)


def rates_and_stability(net, parameters, stimuli):
    """Return the fixed points of all stimuli, and their spectral abscissas, which are negative where they are stable."""
    fixed_points = net.respond(parameters, net.prepare(stimuli)).under("raise").fixed_points
    return fixed_points.rates, fixed_points.stability()


def hidden(generator):
    """Return a random network and its parameters."""
    difference = PREFERRED[:, None] - PREFERRED
    width = np.where(SIGNS > 0, 2.0, 0.3)
    W = np.exp(width * (np.cos(difference) - 1) + 0.4 * generator.standard_normal((UNITS, UNITS)))
    kind = (SIGNS < 0).astype(int)
    for column, units in enumerate((slice(0, EXCITATORY), slice(EXCITATORY, UNITS))):
        W[:, units] *= TOTAL[kind, column][:, None] / W[:, units].sum(axis=1, keepdims=True)
    V = np.exp(
        2 * np.cos(PREFERRED[:, None] - CENTRES)
        - 2
        + 0.3 * generator.standard_normal((UNITS, CHANNELS))
    )
    times = np.where(SIGNS > 0, 2.0, 1.0) * generator.uniform(0.7, 1.4, UNITS)
    return network(times), {
        "layers.0.recurrent": W,
        "layers.0.input": 3 * V / V.sum(axis=1, keepdims=True),
    }


# %%
# The measurement
# ---------------
# A stimulus is repeated two to eight times. The noise of a single response is as large as the signal of its unit. Half of the
# entries, pairs of a stimulus and a unit, are missing. A quarter of the measured entries are held out. ``SquaredError`` takes
# the responses with an axis of repeats, and NaN where nothing was measured.


def measured(rates, generator, most=8):
    """Return responses for training and held-out responses, shape (stimuli, repeats, units)."""
    noise = rates.std(axis=0) * generator.standard_normal((STIMULI, most, UNITS))
    responses = rates[:, None, :] + noise
    responses[np.arange(most) >= generator.integers(2, most + 1, STIMULI)[:, None]] = np.nan
    missing = generator.random(rates.shape) < 0.5
    held_out = ~missing & (generator.random(rates.shape) < 0.25)
    training = np.where((missing | held_out)[:, None, :], np.nan, responses)
    return training, np.where(held_out[:, None, :], responses, np.nan)


def spread(responses):
    """Return the standard deviation of the measured responses of each unit, without a look at held-out responses."""
    return np.nanstd(responses, axis=(0, 1))


# %%
# The fit
# -------
# The cell types and the time constants are known, and nothing else. Responses are divided by their standard deviation, so that
# all units count alike. Nothing is lost by that: under a power law, rates in other units are the rates of another network with
# the same signs. ``Layer(signs=...)`` keeps the sign of every weight. The read-in is excitatory, too. Both are therefore on
# manifolds of logarithms of sizes, where a step of gradient descent is a relative change. The guard shortens a step that would
# lose a stable fixed point, under the time constants of the layer.


def fitted(times, stimuli, responses, seed=0):
    """Return a network that is trained on responses, and the history of its training."""
    net, generator = network(times, seed), np.random.default_rng(seed)
    start = net.initial_parameters(radius=0.3)
    V = np.exp(0.3 * generator.standard_normal((UNITS, CHANNELS)))
    start["layers.0.input"] = 2 * V / V.sum(axis=1, keepdims=True)
    manifold = ProductManifold(
        {
            "layers.0.recurrent": PullbackManifold(SignedLog(SIGNS), UNITS),
            "layers.0.input": PullbackManifold(SignedLog(np.ones(CHANNELS)), (UNITS, CHANNELS)),
        }
    )
    options = {
        "learning_rate": 0.1,
        "schedule": "cosine",
        "batch_size": 50,
        "epochs": 36,
        "seed": seed,
        "solver": "newton",
    }
    return net, train(
        net, start, stimuli, SquaredError(responses), rule="adam", manifold=manifold, **options
    )


def experiment(seed):
    """Fit a network to the responses of a hidden network, and return what we compare."""
    generator = np.random.default_rng(seed)
    truth, P = hidden(generator)
    directions, contrasts = (
        generator.uniform(0, 2 * np.pi, (2, STIMULI)),
        generator.uniform(0, 1, (2, STIMULI)),
    )
    stimuli = gratings(directions[0], contrasts[0]) + gratings(directions[1], contrasts[1])
    rates, true_abscissa = rates_and_stability(truth, P, stimuli)
    training, held_out = measured(rates, generator)
    scale = spread(training)
    net, history = fitted(truth.time_constants[0], stimuli, training / scale)
    predicted, abscissa = rates_and_stability(net, history.parameters, stimuli)
    noise = noise_power(training)
    ceiling = noise_ceiling(held_out, noise).mean()
    return {
        "truth": (truth, P),
        "fit": (net, history.parameters, scale),
        "history": history,
        "ceiling": ceiling,
        "share": r_squared(held_out, scale * predicted).mean() / ceiling,
        "share of truth": r_squared(held_out, rates).mean() / ceiling,
        "signal": r_squared(rates, scale * predicted).mean(),
        "abscissa": abscissa,
        "true abscissa": true_abscissa,
        "stimuli": stimuli,
    }


# %%
# Five hidden networks
# --------------------
# The share of the explainable variance is R² on the held-out entries over the noise ceiling, each a mean over units. The hidden
# network itself has a share near 1, and its distance from 1 is the error of the estimate. The last column is R² of the rates
# without noise.

results = [experiment(seed) for seed in range(5)]
print(
    f"{'network':>7s} {'ceiling':>7s} {'share':>6s} {'of the hidden network':>21s} {'largest abscissa':>16s} {'signal R²':>9s}"
)
for seed, found in enumerate(results):
    print(
        f"{seed:7d} {found['ceiling']:7.2f} {found['share']:6.3f} {found['share of truth']:21.3f} "
        f"{found['abscissa'].max():16.2f} {found['signal']:9.3f}"
    )
    assert (SIGNS * found["fit"][1]["layers.0.recurrent"] > 0).all()
    assert found["abscissa"].max() < 0
    assert found["share"] >= 0.9

# %%
# The fitted networks predict more than nine tenths of what can be explained, from noisy responses of which more than half are
# missing. Every weight has the sign of its unit. Every fixed point is stable under the time constants of the units.
#
# Tuning curves
# -------------
# The sweep of a single grating was never shown, and neither was the sweep with a second grating on top. The second grating
# suppresses unit 0 by recurrent inhibition. It excites unit 8, which prefers a direction close to it.

first = results[0]
(truth, P), (net, Q, scale) = first["truth"], first["fit"]
sweep = np.linspace(0, 2 * np.pi, 61)
alone = gratings(sweep, np.full(sweep.size, 0.8))
masked = alone + gratings(np.full(sweep.size, np.pi), np.full(sweep.size, 0.8))
tuning = rates_and_stability(truth, P, np.concatenate([alone, masked]))[0]
tuning_r2 = r_squared(
    tuning, scale * rates_and_stability(net, Q, np.concatenate([alone, masked]))[0]
)
print(
    f"R² of the tuning curves: {tuning_r2.mean():.3f} (mean over units), {tuning_r2.min():.3f} (worst unit)"
)
assert tuning_r2.mean() > 0.85

figure, axes = plt.subplots(1, 4, figsize=(6.4, 2.2), layout="constrained")
for ax, unit in zip(axes, (0, 4, 8, EXCITATORY), strict=True):
    for stimuli, colour, name in (
        (alone, "#0072B2", "one grating"),
        (masked, "#D55E00", "and one at 180°"),
    ):
        ax.plot(
            np.degrees(sweep),
            rates_and_stability(truth, P, stimuli)[0][:, unit],
            color=colour,
            label=name,
        )
        predicted = scale * rates_and_stability(net, Q, stimuli)[0]
        ax.plot(
            np.degrees(sweep), predicted[:, unit], "--", color="black", lw=1, label="fitted network"
        )
    ax.set(xlabel="direction (°)", xticks=(0, 180, 360), ylim=(0, None))
    ax.set_title(f"unit {unit}, {'excitatory' if SIGNS[unit] > 0 else 'inhibitory'}", fontsize=9)
axes[0].set_ylabel("rate")
handles, names = axes[0].get_legend_handles_labels()
order = (0, 2, 1)
chosen = [handles[place] for place in order], [names[place] for place in order]
figure.legend(*chosen, loc="outside lower center", ncols=3, frameon=False)
figure.suptitle(
    f"Tuning curves of the hidden network (colours), and predicted ones with R² = {tuning_r2.mean():.2f}"
)
plt.show()

# %%
# Stability
# ---------
# Fixed points do not depend on time constants, but their stability does. Here inhibition becomes slower, and the time constants
# of excitation stay. Is any inhibition too slow?

factors = np.geomspace(0.5, 16, 11)
figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.4), layout="constrained")
left.plot(first["true abscissa"], first["abscissa"], ".", color="#0072B2", ms=3)
bounds = [min(first["true abscissa"].min(), first["abscissa"].min()), 0]
left.plot(bounds, bounds, color="0.6", lw=1)
left.set(
    xlabel="hidden network",
    ylabel="fitted network",
    title="spectral abscissa of each stimulus (1/10 ms)",
)
slowed = {}
for model, parameters, colour, name in (
    (truth, P, "#D55E00", "hidden"),
    (net, Q, "#0072B2", "fitted"),
):
    fixed_points = model.respond(parameters, model.prepare(first["stimuli"][:100])).fixed_points
    times = model.time_constants[0]
    slowed[name] = [
        fixed_points.stability(np.where(SIGNS < 0, factor * times, times)).max()
        for factor in factors
    ]
    right.plot(factors, slowed[name], "o-", color=colour, ms=3, label=name)
alone_rate = [
    -1 / max(factor * times[SIGNS < 0].max(), times[SIGNS > 0].max()) for factor in factors
]
right.plot(factors, alone_rate, "--", color="0.5", lw=1, label="slowest unit alone")
right.axhline(0, color="0.6", lw=1)
right.set(
    xscale="log",
    xlabel="time constants of inhibition, times",
    title="largest abscissa over 100 stimuli",
)
right.set_xticks([0.5, 1, 2, 4, 8, 16], ["½", "1", "2", "4", "8", "16"])
right.xaxis.minorticks_off()
right.legend(frameon=False)
left.title.set_fontsize(9)
right.title.set_fontsize(9)
figure.suptitle("Both networks stay stable, up to a sixteenfold slower inhibition")
plt.show()

assert max(*slowed["hidden"], *slowed["fitted"]) < 0

# %%
# No inhibition is too slow here: the largest abscissa stays negative. With slow inhibition it approaches the rate of the
# slowest unit on its own, −1 over its time constant. The data determine the responses better than the stability: the two
# networks agree on the average abscissa, and less on the abscissa of single stimuli.

# %%
# What to try next
# ----------------
# - ``radius=0.1`` or ``seed=1`` in ``fitted``: how much does the start matter?
# - ``generator.random(rates.shape) < 0.8`` in ``measured``: how many missing entries are too many?
# - ``trained=("recurrent",)`` in ``network``, with a read-in of your own in ``parameters``: what does a known read-in add?
# - :doc:`/howto/partial_responses`: the same fit in a few lines, with your own responses.
