"""The figures of the paper by name, and the files of a reproduction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from riemannrnn import plots
from riemannrnn.paper import angles, landscape, linear, mnist, one_neuron
from riemannrnn.paper.reproduction import Reproduction, paper_table
from riemannrnn.run_folder import write_atomically, write_netcdf


@dataclass(frozen=True)
class PaperFigure:
    """One figure.

    Attributes
    ----------
    summary
        A line of text for the command line.
    reproduce
        Computes the figure's data. MNIST takes its data first; the others take only options.
    draw
        Draws the figure from its dataset.
    """

    summary: str
    reproduce: Callable[..., Reproduction]
    draw: Callable[[xr.Dataset], Any]


FIGURES: Mapping[str, PaperFigure] = {
    "one-neuron": PaperFigure(
        "one linear neuron: the cost with its singularity, and learning curves of ΔW1, ΔW2, ΔW3",
        one_neuron.reproduce,
        plots.one_neuron_figure,
    ),
    "landscape": PaperFigure(
        "the cost of a linear network around its optimum, in W and in A, with distances in each metric",
        landscape.reproduce,
        plots.landscape_figure,
    ),
    "linear": PaperFigure(
        "learning curves of ΔW1, ΔW2, ΔW3 in a linear network, beside the recorded ones", linear.reproduce, plots.linear_figure
    ),
    "angles": PaperFigure(
        "angles between the three updates, in the Euclidean and the resolvent metric", angles.reproduce, plots.angles_figure
    ),
    "mnist": PaperFigure(
        "MNIST: ΔW1, ΔW3, ΔW4 at five rates each, with exact fixed points or as released (needs the data)",
        mnist.reproduce,
        plots.mnist_figure,
    ),
}
"""In the order of the paper."""


def write_numbers(reproduction: Reproduction, folder: Path) -> None:
    """Write data.nc and verdict.md into a folder."""
    write_netcdf(folder / "data.nc", reproduction.data)
    write_text(folder / "verdict.md", reproduction.verdict())


def write_reproduction(reproduction: Reproduction, folder: Path) -> None:
    """Write data.nc, verdict.md and NAME.png into a folder."""
    write_numbers(reproduction, folder)
    figure = FIGURES[reproduction.name].draw(reproduction.data)
    plots.save_figure(figure, folder / f"{reproduction.name}.png")


def write_paper(reproductions: Sequence[Reproduction], folder: Path) -> None:
    """Write paper.md, a table of the claims of all figures."""
    write_text(folder / "paper.md", paper_table(reproductions))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
