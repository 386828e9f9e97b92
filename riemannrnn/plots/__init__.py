"""Figures. Functions take the axes to draw on, return them, and compute nothing; the only folder that imports matplotlib."""

from riemannrnn.plots.comparison import comparison_figure, plot_accuracies, plot_losses, plot_stability
from riemannrnn.plots.paper import angles_figure, landscape_figure, linear_figure, mnist_figure, one_neuron_figure
from riemannrnn.plots.saving import save_figure
from riemannrnn.plots.training import plot_accuracy, plot_loss, plot_steps, plot_watch, training_figure

__all__ = [
    "angles_figure",
    "comparison_figure",
    "landscape_figure",
    "linear_figure",
    "mnist_figure",
    "one_neuron_figure",
    "plot_accuracies",
    "plot_accuracy",
    "plot_loss",
    "plot_losses",
    "plot_stability",
    "plot_steps",
    "plot_watch",
    "save_figure",
    "training_figure",
]
