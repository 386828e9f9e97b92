"""IDX files of unsigned bytes, the format of MNIST; they are checked before memory is allocated."""

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from riemannrnn.data.errors import DatasetError
from riemannrnn.run_folder import write_atomically

_MAGIC = b"\0\0\x08"
"""The first bytes of a file of unsigned bytes. The number of dimensions follows, then the sizes."""

_DEFLATE_RATIO = 1032
"""Most bytes that one byte of a deflate stream represents."""


def read_idx(path: Path | str, shape: Sequence[int | None] | None = None) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, compressed by gzip if its name ends in ``.gz``.

    Parameters
    ----------
    path : Path or str
        The file.
    shape : sequence of int or None, optional
        The sizes in the header, with None for any size, such as ``(None, 28, 28)`` for images and ``(None,)`` for labels.
        Default: any sizes.

    Returns
    -------
    ndarray of uint8
        In the shape in the header.

    Raises
    ------
    DatasetError
        If the file is missing, damaged, truncated or too long, or its header is not the header of an IDX file of unsigned
        bytes with the expected shape.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path} cannot be read: the file does not exist; check its name and its folder")
    try:
        opened: Any = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rb") as file:
            sizes = _read_sizes(path, file, shape)
            body = file.read(math.prod(sizes) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"cannot be decompressed or read ({error}): it is not a gzip file or is damaged") from error
    if len(body) != math.prod(sizes):
        held = f"only {len(body)}" if len(body) < math.prod(sizes) else "more"
        raise _damaged(path, f"has sizes {sizes}, {math.prod(sizes)} bytes, but holds {held}: it is truncated or too long")
    return np.frombuffer(body, dtype=np.uint8).reshape(sizes)


def _read_sizes(path: Path, file: BinaryIO, shape: Sequence[int | None] | None) -> tuple[int, ...]:
    """Return the sizes in an IDX header, after a check that they are plausible."""
    magic = file.read(4)
    if magic[:3] != _MAGIC or len(magic) < 4 or not 1 <= magic[3] <= 8:
        raise _damaged(path, f"begins with 0x{magic.hex()}, but an IDX file of unsigned bytes begins with 0x00000801 to 08")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise _damaged(path, f"ends after {len(header)} of the {4 * magic[3]} bytes of its sizes: it is truncated")
    sizes = tuple(int(size) for size in np.frombuffer(header, dtype=">u4"))
    wanted = sizes if shape is None else tuple(shape)
    if len(wanted) != len(sizes) or any(want not in (None, size) for want, size in zip(wanted, sizes)):
        expected = ", ".join("any" if want is None else str(want) for want in wanted)
        raise DatasetError(
            f"{path} has sizes {sizes}, but ({expected}) was expected; check that images and labels are not exchanged"
        )
    most = _DEFLATE_RATIO * path.stat().st_size
    if not 0 < math.prod(sizes) <= most:
        raise _damaged(path, f"has sizes {sizes}, {math.prod(sizes)} bytes, but a file of its length holds 1 to {most}")
    return sizes


def _damaged(path: Path, reason: str) -> DatasetError:
    return DatasetError(f"{path} {reason}; copy or download it again")


def write_idx(path: Path, values: NDArray[Any]) -> None:
    """Write whole numbers from 0 to 255 as a gzip IDX file, unless it already exists.

    Raises
    ------
    DatasetError
        For other numbers.
    RunFolderError
        If the file cannot be written.
    """
    if path.exists():
        return
    content = values.astype(np.uint8)
    if not np.array_equal(content, values):
        raise DatasetError(
            f"{path} cannot be written: its values, {values.min()} to {values.max()}, are not whole numbers from 0 to 255; "
            "download them again"
        )
    header = _MAGIC + bytes([values.ndim]) + np.array(values.shape, dtype=">u4").tobytes()
    # The header of gzip has no name and no time: equal digits give equal files.
    write_atomically(path, lambda temporary: temporary.write_bytes(gzip.compress(header + content.tobytes(), mtime=0)))
