"""`riemannrnn compare`."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

import typer
from rich import box
from rich.markup import escape
from rich.progress import TaskID
from rich.table import Table

from riemannrnn.cli.commands import Backend, Precision
from riemannrnn.cli.common import INTERRUPTED, UNFINISHED, console, print_written, progress_bars, refuse
from riemannrnn.cli.compared import compared
from riemannrnn.cli.comparison_table import table
from riemannrnn.cli.config import Config, read_config
from riemannrnn.comparison.comparison import Comparison, compare
from riemannrnn.comparison.contenders import Contender, choose_contenders, suiting
from riemannrnn.comparison.entry import FAILED
from riemannrnn.cost.task import Task
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.plots import comparison_figure, save_figure
from riemannrnn.run_folder import RunFolderError, create_run_folder, write_csv, write_netcdf, write_toml
from riemannrnn.runtime import cores
from riemannrnn.settings import SettingError


def compare_command(
    given: dict[str, dict[str, Any]],
    *,
    config: Path | None,
    layers: str | None,
    radius: float | None,
    activation: str | None,
    training_size: int | None,
    budget: int,
    dtype: Precision | None,
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
        own = {"radius": radius, "activation": activation, "dtype": dtype.value if dtype else None, "layers": _layers(layers)}
        given["network"].update({name: value for name, value in own.items() if value is not None})
        begun = compared(read_config(config, given), training_size, backend.value)
        chosen, left_out = suiting(chosen, begun.task.network)
        folder = create_run_folder(output, "compare")
        settings = {
            "training_size": training_size, "budget": budget, "backend": backend.value,
            "stable": "none" if allow_unstable else stable, "max_seconds": max_seconds,
            "inner_iterations": inner_iterations, "contenders": [each.name for each in chosen],
        }  # fmt: skip
        _write_settings(folder / "config.toml", begun.config, settings)
    except (ValueError, RunFolderError) as error:
        refuse(error)
    for sentence in (begun.chosen, left_out):
        if sentence:
            console.print(escape(sentence), highlight=False)
    limits: dict[str, Any] = {"max_seconds": max_seconds, "inner_iterations": inner_iterations}
    limits["workers"] = (cores() if backend is Backend.NUMPY else 0) if workers is None else workers
    comparison = _with_progress(begun.task, chosen, budget, stable=None if allow_unstable else stable, **limits)
    try:
        written: list[str] | RunFolderError | KeyboardInterrupt = write_comparison(comparison, folder, begun.title)
    except (RunFolderError, KeyboardInterrupt) as error:
        written = error
    console.print(table(comparison))  # printing and writing do not depend on each other
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


def _layers(text: str | None) -> list[dict[str, int]] | None:
    """Return the tables [[network.layers]] of numbers of units with commas between them."""
    if text is None:
        return None
    try:
        return [{"units": int(each)} for each in text.split(",")]
    except ValueError:
        raise SettingError(f"--layers = {text!r} is not a list of numbers of units; write for instance 200,100") from None


def _write_settings(path: Path, config: Config, settings: dict[str, Any]) -> None:
    tables = {name: asdict(getattr(config, name)) for name in ("network", "data")}
    write_toml(path, tables | {"compare": settings, "versions": {"riemannrnn": version("riemannrnn")}})


def _print_list(contenders: tuple[Contender, ...]) -> None:
    """Print a line for each manifold, with its use, and the names of the contenders."""
    manifolds = Table(title="manifolds, for --manifold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_header=False)
    manifolds.add_column(no_wrap=True)
    manifolds.add_column()
    for geometry in CATALOGUE.values():
        manifolds.add_row(geometry.name, escape(geometry.use.replace("`", "")))
    console.print(manifolds)
    console.print("contenders, for --contender", style="italic")
    for each in contenders:
        console.print(each.name)


def write_comparison(comparison: Comparison, folder: Path, title: str) -> list[str]:
    """Write history.nc, summary.csv and comparison.png into the run folder; write nothing if no contender finished.

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


def _print_reasons(comparison: Comparison) -> None:
    """Print how many runs used their budget, why others stopped early, what failed, and then the verdict."""
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
            f"Fixed points had to be stable by {comparison.stable:g}; checking this took {comparison.stability_seconds:.1f} s.",
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
