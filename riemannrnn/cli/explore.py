"""`riemannrnn explore`."""

from pathlib import Path
from typing import Annotated

import typer

from riemannrnn.cli.common import INTERRUPTED, console, refuse
from riemannrnn.explorer import explore


def explore_command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Run folders that hold a recorded path, or a sweep."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.", show_default="any free port")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a window of the browser.")] = True,
) -> None:
    """Look at metrics, geodesics and runs in the browser, and play with them. Ctrl-C stops it."""
    try:
        explorer = explore(runs=runs or (), port=port, browser=browser)
    except (ImportError, ValueError, OSError) as error:
        refuse(error)
    console.print(f"The explorer is at {explorer.address} (Ctrl-C stops it).", soft_wrap=True, highlight=False)
    try:
        explorer.wait()
    except KeyboardInterrupt:
        explorer.stop()
        console.print("Stopped.")
        raise typer.Exit(INTERRUPTED) from None
