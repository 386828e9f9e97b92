"""The Python blocks of a Markdown page, run as a user would run them: as a script in a separate process."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

OURS = re.compile(r"_NUM_THREADS$|^RIEMANNRNN_|^PYTEST_|^COLUMNS$")
"""Environment variables that the tests or a developer may have set, but a user has not."""


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def user_environment() -> dict[str, str]:
    """Return the environment of a user: default threads and widths, and figures without a display."""
    theirs = {name: value for name, value in os.environ.items() if not OURS.search(name)}
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return theirs | {"MPLBACKEND": "Agg", "PYTHONPATH": places}


def run_script(script: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script in a folder, with warnings as errors."""
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(
        command, cwd=folder, env=user_environment(), capture_output=True, encoding="utf-8", timeout=600, check=False
    )


def run_blocks(blocks: Sequence[str], claims: str, folder: Path) -> str:
    """Run blocks in order in one script, followed by the claims, lines that assert something about the results."""
    script = folder / "blocks.py"
    script.write_text("\n".join([*blocks, claims]), encoding="utf-8")
    finished = run_script(script, folder)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
