"""`riemannrnn explore`."""

from pathlib import Path

import typer

from riemannrnn.cli.common import INTERRUPTED, console, refuse
from riemannrnn.explorer import explore


def explore_command(
    runs: list[Path] | None,
    port: int,
    browser: bool,
) -> None:
    """Start the explorer and wait until it is stopped; the options are declared in `riemannrnn.cli.commands`."""
    try:
        explorer = explore(runs=runs or (), port=port, browser=browser)
    except (ImportError, ValueError, OSError) as error:
        refuse(error)
    try:
        console.print(f"The explorer is at {explorer.address} (Ctrl-C stops it).", soft_wrap=True, highlight=False)
        explorer.wait()
    except KeyboardInterrupt:
        explorer.stop()
        console.print("Stopped.")
        raise typer.Exit(INTERRUPTED) from None
