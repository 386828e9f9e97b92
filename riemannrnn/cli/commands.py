"""The commands: their arguments, options and help.

What a command does is in a module of its own, which is imported when the command runs. So `--help` and invalid arguments need
neither the toolkit nor the libraries that it imports.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from riemannrnn.analysis.defaults import MOST_STIMULI
from riemannrnn.cli.options import with_keys, with_these_keys
from riemannrnn.comparison.defaults import MAX_SECONDS, STABLE_BY
from riemannrnn.data.bundled import DATA_VARIABLE

OUTPUT = Path("runs")
"""Folder in which run folders are made, by default."""

SEEDS = 3
"""Number of seeds of `reproduce mnist`, by default."""

Command = Callable[..., None]


class Precision(StrEnum):
    """The dtypes of the command line."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


class Backend(StrEnum):
    """The backends of the command line."""

    NUMPY = "numpy"
    CUPY = "cupy"


def _runs(module: str) -> Callable[[Command], Command]:
    """Return the decorator of a declared command, which imports a module of this package and calls `<name>_command` there."""

    def decorate(declared: Command) -> Command:
        @wraps(declared)
        def command(**options: Any) -> None:
            getattr(import_module(f"riemannrnn.cli.{module}"), f"{declared.__name__}_command")(**options)

        return command

    return decorate


@with_these_keys("units", "data", "target", "inputs", "index", "missing", "seed")
@_runs("compare")
def compare(
    given: dict[str, dict[str, Any]],
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file, of which the tables network and data are used; see train --list. Options override it."),
    ] = None,
    layers: Annotated[str | None, typer.Option(help="Units of the layers of a stack, lowest first, as in 200,100.")] = None,
    radius: Annotated[float | None, typer.Option(min=0, help="Spectral radius of the initial weights.")] = None,
    activation: Annotated[str | None, typer.Option(help="Activation of the units, by name.")] = None,
    training_size: Annotated[int | None, typer.Option(min=2, help="Most stimuli to learn. Default: 500.")] = None,
    budget: Annotated[int, typer.Option(min=2, help="Cost, gradient and Hessian evaluations for each contender.")] = 40,
    dtype: Annotated[Precision | None, typer.Option(help="Precision of everything.")] = None,
    backend: Annotated[Backend, typer.Option(help="Where the arrays are: in memory, or on a GPU with CuPy.")] = Backend.NUMPY,
    stable: Annotated[float, typer.Option(min=0, max=0.99, help="Stability margin that fixed points must have.")] = STABLE_BY,
    allow_unstable: Annotated[bool, typer.Option("--allow-unstable", help="Do not require stable fixed points.")] = False,
    max_seconds: Annotated[float, typer.Option(min=0.01, help="Most seconds of computation of a contender.")] = MAX_SECONDS,
    inner_iterations: Annotated[int, typer.Option(min=1, help="Most iterations to invert a metric once.")] = 50,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; 0: in this one. Default: one a core.")] = None,
    manifold: Annotated[
        list[str] | None, typer.Option(help="Every optimiser on this manifold, or on 'all'; repeatable. See --list.")
    ] = None,
    contender: Annotated[
        list[str] | None, typer.Option(help="Only contenders whose name contains this; repeatable. See --list.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder in which the run folder is made.")] = OUTPUT,
    list_contenders: Annotated[bool, typer.Option("--list", help="List manifolds and contenders, and exit.")] = False,
) -> None:
    """Compare manifolds, retractions and optimisers on a file, or without one on scikit-learn's handwritten digits."""


@with_keys
@_runs("train")
def train(
    given: dict[str, dict[str, Any]],
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with the tables network, data and train; see --list. Other options override it."),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Run folder to continue from its last checkpoint.")] = None,
    output: Annotated[Path, typer.Option(help="Folder in which the run folder is made.")] = OUTPUT,
    list_keys: Annotated[bool, typer.Option("--list", help="List the keys of the TOML file, and exit.")] = False,
) -> None:
    """Train a network on a file; without options a hundred units, stable by construction, on scikit-learn's digits."""


@_runs("predict")
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run, or a file of a model.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File of stimuli: CSV, Parquet, NumPy, HDF5, NetCDF, zarr or IDX.")
    ],
    output: Annotated[Path, typer.Option(help="CSV file of the predictions.")],
    inputs: Annotated[
        list[str] | None, typer.Option(help="Columns or array of the stimuli, if they have other names than in training.")
    ] = None,
    index: Annotated[str | None, typer.Option(help="Column that numbers or names the rows, and is copied.")] = None,
    rows: Annotated[str | None, typer.Option(help="Dimension of the rows, if it is not the first.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for files that have to be converted.")] = None,
) -> None:
    """Predict labels or targets of the stimuli in a file, as they were given in training, and write them as CSV."""


@_runs("geodesics")
def geodesics(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders of trainings that recorded their path.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="A manifold that riemannrnn compare --list names; repeatable.", show_default="euclidean, and the run's own"
        ),
    ] = None,
    stimuli: Annotated[int, typer.Option(min=1, help="Most training stimuli to evaluate.")] = MOST_STIMULI,
    parameter: Annotated[
        str | None,
        typer.Option(help="Recurrent weights of a stack, such as layers.1.recurrent.", show_default="the lowest layer's"),
    ] = None,
    animation: Annotated[str, typer.Option(help="gif, mp4 (needs ffmpeg) or none.")] = "gif",
    output: Annotated[
        Path | None, typer.Option(help="Folder in which the report's folder is made.", show_default="the first RUN")
    ] = None,
) -> None:
    """Say how far, how straight and how near to the edge training runs went, under one metric or several."""


@_runs("reproduce")
def reproduce(
    name: Annotated[str | None, typer.Argument(help="A figure that --list names, or all.", show_default=False)] = None,
    output: Annotated[Path, typer.Option(help="Folder in which the run folder is made.")] = OUTPUT,
    as_released: Annotated[
        bool,
        typer.Option(
            "--as-released/--corrected",
            help="mnist: 500 Euler steps and updates from test batches, as in the authors' code; or exact fixed points.",
        ),
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="mnist: number of seeds, from 0.")] = SEEDS,
    data: Annotated[
        Path | None, typer.Option(help="mnist: folder of the four IDX files.", show_default=f"${DATA_VARIABLE}")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="mnist: fetch what is missing from OpenML first.")] = False,
    list_figures: Annotated[bool, typer.Option("--list", help="List the figures and exit.")] = False,
) -> None:
    """Reproduce a figure of Zhu & Rosenbaum (2024): the figure, the numbers behind it, and a verdict."""


@_runs("sweep")
def sweep(
    grid: Annotated[Path, typer.Argument(help="TOML file with [base], [grid], [[exclude]], replicates and seed.")],
    output: Annotated[Path, typer.Option(help="Folder of the sweep; created if it does not exist.")],
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; 0: in this one. Default: one a core.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler, instead of --workers.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep in the folder.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Run failed cells again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would run, estimate the time, and exit.")] = False,
) -> None:
    """Train over a grid of options and seeds, in this process, on all cores, or on a cluster."""


@_runs("explore")
def explore(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Run folders that hold a recorded path, or a sweep."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.", show_default="any free port")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a window of the browser.")] = True,
) -> None:
    """Look at metrics, geodesics and runs in the browser, and play with them. Ctrl-C stops it."""


@_runs("data")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV, Parquet, NumPy, HDF5, NetCDF, zarr or IDX file.")],
    target: Annotated[list[str] | None, typer.Option(help="Column or array of the targets; repeatable.")] = None,
    inputs: Annotated[list[str] | None, typer.Option(help="Column or array of the stimuli; repeatable.")] = None,
    index: Annotated[str | None, typer.Option(help="Column that numbers or names the rows.")] = None,
    rows: Annotated[str | None, typer.Option(help="Dimension of the rows, if it is not the first.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for files that have to be converted.")] = None,
) -> None:
    """Say what a file holds, and how it would be used."""
