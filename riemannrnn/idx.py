"""Gzip-compressed IDX files of unsigned bytes, the format of MNIST: checked before anything is allocated."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA_VARIABLE = "RIEMANNRNN_DATA"
_UNSIGNED_BYTE = 0x08
_MOST_DIMENSIONS = 8
_LARGEST_BODY = 2**30  # bytes; MNIST's largest file holds 47 million
_DEFLATE_RATIO = 1032  # no byte of a deflate stream stands for more than this many
_BLOCK = 2**20  # bytes read at a time
WHERE = (
    "put the four MNIST files (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
    "t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz) in one folder and name it with "
    f"the environment variable {DATA_VARIABLE}, with --data, or in a configuration with data.folder; where there is a network, "
    "riemannrnn.datasets.fetch_mnist(folder) downloads them"
)


class DatasetError(ValueError):
    """A data set is missing, damaged or not what it should be; says which, why, and the remedy."""


def read_idx(path: Path | str, shape: Sequence[int | None] | None = None) -> NDArray[np.uint8]:
    """Read a gzip-compressed IDX file of unsigned bytes.

    Parameters
    ----------
    path : Path or str
        The file.
    shape : sequence of int or None, optional
        What the header must announce, with None for a size that may be any, such as
        ``(None, 28, 28)`` for images and ``(None,)`` for labels. Anything goes by default.

    Returns
    -------
    ndarray of uint8
        In the shape that the header announces.

    Raises
    ------
    DatasetError
        If the file is missing, not gzip, damaged, truncated or too long, or its header is
        not that of an IDX file of unsigned bytes with the expected shape.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path} cannot be read, since there is no such file: {WHERE}")
    try:
        with gzip.open(path) as file:
            sizes = _read_header(path, file, shape)
            expected = math.prod(sizes)
            body = _read_at_most(file, expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{path} cannot be decompressed ({error}), since it is not a gzip file or is damaged: copy or download it again"
        ) from error
    if len(body) != expected:
        held = "more" if len(body) > expected else f"only {len(body)}"
        raise DatasetError(
            f"{path} announces {sizes}, {expected} bytes, but holds {held}, since it is "
            f"{'truncated' if len(body) < expected else 'followed by something else'}: "
            "copy or download it again"
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(sizes)


def _read_header(path: Path, file: gzip.GzipFile, shape: Sequence[int | None] | None) -> tuple[int, ...]:
    """Return the sizes that an IDX header announces, once they are known to be plausible."""
    magic = _read_at_most(file, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DatasetError(
            f"{path} begins with 0x{magic.hex()}, since it is not an IDX file (two zero bytes, a "
            "type code and a number of dimensions): check that it is the file its name says"
        )
    code, n_dimensions = magic[2], magic[3]
    if code != _UNSIGNED_BYTE:
        raise DatasetError(
            f"{path} has type code 0x{code:02x}, since only unsigned bytes (0x{_UNSIGNED_BYTE:02x}) are supported: convert it"
        )
    if not 1 <= n_dimensions <= _MOST_DIMENSIONS:
        raise DatasetError(
            f"{path} announces {n_dimensions} dimensions, since an IDX file here has 1 to "
            f"{_MOST_DIMENSIONS}: copy or download it again"
        )
    header = _read_at_most(file, 4 * n_dimensions)
    if len(header) < 4 * n_dimensions:
        raise DatasetError(
            f"{path} ends after {len(header)} of the {4 * n_dimensions} bytes that give its "
            "sizes, since it is truncated: copy or download it again"
        )
    sizes = tuple(int(size) for size in np.frombuffer(header, dtype=">u4"))
    if shape is not None and (
        len(shape) != len(sizes) or any(want not in (None, size) for want, size in zip(shape, sizes, strict=True))
    ):
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise DatasetError(
            f"{path} announces sizes {sizes}, since ({wanted}) was expected here and this is "
            "another kind of file: check that images and labels are not exchanged"
        )
    most = min(_LARGEST_BODY, _DEFLATE_RATIO * path.stat().st_size)
    if not 0 < math.prod(sizes) <= most:
        raise DatasetError(
            f"{path} announces sizes {sizes}, {math.prod(sizes)} bytes, since its header is "
            f"wrong (a file of this size can hold 1 to {most}): copy or download it again"
        )
    return sizes


def _read_at_most(file: gzip.GzipFile, size: int) -> bytearray:
    """Return the next `size` bytes, or all there are, holding no memory for what is not there."""
    content = bytearray()
    while block := file.read(min(_BLOCK, size - len(content))):
        content += block
    return content


def write_idx(path: Path, values: NDArray[Any]) -> None:
    """Write whole numbers from 0 to 255 as a gzip IDX file, unless there is one already."""
    if path.exists():
        return
    content = values.astype(np.uint8)
    if not np.array_equal(content, values):
        raise DatasetError(
            f"{path} cannot be written, since its values ({values.min()} to {values.max()}) are "
            "not whole numbers from 0 to 255: download them again"
        )
    header = bytes([0, 0, _UNSIGNED_BYTE, values.ndim])
    header += np.array(values.shape, dtype=">u4").tobytes()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # no name and no time in the header: the same digits give the same file
        temporary.write_bytes(gzip.compress(header + content.tobytes(), mtime=0))
        temporary.replace(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be written ({error.strerror}): free space, or name another folder") from error
    finally:
        temporary.unlink(missing_ok=True)
