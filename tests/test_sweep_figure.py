"""The figure of a sweep whose axis is a number."""

import numpy as np
import xarray as xr

from riemannrnn.plots import sweep_figure


def test_the_figure_of_a_numeric_axis_has_dots_for_seeds_and_crosses_for_what_is_missing():
    rates = [0.001, 0.01, 0.1]
    values = np.arange(12.0).reshape(2, 3, 2) + 1
    values[1, 2, 0] = np.inf
    dims = ("train.manifold", "train.learning_rate", "replicate")
    coordinates = {"train.manifold": ["a", "b"], "train.learning_rate": rates, "replicate": [0, 1]}
    data = {"final_test_loss": (dims, values), "status": (dims, np.full(values.shape, "failed"))}
    dataset = xr.Dataset(data | {"test_loss": ((*dims, "step"), values[..., None])}, coordinates | {"step": [1]})
    figure = sweep_figure(dataset, dims[:2])
    for ax, panel in zip(figure.axes, values, strict=True):
        dots, median, *crosses = ax.lines
        np.testing.assert_array_equal(dots.get_ydata(), np.where(np.isfinite(panel), panel, np.nan).T.ravel())
        np.testing.assert_array_equal(median.get_xdata(), rates)
        np.testing.assert_array_equal(median.get_ydata()[:2], np.median(panel, axis=1)[:2])
        assert [list(each.get_xdata()) for each in crosses] == ([] if np.isfinite(panel).all() else [[0.1]])
        assert ax.get_xscale() == "log"
    figure.draw_without_rendering()
