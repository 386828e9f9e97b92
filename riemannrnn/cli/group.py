"""What surrounds every command: streams that may break, and the last errors that end in a sentence."""

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper, UnsupportedOperation
from typing import Any, TextIO

from typer.core import TyperGroup

from riemannrnn.cli.common import UNFINISHED, complain
from riemannrnn.run_folder import RunFolderError


class Commands(TyperGroup):
    """The commands, whose results do not depend on whether their output can be written.

    Where the standard output is full a command goes on without it, and ends in an error and status 1. Where it is closed, as in
    `riemannrnn train | head -1`, the command goes on and ends as usual: the reader wanted no more. A lack of memory, and what
    cannot be written into a run folder, ends in a sentence and status 1.
    """

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command that the arguments name, and exit."""
        with _forgiving_streams() as lost:
            try:
                return super().main(*arguments, **options)
            except RunFolderError as error:
                complain("Error", str(error))
                sys.exit(UNFINISHED)
            except MemoryError as error:
                reason = f": {error}" if str(error) else ""
                complain("Error", f"there is not enough memory{reason}; choose fewer units or fewer stimuli")
                sys.exit(UNFINISHED)
            except SystemExit as end:
                failed = lost()
                if failed is None or failed.errno == errno.EPIPE:
                    raise
                complain(
                    "Error",
                    f"cannot write to the standard output: {failed.strerror}; what the command printed is lost and its "
                    "files are not: free space, or send the output elsewhere",
                )
                sys.exit(end.code or UNFINISHED)


class _Output(FileIO):
    """A file that takes all that is written after its first error, and drops it."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write bytes; return how many were taken."""
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
        return len(data)


class _Stream(TextIOWrapper):
    """A text stream in place of another of the same descriptor, which raises no error."""

    def __init__(self, stream: TextIOWrapper) -> None:
        self.output = _Output(stream.fileno(), "w", closefd=False)
        super().__init__(BufferedWriter(self.output), stream.encoding, "replace", line_buffering=stream.line_buffering)


@contextmanager
def _forgiving_streams() -> Iterator[Callable[[], OSError | None]]:
    """Replace the standard output and error by streams that raise no error; yield what tells the first error of the output.

    Terminals stay as they are. Characters that a stream cannot encode are written as "?".
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = output, errors = _forgiving(sys.stdout), _forgiving(sys.stderr)

    def lost() -> OSError | None:
        if not isinstance(output, _Stream):
            return None
        output.flush()
        return output.output.error

    try:
        yield lost
    finally:
        for stream in (output, errors):
            if isinstance(stream, _Stream):
                stream.flush()
        sys.stdout, sys.stderr = before


def _forgiving(stream: TextIO) -> TextIO:
    if not isinstance(stream, TextIOWrapper):  # a process may have none
        return stream
    stream.reconfigure(errors="replace")
    try:
        return stream if stream.isatty() else _Stream(stream)
    except UnsupportedOperation:  # it has no descriptor, as in a test
        return stream
