"""Set-up of a worker process of a sweep on this machine."""

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Ignore Ctrl-C, which a terminal sends to all processes; the client handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
