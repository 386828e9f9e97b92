"""Writing figures."""

from pathlib import Path

from matplotlib.figure import Figure

from riemannrnn.run_folder import write_atomically


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG at 200 dots per inch, atomically; equal figures give equal bytes."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=200, metadata={"Software": None}))
