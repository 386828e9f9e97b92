"""The MNIST figure at a reduced size, on the bundled digits."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from riemannrnn.data import load_digits
from riemannrnn.paper import (
    Settings,
    mnist,
    mnist_experiment,
)
from riemannrnn.paper.mnist_experiment import Experiment, adams_sums, euler_rates
from riemannrnn.paper.recorded import load_recorded

CURVES = (("dW1", 0.01), ("dW3", 0.25))


def found(reproduction, words):
    """Return the only claim with these words in its statement."""
    (claim,) = [claim for claim in reproduction.claims if words in claim.paper]
    return claim


@pytest.fixture(scope="module")
def digits():
    return load_digits(np.float32).split(300, 100, seed=0)


def settings(**changes):
    return dataclasses.replace(Settings(seeds=(0, 1), n_units=20, batch_size=100, epochs=2, curves=CURVES), **changes)


@pytest.fixture(scope="module", params=[False, True], ids=["corrected", "released"])
def trained(request, digits):
    return mnist.reproduce(*digits, settings(as_released=request.param)), request.param


def test_euler_rates_are_the_integrated_dynamics(generator):
    W, x = generator.standard_normal((5, 5)) / 5, generator.standard_normal((3, 5))
    rates = np.zeros_like(x)
    for step in range(1, 501):
        rates = rates + 0.01 * (np.tanh(rates @ W.T + x) - rates)
        if step in (1, 7, 15):  # before the first stride
            np.testing.assert_array_equal(euler_rates(W, x, steps=step), rates)
        if step in (20, 23, 101, 500):
            np.testing.assert_allclose(euler_rates(W, x, steps=step), rates, rtol=0, atol=1e-7 if step == 500 else 2e-6)
    assert euler_rates(W.astype(np.float32), x.astype(np.float32), 2).dtype == np.float32


def test_sums_of_extrapolated_cubics_are_exact():
    nodes = -5.0 * np.arange(4)
    for degree in range(4):
        np.testing.assert_allclose(adams_sums(5, 4) @ nodes**degree, np.sum(np.arange(5.0) ** degree))


def test_a_reproduction_of_mnist_matches_its_docstring(trained):
    reproduction, released = trained
    data = reproduction.data
    assert data["loss"].dims == ("seed", "rule", "learning_rate", "part", "step")
    assert {"seed": 2, "rule": 2, "learning_rate": 2, "step": 6, "unit": 20, "recorded_step": 13}.items() <= data.sizes.items()
    run = data.sel(rule="dW3", learning_rate=0.25)
    assert run[["loss", "accuracy", "lost", "seconds", "final_accuracy", "eigenvalue"]].notnull().all().to_array().all()
    assert data["loss"].sel(rule="dW3", learning_rate=0.01).isnull().all()
    typical = float(run["residual"].median())
    assert 0.005 < typical < 0.1 if released else typical < 1e-5
    assert float(run["recorded_last"]) == load_recorded("mnist")["rules"]["dW3"]["test_accuracy_mean_last20"][4]
    assert ("5 τ" in reproduction.verdict()) == released


def test_released_updates_come_from_test_batches(digits):
    """Another test set changes the released run but not the corrected run; another training set changes only the latter."""
    training, test = digits
    other, other_test = (dataclasses.replace(part, labels=(part.labels + 1) % 10) for part in digits)
    for released in (False, True):
        one = settings(as_released=released, epochs=1)

        def learned(*parts, one=one):
            return float(Experiment(one, 0, *parts).run("dW3", 0.25)["largest_real_part"])

        assert (learned(training, test) == learned(other, test)) == released
        assert (learned(training, test) == learned(training, other_test)) != released


@pytest.mark.parametrize("released", [False, True])
def test_adjoints_are_solved_at_rates_that_are_not_converged(digits, released):
    experiment = Experiment(settings(as_released=released), 0, *digits)
    W, rows = experiment.network.initial_weights(0.8), np.arange(50)
    evaluation, _ = experiment._evaluate("test", W, rows)
    expected = [
        np.linalg.solve(np.eye(20) - g[:, None] * W.T, g * e) for g, e in zip(evaluation.gains, evaluation.errors, strict=True)
    ]
    np.testing.assert_allclose(evaluation.adjoint, expected, atol=1e-4 * np.abs(expected).max())


def test_runs_are_reproducible(digits):
    first, second = (Experiment(settings(), 1, *digits).run("dW1", 0.05) for _ in range(2))
    xr.testing.assert_identical(first.drop_vars("seconds"), second.drop_vars("seconds"))
    assert not Experiment(settings(), 2, *digits).run("dW1", 0.05)["loss"].equals(first["loss"])


def test_training_lowers_the_loss(digits):
    run = Experiment(settings(epochs=10), 0, *digits).run("dW3", 1.0)
    loss = run["loss"].sel(part="training").dropna("step")
    assert float(loss[-3:].mean()) < 0.85 * float(loss[0])  # losses of single batches scatter


def test_lost_stimuli_are_counted(digits):
    reproduction = mnist.reproduce(*digits, settings(seeds=(0,), curves=(("dW3", 0.25), ("dW4", 0.1))))
    assert found(reproduction, "stable fixed points").holds
    wild = reproduction.data.copy(deep=True)
    wild["lost"].loc[0, "dW4", 0.1, 3] = 7
    wild["final_unstable"].loc[0, "dW4", 0.1] = 2
    claim = mnist._lost(mnist._summary(wild), as_released=False)
    assert not claim.holds
    assert "dW4 at 0.1 (1 steps; at the end 0 test stimuli without, 2 with an unstable one)" in claim.measured


def test_a_stimulus_without_a_fixed_point_counts_as_wrong(digits, monkeypatch):
    """Labels are the network's own outputs, so it is wrong only where every fourth fixed point is removed."""
    training, test = digits
    network = Experiment(settings(), 0, *digits).network
    W = network.initial_weights()
    said = np.argmax(network.outputs(network.fixed_points(W, test.stimuli).rates), axis=1)

    def lossy(network, weights, drive):
        fixed_points = network.solve(weights, drive)
        return dataclasses.replace(fixed_points, converged=np.arange(drive.shape[0]) % 4 > 0)

    monkeypatch.setattr(mnist_experiment, "exact_rates", lossy)
    experiment = Experiment(settings(), 0, training, dataclasses.replace(test, labels=said))
    judged = experiment.judge(W)
    assert (float(judged["final_accuracy"]), float(judged["final_lost"])) == (0.75, 25)
    _, accuracy = experiment._evaluate("test", W, np.arange(100))
    assert accuracy == 0.75


def test_a_network_that_lost_its_fixed_points_is_named(trained):
    reproduction, released = trained
    data = reproduction.data.copy(deep=True)
    data["final_lost"].loc[0, "dW3", 0.25] = 1
    assert not mnist._lost(mnist._summary(data), released).holds
    assert mnist._lost(mnist._summary(reproduction.data), released).holds


def test_quoted_values_are_means_of_the_last_steps(digits):
    long = settings(seeds=(0,), batch_size=12, curves=(("dW3", 0.25),))
    data = mnist.reproduce(*digits, long).data
    test_accuracy = data["accuracy"].sel(part="test", rule="dW3", seed=0).values.ravel()
    assert test_accuracy.size == 50
    assert float(mnist._summary(data)["last"][0]) == pytest.approx(test_accuracy[-20:].mean())


def test_diverging_weights_end_the_curve_with_a_reason(digits):
    experiment = Experiment(settings(), 0, *digits)
    run = experiment.run("dW3", 1e30)
    assert "NaN or infinity" in run.attrs["stopped"] or "gradient does not exist" in run.attrs["stopped"]
    assert run["loss"].isel(step=-1).isnull().all()


def test_ctrl_c_keeps_the_curves_that_are_finished(digits, monkeypatch):
    real, count = mnist.as_completed, iter(range(9))

    def interrupted(futures):
        for future in real(futures):
            if next(count) == 2:
                raise KeyboardInterrupt
            yield future

    monkeypatch.setattr(mnist, "as_completed", interrupted)
    kept = []
    reproduction = mnist.reproduce(*digits, settings(), keep=kept.append)
    assert reproduction.interrupted
    assert int(reproduction.data["final_accuracy"].notnull().sum()) == 2
    assert "Interrupted" in reproduction.verdict()
    assert len(kept) == 2


def test_an_unfinished_curve_is_undecided(digits):
    reproduction = mnist.reproduce(*digits, settings(curves=(("dW3", 0.25),)))
    assert found(reproduction, "learns most").holds is None
