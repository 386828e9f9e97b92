"""The how-to pages' Python blocks run as they stand, and what they say of their results is so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blocks import python_blocks, run_blocks

from riemannrnn.network import ACTIVATIONS

PAGES = Path(__file__).resolve().parents[1] / "docs" / "howto"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a page in a folder of its own; activations that it registers are forgotten."""
    monkeypatch.chdir(tmp_path)
    before = dict(ACTIVATIONS)

    def run_page(name: str, backend: str = "cupy") -> dict[str, Any]:
        page = PAGES / f"{name}.md"
        return run_blocks(page, [block.replace('"cupy"', f'"{backend}"') for block in python_blocks(page)])

    yield run_page
    ACTIVATIONS.clear()
    ACTIVATIONS.update(before)


def test_own_data(run):
    there = run("own_data")
    assert (there["guesses"] == there["test"].labels).mean() > 0.8
    assert there["fixed_points"].stability().max() < 0
    assert there["regression"].loss[-1] < 0.5 * there["regression"].loss[0]
    assert np.isfinite([entry.training_loss for entry in there["result"].entries]).all()
    assert len(there["result"].entries) == 3


def test_own_activation(run, capsys):
    there = run("own_activation")
    assert there["named"].activation is there["softsign"]
    assert abs(there["slope"] - there["softsign"].derivative(there["z"], there["r"])).max() < 1e-6
    assert abs(there["bend"] - there["softsign"].second_derivative(there["z"], there["r"])).max() < 1e-6
    assert "has slope" in capsys.readouterr().out


def test_own_metric(run):
    there = run("own_metric")
    assert there["report"]
    assert there["own_report"]
    assert there["history"].loss[-1] < there["history"].loss[0]
    assert there["result"].cost < there["cost"](there["W"])
    assert abs(there["result"].point[~there["present"]]).max() == 0


def test_resuming(run, capsys):
    there = run("resuming")
    assert "the lights went out" in capsys.readouterr().out
    assert np.array_equal(there["resumed"].weights, there["uninterrupted"].weights)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def test_gpu(run, backend):
    if backend == "cupy":
        pytest.importorskip("cupy")
    there = run("gpu", backend)
    assert type(there["weights"]) is np.ndarray
    assert there["history"].loss[-1] < there["history"].loss[0]


def test_every_page_is_run():
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {page.stem for page in PAGES.glob("*.md")} <= tests
