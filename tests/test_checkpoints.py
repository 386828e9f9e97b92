"""Checkpoints as files: states are restored exactly, and damaged files are named and skipped."""

import errno
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, boolean_dtypes, complex_number_dtypes, floating_dtypes, integer_dtypes

from riemannrnn.run_folder import RunFolderError
from riemannrnn.training.checkpoints import (
    FORMAT,
    KEPT,
    CheckpointError,
    last_checkpoint,
    read_checkpoint,
    refuse_used,
    write_checkpoint,
)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Do not wait for the disk: no test cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


NUMBERS = st.one_of(boolean_dtypes(), integer_dtypes(), floating_dtypes(), complex_number_dtypes())
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.text(),
    NUMBERS.flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


def check_same(a, b):
    """Check equality to the bit: NaN equals NaN, −0 is not 0, 1 is not 1.0, and dtypes, shapes and containers agree."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        check_same(list(a.values()), list(b.values()))
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            check_same(one, other)
    else:
        assert repr(a) == repr(b)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def file_name(step):
    return f"checkpoint-{step:08d}.npz.sum"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=st.dictionaries(st.text(), VALUES))
def test_a_round_trip_keeps_the_content(tmp_path, state):
    check_same(dict(read_checkpoint(write_checkpoint(tmp_path, 1, state))), state)


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_generators_continue(tmp_path, bits):
    generator, other = np.random.Generator(bits(1)), np.random.Generator(bits(2))
    generator.standard_normal(5)
    state = {"generator": generator.bit_generator.state}
    other.bit_generator.state = read_checkpoint(write_checkpoint(tmp_path, 1, state))["generator"]
    np.testing.assert_array_equal(other.permutation(50), generator.permutation(50))
    np.testing.assert_array_equal(other.standard_normal(5), generator.standard_normal(5))


def test_memory_orders_are_kept(tmp_path):
    """Products of arrays in another memory order differ in the last bits."""
    matrix = np.arange(6.0).reshape(2, 3)
    state = read_checkpoint(write_checkpoint(tmp_path, 1, {"c": matrix, "f": matrix.T}))
    assert state["c"].flags.c_contiguous
    assert state["f"].flags.f_contiguous
    np.testing.assert_array_equal(state["f"], matrix.T)


class Foreign:
    """An object that pickle would accept."""


@pytest.mark.parametrize(
    "value",
    [Foreign(), Foreign, {1, 2}, print, np.array([None, 1], object), np.array(["text"]), b"bytes", np.datetime64("2026-01-01"),
     {1: "a key that is not text"}],
    ids=["object", "class", "set", "function", "objects", "texts", "bytes", "date", "key"],
)  # fmt: skip
def test_foreign_objects_are_refused_and_never_pickled(tmp_path, value):
    write_checkpoint(tmp_path, 1, {"step": 1})
    with pytest.raises(TypeError, match=r"a \w+ has no place in a checkpoint; keep numbers, text and arrays of numbers"):
        write_checkpoint(tmp_path, 2, {"deep": [{"er": (value,)}]})
    assert names(tmp_path) == [file_name(1)]


def test_only_the_last_checkpoints_are_kept(tmp_path):
    for step in range(0, 100, 10):
        write_checkpoint(tmp_path, step, {"step": step})
    assert names(tmp_path) == [file_name(step) for step in (70, 80, 90)]
    assert KEPT == 3
    assert last_checkpoint(tmp_path) == {"step": 90}
    (tmp_path / "notes.txt").write_text("mine")
    write_checkpoint(tmp_path, 12_345_678, {"step": 12_345_678})
    assert names(tmp_path) == [*(file_name(step) for step in (80, 90, 12_345_678)), "notes.txt"]


def flip(content, place, bit=0):
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_and_any_cut_is_found(tmp_path, data):
    path = write_checkpoint(tmp_path, 1, {"step": 1, "point": np.arange(4.0)})
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = content[:place] if data.draw(st.booleans()) else flip(content, place, data.draw(st.integers(0, 7)))
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"checkpoint-00000001\.npz\.sum is (damaged|not a checkpoint): "):
        read_checkpoint(path)


DAMAGE = {
    "empty": lambda content: b"",
    "foreign": lambda content: b"PK\x03\x04 something else\n",
    "cut in the head": lambda content: content[: len(FORMAT) + 10],
    "cut in the body": lambda content: content[:-1],
    "a bit": lambda content: flip(content, len(content) // 2),
    "the checksum": lambda content: flip(content, len(FORMAT) + 3),
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_previous_one_is_used(tmp_path, damage):
    paths = [write_checkpoint(tmp_path, step, {"step": step}) for step in (1, 2, 3)]
    paths[2].write_bytes(damage(paths[2].read_bytes()))
    with pytest.warns(RuntimeWarning, match=rf"{file_name(3)} is .*; it is skipped"):
        assert last_checkpoint(tmp_path) == {"step": 2}
    paths[1].write_bytes(damage(paths[1].read_bytes()))
    with pytest.warns(RuntimeWarning, match="skipped") as seen:
        assert last_checkpoint(tmp_path) == {"step": 1}
    assert [file_name(step) in str(warning.message) for step, warning in zip((3, 2), seen, strict=True)] == [True, True]
    paths[0].write_bytes(damage(paths[0].read_bytes()))
    with (
        pytest.warns(RuntimeWarning, match="skipped"),
        pytest.raises(CheckpointError, match="holds no intact checkpoint; start the run again in an empty folder"),
    ):
        last_checkpoint(tmp_path)


def test_folders_without_checkpoints(tmp_path):
    (tmp_path / ".checkpoint-00000007.npz.partial.sum").write_bytes(b"what a killed run was writing")
    refuse_used(tmp_path)
    with pytest.raises(CheckpointError, match="holds no intact checkpoint"):
        last_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read: No such file or directory"):
        read_checkpoint(tmp_path / file_name(1))
    write_checkpoint(tmp_path, 1, {})
    with pytest.raises(CheckpointError, match="holds checkpoints of another run; resume that, or choose an empty folder"):
        refuse_used(tmp_path)


def test_a_correct_checksum_of_invalid_content(tmp_path, monkeypatch):
    """Content of another kind is rejected even if its checksum is right, and pickles are not read."""
    import hashlib
    import io

    def wrapped(**content):
        payload = io.BytesIO()
        np.savez(payload, **content)
        digest = hashlib.sha256(payload.getvalue()).hexdigest().encode()
        return FORMAT + digest + b"\n" + payload.getvalue()

    def text(tree):
        return np.frombuffer(tree, np.uint8)

    path = tmp_path / file_name(1)
    for content in (
        wrapped(other=np.zeros(2)),
        wrapped(tree=text(b"[1, 2]")),
        wrapped(tree=text(b"{]")),
        wrapped(tree=text(b'{"dict": {"a": {"array": "array0"}}}'), array0=np.array([Foreign()], object)),
        FORMAT + hashlib.sha256(b"no zip").hexdigest().encode() + b"\nno zip",
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is damaged: "):
            read_checkpoint(path)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_checkpoints(tmp_path, monkeypatch, function):
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, step, {"step": step})

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    with pytest.raises(RunFolderError, match=r"cannot write .*00000004.*: No space left on device; free space"):
        write_checkpoint(tmp_path, 4, {"step": 4})
    assert names(tmp_path) == [file_name(step) for step in (1, 2, 3)]
    assert last_checkpoint(tmp_path) == {"step": 3}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full does not exist")
def test_a_disk_that_is_full(tmp_path):
    (tmp_path / ".checkpoint-00000002.npz.partial.sum").symlink_to("/dev/full")
    write_checkpoint(tmp_path, 1, {"step": 1})
    with pytest.raises(RunFolderError, match="No space left on device"):
        write_checkpoint(tmp_path, 2, {"step": 2})
    assert last_checkpoint(tmp_path) == {"step": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder(tmp_path):
    write_checkpoint(tmp_path, 1, {"step": 1})
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="Permission denied; free space, make the folder writable"):
        write_checkpoint(tmp_path, 2, {"step": 2})
    tmp_path.chmod(0o700)
    assert last_checkpoint(tmp_path) == {"step": 1}


def test_a_missing_folder(tmp_path):
    with pytest.raises(RunFolderError, match=r"the folder .* does not exist; make it"):
        write_checkpoint(tmp_path / "gone", 1, {"step": 1})
