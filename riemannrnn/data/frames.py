"""Tables: columns of numbers and texts become one array, in which a text is the index of its class."""

import csv
import gzip
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from riemannrnn.data.errors import DatasetError, require
from riemannrnn.data.source import Column

Frame: TypeAlias = dict[str, np.ndarray]
"""Some rows of a table: columns by name. A column of text has dtype object, and None where it is missing."""

Frames: TypeAlias = Callable[[Path, set[str]], Iterator[Frame]]
"""Reads a table from a file in parts; the given columns are always read as text."""

MOST_CLASSES = 10_000
"""Most different texts in a column of classes. A column with more holds names or remarks."""

_CELLS = 2**20
"""Number of table cells that are read at a time."""


def scan(frames: Callable[[set[str]], Iterable[Frame]]) -> tuple[int, tuple[Column, ...]]:
    """Return the number of rows and the columns of a table.

    A column is text if any part of it is. The table is then read again, with this column as text in all parts.

    Parameters
    ----------
    frames
        Function that returns the parts of the table, with a set of columns read as text.
    """
    text: set[str] = set()
    while True:
        rows, seen = 0, dict[str, _Seen]()
        for frame in frames(text):
            for name, values in frame.items():
                seen.setdefault(name, _Seen()).add(values)
            rows += len(next(iter(frame.values()), ()))
        mixed = {name for name, each in seen.items() if each.texts is not None and each.dtype is not None} - text
        if not mixed:
            return rows, tuple(each.column(name) for name, each in seen.items())
        text |= mixed


@dataclass
class _Seen:
    """The facts about a column so far: dtype of its numbers, whether all are whole, its texts, and its missing values."""

    dtype: np.dtype[Any] | None = None
    whole: bool = True
    texts: set[str] | None = None
    missing: int = 0

    def add(self, values: np.ndarray) -> None:
        """Add some rows of the column."""
        if values.dtype == object:
            self.texts = self.texts or set()
            if len(self.texts) <= MOST_CLASSES:
                self.texts.update(value for value in values if value is not None)
            self.missing += sum(value is None for value in values)
            return
        self.dtype = np.result_type(values.dtype if self.dtype is None else self.dtype, values.dtype)
        if values.dtype.kind == "f":
            there = values[~np.isnan(values)]
            self.missing += len(values) - len(there)
            self.whole = self.whole and bool(np.isfinite(there).all() and (there == np.rint(there)).all())

    def column(self, name: str) -> Column:
        """Return the facts about the column. Whole numbers with missing values were read as floats."""
        if self.texts is not None:
            return Column(name, "text", tuple(sorted(self.texts)) if len(self.texts) <= MOST_CLASSES else (), self.missing)
        return Column(name, "int64" if self.missing and self.whole else str(self.dtype), (), self.missing)


def common_dtype(columns: tuple[Column, ...]) -> np.dtype[Any]:
    """Return the dtype of the array that holds the columns; the index of a class is exact in float32."""
    kinds = [np.dtype("float32" if each.is_text else each.kind) for each in columns]
    return np.result_type(*kinds, *("float32" for each in columns if each.missing))


def encode(frame: Frame, columns: tuple[Column, ...]) -> np.ndarray:
    """Return rows of a table as an array, shape (rows, columns)."""
    dtype = common_dtype(columns)
    rows = len(next(iter(frame.values())))
    encoded = np.empty((rows, len(columns)), dtype)
    for place, column in enumerate(columns):
        values = frame[column.name]
        encoded[:, place] = _places(values, column.classes) if column.is_text else values
    return encoded


def _places(texts: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Return the index of each text in the sorted classes; NaN if it is missing, or if there are too many classes."""
    places = np.full(len(texts), np.nan)
    if classes:
        there = np.array([text is not None for text in texts])
        places[there] = np.searchsorted(np.array(classes), np.array(texts[there], str))
    return places


def pandas_frame(table: Any) -> dict[str, np.ndarray]:
    """Return the columns of a pandas table, without its index."""
    if not table.columns.is_unique:
        raise DatasetError("two columns of the table have one name; rename them")
    return {str(name): _column(table[name]) for name in table.columns}


def _column(series: Any) -> np.ndarray:
    missing = series.isna().to_numpy()
    if getattr(series.dtype, "kind", "O") not in "biuf":
        return text_column(series.astype(object).to_numpy(), missing)
    if not missing.any():
        return np.asarray(series.to_numpy())
    own = np.dtype(getattr(series.dtype, "numpy_dtype", series.dtype))
    return np.asarray(series.to_numpy(own if own.kind == "f" else np.float64, na_value=np.nan))


def text_column(values: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
    """Return texts as an array of objects, with None for missing ones: None, NaN, or the given ones."""
    if missing is None:
        missing = np.array([value is None or (isinstance(value, float) and math.isnan(value)) for value in values], bool)
    texts = np.array([value.decode() if isinstance(value, bytes) else str(value) for value in values], object)
    texts[missing] = None
    return texts


def csv_frames(path: Path, text: set[str]) -> Iterator[Frame]:
    """Yield the rows of a CSV file. Its delimiter, and whether it starts with column names, are detected."""
    pandas = require("pandas", "a CSV file")
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        lines = file.read(2**20).splitlines()
    if not lines:
        raise DatasetError(f"{path} is empty; write a table into it")
    delimiter, first = max(
        ((each, next(csv.reader(lines, delimiter=each))) for each in ",;\t|"), key=lambda found: len(found[1])
    )
    header = _is_header(first)
    names = None if header else [str(place) for place in range(len(first))]
    with pandas.read_csv(
        path, sep=delimiter, header=0 if header else None, names=names, dtype=dict.fromkeys(text, str),
        chunksize=max(1, _CELLS // len(first)), low_memory=False, encoding="utf-8-sig", index_col=False,
    ) as parts:  # fmt: skip
        for part in parts:
            yield pandas_frame(part)


def _is_header(cells: list[str]) -> bool:
    """Tell whether the first line of a table names its columns: not all cells are numbers, or they number the columns."""
    try:
        numbers = [float(cell) for cell in cells if cell.strip()]
    except ValueError:
        return True
    return len(numbers) > 1 and numbers in (list(range(len(numbers))), list(range(1, len(numbers) + 1)))


def parquet_frames(path: Path, text: set[str]) -> Iterator[Frame]:
    """Yield the rows of a Parquet file."""
    parquet = require("pyarrow.parquet", "a Parquet file")
    require("pandas", "a Parquet file")
    with parquet.ParquetFile(path) as file:
        for part in file.iter_batches(max(1, _CELLS // max(1, file.metadata.num_columns))):
            frame = pandas_frame(part.to_pandas())
            again = {name: text_column(frame[name]) for name in text if frame[name].dtype != object}
            yield frame | again
