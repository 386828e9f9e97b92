"""Sweeps: training runs over a grid of options, in this process or on the workers of dask.distributed."""

from riemannrnn.sweep.grid import Cell, Grid
from riemannrnn.sweep.result import SweepResult
from riemannrnn.sweep.runner import Tally, client_of, local_client, sweep

__all__ = ["Cell", "Grid", "SweepResult", "Tally", "client_of", "local_client", "sweep"]
