"""The figures of the benchmarks, such as the growth of the time of a step."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.conditioning import METRICS
from benchmarks.contest import OURS
from benchmarks.growth import BATCH, NETWORK, curves, exponent
from benchmarks.metrics import BUDGET, loss_at, median_curve, shown
from benchmarks.rates import NEAR, decades
from benchmarks.records import Row
from riemannrnn.plots.comparison import scale_losses
from riemannrnn.plots.saving import save_figure

GEOMETRY_COLOURS = {
    "euclidean": "#D55E00",
    "resolvent/geodesic": "#0072B2",
    "resolvent/additive": "#56B4E9",
    "per-stimulus": "#009E73",
    "gain": "#332288",
    "left-invariant": "#CC79A7",
    "right-invariant": "#882255",
    "monotone": "#E69F00",
    "scaled-monotone": "#000000",
    "response": "#117733",
    "aggregated": "#0A7F73",
    "low-rank": "#6699CC",
    "dale": "#999933",
    "sparse": "#44AA99",
    "hollow": "#CC6677",
    "symmetric": "#DDCC77",
    "circulant": "#AA4499",
}
"""Colours of manifolds, or of metrics with their retractions; colour-blind safe (Okabe & Ito; Tol)."""

TITLES = {"units": f"{BATCH} stimuli", "stimuli": f"n = {NETWORK}"}
LABELS = {"units": "units n", "stimuli": "stimuli"}
STYLES = ("-", "--", (0, (6, 1.5)), (0, (2, 1)))
"""Line styles of medians, which distinguish the metrics in grey-scale."""

DASHES = {"float32": "-", "float64": "-."}


def draw_growth(rows: list[Row], peers: list[Row], path: Path) -> None:
    """Draw time against units and against stimuli, with the limit by matrix products and the fastest other package."""
    mpl.use("Agg")
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 2, sharey=True), ("units", "stimuli"), strict=True):
        for place, ((radius, dtype), curve) in enumerate(curves(rows, axis).items()):
            draw_curve(axes, curve, axis, f"C{place}", f"radius {radius}, {dtype}")
            fastest = fastest_peers(peers, axis, radius, dtype)
            style = {"marker": "x", "linestyle": "none", "color": f"C{place}"}
            axes.plot([row[axis] for row in fastest], [row["milliseconds"] for row in fastest], **style)
        finish(axes, axis)
    save_figure(figure, path)


def draw_curve(axes: Axes, curve: list[Row], axis: str, colour: str, name: str) -> None:
    """Draw the times of a step, and dotted the times of its matrix products alone."""
    x = [row[axis] for row in curve]
    label = f"{name}: ∝ {axis_symbol(axis)}^{exponent(curve, axis):.2f}"
    axes.plot(x, [row["milliseconds"] for row in curve], DASHES[curve[0]["dtype"]], marker="o", ms=4, color=colour, label=label)
    axes.plot(x, [row["limit_ms"] for row in curve], ":", color=colour)


def finish(axes: Axes, axis: str) -> None:
    """Label the axes, and explain dots and crosses once."""
    axes.plot([], [], ":", color="grey", label="its matrix products alone")
    axes.plot([], [], "x", color="grey", label="fastest peer that meets the tolerance")
    axes.set(xscale="log", yscale="log", xlabel=LABELS[axis], title=TITLES[axis])
    if axis == "units":
        axes.set_ylabel("time of an exact-gradient step (ms)")
    axes.legend(fontsize=7, frameon=False)
    axes.grid(alpha=0.3)


def axis_symbol(axis: str) -> str:
    """Return the letter of an axis in a legend."""
    return "n" if axis == "units" else "stimuli"


def fastest_peers(peers: list[Row], axis: str, radius: float, dtype: str) -> list[Row]:
    """Return for each value on the axis the fastest other package that meets the tolerance."""
    best: dict[float, Row] = {}
    for row in (row for each in curves(peers, axis).values() for row in each):
        fits = (row["radius"], row["dtype"]) == (radius, dtype) and "milliseconds" in row
        if fits and not row["contender"].startswith(OURS):
            best[row[axis]] = min(best.get(row[axis], row), row, key=lambda each: each["milliseconds"])
    return list(best.values())


def draw_conditioning(rows: list[Row], path: Path) -> None:
    """Draw steps to the optimum against the condition number of the stimuli, a curve for each metric."""
    mpl.use("Agg")
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for metric, marker in zip(METRICS, "sov", strict=True):
        curve = sorted((row["condition"], row["steps"]) for row in rows if row["metric"] == metric and row["steps"])
        axes.plot([x for x, _ in curve], [y for _, y in curve], marker=marker, ms=5, label=metric)
    axes.set(xscale="log", yscale="log", xlabel="condition number of the stimuli's second moment")
    axes.set(ylabel="steps to 1e-6 of the optimum", ylim=(1, None), title="Linear network, gradient descent")
    axes.legend(frameon=False, title="metric")
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def draw_rates(rows: list[Row], path: Path) -> None:
    """Draw accuracy against the learning rate, a panel for each optimiser; thick lines are near the best of their manifold."""
    mpl.use("Agg")
    optimisers = list(dict.fromkeys(row["optimiser"] for row in rows))
    figure = Figure(figsize=(4.2 * len(optimisers), 3.8), layout="constrained")
    for axes, optimiser in zip(figure.subplots(1, len(optimisers), sharey=True, squeeze=False)[0], optimisers, strict=True):
        for manifold in dict.fromkeys(row["manifold"] for row in rows):
            curve = [row for row in rows if (row["manifold"], row["optimiser"]) == (manifold, optimiser)]
            curve.sort(key=lambda row: row["rate"])
            (best, span), shown = (
                decades(curve),
                {"color": GEOMETRY_COLOURS.get(manifold) or GEOMETRY_COLOURS[f"{manifold}/geodesic"]},
            )
            x, y = [row["rate"] for row in curve], [100 * row["accuracy"] for row in curve]
            near = [value if value >= 100 * (best - NEAR) else float("nan") for value in y]
            axes.plot(x, y, lw=1, **shown)
            axes.plot(x, near, "-o", lw=3, ms=4, label=f"{manifold}: {100 * best:.0f} %, {span:.1f} decades", **shown)
        axes.set(xscale="log", xlabel="learning rate", ylim=(0, 150), yticks=range(0, 101, 20), title=optimiser)
        axes.legend(fontsize=7, frameon=False, loc="upper left")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("test accuracy on the digits (%)")
    figure.supxlabel(
        f"thick: within {100 * NEAR:.0f} points of the best; 0: fixed points lost, or the manifold left", fontsize=7
    )
    save_figure(figure, path)


def draw_metrics(rows: list[Row], path: Path) -> None:
    """Draw the loss against evaluations: thin for each seed, thick for the median, crosses for lost stable fixed points."""
    mpl.use("Agg")
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1)
    axes = figure.add_subplot()
    counts = range(1, BUDGET + 1)
    for style, (metric, runs) in zip(STYLES, shown(rows).items(), strict=False):
        colour = GEOMETRY_COLOURS.get(metric) or GEOMETRY_COLOURS[f"{metric}/geodesic"]
        for run in runs:
            axes.step(counts, [loss_at(run, count) for count in counts], where="post", color=colour, lw=0.8, alpha=0.5)
            if run["unstable"]:
                axes.plot(BUDGET, run["loss"], "x", color=colour, ms=7, mew=1.5, clip_on=False)
        median = median_curve(runs)
        axes.step(counts, median, where="post", color=colour, lw=2.6, linestyle=style)
        label = axes.annotate(metric, (BUDGET, median[-1]), (8, 0), textcoords="offset points", va="center", color=colour)
        label.set(fontsize=11, fontweight="bold", annotation_clip=False)
    axes.plot([], [], "x", color="0.3", ms=7, label="ended with stimuli that have no stable fixed point")
    axes.plot([], [], color="0.3", lw=2.6, label="median of the seeds")
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    scale_losses(axes)
    axes.set(xlim=(1, BUDGET), xlabel="evaluations of the cost and its gradient", ylabel="training loss (nats)")
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
