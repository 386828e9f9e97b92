"""The benchmarks of stacks: rows, tables, the peers' architecture and derivatives, and what is missing."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("benchmarks", reason="benchmarks are found from the repository's root only: run `python -m pytest` there")

from typer.testing import CliRunner

from benchmarks import records, stack_commands, stack_peers, stacks, streams, tables, timing
from benchmarks.__main__ import app
from riemannrnn import CrossEntropy, FixedPointCost
from riemannrnn.data import load_digits


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch) -> stacks.Problem:
    monkeypatch.setattr(stacks, "BATCH", 50)
    monkeypatch.setattr(stacks, "RATE", 0.01)  # there are few steps
    monkeypatch.setattr(stack_peers, "BATCH", 50)
    return stacks.Problem(*load_digits(np.float32).split(200, 100, seed=0), layers=(12, 8), epochs=2, activation="tanh")


def test_a_stack_is_trained_and_every_stimulus_certified(problem: stacks.Problem, tmp_path: Path) -> None:
    row = stacks.certified_run(problem)
    assert len(row["accuracies"]) == 2
    assert row["accuracies"][-1] > row["accuracies"][0] > 0.1
    assert (row["certified"], row["unstable"], row["stimuli"]) == (300, 0, 300)
    assert row["residual"] <= stacks.RESIDUAL
    assert row["seconds"] > 0
    assert len(row["radius"]) == 2
    records.write("stacks", [row, row | {"seed": 1, "accuracies": [0.3, 0.5]}], tmp_path)
    text = tables.section(tmp_path)
    mean = (row["accuracies"][-1] + 0.5) / 2
    assert f"| 12, 8 | 0 | {row['accuracies'][0]:.2%} | {row['accuracies'][-1]:.2%} | 2 |" in text
    assert f"{mean:.2%} at the end" in text
    assert "300 of 300" in text


def test_unstable_stimuli_are_not_certified(problem: stacks.Problem) -> None:
    start = dict(problem.stack().initial_parameters())
    excited = start | {"layers.1.recurrent": 4 * np.eye(8, dtype=np.float32)}  # at r = 0 the slope is 4
    silent = {name: 0 * value if "input" in name else value for name, value in excited.items()}
    row = stacks.certificate(problem, silent, problem.test.stimuli, solver="newton")
    assert row["certified"] == 0
    assert row["unstable"] == 100
    assert stacks.certificate(problem, start, problem.test.stimuli)["certified"] == 100


def test_the_judge_counts_a_stimulus_without_a_fixed_point_as_wrong(problem: stacks.Problem) -> None:
    problem = replace(problem, activation="relu")
    start = dict(problem.stack().initial_parameters())
    lost = start | {"layers.0.recurrent": 2 * np.eye(12, dtype=np.float32), "layers.0.bias": np.ones(12, np.float32)}
    assert stack_peers.judged(problem, start, "splitting") > 0
    assert stack_peers.judged(problem, lost, "picard") == 0


def test_our_contender_yields_what_was_learned_after_each_epoch(problem: stacks.Problem) -> None:
    history, _ = stacks.trained(problem)
    learned = list(stack_peers.learn_by_ours(problem, stacks.RATE, 0.0))
    accuracies = [stack_peers.judged(problem, each.parameters, "splitting") for each in learned]
    assert accuracies == pytest.approx(stacks.measured(history.test_accuracy), abs=0.01)
    assert 0 < learned[0].seconds < learned[1].seconds


def test_training_from_a_file_is_timed_beside_training_from_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(streams, "UNITS", 10)
    monkeypatch.setattr(streams, "BATCH", 40)
    row = streams.streamed_row(load_digits(np.float32), 1)
    assert (row["units"], row["inputs"], row["stimuli"]) == (10, 64, 1797)
    assert row["speed"] == pytest.approx(row["memory_ms"] / row["file_ms"])
    records.write("streams", [row], tmp_path)
    assert f"{row['speed']:.2f} (" in tables.section(tmp_path)


def test_the_clock_leaves_out_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 11.0, 12.0, 22.0])  # every second step includes an evaluation
    monkeypatch.setattr(timing.time, "process_time", lambda: next(times))
    clock = timing.StepClock(2)
    for number in range(1, 5):
        clock(number, None)
    assert clock.seconds == 1.0


def test_the_price_of_a_step_compares_what_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stacks, "UNITS", 20)
    monkeypatch.setattr(timing, "PAUSE", 0.0)
    monkeypatch.setattr(timing, "WARM", 0.0)
    learners = {name: stacks.learner(np.dtype("float32"), kinds) for name, kinds in stacks.KINDS.items()}
    assert {name: len(learner.rule.manifold.schema) for name, learner in learners.items()} == {"everything": 5, "recurrent": 1}
    row = stacks.step_price("float32", 2, 2)
    assert row["ratio"] > 0
    records.write("stack-step", [row], tmp_path)
    assert f"{row['ratio']:.2f} in float32 after 2 steps" in tables.section(tmp_path)


def test_missing_peers_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: stacks.Problem) -> None:
    monkeypatch.setattr(stack_peers, "find_spec", lambda package: None)
    monkeypatch.setattr(stack_commands, "mnist", lambda folder, stimuli: (problem.training, problem.test))
    options = ["stack-peers", "--layers", "6", "--epochs", "1", "--output", str(tmp_path)]
    result = CliRunner().invoke(app, options, catch_exceptions=False)
    assert "Missing: torchdeq, Adam needs torch and torchdeq" in result.output
    record = records.read("stack-peers", tmp_path)
    assert record is not None
    assert {row["contender"] for row in record["rows"]} == {stack_peers.TANH, stack_peers.RELU}
    assert f"| 6 | riemannrnn, tanh | {stack_peers.RATES[stack_peers.TANH][0]:g} |" in tables.section(tmp_path)
    assert (tmp_path / "stack-peers.png").stat().st_size > 1000


def test_the_best_rate_of_a_contender_is_shown(tmp_path: Path) -> None:
    setting = {"contender": "peer", "layers": "6", "epochs": 2, "stimuli": 100, "iterations": 5.0, "seconds": [1.0, 2.0]}
    rows = [
        setting | {"rate": rate, "seed": seed, "accuracies": [0.5, last], "certified": certified}
        for rate, seed, last, certified in ((0.1, 0, 0.8, 90), (0.1, 1, 0.9, 80), (0.2, 0, 0.86, 100), (0.2, 1, 0.8, 100))
    ]
    rows.append(rows[0] | {"rate": 0.3, "accuracies": [0.0, 0.0]})
    records.write("stack-peers", rows, tmp_path)
    text = tables.section(tmp_path)
    assert "| 6 | peer | 0.1 | 50.0%, 85.0% | 2 | 5 | 80 of 100 |" in text
    assert "Parameters became infinite: peer at 0.3." in text


def test_a_contender_whose_parameters_become_infinite_scores_zero(
    problem: stacks.Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(problem: stacks.Problem, rate: float) -> Iterator[stack_peers.Learned]:
        start = problem.stack().initial_parameters()
        yield stack_peers.Learned(start, 1.0, 5.0)
        yield stack_peers.Learned({name: np.full_like(value, np.inf) for name, value in start.items()}, 2.0, 5.0)

    monkeypatch.setitem(stack_peers.CONTENDERS, "infinite", (learn, "tanh", "splitting"))
    row = stack_peers.raced("infinite", 0.1, replace(problem, layers=(6,), epochs=3))
    assert row["accuracies"][0] > 0
    assert row["accuracies"][1:] == [0, 0]
    assert row["seconds"] == [1, 2, 2]
    assert row["certified"] == 0


torch_only = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch comes with the extra bench")


@torch_only
@pytest.mark.filterwarnings("ignore")
def test_the_monotone_operator_network_solves_and_differentiates_its_layers(problem: stacks.Problem) -> None:
    import torch

    from benchmarks.torch_stacks import MonotoneStack

    torch.manual_seed(0)
    network = MonotoneStack((64, 12, 8, 10), 1e-9, 1000).double()
    stimuli, labels = torch.as_tensor(problem.test.stimuli[:20]).double(), torch.as_tensor(problem.test.labels[:20])
    torch.nn.functional.cross_entropy(network(stimuli), labels).backward()
    named = network.named()
    stack = replace(problem, activation="relu").stack(np.float64, named)
    cost = FixedPointCost(stack, stimuli.numpy(), CrossEntropy(labels.numpy()), tolerance=1e-11)
    np.testing.assert_allclose(network(stimuli).detach().numpy(), cost.at(named).outputs, atol=1e-7)
    gradient = cost.gradient(named)
    for number, layer in enumerate(network.layers):
        np.testing.assert_allclose(layer.inputs.weight.grad.numpy(), gradient[f"layers.{number}.input"], atol=1e-7)
        A, G = layer.symmetric.detach().numpy(), gradient[f"layers.{number}.recurrent"]
        np.testing.assert_allclose(layer.symmetric.grad.numpy(), -A @ (G + G.T), atol=1e-7)
        np.testing.assert_allclose(layer.skew.grad.numpy(), G - G.T, atol=1e-7)
        W = layer.weights.detach().numpy()
        assert np.linalg.eigvalsh(np.eye(len(W)) - (W + W.T) / 2)[0] >= 1 - 1e-9


@torch_only
@pytest.mark.skipif(not importlib.util.find_spec("torchdeq"), reason="torchdeq comes with the extra bench")
@pytest.mark.filterwarnings("ignore")
def test_torchdeq_has_our_architecture_start_and_gradient(problem: stacks.Problem) -> None:
    import torch

    from benchmarks.torch_stacks import TorchdeqStack

    start = problem.stack(np.float64).initial_parameters()
    network = TorchdeqStack(start, 2, 1e-9, 1, 1000)
    stimuli, labels = problem.test.stimuli[:20].astype(np.float64), problem.test.labels[:20]
    torch.nn.functional.cross_entropy(network(torch.as_tensor(stimuli)), torch.as_tensor(labels)).backward()
    cost = FixedPointCost(problem.stack(np.float64), stimuli, CrossEntropy(labels), tolerance=1e-11)
    for name, expected in cost.gradient(start).items():
        np.testing.assert_allclose(network.values[name.replace(".", "/")].grad.numpy(), expected, atol=1e-7)


@torch_only
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("contender", [stack_peers.TORCHDEQ, stack_peers.MONOTONE])
def test_a_peer_learns(problem: stacks.Problem, contender: str) -> None:
    if stack_peers.missing(contender):
        pytest.skip("torchdeq comes with the extra bench")
    row = stack_peers.raced(contender, 0.02, replace(problem, layers=(30,), epochs=8))
    assert row["accuracies"][-1] > 0.3
    assert row["certified"] == 100
    assert 0 < row["seconds"][0] < row["seconds"][1]
