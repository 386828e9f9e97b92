"""The explorer: metrics, geodesics and runs of learning in the browser. Panel and Bokeh are imported on start."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from manifolds import WeightManifold

if TYPE_CHECKING:
    from riemannrnn.explorer.serving import Explorer

__all__ = ["MissingExtraError", "explore"]

NEEDED = ("panel", "bokeh")
"""Packages of the extra `explore`."""


class MissingExtraError(ImportError):
    """A package that the explorer needs is not installed."""


def explore(
    manifold: WeightManifold | None = None, runs: Sequence[Path | str] = (), *, port: int = 0, browser: bool = True
) -> "Explorer":
    """Start the explorer on this machine, and open it in the browser.

    The server listens only on the loopback address. It reads only the given runs and the data that they name.

    Parameters
    ----------
    manifold
        Your own manifold, which the playground offers as "own": of 2 × 2 matrices, or of n × n matrices for the network with
        n units. Default: only the manifolds of the catalogue.
    runs
        Run folders of trainings that recorded their path, or folders that contain such folders.
    port
        Port to listen on; 0: any free port.
    browser
        Whether to open a window.

    Returns
    -------
    Explorer
        Has `address`, `wait` and `stop`. It runs in its own thread, and ends with the process.

    Raises
    ------
    MissingExtraError
        If Panel or Bokeh is not installed.
    NoRunsError
        For a folder that does not exist, or holds no recorded run.
    ValueError
        For a manifold of matrices that are not square.
    OSError
        If the port is taken.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"the explorer needs {' and '.join(missing)}, and this is not installed; install it with "
            "pip install 'riemannrnn[explore]'"
        )
    from riemannrnn.explorer.serving import serve  # noqa: PLC0415  # Panel takes seconds to import

    return serve(manifold, [Path(run) for run in runs], port, browser)
