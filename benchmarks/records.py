"""Results on disk: rows by setting, with the machine; written atomically after every setting."""

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

from riemannrnn.run_folder import write_atomically
from riemannrnn.runtime import cores

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("riemannrnn", "numpy", "scipy", "jax", "jaxopt", "optimistix", "torch", "torchdeq")

Row: TypeAlias = dict[str, Any]

SETTINGS: dict[str, tuple[str, ...]] = {
    "products": ("dtype", "rule"),
    "released": ("rule", "aim"),
    "peers": ("units", "radius", "dtype", "stimuli"),
    "small": ("units", "radius", "stimuli", "dtype"),
    "gpu": ("work", "units", "stimuli"),
    "growth": ("units", "stimuli", "radius", "dtype"),
    "epoch": ("rule", "units", "dtype"),
    "convolution": ("channels", "height", "width", "dtype"),
    "convolution-memory": ("channels", "stimuli"),
    "convolution-epochs": ("channels", "seed", "epochs", "epoch"),
    "memory": ("units", "stimuli", "radius", "dtype"),
    "learning": ("contender", "rate"),
    "conditioning": ("metric", "condition"),
    "metrics": ("metric", "optimiser", "seed"),
    "default": ("manifold", "activation", "seed"),
    "step": ("dtype", "age"),
    "manifolds": ("manifold", "optimiser"),
    "stacks": ("layers", "seed", "epochs"),
    "stack-step": ("dtype", "age"),
    "stack-peers": ("contender", "rate", "layers", "seed", "epochs"),
    "streams": ("units", "inputs", "stimuli"),
    "scaling": ("work", "units", "dtype"),
    "rates": ("manifold", "optimiser", "rate"),
}
"""The columns that identify a setting of each benchmark."""


def merge(old: Sequence[Row], new: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """Return the old rows with repeated settings replaced, and the rows of new settings at the end."""
    settings: dict[tuple[Any, ...], list[Row]] = {}
    fresh: dict[tuple[Any, ...], list[Row]] = {}
    for rows, where in ((old, settings), (new, fresh)):
        for row in rows:
            where.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [row for rows in (settings | fresh).values() for row in rows]


def read(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """Return a benchmark's record; None if it has not been run."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write(name: str, rows: Sequence[Row], folder: Path = RESULTS) -> None:
    """Merge rows into a benchmark's record, each with its day and processor."""
    folder.mkdir(parents=True, exist_ok=True)
    today = datetime.now(UTC).date().isoformat()
    before = read(name, folder) or {"rows": []}
    kept = [{"processor": before["machine"]["processor"]} | row for row in before["rows"]]
    stamp = {"date": today, "processor": machine()["processor"]}
    merged = merge(kept, [row | stamp for row in rows], SETTINGS[name])
    record = {"date": today, "machine": machine(), "versions": versions(), "rows": merged}
    text = json.dumps(record, indent=1) + "\n"
    write_atomically(folder / f"{name}.json", lambda temporary: temporary.write_text(text, encoding="utf-8"))


def machine() -> dict[str, Any]:
    """Return the processor, its cores and the interpreter."""
    return {"processor": _processor(), "cores": cores(), "python": platform.python_version()}


def versions() -> dict[str, str]:
    """Return the versions of the installed packages."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
