"""The bookkeeping of the benchmarks: rows merge, products are counted, and the documents match the results."""

import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("benchmarks", reason="benchmarks are found from the repository's root only: run `python -m pytest` there")

from benchmarks import drawing, gpu, learning, metrics, records, small, tables, timing, training
from benchmarks.__main__ import app
from benchmarks.argument import draw_argument
from benchmarks.conditioning import Regression, descend, steps_to_goal
from benchmarks.contest import OURS, loosest, measure
from benchmarks.convolution import convolution_row
from benchmarks.convolution_epochs import Images, epochs
from benchmarks.counting import count_products
from benchmarks.default_step import factorisations
from benchmarks.growth import exponent
from benchmarks.rates import Digits, decades
from benchmarks.steps import Step, numpy_picard, ours
from riemannrnn import RateNetwork
from riemannrnn.data import load_digits


@pytest.mark.parametrize("document", tables.SECTIONS, ids=lambda path: path.name)
def test_documents_say_what_the_results_say(document: Path) -> None:
    section = tables.SECTIONS[document](records.RESULTS)
    assert section
    text = document.read_text(encoding="utf-8")
    assert tables.with_section(text, section) == text


@pytest.mark.parametrize("document", tables.SECTIONS, ids=lambda path: path.name)
def test_documents_have_a_place_for_the_results(document: Path) -> None:
    assert "| 100 |" in tables.with_section(document.read_text(encoding="utf-8"), "| 100 |\n")


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no"):
        tables.with_section("no markers", "")


def test_metrics_are_compared_from_one_start_within_the_budget(tmp_path: Path) -> None:
    task = metrics.digits(0, units=20, training=50)
    rows = [metrics.learn(metric, metrics.USUAL, 0, task, budget=8) for metric in metrics.SHOWN]
    starts = [row["curve"][0][1] for row in rows]
    assert starts == pytest.approx([starts[0]] * 4)
    for row in rows:
        assert row["curve"][-1][0] <= 8
        assert row["loss"] == pytest.approx(row["curve"][-1][1], rel=1e-6)
        assert row["loss"] < row["curve"][0][1]
    records.write("metrics", rows, tmp_path)
    drawing.draw_metrics(rows, tmp_path / "metrics.png")
    draw_argument(rows, tmp_path / "argument.png")
    for name in ("metrics", "argument"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    assert f"| monotone | {rows[-1]['loss']:.2f} to" in tables.short_section(tmp_path)
    assert f"| monotone | {rows[-1]['accuracy']:.1%}, 0 of 1 |" in tables.every_metric(records.read("metrics", tmp_path))


def test_the_median_holds_the_last_accepted_loss() -> None:
    curves = ([[1, 4.0], [3, 2.0]], [[1, 6.0], [2, 1.0]], [[1, 5.0]])
    rows = [{"metric": "a", "curve": curve} for curve in curves]
    assert metrics.median_curve(rows, budget=3) == [5.0, 4.0, 2.0]


def test_rows_are_replaced_setting_by_setting() -> None:
    old = [{"n": 1, "name": "a"}, {"n": 1, "name": "b"}, {"n": 2, "name": "a"}]
    new = [{"n": 3, "name": "a"}, {"n": 1, "name": "c"}]
    assert records.merge(old, new, ["n"]) == [{"n": 1, "name": "c"}, {"n": 2, "name": "a"}, {"n": 3, "name": "a"}]


def test_records_keep_what_is_not_measured_again(tmp_path: Path) -> None:
    residuals = {"aim": "default", "released_residual": 0.1, "residual": 1e-5}
    for row in ({"rule": "dW1", "ratio": 2.0}, {"rule": "dW3", "ratio": 3.0}, {"rule": "dW1", "ratio": 4.0}):
        records.write("released", [row | residuals], tmp_path)
    record = records.read("released", tmp_path)
    assert [row["ratio"] for row in record["rows"]] == [4.0, 3.0]
    assert {"processor", "cores", "python"} == set(record["machine"])
    assert {row["processor"] for row in record["rows"]} == {record["machine"]["processor"]}
    assert "numpy" in record["versions"]
    assert "dW1 4 times ours, at a residual 10,000 times ours; dW3 3 times ours" in tables.section(tmp_path)


def test_rows_that_do_not_tell_their_machine_were_measured_on_that_of_their_record(tmp_path: Path) -> None:
    older = {"rule": "dW1", "aim": "default"}
    (tmp_path / "released.json").write_text(json.dumps({"machine": {"processor": "older"}, "rows": [older]}), encoding="utf-8")
    records.write("released", [older | {"rule": "dW3"}], tmp_path)
    record = records.read("released", tmp_path)
    assert [row["processor"] for row in record["rows"]] == ["older", record["machine"]["processor"]]


def test_rows_of_another_machine_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = {"units": 300, "radius": 0.5, "dtype": "float32", "ratio": 1.5, "products": 12.0}
    for processor, stimuli in (("first", 512), ("first", 1024), ("second", 2048)):
        monkeypatch.setattr(records, "machine", lambda name=processor: {"processor": name, "cores": 2, "python": "3"})
        records.write("growth", [setting | {"stimuli": stimuli, "milliseconds": 0.1 * stimuli}], tmp_path)
    record = records.read("growth", tmp_path)
    assert [row["processor"] for row in record["rows"]] == ["first", "first", "second"]
    assert "first and second" in tables.growth(record)
    assert exponent(record["rows"][:2], "stimuli") == pytest.approx(1.0)
    assert np.isnan(exponent(record["rows"], "stimuli"))


def test_contenders_run_in_before_they_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only contenders quicker than a bound run in; a slow one needs no such run."""
    monkeypatch.setattr(timing, "PAUSE", 0.0)
    monkeypatch.setattr(timing, "WARM", 0.05)
    calls = {"quick": 0, "slow": 0}

    def run(name: str, duration: float) -> None:
        calls[name] += 1
        time.sleep(duration)

    times = timing.interleaved({"quick": partial(run, "quick", 0.001), "slow": partial(run, "slow", 0.06)}, 3)
    assert {name: len(each) for name, each in times.items()} == {"quick": 3, "slow": 3}
    assert calls["slow"] == 3
    assert calls["quick"] > 5


def test_every_product_is_counted_once() -> None:
    def work(rates: np.ndarray, weights: np.ndarray) -> None:
        image = np.empty((5, 7))
        np.matmul(rates @ weights.T, weights, out=image)
        factor = np.concatenate([np.linalg.inv(weights + np.eye(7)), weights])[:7]
        np.where(image > 0, image, 0).T @ np.tanh(image) @ factor

    counted = count_products(work, (np.ones((5, 7)), np.ones((7, 7))), 5 * 7 * 7)
    assert counted == pytest.approx(3 + 2 * 7 / 5)  # an inverse and a product of matrices are 7 × 7 × 7 each


def test_steps_are_counted_to_the_goal() -> None:
    assert steps_to_goal(10.0**-power for power in range(9)) == 6
    assert steps_to_goal(iter([1.0, 0.5, 0.6, 1e-9])) is None
    assert steps_to_goal(iter([1.0, np.inf])) is None


@pytest.mark.parametrize("condition", [1, 1000])
def test_the_condition_of_stimuli_is_what_is_asked_for(condition: float) -> None:
    task = Regression(condition)
    assert np.linalg.cond(task.stimuli) ** 2 == pytest.approx(condition)
    assert np.mean(task.stimuli**2) == pytest.approx(1)
    assert descend("response", condition)["steps"] <= 8


@pytest.mark.parametrize("stimuli", [40, 512])
def test_products_of_plain_iteration_are_its_iterations(stimuli: int) -> None:
    step = Step.draw(100, 0.5, np.dtype("float32"), stimuli)
    network = RateNetwork(100, None, dtype="float32")
    options = {"solver": "picard", "tolerance": 1e-4}
    found = network.solve(step.weights, step.drive, **options)
    products = count_products(lambda W, x: network.solve(W, x, **options), (step.weights, step.drive), stimuli * 100**2)
    mean = float(np.mean(found.iterations))
    assert mean <= products <= found.iterations.max() + 2


def test_ours_and_the_plain_loop_meet_the_residual_that_they_are_asked_for() -> None:
    step = Step.draw(20, 0.5, np.dtype("float64"), 16)
    gradients = []
    for make in (ours, numpy_picard):
        rates, adjoints, gradient = make(step)(1e-9, 1e-9)
        assert step.residual(rates) < 1e-8
        assert step.adjoint_residual(rates, adjoints) < 1e-8
        gradients.append(gradient)
    np.testing.assert_allclose(*gradients, atol=1e-6)


def test_the_loosest_tolerance_is_found_within_a_step() -> None:
    def staircase(factor: float) -> float:  # residuals halve, and the solver's own norm is 20 times as strict
        return 0.5 ** np.ceil(-np.log2(factor / 20))

    factor, residual = loosest(staircase, 1.0)
    assert residual == staircase(factor)
    assert 0.4 <= residual <= 1.05
    assert loosest(lambda factor: 9e9, 1.0)[1] == 9e9
    assert loosest(lambda factor: float("nan"), 1.0)[0] == 1.0


def test_slow_contenders_are_repeated_less() -> None:
    rows = {OURS: {"meets": True}, "peer": {"meets": True}}
    measure(rows, {OURS: lambda: None, "peer": lambda: np.linalg.svd(np.ones((60, 60)))}, repeats=3)
    assert rows[OURS]["ratio"] == 1
    assert (rows[OURS]["repeats"], rows["peer"]["repeats"]) == (3, 2)


def test_a_convolution_is_measured_beside_its_transforms_and_products(tmp_path: Path) -> None:
    row = convolution_row(2, 1, "float32", (4, 5))
    records.write("convolution", [row], tmp_path)
    assert all(row[name] > 0 for name in ("apply", "limit", "bind", "step", "certificate"))
    assert row["apply_over_limit"] == pytest.approx(row["apply"] / row["limit"])


def test_the_exponent_is_that_of_the_power() -> None:
    rows = [{"units": n, "milliseconds": 3 * n**1.8} for n in (100, 300, 1000, 4000)]
    assert exponent(rows, "units") == pytest.approx(1.8)
    assert np.isnan(exponent(rows[:2], "units"))


def test_decades_are_counted_around_the_best_rate() -> None:
    accuracies = {0.1: 0.80, 10**-0.8: 0.5, 10**-0.6: 0.79, 10**-0.4: 0.81, 10**-0.2: 0.80, 1.0: 0.0}
    best, span = decades([{"rate": rate, "accuracy": accuracy} for rate, accuracy in accuracies.items()])
    assert best == 0.81
    assert span == pytest.approx(3 / 5)  # the first rate is as good, but not adjacent to them


def test_factorisations_of_one_matrix_are_seen_to_be_repeated() -> None:
    first, second = np.eye(4), 2 * np.eye(4)
    with factorisations(4) as seen:
        np.linalg.eigh(first)
        np.linalg.inv(second)
        np.linalg.eigh(first)
        np.linalg.eigh(np.eye(3))
    assert sorted(seen.values()) == [1, 2]


def test_a_run_on_the_digits_has_an_accuracy_or_a_reason() -> None:
    digits = Digits()
    assert digits.learn("scaled-monotone", "adam", 0.01)["accuracy"] > 0.7
    lost = digits.learn("resolvent", "adam", 1.0)
    assert lost["accuracy"] == 0
    assert lost["stopped"].startswith("Stopped at step")


@pytest.mark.parametrize("contender", [learning.DEFAULT, "dW3"])
def test_a_curve_of_learning_says_when_a_mark_was_passed(contender: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"UNITS": 30, "BATCH": 50, "EVERY": 2, "MARKS": (0.2, 2.0)}.items():
        monkeypatch.setattr(learning, name, value)
    problem = learning.Task(*load_digits(np.float32).split(500, 200, seed=0))
    row = learning.curve(contender, learning.RATES[contender][-1], problem)
    assert 0 < row["steps_20%"] <= 30
    assert row["seconds_20%"] > 0
    assert row["steps_200%"] is row["seconds_200%"] is None
    assert row["best_accuracy"] > 0.2
    assert row["stopped"] == "All 3 epochs done."


def test_a_cell_is_trained_at_the_rate_that_learns_most(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (learning, training):
        monkeypatch.setattr(module, "UNITS", 20)
    monkeypatch.setattr(training, "BATCH", 50)
    monkeypatch.setattr(training, "TRIAL", 10)
    monkeypatch.setattr(training, "RATES", {"adam": (1e-6, 0.02)})
    problem = learning.Task(*load_digits(np.float32).split(200, 100, seed=0))
    row = training.cell("monotone", "adam", problem)
    assert (row["rate"], row["steps"], row["stopped"]) == (0.02, 12, "All 3 epochs done.")
    assert row["accuracy_last"] > row["accuracy_first"] > 0.1
    assert (row["lost"], row["unstable"], row["guard_actions"]) == (0, 0, 0)
    records.write("manifolds", [row], tmp_path)
    record = records.read("manifolds", tmp_path)
    assert record is not None
    assert "| monotone | adam | 0.02 |" in tables.manifolds(record)
    plain = training.cell("monotone", "plain", problem, rate=0.02)
    history = training.learn("monotone", "plain", 0.02, problem).history
    assert plain["accuracy_last"] == history.test_accuracy[-1] != row["accuracy_last"]
    assert plain["iterations"] == pytest.approx(np.mean(history.iterations))


@pytest.mark.parametrize(("manifold", "activation"), training.STABLE)
def test_every_stimulus_is_certified(manifold: str, activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (learning, training):
        monkeypatch.setattr(module, "UNITS", 20)
    monkeypatch.setattr(training, "BATCH", 50)
    problem = learning.Task(*load_digits(np.float32).split(200, 100, seed=0), activation=activation)
    row = training.certified(manifold, problem)
    assert row["certified"] == row["stimuli"] == 300
    assert row["residual"] <= training.RESIDUAL
    assert row["margin"] > 0
    assert row["accuracy_last"] > 0.2


def test_work_on_a_device_is_measured_until_the_time_is_used_up(tmp_path, monkeypatch):
    for name, value in (("EPOCH_UNITS", 5), ("BATCH", 20), ("IMAGE", (4, 8, 1)), ("CHANNELS", (2, 3)), ("SUPPORT", 3)):
        monkeypatch.setattr(gpu, name, value)
    rows = list(gpu.device_rows("numpy", (4, 6), 40, 1, 60.0))
    assert [(row["work"], row["units"]) for row in rows] == [
        ("epoch", 5),
        *(
            (work, 32 * channels)
            for channels in (2, 3)
            for work in (f"convolution, {channels} channels", f"training step, {channels} channels")
        ),
        *((work, n) for n in (4, 6) for work in ("gradient", "training step")),
    ]
    assert all(row["milliseconds"] > 0 for row in rows)
    assert len(list(gpu.device_rows("numpy", (4, 6), 40, 1, 0.0))) == 1
    records.write("gpu", rows, tmp_path)
    assert "| convolution, 2 channels | 64 | 20 |" in tables.on_a_gpu(records.read("gpu", tmp_path))
    assert "| gradient | 4 | 20 |" in tables.on_a_gpu(records.read("gpu", tmp_path))


def test_where_there_is_no_gpu_the_reason_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy", None)
    result = CliRunner().invoke(app, ["gpu", "--output", str(tmp_path)])
    assert result.exit_code == 0
    assert "No GPU was measured" in result.output
    assert not list(tmp_path.iterdir())


def test_small_networks_are_measured_beside_the_loop(tmp_path):
    row = small.small_row(20, 0.5, 2, "float32", 1, peers=False)
    assert row["ratio"] > 0
    assert row["free_ratio"] > 0
    assert small.limit(row | {"loop_ms": 0.5}) > small.limit(row | {"loop_ms": 2.0})
    records.write("small", [row | {"ratio": 1.0}, row | {"radius": 0.9, "ratio": 1e3}], tmp_path)
    record = records.read("small", tmp_path)
    assert "| float32 | 2 | 1 of 2 |" in small.small_table(record)
    small.draw_small(record["rows"], tmp_path / "small.png")
    assert (tmp_path / "small.png").stat().st_size > 0


def test_epochs_of_a_layer_of_images_are_told_one_by_one_and_go_on(tmp_path: Path) -> None:
    training, test = load_digits(np.float32).split(128, 20, seed=0)
    problem = Images(training, test, (8, 8, 1), channels=2, pool=4, epochs=2)
    told: list[records.Row] = []
    last = epochs(problem, told.append, tmp_path)
    assert [row["epoch"] for row in told] == [1, 2]
    assert last["accuracy"] == told[-1]["accuracy"]
    assert last["certified"] == last["stimuli"] == 20
    assert last["smallest_eigenvalue"] >= 0.1 - 1e-5
    assert problem.standardised(training.stimuli).std() == pytest.approx(1, abs=1e-5)
    again: list[records.Row] = []
    assert epochs(problem, again.append, tmp_path)["accuracy"] == last["accuracy"]  # it had ended: nothing is learned again
    assert again == []
    for row in (*told, last):
        records.write("convolution-epochs", [row], tmp_path)
    record = records.read("convolution-epochs", tmp_path)
    assert record is not None
    assert [row.get("certified") for row in record["rows"]] == [None, 20]
