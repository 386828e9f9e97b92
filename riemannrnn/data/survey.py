"""Surveys: the contents of a source, from one pass over its rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifolds.arrays import to_numpy
from riemannrnn.data.cache import tell
from riemannrnn.data.opening import Notify, array_names, open_source
from riemannrnn.data.source import Source
from riemannrnn.data.standardisation import Moments
from riemannrnn.data.table import Field, Table


@dataclass(frozen=True)
class Survey:
    """The contents of a source.

    Parameters
    ----------
    source
        The source.
    names
        Names of its columns, or numbers if they have no names.
    moments
        Statistics of each column. For a column of text only the number of missing values is meaningful.
    """

    source: Source
    names: tuple[str, ...]
    moments: Moments

    @property
    def constant(self) -> list[str]:
        """Names of the numeric columns with only one value."""
        texts = {each.name for each in self.source.columns if each.is_text}
        same = np.flatnonzero((self.moments.count > 0) & (self.moments.smallest == self.moments.largest))
        return [self.names[place] for place in same if self.names[place] not in texts]


def survey(source: Source, progress: Callable[[float], object] = lambda share: None) -> Survey:
    """Return the statistics of the columns of a source.

    Parameters
    ----------
    source
        The source; all of its rows are read once, one chunk at a time.
    progress
        Called with the completed share.

    Raises
    ------
    DatasetError
        If rows cannot be read.
    """
    moments, field = Moments(), Field(source)
    with source.reader() as read:
        for start in range(0, len(source), source.chunk):
            moments.add(field.pick(read(slice(start, start + source.chunk))))
            progress(min(1.0, (start + source.chunk) / len(source)))
    return Survey(source, field.names, moments)


def all_sources(data: Any, rows: str | None = None, cache: Any = None, notify: Notify = tell) -> dict[str, Source]:
    """Return every array in a file or an object by name; a table or a single array has an empty name.

    The options are the options of `open_source`. Arrays without the dimension `rows` are left out.

    Raises
    ------
    DatasetError
        As `open_source` does.
    """
    names: list[str | None] = [*array_names(data, rows)] or [None]
    return {name or "": open_source(data, name, rows=rows, cache=cache, notify=notify) for name in names}


def class_counts(table: Table) -> tuple[NDArray[np.int64], int]:
    """Return the number of rows of each class of a table, and the number of missing labels.

    Raises
    ------
    ValueError
        If the targets are not classes.
    DatasetError
        If rows cannot be read.
    """
    if table.targets is None or table.classes is None:
        raise ValueError("the targets are not classes; count the rows of a table for classification")
    counts, missing, source = np.zeros(table.n_outputs, np.int64), 0, table.targets.source
    with source.reader() as read:
        for start in range(0, len(source), source.chunk):
            picked = table.targets.pick(read(slice(start, start + source.chunk)))
            labels = to_numpy(table.classes.labels(picked, source.name)).astype(np.float64)
            there = labels[~np.isnan(labels)].astype(np.int64)
            counts += np.bincount(there, minlength=len(counts))
            missing += len(labels) - len(there)
    return counts, missing
