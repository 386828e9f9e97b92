"""The numbers that the authors of the paper recorded with their released code, as JSON beside this file."""

import json
from importlib.resources import files
from typing import Any


def load_recorded(name: str) -> dict[str, Any]:
    """Return the recorded numbers of a figure: "linear" or "mnist"; what they are stands under the key "source"."""
    recorded: dict[str, Any] = json.loads((files(__name__) / f"{name}.json").read_text(encoding="utf-8"))
    return recorded
