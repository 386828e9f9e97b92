"""Tables: stimuli and targets, row by row, from sources."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from manifolds import Array
from manifolds.arrays import to_numpy
from manifolds.summary import Summarised
from riemannrnn.backend import namespace_of
from riemannrnn.data.errors import DatasetError
from riemannrnn.data.part import Part
from riemannrnn.data.source import Reader, Rows, Source, digest
from riemannrnn.data.standardisation import Standardisation, fitted

Pair: TypeAlias = tuple[Array, Array | None]
"""Stimuli, and their targets if there are any."""


@dataclass(frozen=True, eq=False, repr=False)
class Field(Summarised):
    """Columns of a source: all columns of an array, with flattened rows, or some columns of a table.

    Parameters
    ----------
    source
        The source of the columns.
    chosen
        Numbers of the columns. None: all.
    """

    source: Source
    chosen: tuple[int, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, or their numbers if they have no names."""
        names = [each.name for each in self.source.columns] or range(int(np.prod(self.source.shape[1:])))
        return tuple(str(names[place]) for place in (range(len(names)) if self.chosen is None else self.chosen))

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"source": self.source.name, "columns": len(self.names)}

    def pick(self, rows: Array) -> Array:
        """Return the columns of rows of the source, shape (rows, columns)."""
        xp = namespace_of(rows)
        flat = xp.reshape(rows, (rows.shape[0], -1)) if rows.ndim != 2 else rows
        if self.chosen is None:
            return flat
        return xp.take(flat, xp.asarray(np.array(self.chosen, np.int64), device=device(rows)), axis=1)


@dataclass(frozen=True, repr=False)
class Classes(Summarised):
    """The classes of a target.

    Parameters
    ----------
    names
        Name of each class, in the order of the labels 0, 1, 2, …
    values
        The number that represents each class in the source, increasing.
    missing
        Whether some labels are missing. Labels are then float64 with NaN, otherwise int64.
    """

    names: tuple[str, ...]
    values: tuple[float, ...]
    missing: bool

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        shown = ", ".join(self.names[:5]) + (" …" if len(self.names) > 5 else "")
        return {"classes": len(self.names), "names": shown, "some are missing": self.missing}

    def labels(self, targets: Array, name: str) -> Array:
        """Return the label of each target, shape (rows,).

        Raises
        ------
        DatasetError
            For a number that represents no class.
        """
        xp = namespace_of(targets)
        codes = to_numpy(targets).astype(np.float64)[:, 0]
        known, values = ~np.isnan(codes), np.array(self.values)
        labels = np.minimum(np.searchsorted(values, codes), len(values) - 1)
        wrong = known & (values[labels] != codes)
        if wrong.any() or not (self.missing or known.all()):
            value = codes[wrong | ~known][0]
            raise DatasetError(
                f"{name} holds the target {value:g}, which is not a class; the file was changed, so open it again"
            )
        numbered = np.where(known, labels, np.nan) if self.missing else labels.astype(np.int64)
        return xp.asarray(numbered, device=device(targets))


@dataclass(frozen=True, repr=False, eq=False)
class Table(Summarised):
    """Stimuli and targets, read a few rows at a time; made by `open_table`.

    Parameters
    ----------
    stimuli : Field
        The columns of the stimuli.
    targets : Field, optional
        The columns of the targets.
    classes : Classes, optional
        The classes, if the targets are classes. Otherwise they are numbers, and NaN if they were not observed.
    dtype : str
        Floating dtype of the stimuli and of numeric targets.
    standardise : bool
        Whether stimuli are scaled to mean 0 and variance 1.
    missing : str
        "refuse": a missing number in a stimulus is an error. "mean": it becomes the mean of its column.
    part : Part, optional
        The rows of the source that belong to the table. Default: all.
    given : Standardisation, optional
        The standardisation to apply. Default: it is fitted to the rows of the table.
    """

    stimuli: Field
    targets: Field | None
    classes: Classes | None
    dtype: str
    standardise: bool = False
    missing: str = "refuse"
    part: Part | None = None
    given: Standardisation | None = None

    def __len__(self) -> int:
        return len(self.stimuli.source) if self.part is None else len(self.part)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of a network."""
        return len(self.stimuli.names)

    @property
    def n_outputs(self) -> int:
        """Number of outputs of a network: classes or targets."""
        return 0 if self.targets is None else len(self.classes.names if self.classes else self.targets.names)

    @property
    def fingerprint(self) -> str:
        """A short text that differs if the rows, or their use, differ."""
        sources = [(each.source.fingerprint, each.chosen) for each in (self.stimuli, self.targets) if each]
        return digest(
            sources,
            self.classes and (self.classes.names, self.classes.values),
            self.dtype,
            self.standardise,
            self.missing,
            self.part,
        )

    @cached_property
    def standardisation(self) -> Standardisation | None:
        """The standardisation of the stimuli: given, or fitted to these rows on first use. None: there is none."""
        if self.given is not None or not (self.standardise or self.missing == "mean"):
            return self.given
        name = self.stimuli.source.name
        alone = replace(self, targets=None)
        return fitted(
            (self._floats(rows) for rows, _ in alone._stored_blocks()), self.standardise, self.missing == "mean", name
        )

    def read(self, rows: Rows) -> Pair:
        """Return stimuli and targets of rows.

        Parameters
        ----------
        rows
            A slice or an array of row numbers, from 0.

        Returns
        -------
        stimuli : Array, shape (rows, n_inputs)
            Standardised, if requested.
        targets : Array or None
            Labels, shape (rows,), or numbers, shape (rows, n_outputs).

        Raises
        ------
        DatasetError
            If rows cannot be read, a stimulus has a missing number or infinity, or a target is infinite.
        """
        with self.reader() as read:
            return self.finish(*read(rows))

    @contextmanager
    def reader(self) -> Iterator[Any]:
        """Yield a function that returns the stored stimuli and targets of rows; `finish` converts them."""
        with self.stimuli.source.reader() as read_stimuli:
            if self.targets is None or self.targets.source is self.stimuli.source:
                yield lambda rows: self._picked(read_stimuli, None, rows)
            else:
                with self.targets.source.reader() as read_targets:
                    yield lambda rows: self._picked(read_stimuli, read_targets, rows)

    def _picked(self, read_stimuli: Reader, read_targets: Reader | None, rows: Rows) -> Pair:
        places: Any = rows
        if self.part is not None:
            inside = range(len(self))[rows] if isinstance(rows, slice) else rows
            places = self.part.rows(inside)
        stimuli = read_stimuli(places)
        if self.targets is None:
            return self.stimuli.pick(stimuli), None
        return self.stimuli.pick(stimuli), self.targets.pick(stimuli if read_targets is None else read_targets(places))

    def finish(self, stimuli: Array, targets: Array | None) -> Pair:
        """Return stimuli and targets in their dtypes, standardised and with labels; raises the errors of `read`."""
        made = self._floats(stimuli)
        made = made if self.standardisation is None else self.standardisation(made)
        if targets is None or self.targets is None:
            return made, None
        if self.classes is not None:
            return made, self.classes.labels(targets, self.targets.source.name)
        xp = namespace_of(targets)
        numbers = xp.astype(targets, getattr(xp, self.dtype), copy=False)
        if bool(xp.any(xp.isinf(numbers))):
            raise DatasetError(
                f"{self.targets.source.name}: a target is infinite; repair it, or write NaN if it was not observed"
            )
        return made, numbers

    def _floats(self, stimuli: Array) -> Array:
        """Return stimuli in the dtype of the table, after a check that they are finite."""
        xp = namespace_of(stimuli)
        stimuli = xp.astype(stimuli, getattr(xp, self.dtype), copy=False)
        wrong = xp.isinf(stimuli) if self.missing == "mean" else ~xp.isfinite(stimuli)
        if bool(xp.any(wrong)):
            column = self.stimuli.names[int(np.flatnonzero(to_numpy(xp.any(wrong, axis=0)))[0])]
            raise DatasetError(
                f"{self.stimuli.source.name}: a stimulus has a missing number or infinity in column {column}; repair it, leave "
                "out its row, or replace missing numbers by the mean of their column with missing='mean' (in the shell: "
                "--missing mean)"
            )
        return stimuli

    def bounds(self) -> NDArray[np.int64]:
        """Return the positions in the table at which the chunks of the stimuli begin, and the end of the last chunk."""
        source = self.stimuli.source
        starts = [*range(0, len(source), source.chunk), len(source)]
        return np.unique(np.array(starts if self.part is None else [self.part.before(row) for row in starts], np.int64))

    def blocks(self) -> Generator[Pair, None, None]:
        """Yield all rows in order, one chunk at a time."""
        yield from (self.finish(*pair) for pair in self._stored_blocks())

    def _stored_blocks(self) -> Iterator[Pair]:
        bounds = self.bounds()
        with self.reader() as read:
            for start, stop in pairwise(bounds):
                yield read(slice(int(start), int(stop)))

    def split(self, held_out: float, seed: int) -> tuple["Table", "Table"]:
        """Return the rows for training and the held-out rows, drawn at random.

        Both have the standardisation fitted to the rows for training.

        Parameters
        ----------
        held_out
            Number of rows, or their share if it is below 1.
        seed
            Seed of the choice.

        Raises
        ------
        DatasetError
            If one of the parts would be empty.
        """
        if self.part is not None:
            raise DatasetError("the table is a part of a table already; split the whole table")
        drawn = round(held_out * len(self)) if held_out < 1 else int(held_out)
        training = replace(self, part=Part(len(self), drawn, seed, others=True))
        return training, replace(self, part=Part(len(self), drawn, seed), given=training.standardisation)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        facts: dict[str, object] = {"name": self.stimuli.source.name, "stimuli": len(self), "inputs": self.n_inputs}
        if self.targets is not None:
            facts["classes" if self.classes else "outputs"] = self.n_outputs
        return facts | {"dtype": self.dtype}
