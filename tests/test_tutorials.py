"""Every tutorial runs as a script, in a folder of its own, with warnings as errors; what it asserts holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))


def run(script: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": places, "PYTHONUTF8": "1"}
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.tutorial
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(tutorial, tmp_path):
    finished = run(tutorial, tmp_path)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_is_a_gallery_page(tutorial):
    text = tutorial.read_text(encoding="utf-8")
    assert text.startswith('"""'), "the gallery takes the title from the docstring"
    assert "\n# %%" in text, "cells make it a page and a notebook"
    assert "\nassert " in text, "a tutorial checks its headline numbers"


def test_there_are_tutorials():
    assert TUTORIALS


@pytest.mark.parametrize("line", ["assert False", "import warnings\nwarnings.warn('careful')"])
def test_a_tutorial_that_fails_is_seen(line, tmp_path):
    script = tmp_path / "failing.py"
    script.write_text(line)
    assert run(script, tmp_path).returncode != 0
