"""Streams: every row once an epoch, the same bits from every position on, well mixed, in a thread that ends."""

import gc
import subprocess
import sys
import threading
import time
from contextlib import closing
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riemannrnn.data import START, DatasetError, Position, Stream, open_table
from riemannrnn.data.prefetch import prefetched
from riemannrnn.data.table import Table

N = 900


def table(n=N, chunk=None, monkeypatch=None):
    """Return a table with stimuli and targets that both show the number of the row."""
    rows = np.arange(n, dtype=np.float64)
    return open_table(np.stack([rows, -rows], axis=1), rows)


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 10 rows of two numbers."""
    monkeypatch.setattr("riemannrnn.data.source.CHUNK_BYTES", 160)


def rows_of(pairs):
    """Return the rows in batches, after a check that stimuli and targets belong together."""
    taken = []
    for stimuli, targets in pairs:
        np.testing.assert_array_equal(stimuli, targets * [1, -1])
        taken.append(targets[:, 0].astype(int))
    return taken


def take(stream, count, position=START):
    with closing(stream.batches(position)) as batches:
        return rows_of(islice(batches, count))


def threads():
    return [each for each in threading.enumerate() if each.name == "riemannrnn-data"]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 60), st.integers(1, 9), st.integers(0, 5), st.booleans())
def test_every_row_once_an_epoch(n, batch_size, window, seed, prefetch):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("riemannrnn.data.source.CHUNK_BYTES", 160)
        stream = Stream(table(n), batch_size, seed, window=window, prefetch=prefetch)
        batches = take(stream, 2 * stream.per_epoch)
    sizes = [batch_size] * (n // batch_size) + [n % batch_size] * (n % batch_size > 0)
    assert [len(batch) for batch in batches] == 2 * sizes
    first, second = (np.concatenate(part) for part in (batches[: stream.per_epoch], batches[stream.per_epoch :]))
    np.testing.assert_array_equal(np.sort(first), np.arange(n))
    np.testing.assert_array_equal(np.sort(second), np.arange(n))
    if n > 20:
        assert (first != second).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 250), st.integers(1, 40), st.integers(1, 5), st.integers(0, 3), st.data())
def test_a_stream_continues_from_every_position(n, batch_size, window, seed, data):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("riemannrnn.data.source.CHUNK_BYTES", 160)
        stream = Stream(table(n), batch_size, seed, window=window, prefetch=False)
        whole = take(stream, 3 * stream.per_epoch)
        step = data.draw(st.integers(0, 3 * stream.per_epoch - 1))
        position = stream.position_at(step)
        again = take(Stream(table(n), batch_size, seed, window=window), 3 * stream.per_epoch - step, position)
        alone = rows_of([stream.batch_at(step)])[0]
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(whole[step:]))
    np.testing.assert_array_equal(alone, whole[step])
    assert all(type(each) is int for each in position)


def test_a_place_does_not_depend_on_the_size_of_batches(small_chunks):
    one, other = Stream(table(), 30, 0, window=7), Stream(table(), 9, 0, window=7)
    position = one.position_at(11)
    np.testing.assert_array_equal(np.concatenate(take(other, 10, position)), np.concatenate(take(one, 3, position)))


@pytest.mark.parametrize("position", [(0, 13, 0), (0, 0, 70), (-1, 0, 0), (0, -1, 0), (0, 12, 60)])
def test_positions_that_do_not_exist_are_refused(small_chunks, position):
    stream = Stream(table(), 30, 0, window=7)
    take(stream, 1, Position(2, 12, 59))
    with pytest.raises(DatasetError, match=r"is not a place in the stream, which has 13 windows; resume with the data"):
        stream.batches(Position(*position))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"window": 0}, {"seed": -1}])
def test_invalid_options_are_refused(options):
    with pytest.raises(DatasetError, match="pass sizes of 1 or more"):
        Stream(table(), **{"batch_size": 1, "seed": 0} | options)


def test_the_order_depends_only_on_seed_and_epoch(small_chunks):
    def order(seed, **options):
        return np.concatenate(take(Stream(table(), 50, seed, window=7, **options), 36))

    np.testing.assert_array_equal(order(0), order(0, prefetch=False))
    assert (order(0) != order(1)).any()
    stream = Stream(table(), 50, 0, window=7)
    np.testing.assert_array_equal(order(0)[N:], np.concatenate(take(stream, 18, Position(epoch=1))))


def test_rows_of_one_chunk_have_another_order_in_every_epoch():
    first, second = (np.concatenate(take(Stream(table(), 50, 0), 18, Position(epoch))) for epoch in range(2))
    for order in (first, second, first - second):
        assert abs(np.corrcoef(order, np.arange(N))[0, 1]) < 0.15
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15


def test_the_bits_do_not_depend_on_timing(small_chunks, monkeypatch):
    expected = take(Stream(table(), 32, 4, window=3, prefetch=False), 40)
    generator = np.random.default_rng(0)
    finish = Table.finish

    def slow(self, *pair):
        time.sleep(generator.choice([0, 0, 0.002]))
        return finish(self, *pair)

    monkeypatch.setattr(Table, "finish", slow)
    for got, wanted in zip(take(Stream(table(), 32, 4, window=3), 40), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_window_mixes_chunks_from_everywhere(small_chunks):
    """For rows sorted by class: each batch holds all parts of the data, and its neighbours were not neighbours before."""
    order = np.concatenate(take(Stream(table(), 100, 0, window=30), 9))
    for batch in order.reshape(9, 100):
        assert (np.bincount(batch // 300, minlength=3) > 5).all()
    assert (abs(np.diff(order)) == 1).mean() < 0.02
    whole = np.concatenate(take(Stream(table(), 100, 0), 9))
    assert abs(np.corrcoef(whole, np.arange(N))[0, 1]) < 0.15


def test_a_part_is_streamed(small_chunks):
    parts = table().split(0.25, seed=0)
    streamed = [np.concatenate(take(Stream(part, 40, 0, window=5), -(-len(part) // 40))) for part in parts]
    assert [len(each) for each in streamed] == [675, 225]
    np.testing.assert_array_equal(np.sort(np.concatenate(streamed)), np.arange(N))


def test_labels_and_no_targets():
    stimuli = np.random.default_rng(0).standard_normal((50, 3))
    batch = Stream(open_table(stimuli, ["a", "b"] * 25), 8, 0).batch_at(0)
    assert (batch[0].shape, batch[1].shape, batch[1].dtype) == ((8, 3), (8,), np.int64)
    assert Stream(stimuli, 8, 0).batch_at(6)[0].shape == (2, 3)
    assert Stream(open_table(stimuli), 8, 0).batch_at(3)[1] is None


def test_a_changed_stream_is_recognised():
    def mark(*arguments, n=N, **options):
        return Stream(table(n), *arguments, **options).fingerprint

    assert mark(10, 0) == mark(20, 0)  # a position is the same for all batch sizes
    assert len({mark(10, 0), mark(10, 1), mark(10, 0, n=N + 1), mark(10, 0, window=3)}) == 4


# --- the thread ------------------------------------------------------------------------------


def test_the_thread_ends_with_the_generator(small_chunks):
    with closing(Stream(table(), 10, 0, window=1).batches()) as batches:
        next(batches)
        assert len(threads()) == 1
    assert threads() == []


def test_the_thread_ends_without_a_message(small_chunks):
    for _ in zip(Stream(table(), 10, 0, window=1).batches(), range(3)):
        pass
    gc.collect()
    assert threads() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_thread_ends_when_the_caller_fails(small_chunks, error):
    def train():
        with closing(Stream(table(), 10, 0, window=1).batches()) as batches:
            for _ in batches:
                raise error

    with pytest.raises(error):
        train()
    assert threads() == []


def test_an_error_of_the_thread_is_raised_where_batches_are_taken(small_chunks, tmp_path):
    stimuli = np.arange(2.0 * N).reshape(N, 2)
    np.save(tmp_path / "x.npy", stimuli)
    stream = Stream(open_table(tmp_path / "x.npy"), 10, 0, window=1)
    (tmp_path / "x.npy").write_bytes(b"")
    with closing(stream.batches()) as batches, pytest.raises(DatasetError, match=r"x.npy cannot be opened .*: make or copy it"):
        next(batches)
    assert threads() == []


def test_items_before_an_error_are_there():
    def fails():
        yield from (1, 2)
        raise RuntimeError("the disk is gone")

    seen = []
    with pytest.raises(RuntimeError, match="the disk is gone"):
        seen.extend(each for each in prefetched(fails) if seen.append(each))
    assert seen == [1, 2]
    assert list(prefetched(lambda: (each for each in range(9)))) == list(range(9))


INTERRUPTED = """
import numpy as np, os, signal, threading, time
from contextlib import closing
from riemannrnn.data import Stream, open_table
from riemannrnn.data.table import Table

read = Table._picked
def slow(*arguments):
    time.sleep(0.05)
    return read(*arguments)
Table._picked = slow
with closing(Stream(open_table(np.zeros((10**6, 2))), 10, 0, window=1).batches()) as batches:
    next(batches)  # everything is imported
stream = Stream(open_table(np.zeros((10**6, 2))), 10, 0, window=1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores the signal otherwise
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    with closing(stream.batches()) as batches:
        for batch in batches:
            pass
except KeyboardInterrupt:
    print([each.name for each in threading.enumerate() if each.name == "riemannrnn-data"])
"""


def test_ctrl_c_ends_the_thread():
    made = subprocess.run([sys.executable, "-c", INTERRUPTED], check=False, capture_output=True, text=True, timeout=60)
    assert (made.stdout.strip(), made.stderr, made.returncode) == ("[]", "", 0)


def test_memory_does_not_grow_with_the_data(tmp_path):
    """Uses a sparse file of 200 MB, with a window of 2 MB in memory."""
    pytest.importorskip("resource", reason="Windows tells no peak memory")
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (50_000, 1000)).flush()
    code = """
import resource, sys
from contextlib import closing
from itertools import islice
from riemannrnn.data import Stream, open_table
stream = Stream(open_table(sys.argv[1]), 500, 0, window=2)
next(stream.batches())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with closing(stream.batches()) as batches:
    rows = sum(len(stimuli) for stimuli, _ in islice(batches, stream.per_epoch))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    made = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "x.npy"], check=True, capture_output=True, text=True, timeout=60
    )
    rows, grown = map(int, made.stdout.split())
    scale = 1024 if sys.platform != "darwin" else 1
    assert rows == 50_000
    assert grown * scale < 60e6
