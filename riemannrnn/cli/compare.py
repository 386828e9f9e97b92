"""`riemannrnn compare`."""

from importlib.metadata import version
from pathlib import Path
from textwrap import shorten, wrap
from typing import Any

import numpy as np
import typer
from rich import box
from rich.markup import escape
from rich.progress import TaskID
from rich.table import Table

from riemannrnn.cli.commands import Backend, Precision
from riemannrnn.cli.common import INTERRUPTED, UNFINISHED, console, print_written, progress_bars, refuse
from riemannrnn.comparison.comparison import Comparison, compare
from riemannrnn.comparison.contenders import Contender, choose_contenders
from riemannrnn.comparison.contest import FAILED, Entry
from riemannrnn.cost.task import Task
from riemannrnn.data import load_digits
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.models import RateNetwork
from riemannrnn.plots import comparison_figure, save_figure
from riemannrnn.run_folder import RunFolderError, create_run_folder, write_csv, write_netcdf, write_toml
from riemannrnn.runtime import cores

WIDE = 100
"""Columns from which the name of a contender fits on a line of the table."""

NARROW = 20
"""Columns that are left for it in a terminal of 80."""


def compare_command(
    *,
    units: int,
    radius: float,
    activation: str,
    training_size: int,
    budget: int,
    seed: int,
    dtype: Precision,
    backend: Backend,
    stable: float,
    allow_unstable: bool,
    max_seconds: float,
    inner_iterations: int,
    workers: int | None,
    manifold: list[str] | None,
    contender: list[str] | None,
    output: Path,
    list_contenders: bool,
) -> None:
    """Compare contenders, print the table and write the results; the options are declared in `riemannrnn.cli.commands`."""
    manifolds = [name for each in manifold or [] for name in (CATALOGUE if each == "all" else [each])]
    try:
        chosen = choose_contenders(contender or [], manifolds)
        if list_contenders:
            return _print_list(chosen)
        task = digits_task(units, radius, activation, training_size, seed, dtype, backend)
        folder = create_run_folder(output, "compare")
    except (ValueError, RunFolderError) as error:
        refuse(error)
    title = f"{training_size} digits, {units} {activation} units, radius {radius:g}, seed {seed}"
    settings = {
        "units": units, "radius": radius, "activation": activation, "training_size": training_size, "budget": budget,
        "seed": seed, "dtype": dtype.value, "backend": backend.value,
        "stable": "none" if allow_unstable else stable, "max_seconds": max_seconds,
        "inner_iterations": inner_iterations, "contenders": [each.name for each in chosen],
    }  # fmt: skip
    try:
        write_toml(folder / "config.toml", {"compare": settings, "versions": {"riemannrnn": version("riemannrnn")}})
    except RunFolderError as error:
        refuse(error)
    limits: dict[str, Any] = {"max_seconds": max_seconds, "inner_iterations": inner_iterations}
    limits["workers"] = (cores() if backend is Backend.NUMPY else 0) if workers is None else workers
    comparison = _with_progress(task, chosen, budget, stable=None if allow_unstable else stable, **limits)
    try:
        written: list[str] | RunFolderError | KeyboardInterrupt = write_comparison(comparison, folder, title)
    except (RunFolderError, KeyboardInterrupt) as error:
        written = error
    console.print(table(comparison))  # whether they could be written or not, and they whether this can be printed or not
    _print_reasons(comparison)
    if isinstance(written, RunFolderError):
        refuse(written, UNFINISHED)
    if isinstance(written, KeyboardInterrupt):
        console.print(f"Interrupted while results were written to {escape(str(folder))}.", soft_wrap=True)
        raise typer.Exit(INTERRUPTED)
    print_written(folder, written)
    if comparison.interrupted:
        console.print(f"Interrupted: {len(comparison.entries)} of {len(chosen)} contenders had finished and are kept.")
        raise typer.Exit(INTERRUPTED)
    if comparison.entries and not any(entry.history for entry in comparison.entries):
        raise typer.Exit(UNFINISHED)


def _print_list(contenders: tuple[Contender, ...]) -> None:
    """Say in a line each what the manifolds are and when to use them, and name the contenders."""
    manifolds = Table(title="manifolds, for --manifold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_header=False)
    manifolds.add_column(no_wrap=True)
    manifolds.add_column()
    for geometry in CATALOGUE.values():
        manifolds.add_row(geometry.name, escape(geometry.use.replace("`", "")))
    console.print(manifolds)
    console.print("contenders, for --contender", style="italic")
    for each in contenders:
        console.print(each.name)


def digits_task(
    units: int, radius: float, activation: str, training_size: int, seed: int, dtype: str, backend: str = "numpy"
) -> Task:
    """Return the task of the command line: digits split into training, 297 for validation, 200 to 500 for test."""
    digits = load_digits(np.dtype(dtype)).to(backend)
    training, validation, test = digits.split(training_size, 297, min(500, 1500 - training_size), seed=seed)
    network = RateNetwork(units, digits.stimuli.shape[1], digits.n_classes, activation, seed, np.dtype(dtype), backend)
    return Task(network, network.initial_weights(radius), training, validation, test)


def write_comparison(comparison: Comparison, folder: Path, title: str) -> list[str]:
    """Write history.nc, summary.csv and comparison.png into the run folder; nothing where no contender finished.

    Returns
    -------
    list of str
        The names of the files.
    """
    if not comparison.entries:
        return []
    write_netcdf(folder / "history.nc", comparison.to_dataset())
    write_csv(folder / "summary.csv", [entry.as_row() for entry in comparison.entries])
    save_figure(comparison_figure(comparison, title), folder / "comparison.png")
    return ["history.nc", "summary.csv", "comparison.png"]


def table(comparison: Comparison) -> Table:
    """Return the table of a comparison, best first; contenders that took no step are not in it."""
    result = Table(
        title=f"{comparison.budget} evaluations for each contender",
        caption="test: accuracy in %; J+∇J+H: evaluations of cost, gradient and Hessian; iter: fixed-point iterations; "
        "abscissa: the worst over all stimuli, stable below 0; lost: no stable fixed point found",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    result.add_column("contender", overflow="fold")
    for heading in ("rate", "loss", "test", "J+∇J+H", "iter", "s", "abscissa", "lost"):
        result.add_column(heading, justify="right", no_wrap=True)
    for entry in (each for each in comparison.ranking if each.weights is not None):
        result.add_row(*_cells(entry))
    return result


def _cells(entry: Entry) -> list[str]:
    name = entry.contender.name
    return [
        name if console.width >= WIDE else _broken(name),
        f"{entry.learning_rate:g}" if np.isfinite(entry.learning_rate) else "",
        _number(entry.training_loss, ".3f"),
        _number(100 * entry.test_accuracy, ".1f"),
        f"{entry.cost_evaluations}+{entry.gradient_evaluations}+{entry.hessian_evaluations}",
        str(entry.iterations),
        _number(entry.seconds, ".1f"),
        _number(entry.worst_abscissa, "+.2f"),
        _number(entry.without_stable_fixed_point, ".0f"),
    ]


def _broken(name: str) -> str:
    """Return a name in lines that fit the first column of a narrow table, broken before slashes only."""
    lines = wrap(name.replace("/", " /"), NARROW, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(" /", "/")


def _number(value: float, form: str) -> str:
    return "–" if np.isnan(value) else f"{value:{form}}"


def _print_reasons(comparison: Comparison) -> None:
    """Say how many runs used their budget, why others stopped before, what failed, a line each, and then the verdict."""
    budget_used = f"Used its {comparison.budget} evaluations."
    full = sum(entry.stopped == budget_used for entry in comparison.entries)
    console.print(f"{full} of {len(comparison.entries)} contenders used all {comparison.budget} evaluations.", highlight=False)
    early = [entry for entry in comparison.entries if not entry.failed and entry.stopped != budget_used]
    if early:
        console.print("[bold]Stopped before[/bold]", highlight=False)
    for entry in early:
        console.print(escape(f"{entry.contender.name}: {entry.stopped}"), highlight=False)
    failures = [entry for entry in comparison.entries if entry.failed]
    if failures:
        console.print("[bold]Failures[/bold]", highlight=False)
    for entry in failures:
        line = f"{entry.contender.name}: {entry.stopped.removeprefix(FAILED)}"
        console.print(escape(shorten(line, console.width, placeholder=" …")), highlight=False)
    if comparison.stable is not None and comparison.entries:
        console.print(
            f"Fixed points had to be stable by {comparison.stable:g}; asking for it took {comparison.stability_seconds:.1f} s.",
            highlight=False,
        )
    if comparison.entries:
        console.print(escape(comparison.recommendation), highlight=False)


def _with_progress(task: Task, contenders: tuple[Contender, ...], budget: int, **options: Any) -> Comparison:
    with progress_bars() as progress:
        overall = progress.add_task("all contenders", total=len(contenders))
        bars: dict[Contender, TaskID] = {}
        ended: set[Contender] = set()

        def show(contender: Contender, share: float) -> None:
            if contender not in bars:
                bars[contender] = progress.add_task(contender.name, total=1.0)
            progress.update(bars[contender], completed=share, visible=share < 1)
            ended.update({contender} if share == 1 else ())
            progress.update(overall, completed=len(ended))

        return compare(task, contenders, budget, progress=show, **options)
