"""The benchmarks of layers of images: side by side with torch, their growth, and the tables of their results."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("benchmarks", reason="benchmarks are found from the repository's root only: run `python -m pytest` there")

from benchmarks import convolution, convolution_memory, convolution_tables, records
from benchmarks.__main__ import app
from manifolds import ConvolutionalMonotone
from riemannrnn.network import Convolution


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Measure grids of a few positions, and return the folder of the results."""
    monkeypatch.setattr(convolution, "STIMULI", 4)
    for module in (convolution, convolution_tables):
        monkeypatch.setattr(module, "SHAPE", (4, 4))
    monkeypatch.setattr("benchmarks.timing.PAUSE", 0.0)
    monkeypatch.setattr("benchmarks.timing.WARM", 0.0)
    return tmp_path


def row(channels: int, size: int, **more: float) -> records.Row:
    setting = {"channels": channels, "height": size, "width": size, "stimuli": 10, "dtype": "float32"}
    apply = 10e-6 * size**2 * channels * (3.0 * np.log2(size**2) + 0.5 * channels)
    figures = {"apply": apply, "apply_over_limit": 1.25, "limit": apply / 1.25, "bind": 0.3, "step": 480.0, "certificate": 6.0}
    return setting | figures | more


def test_growth_finds_the_time_of_transforms_and_of_products() -> None:
    rows = [row(channels, size) for size in (14, 28, 56) for channels in (16, 54)]
    assert convolution.growth(rows) == pytest.approx((3.0, 0.5, 0.0), abs=1e-9)
    rows[0]["apply"] *= 1.5
    assert 0.1 < convolution.growth(rows)[2] < 0.5


def test_one_command_measures_every_size_and_the_table_says_how_they_grow(small: Path) -> None:
    options = ["--size", "4", "--size", "8", "--channels", "2", "--channels", "3", "--repeats", "1", "--output", str(small)]
    result = CliRunner().invoke(app, ["convolution", *options])
    assert result.exit_code == 0, result.output
    record = records.read("convolution", small)
    assert record is not None
    assert [(each["height"], each["channels"], each["stimuli"]) for each in record["rows"]] == [
        *((4, 2, 4), (4, 3, 4), (8, 2, 1), (8, 3, 1))
    ]
    text = convolution_tables.convolution(record)
    assert text.count("| float32 |") == 2
    assert "on grids of 4 × 4 to 8 × 8 with 2 to 3 channels" in text


def test_torch_that_is_missing_is_said_to_be(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("benchmarks.convolution.find_spec", "benchmarks.__main__.find_spec"):
        monkeypatch.setattr(name, lambda package: None)
    options = ["--size", "4", "--channels", "2", "--repeats", "1", "--output", str(small)]
    result = CliRunner().invoke(app, ["convolution", *options])
    assert "Missing: torch's convolution needs torch; pip install torch." in result.output
    record = records.read("convolution", small)
    assert record is not None
    assert "torch" not in record["rows"][0]
    assert convolution_tables.ABSENT in convolution_tables.convolution(record)
    records.write("convolution", [row(2, 4, torch=3.0, torch_over_apply=1.5)], small)
    record = records.read("convolution", small)
    assert record is not None
    text = convolution_tables.convolution(record)
    assert convolution_tables.ABSENT not in text
    assert "| 1.25 | 1.50 | 0.30 | 480 | 6.0 |" in text


def test_torch_computes_the_same_convolution() -> None:
    pytest.importorskip("torch")
    manifold = ConvolutionalMonotone(3, seed=0, like=np.empty(0, "float32"))
    kernels, connectivity = manifold.weights(manifold.random_point()), Convolution(3, (6, 7), 5)
    rows = np.random.default_rng(0).standard_normal((4, connectivity.n_units)).astype("float32")
    expected = connectivity.bind(kernels).apply(rows).reshape(4, 6, 7, 3).transpose(0, 3, 1, 2)
    found = convolution.torch_runs(kernels, rows, (6, 7))
    assert len(found) == 2
    for run in found.values():
        np.testing.assert_allclose(run(), expected, atol=1e-4)


def test_the_table_of_epochs_has_a_line_for_each_run(tmp_path: Path) -> None:
    write = partial(records.write, "convolution-epochs", folder=tmp_path)
    certified = {"stimuli": 10_000, "certified": 9_999}
    for seed, epoch, seconds in ((0, 1, 200.0), (0, 2, 420.0), (1, 1, 200.0), (1, 2, 150.0)):
        setting = {"channels": 16, "seed": seed, "epochs": 2, "epoch": epoch, "accuracy": 0.97 + epoch / 100}
        write([setting | {"iterations": 15.0, "processor_seconds": seconds} | (certified if epoch == 2 else {})])
    record = records.read("convolution-epochs", tmp_path)
    assert record is not None
    text = convolution_tables.convolution_epochs(record)
    assert "| 16 | 0 | 2 | 98.00%, 99.00% | 15.0 | 210 | 9,999 of 10,000 |" in text
    assert "| 16 | 1 | 2 | 98.00%, 99.00% | 15.0 | – |" in text  # it was stopped and went on


def test_the_peak_memory_is_that_of_a_process_of_its_own(tmp_path: Path) -> None:
    result = convolution_memory.training_peak(1, 2)
    assert 0 < result["before_gib"] <= result["peak_gib"] < 1
    records.write("convolution-memory", [result], tmp_path)
    record = records.read("convolution-memory", tmp_path)
    assert record is not None
    assert " GiB with 1 channels and batches of 2 (" in convolution_tables.convolution_memory(record)
