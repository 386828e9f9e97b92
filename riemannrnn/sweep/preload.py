"""What a worker process of a sweep on this machine does when it starts."""

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the client."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
