"""The figure of a training run: every panel shows numbers, for any loss, with or without a guard."""

import numpy as np
import pytest
import xarray as xr

from riemannrnn import History, RateNetwork, SquaredError, plots, train
from riemannrnn.data import load_digits

DIGITS = load_digits().split(60, seed=0)[0]
SMALL = RateNetwork(12, 64, 10, seed=0)


def trained(targets, **options):
    """Return a short history: six steps, evaluated on held-out data."""
    held_out = (DIGITS.stimuli[:10], targets.take(np.arange(10)) if isinstance(targets, SquaredError) else targets[:10])
    return train(
        SMALL,
        SMALL.initial_weights(0.3),
        DIGITS.stimuli,
        targets,
        batch_size=20,
        epochs=2,
        seed=0,
        held_out=held_out,
        **options,
    )


CASES = {
    "labels": lambda: trained(DIGITS.labels),
    "labels, guarded": lambda: trained(DIGITS.labels, rule="dW3", guard=True),
    "regression": lambda: trained(SquaredError(np.eye(10)[DIGITS.labels])),
    "regression, guarded": lambda: trained(SquaredError(np.eye(10)[DIGITS.labels]), rule="dW1", guard=True),
}


@pytest.mark.parametrize("dataset", [False, True], ids=["history", "dataset"])
@pytest.mark.parametrize("case", CASES)
def test_every_panel_shows_numbers(case, dataset):
    history = CASES[case]()
    figure = plots.training_figure(history.to_dataset() if dataset else history, case)
    figure.draw_without_rendering()
    assert len(figure.axes) == (4 if case.startswith("labels") else 3)
    for ax in figure.axes:
        assert ax.get_ylabel()
        assert not ax.texts, "a panel without numbers"
        for line in ax.lines:
            assert len(line.get_xdata()), f"{line.get_label()} is an empty line"
            assert np.isfinite(np.asarray(line.get_ydata(), float)).all()
    watched = any("abscissa" in ax.get_ylabel() for ax in figure.axes)
    assert watched is case.endswith("guarded")
    unit = figure.axes[0].get_ylabel()
    assert unit == ("loss (nat)" if case.startswith("labels") else "loss")


@pytest.mark.parametrize("draw", [plots.plot_loss, plots.plot_steps, plots.plot_iterations, plots.plot_watch])
def test_each_panel_takes_a_history_or_its_dataset(draw):
    history = CASES["labels, guarded"]()
    first, second = draw(history), draw(history.to_dataset())
    for one, other in zip(first.lines, second.lines, strict=True):
        np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())


def test_quantities_that_were_not_measured_are_refused():
    with pytest.raises(ValueError, match="holds no accuracy: its loss has no labels"):
        plots.plot_accuracy(CASES["regression"]())
    with pytest.raises(ValueError, match="has no steps, so there is nothing to draw; train for at least one step"):
        plots.training_figure(History(np.zeros((2, 2))), "empty")
    with pytest.raises(ValueError, match="has no steps"):
        plots.plot_loss(xr.Dataset())


def test_without_held_out_data_no_held_out_line_is_announced():
    history = train(SMALL, SMALL.initial_weights(0.3), DIGITS.stimuli, DIGITS.labels, batch_size=20, seed=0)
    assert [text.get_text() for text in plots.plot_loss(history).get_legend().get_texts()] == ["mini-batch"]


def test_a_run_that_ends_within_its_first_step_has_no_length_to_draw():
    history = CASES["labels"]().to_dataset().isel(step=slice(0, 1)).drop_vars("step_length")
    assert [ax.get_ylabel() for ax in plots.training_figure(history, "ended").axes] == [
        "loss (nat)",
        "accuracy (%)",
        "fixed-point iterations",
    ]
