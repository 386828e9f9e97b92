"""`riemannrnn reproduce`."""

import os
from functools import partial
from importlib.metadata import version
from pathlib import Path

import typer
from rich.markup import escape
from rich.progress import Progress

from riemannrnn.cli.commands import SEEDS
from riemannrnn.cli.common import INTERRUPTED, UNFINISHED, console, print_written, progress_bars, refuse
from riemannrnn.data import DATA_VARIABLE, Dataset, DatasetError, fetch_mnist, load_mnist
from riemannrnn.paper import FIGURES, Reproduction, Settings, write_numbers, write_paper, write_reproduction
from riemannrnn.run_folder import RunFolderError, create_run_folder, make_folder, write_toml
from riemannrnn.runtime import one_blas_thread

COLOURS = {"holds": "green", "does not hold": "red", "undecided": "yellow"}
"""Colours of the verdicts."""


def reproduce_command(
    name: str | None,
    output: Path,
    as_released: bool,
    seeds: int,
    data: Path | None,
    download: bool,
    list_figures: bool,
) -> None:
    """Reproduce figures of the paper; the options are declared in `riemannrnn.cli.commands`."""
    if list_figures:
        for each, figure in FIGURES.items():
            console.print(f"[bold]{each:12}[/bold]{figure.summary}", highlight=False)
        console.print(f"[bold]{'all':12}[/bold]all of them, and paper.md: a line for every claim", highlight=False)
        return
    try:
        names = _names(name)
        if "mnist" not in names and (as_released or data or download or seeds != SEEDS):
            raise ValueError(f"{name} takes no --as-released, --seeds, --data or --download; they are options of mnist and all")
        mnist = _load(data, download) if "mnist" in names else None
        folder = create_run_folder(output, f"reproduce-{name}")
        settings = {"figures": names, "as_released": as_released, "seeds": seeds}
        write_toml(folder / "config.toml", {"reproduce": settings, "versions": {"riemannrnn": version("riemannrnn")}})
    except (ValueError, RunFolderError) as error:
        refuse(error)
    try:
        finished = _reproduce(names, folder, mnist, Settings(as_released, tuple(range(seeds))))
    except RunFolderError as error:
        refuse(error, UNFINISHED)
    print_written(folder)
    if len(finished) < len(names) or finished[-1].interrupted:
        console.print("Interrupted: what was finished is kept.")
        raise typer.Exit(INTERRUPTED)


def _names(name: str | None) -> list[str]:
    if name == "all":
        return list(FIGURES)
    if name is None or name not in FIGURES:
        what = "no figure is named" if name is None else f"figure {name!r} is unknown"
        raise ValueError(f"{what}; choose one of {', '.join(FIGURES)}, or all")
    return [name]


def _load(folder: Path | None, download: bool) -> tuple[Dataset, Dataset]:
    """Return MNIST, or raise an error before anything is computed."""
    named = os.environ.get(DATA_VARIABLE)
    chosen = folder or (Path(named) if named else None)
    try:
        if download and chosen is not None:
            console.print(f"Looking for MNIST in {escape(str(chosen))}, and at OpenML for what is missing.", soft_wrap=True)
            fetch_mnist(chosen)
        return load_mnist(chosen)
    except DatasetError as error:
        raise DatasetError(f"{error}. With --data FOLDER --download it is fetched from OpenML") from error


def _reproduce(names: list[str], folder: Path, mnist: tuple[Dataset, Dataset] | None, settings: Settings) -> list[Reproduction]:
    """Compute and write the figures one by one; after Ctrl-C return the finished ones."""
    finished: list[Reproduction] = []
    with progress_bars() as progress, one_blas_thread():  # several BLAS threads would mostly wait for each other
        for name in names:
            where = folder if len(names) == 1 else folder / name
            make_folder(where)
            try:
                finished.append(_reproduce_one(name, where, mnist, settings, progress))
            except KeyboardInterrupt:
                break
            _print_verdict(finished[-1], progress)
            if len(names) > 1:
                write_paper(finished, folder)
            if finished[-1].interrupted:
                break
    return finished


def _reproduce_one(
    name: str, folder: Path, mnist: tuple[Dataset, Dataset] | None, settings: Settings, progress: Progress
) -> Reproduction:
    bar = progress.add_task(name, total=1.0)
    compute = FIGURES[name].reproduce
    if name == "mnist" and mnist is not None:
        compute = partial(compute, *mnist, settings, keep=partial(write_numbers, folder=folder))
    reproduction = compute(progress=lambda share: progress.update(bar, completed=share))
    write_reproduction(reproduction, folder)
    progress.update(bar, completed=1.0)
    return reproduction


def _print_verdict(reproduction: Reproduction, progress: Progress) -> None:
    for claim in reproduction.claims:
        colour = COLOURS[claim.verdict]
        progress.console.print(
            f"[{colour}]{claim.verdict:13}[/{colour}] {escape(claim.paper)}: {escape(claim.measured)}",
            soft_wrap=True,
            highlight=False,
        )
