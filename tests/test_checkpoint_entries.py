"""Intact checkpoints with a missing or unreadable entry: the error names the entry, the file and a remedy."""

import re

import pytest
from runs import run

from riemannrnn.training.checkpoints import Checkpoint, CheckpointError, last_checkpoint, write_checkpoint

REMEDY = "another version of riemannrnn wrote it. Resume with that version, or start the run again in an empty folder"
ENTRIES = {
    "run": (3, "int"),
    "step": ("three", "'three' is not a number of steps"),
    "order": (5, "5 is not an array"),
    "point": ("W", r"it is not of the shape \(12, 12\)"),
    "last": ([1, 2], "missing 1 required positional argument"),
    "generator": ({"state": 1}, "PCG64"),
    "learning_rate": ("fast", "could not convert"),
    "range_test": ({"trials": 3}, "not iterable"),
    "history": (7, "int"),
}
"""Unreadable entries, and the text of the error."""


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(checkpoints=folder)
    return dict(last_checkpoint(folder))


def message(folder, state):
    """Return the error of resuming from a state, and the file of its checkpoint."""
    path = write_checkpoint(folder, 8, state)
    with pytest.raises(CheckpointError) as raised:
        run(checkpoints=folder, resume=True)
    return str(raised.value), path


def paths(state):
    """Yield the entries that resuming reads: the outer entries, and the entries of the tables of arguments and history."""
    for name in state:
        if name not in ("cores", "guarded", "revised"):
            yield (name,)
            if name in ("run", "history"):
                yield from ((name, inner) for inner in state[name])


def test_an_entry_that_is_missing(tmp_path, state):
    missing = list(paths(state))
    assert {("learning_rate",), ("run", "decay"), ("history", "jumps"), ("record",)} <= set(missing)
    for place, names in enumerate(missing):
        damaged = {name: dict(value) if name in ("run", "history") else value for name, value in state.items()}
        (damaged if len(names) == 1 else damaged[names[0]]).pop(names[-1])
        folder = tmp_path / str(place)
        folder.mkdir()
        found, path = message(folder, damaged)
        assert found == f"{path} has no entry '{'.'.join(names)}': {REMEDY}"


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_that_cannot_be_read(tmp_path, state, name):
    value, reason = ENTRIES[name]
    found, path = message(tmp_path, state | {name: value})
    assert found.startswith(f"{path} has an entry {name!r} that cannot be read (")
    assert found.endswith(REMEDY)
    assert re.search(reason, found)


def test_a_recorder_without_its_state(tmp_path):
    checkpoint = Checkpoint(tmp_path / "file", {"record": {"points": 3}})
    with pytest.raises(CheckpointError, match=r"file has no entry 'record.calls': another version"):
        checkpoint.read("record", lambda value: value["calls"])
