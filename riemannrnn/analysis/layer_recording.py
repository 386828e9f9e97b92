"""Recording the recurrent weights of every layer of a stack, each in a separate file."""

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from riemannrnn.analysis.recording import PATH_FILE, PathRecorder
from riemannrnn.models.rate_network import RECURRENT
from riemannrnn.training.history import Recorder


def path_file(parameter: str | None) -> str:
    """Return the name of the file in a run folder with the path of a parameter: `path.h5` for W of the lowest layer."""
    return PATH_FILE if parameter in (None, RECURRENT) else f"path.{parameter}.h5"


@final
class LayersRecorder(Recorder):
    """Writes the recurrent weights of each layer during learning, as `PathRecorder` does, each to a separate file.

    Parameters
    ----------
    folder, run, resume
        As for `PathRecorder`.
    parameters
        The names of the recurrent weights.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any], parameters: Sequence[str], *, resume: bool = False) -> None:
        self._recorders = {
            name: PathRecorder(folder, {**run, "parameter": name}, file=path_file(name), resume=resume) for name in parameters
        }

    def record(self, step: int, weights: Mapping[str, Any], loss: float = nan) -> None:
        """Record the recurrent weights after this number of steps, given all parameters by name."""
        for name, recorder in self._recorders.items():
            recorder.record(step, weights[name], loss)

    def state(self) -> dict[str, Any]:
        """Return the states of the recorders by name."""
        return {name: recorder.state() for name, recorder in self._recorders.items()}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Continue from a state that `state` returned."""
        for name, recorder in self._recorders.items():
            recorder.restore(None if state is None else state[name])

    def close(self) -> None:
        """Write the last points, and close the files."""
        for recorder in self._recorders.values():
            recorder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
