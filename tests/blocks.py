"""The Python blocks of a Markdown text, run as they stand, in order, in one namespace."""

import re
from pathlib import Path
from typing import Any


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def run_blocks(path: Path, blocks: list[str]) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(path), "exec"), namespace)
    return namespace
