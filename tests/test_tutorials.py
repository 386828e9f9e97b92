"""Every tutorial runs as a script, in a separate folder and process, with warnings as errors, and its assertions hold."""

import pytest
from blocks import ROOT, run_script

TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))


@pytest.mark.tutorial
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(tutorial, tmp_path):
    finished = run_script(tutorial, tmp_path)
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
    assert run_script(script, tmp_path).returncode != 0
