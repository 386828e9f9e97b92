"""Figures. Functions take the axes to draw on, return them, and compute nothing; the only folder that imports matplotlib."""

from riemannrnn.plots.comparison import comparison_figure, plot_accuracies, plot_losses, plot_stability
from riemannrnn.plots.geodesics import (
    geodesics_figure,
    plot_angles,
    plot_deviation,
    plot_efficiency,
    plot_landscape,
    plot_loss_between,
    plot_nearness,
    plot_speed,
    plot_turning,
    runs_figure,
    save_animation,
)
from riemannrnn.plots.html_report import write_html
from riemannrnn.plots.paper import angles_figure, landscape_figure, linear_figure, mnist_figure, one_neuron_figure
from riemannrnn.plots.saving import save_figure
from riemannrnn.plots.sweep import sweep_figure
from riemannrnn.plots.training import plot_accuracy, plot_iterations, plot_loss, plot_steps, plot_watch, training_figure

__all__ = [
    "angles_figure",
    "comparison_figure",
    "geodesics_figure",
    "landscape_figure",
    "linear_figure",
    "mnist_figure",
    "one_neuron_figure",
    "plot_accuracies",
    "plot_accuracy",
    "plot_angles",
    "plot_deviation",
    "plot_efficiency",
    "plot_iterations",
    "plot_landscape",
    "plot_loss",
    "plot_loss_between",
    "plot_losses",
    "plot_nearness",
    "plot_speed",
    "plot_stability",
    "plot_steps",
    "plot_turning",
    "plot_watch",
    "runs_figure",
    "save_animation",
    "save_figure",
    "sweep_figure",
    "training_figure",
    "write_html",
]
