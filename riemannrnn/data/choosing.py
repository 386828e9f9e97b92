"""Opening tables: which columns or arrays are stimuli, which are targets, and whether targets are classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from manifolds.arrays import to_numpy
from riemannrnn.data.cache import tell
from riemannrnn.data.dataset import Dataset
from riemannrnn.data.errors import DatasetError
from riemannrnn.data.frames import MOST_CLASSES
from riemannrnn.data.opening import Notify, array_names, open_source
from riemannrnn.data.source import Source
from riemannrnn.data.table import Classes, Field, Table
from riemannrnn.settings import checked, unknown

INDEX_NAMES = ("", "index", "id", "row", "unnamed: 0", "__index_level_0__")
"""Names of a first column that numbers the rows, in lower case."""

Names = str | int | Sequence[str | int]
"""One name or several; columns of an array without names are named by their numbers."""


def open_table(
    data: Any,
    targets: Any = None,
    *,
    target: Names | None = None,
    inputs: Names | None = None,
    index: str | Literal[False] | None = None,
    task: str | None = None,
    missing: str = "refuse",
    standardise: bool = False,
    dtype: str | None = None,
    rows: str | None = None,
    cache: Path | str | None = None,
    notify: Notify = tell,
) -> Table:
    """Return stimuli and targets from one or two files or objects.

    Parameters
    ----------
    data
        Any argument of `open_source`.
    targets
        The targets, if they are not in `data`: any argument of `open_source`.
    target
        The column of the targets or several columns, or the name of their array. Default: all of `targets`, if they are
        given.
    inputs
        The columns of the stimuli, or the name of their array. Default: all remaining ones.
    index
        The column that numbers or names the rows; it is left out. Default: the first column, if it is called index, id or row,
        has no name, or counts the rows. False: there is none.
    task
        "classification" or "regression". Default: texts, truth values and one column of whole numbers are classes.
    missing
        "refuse": a missing number in a stimulus is an error. "mean": it becomes the mean of its column over the training rows.
        Missing targets are kept: they were not observed.
    standardise
        Whether stimuli are scaled to mean 0 and variance 1 over the training rows.
    dtype
        "float32" or "float64". Default: the dtype of the stimuli, or float64 for whole numbers.
    rows
        The name of the dimension of the rows, for arrays with named dimensions. Default: the first.
    cache, notify
        As for `open_source`.

    Returns
    -------
    Table
        The stimuli and targets. Only targets that are classes have been read.

    Raises
    ------
    DatasetError
        If a file, array or column does not exist, stimuli are texts, or the numbers of rows differ.
    SettingError
        For another task, dtype or treatment of missing numbers.

    Examples
    --------
    >>> table = open_table({"stimuli": [[0.0, 1.0], [1.0, 0.0]], "answer": ["yes", "no"]}, target="answer")
    >>> table.read(slice(0, 2))[1]
    array([1, 0])
    """
    checked("missing", missing, str, choices=("refuse", "mean"))
    options: dict[str, Any] = {"rows": rows, "cache": cache, "notify": notify}
    n_classes = data.n_classes if isinstance(data, Dataset) and target is None and targets is None else 0
    target = "labels" if n_classes else target
    arrays = array_names(data, rows)
    if len(arrays) > 1 or (targets is None and target in arrays):
        stimuli, answers = _from_arrays(data, arrays, targets, target, inputs, options)
    else:
        stimuli, answers = _from_columns(data, targets, target, inputs, index, options)
    if answers is not None and len(answers.source) != len(stimuli.source):
        raise DatasetError(
            f"{answers.source.name} holds {len(answers.source)} targets and {stimuli.source.name} holds {len(stimuli.source)} "
            "stimuli; pass files that belong together"
        )
    _check_numbers(stimuli)
    known = Classes(tuple(map(str, range(n_classes))), tuple(map(float, range(n_classes))), False) if n_classes else None
    classes = known if known or answers is None else _classes(answers, task)
    found = dtype or (stimuli.source.dtype if stimuli.source.dtype in ("float32", "float64") else "float64")
    checked("dtype", found, str, choices=("float32", "float64"))
    return Table(stimuli, answers, classes, found, standardise, missing)


def index_column(source: Source, index: str | Literal[False] | None = None) -> int | None:
    """Return the number of the column that numbers or names the rows; None if there is none.

    Raises
    ------
    DatasetError
        If no column has the name `index`.
    """
    if index is False or not source.columns:
        return None
    if index is not None:
        return _places(source, index)[0]
    if source.columns[0].name.lower() in INDEX_NAMES or _counts(source):
        return 0
    return None


def _counts(source: Source) -> bool:
    """Tell whether the first column of a table counts the rows from 0 or 1."""
    if np.dtype("float32" if source.columns[0].is_text else source.columns[0].kind).kind not in "iu" or len(source) < 3:
        return False
    first: int | None = None
    with source.reader() as read:
        for start in range(0, len(source), source.chunk):
            block = to_numpy(read(slice(start, start + source.chunk)))[:, 0]
            first = int(block[0]) if first is None else first
            if first not in (0, 1) or (block != first + start + np.arange(len(block))).any():
                return False
    return True


def _from_arrays(
    data: Any, arrays: list[str], targets: Any, target: Names | None, inputs: Names | None, options: dict[str, Any]
) -> tuple[Field, Field | None]:
    """Return stimuli and targets that are named arrays in one container."""
    names = {"target": target, "inputs": inputs}
    for option, name in names.items():
        if name is not None and not isinstance(name, str):
            raise DatasetError(f"{option} = {name!r}, but {_title(data)} holds arrays; name one of {', '.join(arrays)}")
    answers = None
    if targets is not None:
        answers = _answers(targets, target, options)
    elif target is not None:
        answers = Field(open_source(data, str(target), **options))
    if inputs is None:
        others = [name for name in arrays if name != target or targets is not None]
        if len(others) != 1:
            raise DatasetError(
                f"{_title(data)} holds the arrays {', '.join(arrays)}; name the stimuli with inputs= and the "
                "targets with target="
            )
        inputs = others[0]
    return Field(open_source(data, str(inputs), **options)), answers


def _from_columns(
    data: Any, targets: Any, target: Names | None, inputs: Names | None, index: Any, options: dict[str, Any]
) -> tuple[Field, Field | None]:
    """Return stimuli and targets that are columns of one table or array, or of two."""
    source = open_source(data, **options)
    left_out = {index_column(source, index)}
    answers = None
    if targets is not None:
        answers = _answers(targets, target, options)
    elif target is not None:
        answers = Field(source, _places(source, target))
        left_out |= set(_places(source, target))
    everything = Field(source).names
    chosen = tuple(place for place in range(len(everything)) if place not in left_out)
    chosen = chosen if inputs is None else _places(source, inputs)
    if not chosen:
        raise DatasetError(f"{source.name} holds no columns for stimuli; choose them with inputs=")
    return Field(source, None if len(chosen) == len(everything) else chosen), answers


def _answers(targets: Any, target: Names | None, options: dict[str, Any]) -> Field:
    """Return targets from a separate file or object."""
    arrays = array_names(targets)
    if arrays:
        return Field(open_source(targets, None if target is None else str(target), **options))
    source = open_source(targets, **options)
    if target is not None:
        return Field(source, _places(source, target))
    index = index_column(source) if len(source.columns) > 1 else None
    return Field(source) if index is None else Field(source, tuple(range(1, len(source.columns))))


def _title(what: Any) -> str:
    return str(what) if isinstance(what, str | Path) else type(what).__name__


def _places(source: Source, names: Names) -> tuple[int, ...]:
    """Return the numbers of columns by name.

    Raises
    ------
    DatasetError
        If a column does not exist; the message names the nearest one.
    """
    known = Field(source).names
    wanted = [str(names)] if isinstance(names, str | int) else [str(name) for name in names]
    for name in wanted:
        if name not in known:
            shown = known if len(known) <= 30 else [*known[:15], "…", *known[-5:]]
            raise DatasetError(str(unknown(f"column {name!r} of {source.name}", name, shown, known)))
    return tuple(known.index(name) for name in wanted)


def _check_numbers(stimuli: Field) -> None:
    columns = stimuli.source.columns
    chosen = range(len(columns)) if stimuli.chosen is None else stimuli.chosen
    texts = [columns[place].name for place in chosen if columns and columns[place].is_text]
    if texts:
        raise DatasetError(
            f"{stimuli.source.name}: column {texts[0]!r} holds text, but stimuli are numbers; name the column as the target "
            "or the index, or choose the columns of the stimuli with inputs (in the shell: --inputs)"
        )


def _classes(answers: Field, task: str | None) -> Classes | None:
    """Return the classes of targets; None if they are numbers."""
    kinds = _kinds(answers)
    if task is not None:
        checked("task", task, str, choices=("classification", "regression"))
    text = any(each == "text" for each in kinds)
    if text and (len(kinds) > 1 or task == "regression"):
        raise DatasetError(
            f"{answers.source.name}: targets that are texts have to be one column of class names; name that column"
        )
    if task is None:
        task = "classification" if len(kinds) == 1 and (text or np.dtype(kinds[0]).kind in "biu") else "regression"
    if task == "regression":
        return None
    if len(kinds) > 1:
        raise DatasetError(f"{answers.source.name}: {len(kinds)} columns cannot be one class; name one column as the target")
    values, missing = _distinct(answers)
    if not text:
        return Classes(tuple(_class_name(value, kinds[0]) for value in values), values, missing)
    names = answers.source.columns[answers.chosen[0] if answers.chosen else 0].classes
    return Classes(names, tuple(map(float, range(len(names)))), missing)


def _class_name(value: float, kind: str) -> str:
    """Return the name of the class that a number represents."""
    if kind == "bool":
        return str(bool(value))
    return str(int(value)) if value.is_integer() else str(value)


def _kinds(answers: Field) -> list[str]:
    columns = answers.source.columns
    if not columns:
        return [answers.source.dtype] * len(answers.names)
    return [columns[place].kind for place in (range(len(columns)) if answers.chosen is None else answers.chosen)]


def _distinct(answers: Field) -> tuple[tuple[float, ...], bool]:
    """Return the different numbers in a column, increasing, and whether some are missing."""
    source, found, missing = answers.source, np.array([], np.float64), False
    with source.reader() as read:
        for start in range(0, len(source), source.chunk):
            values = to_numpy(answers.pick(read(slice(start, start + source.chunk)))).astype(np.float64)
            missing = missing or bool(np.isnan(values).any())
            found = np.union1d(found, values[~np.isnan(values)])
            if len(found) > MOST_CLASSES:
                raise DatasetError(
                    f"{source.name}: the target has more than {MOST_CLASSES} different values, which are not classes; fit them "
                    "as numbers with task='regression', or name another column"
                )
    if not len(found):
        text = f"it is text with more than {MOST_CLASSES} different values, or all of it is missing"
        raise DatasetError(f"{source.name}: the target holds no classes: {text}; name another column")
    return tuple(found.tolist()), missing
