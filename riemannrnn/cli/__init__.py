"""The command line, `riemannrnn`: its commands are declared in `commands`, and each runs in a module of its own."""

from importlib.metadata import version
from typing import Annotated

import typer

from riemannrnn.cli import commands
from riemannrnn.cli.common import console
from riemannrnn.cli.group import Commands

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=True)
data_app = typer.Typer(no_args_is_help=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print(version("riemannrnn"))
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train the fixed points of recurrent networks as Riemannian optimisation."""


@data_app.callback()
def look_at_data() -> None:
    """Look at data before they are used."""


def _register(group: typer.Typer, command: commands.Command, example: str) -> None:
    group.command(command.__name__, epilog=f"Example: riemannrnn {example}")(command)


_register(app, commands.compare, "compare --contender resolvent --budget 100 --seed 3")
_register(app, commands.reproduce, "reproduce linear --output runs")
_register(app, commands.train, "train --output runs")
_register(app, commands.predict, "predict runs/train-1 stimuli.csv --output predictions.csv")
_register(app, commands.geodesics, "geodesics runs/train-1 runs/train-2 --metric resolvent")
_register(data_app, commands.check, "data check measurements.csv --target species")
app.add_typer(data_app, name="data")
_register(app, commands.sweep, "sweep grid.toml --output sweep --workers 2")
_register(app, commands.explore, "explore runs/train-1")
