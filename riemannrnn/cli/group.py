"""The frame of every command: output streams that may break, and errors that become sentences."""

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
    """The commands; their results do not depend on whether their output can be written.

    If the standard output is full, a command continues without it, and ends with an error and status 1. If it is closed, as in
    `riemannrnn train | head -1`, the command continues and ends as usual, because the reader needs no more. A lack of memory,
    or a run folder that cannot be written, ends with a sentence and status 1.
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
    """A file that accepts and drops all data after its first error."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write bytes; return how many were accepted."""
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
        return len(data)


class _Stream(TextIOWrapper):
    """A text stream that replaces another with the same descriptor, and raises no error."""

    def __init__(self, stream: TextIOWrapper) -> None:
        self.output = _Output(stream.fileno(), "w", closefd=False)
        super().__init__(BufferedWriter(self.output), stream.encoding, "replace", line_buffering=stream.line_buffering)


@contextmanager
def _forgiving_streams() -> Iterator[Callable[[], OSError | None]]:
    """Replace standard output and error by streams that raise no error; yield a function for the first error of the output.

    Terminals are not replaced. Characters that a stream cannot encode are written as "?".
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
    except UnsupportedOperation:  # the stream has no descriptor, as in a test
        return stream
