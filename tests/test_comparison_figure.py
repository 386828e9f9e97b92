"""The figure of a comparison: a panel for each manifold, its contenders in colour, all others in grey."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from test_comparison import RATES, tiny_task

from riemannrnn.comparison.comparison import Comparison, compare
from riemannrnn.comparison.contenders import choose_contenders
from riemannrnn.plots import comparison_figure, plot_accuracies, plot_losses, plot_stability
from riemannrnn.plots.comparison import OPTIMISER_STYLES, PAGE_WIDTH, panels


@pytest.fixture(scope="module")
def comparison():
    chosen = choose_contenders(["resolvent", "euclidean", "dW3", "symmetric"])
    return compare(tiny_task(), chosen, budget=7, learning_rates=RATES)


@pytest.fixture(scope="module")
def failures(comparison):
    """The same contenders; none of them took a step."""
    nothing = {"history": [], "weights": None, "training_loss": np.nan, "without_stable_fixed_point": np.nan}
    return Comparison(tuple(replace(entry, **nothing) for entry in comparison.entries), 7)


PLOTS = {
    "losses by evaluations": lambda entries, ax=None: plot_losses(entries, "evaluations", ax),
    "losses by seconds": lambda entries, ax=None: plot_losses(entries, "seconds", ax),
    "accuracies": plot_accuracies,
    "stability": plot_stability,
}


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_plots_take_axes_or_make_their_own(comparison, plot):
    given = Figure().add_subplot()
    assert plot(comparison.entries, given) is given
    own = plot(comparison.entries)
    assert isinstance(own, Axes)
    assert own is not given
    for ax in (given, own):
        assert ax.get_xlabel()
        assert ax.get_ylabel() or [tick.get_text() for tick in ax.get_yticklabels()] == [
            entry.contender.name for entry in comparison.entries
        ]
        assert len(ax.lines) >= len(comparison.entries)


def test_plots_draw_what_was_recorded(comparison):
    entry = comparison.entries[3]
    (line,) = plot_losses([entry], "evaluations").lines
    np.testing.assert_array_equal(line.get_xdata(), [0, *(point.evaluations for point in entry.history)])
    np.testing.assert_array_equal(line.get_ydata(), [entry.history[0].loss, *(point.loss for point in entry.history)])
    (line,) = plot_accuracies([entry]).lines
    assert set(line.get_ydata()) <= {100 * point.test_accuracy for point in entry.history}


def curves(ax):
    """Return the coloured and the grey curves of a panel, as pairs of arrays."""
    optimisers = {colour.lower() for colour, _ in OPTIMISER_STYLES.values()}
    coloured = [line for line in ax.lines if to_hex(line.get_color()) in optimisers]
    return coloured, [line for line in ax.lines if line not in coloured]


def test_each_manifold_has_a_panel_with_its_contenders_in_colour(comparison):
    figure, shown = comparison_figure(comparison, "a title"), panels(comparison)
    assert set(shown) == {"euclidean", "resolvent, geodesic", "resolvent, additive", "per-stimulus", "symmetric"}
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(shown)
    best = [entries[0].rank for entries in shown.values()]
    assert all(before <= after for before, after in pairwise(best))
    for ax, entries in zip(figure.axes, shown.values(), strict=True):
        coloured, grey = curves(ax)
        assert len(coloured) + len(grey) == len(comparison.entries)
        for line, entry in zip(coloured, entries, strict=True):
            colour, _ = OPTIMISER_STYLES[entry.contender.optimiser]
            assert line.get_color() == colour
            np.testing.assert_array_equal(line.get_ydata()[1:], [point.loss for point in entry.history])
            assert (line.get_markerfacecolor() == "white") == (not entry.keeps_all)
            assert all(line.get_zorder() > other.get_zorder() for other in grey)


def test_the_coloured_curves_of_a_panel_start_at_the_same_point_on_the_same_axes(comparison):
    figure = comparison_figure(comparison, "a title")
    for ax in figure.axes:
        assert (ax.get_xlim(), ax.get_ylim()) == (figure.axes[0].get_xlim(), figure.axes[0].get_ylim())
        starts = {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in curves(ax)[0]}
        assert len(starts) == 1
        assert starts.pop()[0] == 0


@pytest.mark.parametrize("which", ["comparison", "failures"])
def test_the_figure_is_as_wide_as_a_page_and_no_text_overlaps_the_legend(which, request):
    figure = comparison_figure(request.getfixturevalue(which), "a title")
    figure.draw_without_rendering()
    assert figure.get_figwidth() == PAGE_WIDTH
    (legend,) = figure.legends
    window = legend.get_window_extent()
    assert not any(ax.get_tightbbox().overlaps(window) for ax in figure.axes)
    assert 0 <= window.x0 < window.x1 <= figure.bbox.x1
    said = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert said == (["failed at the start"] * len(figure.axes) if which == "failures" else [])
