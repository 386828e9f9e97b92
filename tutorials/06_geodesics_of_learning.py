"""
The geodesics of learning
=========================

A run of learning is a path through weight space. In a metric, the path has a length, its ends have a distance, and a geodesic
joins them. This tutorial records three runs that reach about the same loss. How far did each go, how straight, and how close to a
singularity?
"""

# %%
# Recording a run
# ---------------
# A ``PathRecorder`` writes W into the file ``path.h5`` of a run folder, a point whenever the path has grown by a share of its
# length. Pass it to ``train`` as ``record``. The file also describes the network and the data, so that the analysis
# can build them again.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter

from manifolds import PullbackManifold, Resolvent
from riemannrnn import RateNetwork, train
from riemannrnn.analysis import LearningPath, PathRecorder, read_run
from riemannrnn.analysis.report import gather
from riemannrnn.data import load_digits
from riemannrnn.plots import plot_landscape

plt.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.titlesize": 10}
)

settings = {
    "network": {"n_units": 16, "n_inputs": 64, "n_outputs": 10, "seed": 0},
    "data": {"name": "digits", "training_size": 80, "seed": 0},
}
network = RateNetwork(**settings["network"])
(training,) = load_digits().split(80, seed=0)
W = network.initial_weights(radius=0.5)

runs = {
    "ΔW1": {"rule": "dW1", "learning_rate": 0.13, "epochs": 40},
    "ΔW2": {"rule": "descent", "learning_rate": 0.22, "epochs": 40},
    "ΔW2, mini-batches": {"rule": "descent", "learning_rate": 0.22, "epochs": 5, "batch_size": 10},
}

# %%
# ΔW1 is steepest descent under the Euclidean metric. ΔW2 goes along geodesics of the resolvent metric, in which W has the
# coordinates A = (I − W)⁻¹: once with all stimuli in every step, once with mini-batches of 10. Each run takes 40 steps.
#
# ``LearningPath`` measures a recorded run under any metrics. ``gather`` does the same, and adds the landscape of the loss
# around the path. Here the folders are temporary. Give the folder of a run that you keep to ``riemannrnn geodesics``.

metrics = ("euclidean", "resolvent")
measured = {}
with tempfile.TemporaryDirectory() as folder:
    for number, (name, options) in enumerate(runs.items()):
        run_folder = Path(folder) / str(number)
        run_folder.mkdir()
        with PathRecorder(
            run_folder, settings, PullbackManifold(Resolvent(), 16), resolution=0.04
        ) as recorder:
            train(network, W, training.stimuli, training.labels, seed=0, record=recorder, **options)
        with read_run(run_folder) as run:
            path = LearningPath.of_run(run, run.cost())
            path.name = name
            measured[name] = (
                path.measure(path.metrics(metrics))
                if number
                else gather(path, path.metrics(metrics), plane_points=13)
            )

for name, data in measured.items():
    print(
        f"{name}: {data.sizes['point']} points, loss {float(data['loss'][0]):.3f} to {float(data['loss'][-1]):.3f} nat"
    )
    for metric in metrics:
        length, distance = (float(data[each].sel(metric=metric)) for each in ("length", "distance"))
        print(
            f"  {metric:9s} length {length:.2f}, distance of the ends {distance:.2f}, efficiency {distance / length:.0%}"
        )

# %%
# How far, and how straight
# -------------------------
# **Length** is how far the run went, **distance** how far its end is from its start, and **efficiency** is distance over
# length: 1 for a geodesic.

COLOURS = {"ΔW1": "#D55E00", "ΔW2": "#0072B2", "ΔW2, mini-batches": "#CC79A7"}
LINES = {"ΔW1": "--", "ΔW2": "-", "ΔW2, mini-batches": "-."}

figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.6), sharey=True, layout="constrained")
for ax, metric in zip(axes, metrics, strict=True):
    for place, (name, data) in enumerate(measured.items()):
        here = data.sel(metric=metric)
        ax.barh(place, here["length"], color=COLOURS[name], height=0.55)
        ax.plot([here["distance"]] * 2, [place - 0.38, place + 0.38], color="black", lw=2.5)
    ax.set(
        title=f"{metric} metric",
        xlabel="bar: length    line: distance of the ends",
        ylim=(2.6, -0.6),
    )
axes[0].set_yticks(range(3), list(measured))
figure.suptitle("Each rule goes least far in its own metric")
plt.show()

# %%
# The three runs end at about the same loss, but not at the same place. To get there ΔW1 moves W little and A = (I − W)⁻¹ much;
# with ΔW2 it is the other way round. Which end is nearer depends on the metric.

lengths = {
    name: data["length"].sel(metric=["euclidean", "resolvent"]).values
    for name, data in measured.items()
}
ends = [float(data["loss"][-1]) for data in measured.values()]
assert max(ends) - min(ends) < 0.05
assert lengths["ΔW1"][0] < lengths["ΔW2"][0] / 2
assert lengths["ΔW2"][1] < lengths["ΔW1"][1] / 2

# %%
# Detours
# -------
# ``from_start`` is the distance from the start, ``deviation`` the distance from the geodesic between the ends.

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.9), layout="constrained")
for name, data in measured.items():
    here = data.sel(metric="resolvent")
    gone = np.concatenate([[np.nan], np.cumsum(here["step_length"].values[:-1])])
    left.plot(
        here["step"],
        100 * here["from_start"] / gone,
        color=COLOURS[name],
        ls=LINES[name],
        label=name,
    )
    right.plot(
        here["step"],
        100 * here["deviation"] / here["distance"],
        color=COLOURS[name],
        ls=LINES[name],
    )
left.set(xlabel="step of learning", ylabel="distance / length so far (%)", ylim=(0, 105))
right.set(
    xlabel="step of learning",
    ylabel="deviation from the geodesic\n(% of its length)",
    ylim=(0, None),
)
figure.legend(loc="outside lower center", ncols=3, frameon=False)
figure.suptitle("Mini-batches take the same way with many small detours (resolvent metric)")
plt.show()

# %%
# With all stimuli ΔW2 is nearly a geodesic. Mini-batches make the path much longer, though it strays no farther from the
# geodesic and ends at the same distance from the start. The extra length is noise of the steps.

full, noisy = (measured[name].sel(metric="resolvent") for name in ("ΔW2", "ΔW2, mini-batches"))
assert float(full["efficiency"]) > 0.95
assert float(noisy["efficiency"]) < 0.7
assert abs(float(noisy["distance"]) / float(full["distance"]) - 1) < 0.1
assert float(noisy["deviation"].max()) < 1.5 * float(full["deviation"].max())

# %%
# How near to a singularity
# -------------------------
# Two things can go wrong on the way. Where I − G W becomes singular for a stimulus, its fixed point is lost, and on the way
# there the gradient of ΔW1 grows without bound. And a geodesic of the resolvent metric can reach the edge where A is singular,
# which is W → ∞.

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.9), layout="constrained")
for name, data in measured.items():
    left.plot(data["step"], data["singular_value"], color=COLOURS[name], ls=LINES[name], label=name)
    right.plot(
        data["step"],
        data["edge_distance"].sel(metric="resolvent"),
        color=COLOURS[name],
        ls=LINES[name],
    )
left.set(xlabel="step of learning", ylabel="least singular value of I − G W", ylim=(0, None))
right.set(
    xlabel="step of learning",
    ylabel="distance to the edge W → ∞\n(resolvent metric)",
    ylim=(0, None),
)
figure.legend(loc="outside lower center", ncols=3, frameon=False)
figure.suptitle("ΔW1 heads for the singular set, ΔW2 for large weights")
plt.show()

nearest = {name: float(data["singular_value"].min()) for name, data in measured.items()}
edge = {
    name: float(data["edge_distance"].sel(metric="resolvent")[-1])
    for name, data in measured.items()
}
print("least singular value", nearest, "distance to the edge at the end", edge)
assert nearest["ΔW1"] < 0.8 * nearest["ΔW2"]
assert edge["ΔW2"] < 0.5 * edge["ΔW1"]

# %%
# The landscape
# -------------
# ``gather`` evaluates the loss over the plane that holds most of the path, spanned by its first two principal components, here
# in coordinates A. In these coordinates the geodesic of the resolvent metric is a straight line, and the straight line in W is curved.

data = measured["ΔW1"]


def draw_landscape():
    figure, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    plot_landscape(data, ax)
    ax.set_aspect("equal")
    handles = [
        plt.Line2D([], [], color="black", label="path of ΔW1"),
        plt.Line2D([], [], color="#0072B2", label="resolvent geodesic"),
        plt.Line2D([], [], color="#D55E00", ls="--", label="straight line in W"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure, ax


figure, ax = draw_landscape()
figure.suptitle("In the coordinates A, the path of ΔW1 is a detour")
plt.show()

print(f"The plane holds {data.attrs['explained']:.1%} of the squared distances from the end.")
assert data.attrs["explained"] > 0.95

# %%
# As a moving picture
# -------------------
# ``riemannrnn.plots.save_animation(data, path)`` writes such a picture, as ``riemannrnn geodesics`` does. Here is a small one
# of our own, written to a temporary folder as a GIF.

figure, ax = draw_landscape()
ax.set_title("step", fontsize=10)
figure.draw_without_rendering()
figure.set_layout_engine("none")  # laid out once, not for every frame
u, v = data["path_on_plane"].transpose("axis", "point").values
(marker,) = ax.plot(u[:1], v[:1], "o", color="#E69F00", mec="black", ms=9)
places = np.linspace(0, len(u) - 1, 10).round().astype(int)


def draw(place):
    marker.set_data(u[place : place + 1], v[place : place + 1])
    ax.set_title(
        f"The run after {int(data['step'][place])} steps, loss {float(data['loss'][place]):.2f} nat",
        fontsize=10,
    )


animation = FuncAnimation(figure, draw, frames=places, interval=150)
with tempfile.TemporaryDirectory() as folder:
    animation.save(Path(folder) / "learning.gif", PillowWriter(fps=6), dpi=80)
    size = (Path(folder) / "learning.gif").stat().st_size
print(f"{len(places)} frames, {size / 1024:.0f} KiB")
assert size > 0
plt.show()

# %%
# What to try next
# ----------------
# - ``riemannrnn train``, then ``riemannrnn geodesics RUN`` with the folder of the run: the whole report on a page.
# - ``metrics = ("euclidean", "resolvent", "monotone")``: under the monotone metric, too, where the path is on that manifold.
# - Another rule, ``{"rule": "adam", "manifold": PullbackManifold(Resolvent(), 16)}``: how efficient is Adam?
# - ``riemannrnn geodesics RUN RUN``: is there a barrier of loss between the ends of two runs?
