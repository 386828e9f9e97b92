"""`riemannrnn predict`."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import typer

from manifolds import Array
from manifolds.arrays import to_numpy
from riemannrnn.cli.common import INTERRUPTED, complain, console, progress_bar, refuse
from riemannrnn.data import Source, Table, array_names, index_column, open_source, open_table
from riemannrnn.models import Labels, TrainedModel, load_model
from riemannrnn.progress import Progress
from riemannrnn.run_folder import write_atomically
from riemannrnn.settings import SettingError
from riemannrnn.training.material import identity


def predict_command(
    run: Path,
    file: Path,
    output: Path,
    inputs: list[str] | None,
    index: str | None,
    rows: str | None,
    cache: Path | None,
) -> None:
    """Predict, and write the predictions; the options are declared in `riemannrnn.cli.commands`."""
    try:
        if not output.resolve().parent.is_dir():
            raise SettingError(f"--output {output}: the folder {output.resolve().parent} does not exist; name another")
        model = load_model(run)
        table = _stimuli(model, file, inputs, index, {"rows": rows, "cache": cache, "notify": _note})
        with progress_bar(file.name) as progress:
            lost = _write(output, model, table, index_column(table.stimuli.source, index), progress)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except ValueError as error:
        refuse(error)
    if lost:
        complain(
            "Warning",
            f"{lost} of {len(table)} stimuli have no fixed point, and their predictions are left empty; they may be far from "
            "the stimuli of training",
        )
    console.print(f"Predictions for {len(table)} stimuli: {output}", markup=False, highlight=False, soft_wrap=True)


def _note(message: str) -> None:
    complain("Note", message)


def _stimuli(model: TrainedModel, file: Path, inputs: list[str] | None, index: str | None, options: dict[str, Any]) -> Table:
    """Return the stimuli of a file, from the columns or the array that the model was trained on, without scaling."""
    chosen = _inputs(model, file, options) if inputs is None else inputs[0] if len(inputs) == 1 else inputs
    table = open_table(file, inputs=chosen, index=index, missing="mean", dtype=str(model.network.dtype), **options)
    return replace(table, given=identity(table.n_inputs))  # the model standardises


def _inputs(model: TrainedModel, file: Path, options: dict[str, Any]) -> str | list[str] | None:
    """Return the columns or the array of a file with the names in training; None if the file has no names."""
    arrays = array_names(file, options["rows"])
    if len(arrays) > 1:
        return model.inputs[0] if len(model.inputs) == 1 else None
    columns = open_source(file, **options).columns
    return list(model.inputs) if columns and model.inputs else None


def _write(output: Path, model: TrainedModel, table: Table, index: int | None, progress: Progress) -> int:
    """Write the predictions of all rows, one chunk at a time; return the number of stimuli without a fixed point."""
    lost = 0

    def write(path: Path) -> None:
        nonlocal lost
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([_index_title(table.stimuli.source, index), *_titles(model)])
            for stop, keys, stimuli in _blocks(table, index):
                parts = [(part.outputs, part.converged) for part in model.responses(stimuli)]
                outputs, found = (np.concatenate([to_numpy(array) for array in each]) for each in zip(*parts, strict=True))
                answers = model.answer.decode(outputs)
                lost += int((~found).sum())
                for key, answer, there in zip(keys, answers.reshape(len(answers), -1).tolist(), found, strict=True):
                    writer.writerow([key, *(answer if there else ["" for _ in answer])])
                progress(stop / len(table))

    write_atomically(output, write)
    return lost


def _blocks(table: Table, index: int | None) -> Iterator[tuple[int, list[Any], Array]]:
    """Yield the end of each chunk, the names of its rows, and its stimuli."""
    source = table.stimuli.source
    with table.reader() as read, source.reader() as read_all:
        for start, stop in pairwise(table.bounds().tolist()):
            rows = slice(start, stop)
            keys = list(range(start, stop)) if index is None else _keys(source, index)(read_all(rows))
            yield stop, keys, table.finish(*read(rows))[0]


def _keys(source: Source, index: int) -> Callable[[Array], list[Any]]:
    """Return a function that returns the names of rows, from a column that numbers or names them."""
    column = source.columns[index]

    def keys(rows: Array) -> list[Any]:
        values = to_numpy(rows)[:, index]
        if column.is_text:
            return ["" if np.isnan(value) else column.classes[int(value)] for value in values]
        return ["" if np.isnan(value) else int(value) if float(value).is_integer() else float(value) for value in values]

    return keys


def _index_title(source: Source, index: int | None) -> str:
    return "row" if index is None else source.columns[index].name or "row"


def _titles(model: TrainedModel) -> list[str]:
    """Return the names of the columns of predictions."""
    if model.answer.names:
        return list(model.answer.names)
    return ["label"] if isinstance(model.answer, Labels) else [f"target_{k}" for k in range(model.network.n_outputs)]
