"""The Python blocks of the how-to pages run unchanged, each page as a script, and their claims about results hold."""

import re
import tomllib

import pytest
from blocks import ROOT, python_blocks, run_blocks

from riemannrnn.analysis import read_run
from riemannrnn.analysis.layer_recording import path_file
from riemannrnn.cli.config import read_config
from riemannrnn.cli.training_run import prepare
from riemannrnn.metrics.catalogue import CATALOGUE, metrics_table
from riemannrnn.sweep import Grid

DOCS = ROOT / "docs"
PAGES = DOCS / "howto"


@pytest.fixture
def run(tmp_path):
    """Run a page and claims about its results in a separate folder; return its output."""

    def run_page(name: str, claims: str, backend: str = "cupy") -> str:
        blocks = python_blocks(PAGES / f"{name}.md")
        return run_blocks([block.replace('"cupy"', f'"{backend}"') for block in blocks], claims, tmp_path)

    return run_page


def test_own_data(run):
    claims = """
assert (guesses == test.labels).mean() > 0.8
assert fixed_points.stability().max() < 0
assert regression.loss[-1] < 0.5 * regression.loss[0]
assert np.isfinite([entry.training_loss for entry in result.entries]).all()
assert len(result.entries) == 3
assert table.classes.names == ("left", "rest", "right")
assert seen == len(first) == 300
assert stream.position_at(stream.per_epoch) == (1, 0, 0)
"""
    run("own_data", claims)


def test_partial_responses(run, tmp_path):
    claims = """
assert share > 0.9
assert 0.5 < ceiling < 0.95
assert (W * np.array(signs) > 0).all()
assert abscissa.max() < 0
assert np.isnan(training).mean() > 0.6
assert curves.shape == (21, 8)
"""
    run("partial_responses", claims)
    (table,) = re.findall(r"```toml\n(.*?)```", (PAGES / "partial_responses.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "config.toml").write_text(table, encoding="utf-8")
    assert (prepare(read_config(tmp_path / "config.toml")).network.signs[0] < 0).sum() == 8


def test_own_activation(run):
    claims = """
assert named.activation is softsign
assert abs(slope - softsign.derivative(z, r)).max() < 1e-6
assert abs(bend - softsign.second_derivative(z, r)).max() < 1e-6
"""
    assert "has slope" in run("own_activation", claims)


def test_own_metric(run):
    claims = """
assert report
assert own_report
assert history.loss[-1] < history.loss[0]
assert result.cost < cost(W)
assert abs(result.point[~present]).max() == 0
"""
    run("own_metric", claims)


def test_own_connectivity(run):
    claims = """
assert cost(point) < 0.7 * cost(net.initial_weights(radius=0.5))
assert cost.at(point).fixed_points.stability().max() < 0
"""
    run("own_connectivity", claims)


def test_stacks(run, tmp_path):
    claims = """
assert history.loss[-1] < history.loss[0]
assert all(layer.converged.all() and (layer.stability() < 0).all() for layer in response.layers)
assert (guesses == test.labels).mean() == history.test_accuracy[-1]
assert list(only_W.parameters) == ["layers.0.recurrent"]
assert "layers.0.bias" in paper.fixed and (paper.fixed["layers.0.input"] == components).all()
assert weighted.loss[-1] < weighted.loss[0]
assert weighted.guard_actions == 0
assert result.cost < cost(start)
assert classifier.parameters_["layers.1.recurrent"].shape == (20, 20)
assert begin["layers.0.recurrent"].shape == (6, 6, 3, 3)
assert begin["layers.1.input"].shape == (20, 4 * 4 * 6)
assert seen.loss[-1] < seen.loss[0]
assert (seen.model.predict(test.stimuli) == found.argmax(axis=1)).all()
"""
    run("stacks", claims)
    dense, images = re.findall(r"```toml\n(.*?)```", (PAGES / "stacks.md").read_text(encoding="utf-8"), re.DOTALL)
    config = tmp_path / "stack.toml"
    config.write_text(images, encoding="utf-8")
    assert prepare(read_config(config)).network.units == (8 * 8 * 6, 20)
    config.write_text(dense, encoding="utf-8")
    training = prepare(read_config(config))
    assert training.promised
    assert training.network.units == (30, 20, 15)
    assert "layers.2.from.0" in training.network.schema
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    training.run(folder, resume=False, callback=lambda step, history: None)
    assert {path.name for path in folder.glob("path*.h5")} == {path_file(name) for name in training.network.recurrent}
    with read_run(folder, "layers.1.recurrent") as recorded:
        assert recorded[0].shape == (20, 20)


def test_resuming(run):
    assert "the lights went out" in run("resuming", "assert np.array_equal(resumed.weights, uninterrupted.weights)")


def test_cluster(run):
    claims = """
assert result.to_dataset()["status"].values.ravel().tolist() == ["finished"] * 4
assert losses.sizes == {"train.manifold": 2, "replicate": 2}
assert optimum.cost < before
"""
    assert "finished: 4" in run("cluster", claims)


def test_the_grid_of_the_page_on_sweeps_is_one():
    (block,) = re.findall(r"```toml\n(.*?)```", (PAGES / "cluster.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(Grid.parse(tomllib.loads(block)).cells()) == 3 * (3 * 3 - 1)


def test_explorer(run):
    pytest.importorskip("panel", reason="the extra explore is not installed")
    assert run("explorer", "assert explorer.address").startswith("http://localhost:")


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def test_gpu(run, backend):
    if backend == "cupy":
        pytest.importorskip("cupy")
    run("gpu", "assert type(weights) is np.ndarray\nassert history.loss[-1] < history.loss[0]", backend)


def test_every_page_is_run():
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {page.stem for page in PAGES.glob("*.md")} <= tests


def test_the_page_on_metrics_has_a_row_for_every_manifold_of_the_command_line():
    assert "```{include} generated/metrics.md" in (DOCS / "metrics.md").read_text(encoding="utf-8")
    rows = [row.strip("|").split("|") for row in metrics_table().splitlines()]
    assert {len(row) for row in rows} == {4}
    assert set(CATALOGUE) <= {row[0].strip() for row in rows}
