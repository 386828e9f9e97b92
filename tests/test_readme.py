"""The README's Python blocks run as they stand, in order, as one script, and its statements about their results are true."""

import re
from pathlib import Path
from statistics import median

import pytest
from blocks import ROOT, python_blocks, run_blocks

from benchmarks import records
from benchmarks.argument import ARGUED
from benchmarks.metrics import by_metric

README = ROOT / "README.md"


def test_code_blocks_run(tmp_path: Path) -> None:
    blocks = python_blocks(README)
    assert len(blocks) == 3
    claims = """
assert history.stopped == "All 10 epochs done."
assert history.loss[-1] < 0.7 * history.loss[0]
assert fixed_points.converged.all()
assert fixed_points.stability().max() < 0
assert flowers.test_accuracy[-1] > 0.8
assert report
assert result.cost < cost(W)
"""
    run_blocks(blocks, claims, tmp_path)


def test_each_block_is_short() -> None:
    for block in python_blocks(README):
        assert len([line for line in block.splitlines() if line.strip()]) < 15


def test_a_reader_is_through_in_some_minutes() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/choosing.md"])
def test_accuracies_are_those_that_were_measured(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    runs = by_metric(records.read("metrics")["rows"])
    for metric in ARGUED:
        assert f"{100 * median(run['accuracy'] for run in runs[metric]):.1f} %" in text, metric


def test_blocks_run_in_the_environment_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RIEMANNRNN_DATA", "COLUMNS"):
        monkeypatch.setenv(name, "1")
    printed = run_blocks(["import os"], "print(*os.environ)", tmp_path).split()
    assert "PATH" in printed
    assert not [name for name in printed if name.endswith("NUM_THREADS") or name.startswith(("RIEMANNRNN", "COLUMNS"))]


def test_a_claim_that_does_not_hold_is_seen(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="AssertionError: too small"):
        run_blocks(["number = 1"], 'assert number > 1, "too small"', tmp_path)
