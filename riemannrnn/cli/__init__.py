"""The command line, `riemannrnn`: one module for each command."""

from importlib.metadata import version
from typing import Annotated

import typer

from riemannrnn.cli.common import console
from riemannrnn.cli.compare import compare_command
from riemannrnn.cli.data import app as data_app
from riemannrnn.cli.explore import explore_command
from riemannrnn.cli.geodesics import geodesics_command
from riemannrnn.cli.group import Commands
from riemannrnn.cli.predict import predict_command
from riemannrnn.cli.reproduce import reproduce_command
from riemannrnn.cli.sweep import sweep_command
from riemannrnn.cli.train import train_command

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=True)


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


app.command("compare", epilog="Example: riemannrnn compare --contender resolvent --budget 100 --seed 3")(compare_command)
app.command("reproduce", epilog="Example: riemannrnn reproduce linear --output runs")(reproduce_command)
app.command("train", epilog="Example: riemannrnn train --output runs")(train_command)
app.command("predict", epilog="Example: riemannrnn predict runs/train-1 stimuli.csv --output predictions.csv")(predict_command)
app.command("geodesics", epilog="Example: riemannrnn geodesics runs/train-1 runs/train-2 --metric resolvent")(geodesics_command)
app.add_typer(data_app, name="data")
app.command("sweep", epilog="Example: riemannrnn sweep grid.toml --output sweep --workers 2")(sweep_command)
app.command("explore", epilog="Example: riemannrnn explore runs/train-1")(explore_command)
