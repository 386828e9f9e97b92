"""`riemannrnn geodesics`."""

from contextlib import ExitStack
from importlib.metadata import version
from itertools import count
from pathlib import Path

import numpy as np
import typer
import xarray as xr
from rich import box
from rich.markup import escape
from rich.table import Table

from riemannrnn.analysis import DEFAULT_METRICS, METRIC_NAMES, LearningPath, RecordedRun, read_run
from riemannrnn.analysis.end_points import SAME_VALLEY, between_ends
from riemannrnn.analysis.report import gather, numbers, runs_table
from riemannrnn.analysis.verdict import verdict
from riemannrnn.cli.common import INTERRUPTED, UNFINISHED, console, print_written, progress_bar, refuse
from riemannrnn.plots import geodesics_figure, runs_figure, save_animation, save_figure, write_html
from riemannrnn.plots.geodesics import animation_formats
from riemannrnn.run_folder import RunFolderError, create_run_folder, make_folder, write_csv, write_netcdf, write_toml

REPORT = ["data.nc", "geodesics.png", "report.html"]
"""Files of the report of one run."""

CAPTIONS = {
    ".png": "The path of learning: a, on the loss over the plane of its principal components; b, distance from the start over "
    "length; c, deviation from the geodesic between its ends; d, distance from what is singular; e, turning; f, loss along the "
    "way; g, angles between what was done and the rules that are not perpendicular to it.",
    ".gif": "Learning as a moving picture: the path on its plane, and the loss.",
}


def geodesics_command(
    runs: list[Path],
    metric: list[str] | None,
    stimuli: int,
    parameter: str | None,
    animation: str,
    output: Path | None,
) -> None:
    """Write and print the report of training runs; the options are declared in `riemannrnn.cli.commands`."""
    with ExitStack() as opened:
        try:
            if animation not in ("none", *animation_formats()):
                raise ValueError(
                    f"animation {animation!r} cannot be made here; choose one of {', '.join(animation_formats())}, none"
                )
            recorded = [opened.enter_context(read_run(folder, parameter)) for folder in runs]
            paths = [LearningPath.of_run(run, run.cost(stimuli) if run.has_cost else None) for run in recorded]
            _name_apart(paths)
            names = list(dict.fromkeys(metric or _usual_metrics(recorded)))
            metrics = paths[0].metrics(names)
            if len({path.n_units for path in paths}) > 1:
                raise ValueError("the runs are of networks of different sizes; compare runs of one size")
            _refuse_strangers(recorded)
            folder = create_run_folder(output or runs[0], "geodesics")
            settings = {"runs": [str(run) for run in runs], "metrics": names, "stimuli": stimuli, "animation": animation}
            write_toml(folder / "config.toml", {"geodesics": settings, "versions": {"riemannrnn": version("riemannrnn")}})
        except (ValueError, RunFolderError) as error:
            refuse(error)
        try:
            reports = []
            for path in paths:
                where = folder if len(paths) == 1 else folder / path.name
                make_folder(where)
                with progress_bar(path.name) as progress:
                    data = gather(path, metrics, progress)
                _write(data, where, animation)
                reports.append(data)
                write_csv(folder / "summary.csv", runs_table(reports))
                _print(data)  # last: results are written even if printing fails
            if len(paths) > 1:
                with progress_bar("end points") as progress:
                    between = between_ends(paths, metrics, progress)
                notes = between.attrs["notes"], _other_data(recorded, [path.name for path in paths])
                between.attrs["notes"] = "\n".join(filter(None, notes))
                write_netcdf(folder / "between.nc", between)
                save_figure(runs_figure(between), folder / "between.png")
                _print_between(between, float(reports[0]["loss"][0]))
        except KeyboardInterrupt:
            console.print(f"Interrupted: what was finished is kept in {escape(str(folder))}.", soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None
        except RunFolderError as error:
            refuse(error, UNFINISHED)
        except ValueError as error:
            refuse(error)
    print_written(folder, ["summary.csv", *(REPORT if len(runs) == 1 else ["between.nc", "between.png"])])


def _usual_metrics(runs: list[RecordedRun]) -> list[str]:
    """Return the Euclidean metric and the metrics of the runs' manifolds; the default if no run has a manifold.

    Kernels of a convolution are measured only by the Euclidean metric.
    """
    if any(run.of_kernels for run in runs):
        return ["euclidean"]
    own = [run.manifold for run in runs if run.manifold in METRIC_NAMES and run.manifold != "low-rank"]
    return ["euclidean", *map(str, own)] if own else list(DEFAULT_METRICS)


def _refuse_strangers(runs: list[RecordedRun]) -> None:
    """Check that runs have one network: with another read-in, readout or activation the same weights mean something else."""
    one = runs[0].settings["network"]
    for run in runs[1:]:
        other = run.settings["network"]
        for key in sorted({*one, *other} - {"dtype"}):
            if one.get(key) != other.get(key):
                raise ValueError(
                    f"network.{key} is {one.get(key)!r} in {runs[0].folder} and {other.get(key)!r} in {run.folder}: weights of "
                    "different networks cannot be compared; compare runs of one network"
                )


def _other_data(runs: list[RecordedRun], names: list[str]) -> str:
    """Return a note on runs with other training data than the first, which evaluates all ends; or an empty string."""
    data = runs[0].settings["data"]
    others = [name for name, run in zip(names, runs, strict=True) if run.settings["data"] != data]
    return f"All losses are on the training data of {names[0]}; {', '.join(others)} learned from others." if others else ""


def _name_apart(paths: list[LearningPath]) -> None:
    """Append numbers to equal names of runs, because names become folders."""
    names = [path.name for path in paths]
    for path in paths:
        if names.count(path.name) > 1:
            free = next(name for number in count(1) if (name := f"{path.name}-{number}") not in names)
            names.append(free)
            path.name = free


def _write(data: xr.Dataset, folder: Path, animation: str) -> None:
    write_netcdf(folder / "data.nc", data)
    pictures = [folder / "geodesics.png"]
    save_figure(geodesics_figure(data), pictures[0])
    if animation != "none":
        save_animation(data, folder / f"learning.{animation}")
        pictures += [folder / "learning.gif"] if animation == "gif" else []
    told = [(picture, CAPTIONS[picture.suffix]) for picture in pictures]
    title = f"The path of learning: {data.attrs['title']}"
    write_html(folder / "report.html", title, numbers(data), data.attrs["notes"].splitlines(), told, verdict(data))


def _print(data: xr.Dataset) -> None:
    table = Table(title=data.attrs["title"], box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("what", "value", "what it means"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "value")
    for number in numbers(data):
        table.add_row(escape(number.name), escape(number.value), escape(number.meaning))
    console.print(table)
    for sentence in verdict(data):
        console.print(escape(sentence), highlight=False, soft_wrap=True)
    for note in data.attrs["notes"].splitlines():
        console.print(escape(note), highlight=False, soft_wrap=True)


def _print_between(between: xr.Dataset, first_loss: float) -> None:
    table = Table(
        title="Between the ends of the runs",
        caption=f"barrier: how far the loss along the geodesic rises above the line between its ends; one valley: by less than "
        f"{SAME_VALLEY:.0%} of the loss at the start ({first_loss:.2f} nat)",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("from", "to", "metric", "distance", "barrier (nat)", "one valley"):
        table.add_column(heading, overflow="fold")
    names = [str(name) for name in between["run"].values]
    for metric in map(str, between["metric"].values):
        chosen = between.sel(metric=metric)
        for a in range(len(names)):
            for b in range(a + 1, len(names)):
                barrier = float(chosen["barrier"][a, b])
                verdict = "undecided" if np.isnan(barrier) else "yes" if barrier < SAME_VALLEY * first_loss else "no"
                cells = names[a], names[b], metric, f"{float(chosen['distance'][a, b]):.4g}", f"{barrier:.4g}", verdict
                table.add_row(*map(escape, cells))
    console.print(table)
    for metric in map(str, between["metric"].values):
        loss, far = (float(between[name].sel(metric=metric)) for name in ("mean_loss", "mean_distance"))
        console.print(
            f"The mean of the ends under the {metric} metric has loss {loss:.4g} nat, and is {far:.4g} away from them."
        )
    for note in between.attrs["notes"].splitlines():
        console.print(escape(note), highlight=False, soft_wrap=True)
