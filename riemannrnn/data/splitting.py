"""The training and held-out rows of a file, from plain settings."""

from collections.abc import Mapping
from typing import Any

from riemannrnn.data.cache import tell
from riemannrnn.data.choosing import open_table
from riemannrnn.data.opening import Notify
from riemannrnn.data.table import Table


def split_file(settings: Mapping[str, Any], dtype: str, notify: Notify = tell) -> tuple[Table, Table]:
    """Return the training and the held-out rows of a file.

    Parameters
    ----------
    settings
        `file`; `target`, `target_file`, `inputs`, `index`, `task`, `missing`, `standardise`, `rows` and `cache` as for
        `open_table`; `held_out` and `seed` as for `Table.split`.
    dtype
        Dtype of the stimuli.
    notify
        Called with a message when a file is converted.

    Raises
    ------
    DatasetError
        As `open_table` and `Table.split` do.
    KeyError
        For a missing setting.
    """
    table = open_table(
        settings["file"],
        settings["target_file"],
        target=_one(settings["target"]),
        inputs=_one(settings["inputs"]),
        index=settings["index"],
        task=settings["task"],
        missing=settings["missing"],
        standardise=settings["standardise"],
        dtype=dtype,
        rows=settings["rows"],
        cache=settings["cache"],
        notify=notify,
    )
    return table.split(settings["held_out"], settings["seed"])


def _one(names: Any) -> Any:
    """Return the only name, a list of names, or None if there are none."""
    return names[0] if len(names) == 1 else list(names) or None
