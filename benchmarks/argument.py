"""The first figure of the README: only the metric changes, and with it what the same optimiser learns."""

from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.drawing import GEOMETRY_COLOURS
from benchmarks.metrics import BUDGET, by_metric, loss_at, median_curve
from benchmarks.records import Row
from riemannrnn.plots.comparison import scale_losses
from riemannrnn.plots.saving import save_figure

ARGUED = ("euclidean", "left-invariant", "monotone")
"""The metrics of the figure: the usual metric, the metric of lowest loss, and the metric that never loses a fixed point."""

STYLES = ("-", (0, (6, 1.5)), (0, (2, 1)))
"""Line styles of the medians, which also tell the metrics apart in grey-scale."""


def draw_argument(rows: list[Row], path: Path) -> None:
    """Draw the loss against evaluations, and the test accuracy of each seed; a cross marks a run that lost stimuli."""
    mpl.use("Agg")
    chosen = by_metric(rows)
    runs = {metric: chosen[metric] for metric in ARGUED if chosen.get(metric)}
    figure = Figure(figsize=(8.6, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    draw_losses(left, runs)
    draw_accuracies(right, runs)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("The same network, data and optimiser. Only the metric changes.", fontsize=11)
    save_figure(figure, path)


def draw_losses(axes: Axes, runs: dict[str, list[Row]]) -> None:
    """Draw each seed as a thin line, and the median as a thick line."""
    counts = range(1, BUDGET + 1)
    for (metric, seeds), style in zip(runs.items(), STYLES, strict=False):
        colour = GEOMETRY_COLOURS[metric]
        for run in seeds:
            axes.step(counts, [loss_at(run, count) for count in counts], where="post", color=colour, lw=0.7, alpha=0.45)
        axes.step(counts, median_curve(seeds), where="post", color=colour, lw=2.4, linestyle=style)
    axes.plot([], [], color="0.3", lw=2.4, label=f"median of {max(map(len, runs.values()))} seeds")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    scale_losses(axes)
    axes.set(xlim=(1, BUDGET), xlabel="evaluations of the cost and its gradient", ylabel="training loss (nats)")


def draw_accuracies(axes: Axes, runs: dict[str, list[Row]]) -> None:
    """Draw a dot for each seed, and a cross where stimuli ended without a stable fixed point; a bar marks the median."""
    for place, (metric, seeds) in enumerate(runs.items()):
        colour = GEOMETRY_COLOURS[metric]
        accuracies = [100 * run["accuracy"] for run in seeds]
        offsets = [place + 0.32 * (number / max(len(seeds) - 1, 1) - 0.5) for number in range(len(seeds))]
        for run, x, y in zip(seeds, offsets, accuracies, strict=True):
            axes.plot(x, y, "x" if run["unstable"] else "o", color=colour, ms=7 if run["unstable"] else 5, mew=1.6)
        axes.plot([place - 0.3, place + 0.3], [median(accuracies)] * 2, color=colour, lw=2.4)
    axes.plot([], [], "x", color="0.3", ms=7, mew=1.6, label="lost stable fixed points")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set(xticks=range(len(runs)), xlim=(-0.5, len(runs) - 0.5), ylabel="test accuracy (%)")
    axes.set_xticklabels(runs)
    for label, metric in zip(axes.get_xticklabels(), runs, strict=True):
        label.set(color=GEOMETRY_COLOURS[metric], fontweight="bold", fontsize=9)
