"""The figure of stacks beside other packages: test error against epochs and against processor time."""

from itertools import cycle
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.records import Row
from benchmarks.stack_tables import best_runs, mean_of
from riemannrnn.plots.saving import save_figure

STYLES = (("#0072B2", "o-"), ("#D55E00", "s--"), ("#009E73", "^-."), ("#CC79A7", "D:"))
"""Colours of the contenders, in their order; colour-blind safe."""


def draw_stack_peers(rows: list[Row], path: Path) -> None:
    """Draw the mean test error of each contender at its best rate, with a row of panels for each architecture."""
    mpl.use("Agg")
    best = best_runs(rows)
    architectures = list(dict.fromkeys(layers for layers, _ in best))
    contenders = list(dict.fromkeys(contender for _, contender in best))
    figure = Figure(figsize=(8, 3.1 * len(architectures)), layout="constrained")
    panels = figure.subplots(len(architectures), 2, squeeze=False, sharey=True)
    for (by_epoch, by_seconds), layers in zip(panels, architectures, strict=True):
        for contender, (colour, style) in zip(contenders, cycle(STYLES), strict=False):
            if runs := best.get((layers, contender)):
                errors = [100 * (1 - accuracy) for accuracy in mean_of(runs, "accuracies")]
                by_epoch.plot(range(1, len(errors) + 1), errors, style, color=colour, label=contender)
                by_seconds.plot(mean_of(runs, "seconds"), errors, style, color=colour)
        by_epoch.set(xlabel="epochs", ylabel="wrong test digits (%)", yscale="log", title=f"layers: {layers}")
        by_epoch.set_xticks(range(1, 1 + max(len(runs[0]["accuracies"]) for runs in best.values())))
        by_seconds.set(xlabel="processor time without evaluations (s)", xlim=(0, None))
        by_epoch.yaxis.set_major_formatter("{x:g}")
        by_epoch.yaxis.set_minor_formatter("{x:g}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)
