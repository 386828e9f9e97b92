"""`make bench`: how long a step takes, beside its own matrix products, beside the peers, and beside the released method."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from benchmarks.peers import installed_peers, side_by_side
from benchmarks.products import products_table
from benchmarks.released import released_table

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("riemannrnn", "numpy", "scipy", "jax", "jaxopt", "torch", "torchdeq")

app = typer.Typer(pretty_exceptions_enable=False)
console = Console(width=130)


@app.command()
def products(repeats: int = 15) -> None:
    """Measure a step of each rule beside the matrix products that it needs."""
    console.print(products_table(repeats))


@app.command()
def peers(
    units: Annotated[list[int] | None, typer.Option(help="Repeatable.")] = None,
    radius: Annotated[list[float] | None, typer.Option(help="Repeatable.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="Repeatable.")] = None,
    stimuli: int = 512,
    repeats: int = 7,
    output: Path = RESULTS,
) -> None:
    """Measure one exact-gradient step beside the peers that are installed, and write results/peers.json."""
    console.print(f"Installed peers: {', '.join(installed_peers())}")
    rows: list[dict[str, Any]] = []
    for n in units or [100, 300, 1000]:
        for each in dtype or ["float32", "float64"]:
            for spectral_radius in radius or [0.5, 0.9, 1.1]:
                rows += side_by_side(n, spectral_radius, np.dtype(each), stimuli, repeats, console)
                write(output / "peers.json", rows)


@app.command()
def released(repeats: int = 3, output: Path = RESULTS) -> None:
    """Measure ΔW1 and ΔW3 beside the cost of the released method, and write results/released.json."""
    table, rows = released_table(repeats)
    console.print(table)
    write(output / "released.json", rows)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows with what they were measured on."""
    path.parent.mkdir(exist_ok=True)
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except ImportError:
            continue
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    record = {"date": datetime.now(UTC).date().isoformat(), "machine": machine, "versions": versions, "rows": rows}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
