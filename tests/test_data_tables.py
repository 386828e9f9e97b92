"""Tables: which columns are stimuli and targets, classes, missing numbers, standardisation, and parts."""

import pickle
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riemannrnn.data import (
    Dataset,
    DatasetError,
    Moments,
    Part,
    Standardisation,
    index_column,
    load_digits,
    open_source,
    open_table,
)
from riemannrnn.settings import SettingError

N = 300
GENERATOR = np.random.default_rng(0)
STIMULI = GENERATOR.standard_normal((N, 4)) * [1, 2, 30, 0] + [0, 5, -7, 2]
KINDS = np.array(["setosa", "virginica", "versicolor"])[GENERATOR.integers(0, 3, N)]
RESPONSES = np.where(GENERATOR.random((N, 6)) < 0.5, np.nan, GENERATOR.standard_normal((N, 6)))


def silent(message):
    """Do not print a message about a conversion."""


@pytest.fixture
def frame():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install 'riemannrnn[data]'")
    made = pandas.DataFrame(STIMULI, columns=["sepal", "petal", "colour", "age"])
    made["species"] = KINDS
    return made


@pytest.fixture
def csv(frame, tmp_path) -> Path:
    frame.to_csv(tmp_path / "flowers.csv")
    return tmp_path / "flowers.csv"


def opened(what, *arguments, **options):
    folder = what.parent / "cache" if isinstance(what, Path) else None
    return open_table(what, *arguments, cache=folder, notify=silent, **options)


def test_a_csv_file_with_texts_and_an_index(csv):
    table = opened(csv, target="species")
    assert table.stimuli.names == ("sepal", "petal", "colour", "age")
    assert table.classes.names == ("setosa", "versicolor", "virginica")
    assert (len(table), table.n_inputs, table.n_outputs, table.dtype) == (N, 4, 3, "float64")
    stimuli, labels = table.read(slice(None))
    np.testing.assert_allclose(stimuli, STIMULI, rtol=1e-14)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(np.array(table.classes.names)[labels], KINDS)


def test_a_parquet_file_and_a_frame_give_the_same(csv, frame, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'riemannrnn[data]'")
    frame.to_parquet(tmp_path / "flowers.parquet")
    expected = opened(csv, target="species").read([7, 3, 3])
    for what in (tmp_path / "flowers.parquet", frame):
        for got, wanted in zip(opened(what, target="species").read([7, 3, 3]), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_an_hdf5_file_of_stimuli_and_responses_with_nan(tmp_path):
    import h5py

    with h5py.File(tmp_path / "recording.h5", "w") as file:
        file["stimuli"], file["responses"] = STIMULI, RESPONSES
    table = opened(tmp_path / "recording.h5", target="responses")
    assert table.classes is None
    assert (table.n_inputs, table.n_outputs) == (4, 6)
    np.testing.assert_array_equal(table.read(slice(None))[1], RESPONSES)
    with h5py.File(tmp_path / "recording.h5", "a") as file:
        file["times"] = np.arange(N)
    with pytest.raises(DatasetError, match="the arrays responses, stimuli, times; name the stimuli with inputs="):
        opened(tmp_path / "recording.h5", target="responses")
    assert opened(tmp_path / "recording.h5", target="responses", inputs="stimuli").n_inputs == 4


def test_two_files(tmp_path):
    np.save(tmp_path / "stimuli.npy", STIMULI.astype(np.float32).reshape(N, 2, 2))
    np.save(tmp_path / "kinds.npy", KINDS)
    table = opened(tmp_path / "stimuli.npy", tmp_path / "kinds.npy")
    assert (table.n_inputs, table.n_outputs, table.dtype) == (4, 3, "float32")
    stimuli, labels = table.read([5])
    np.testing.assert_array_equal(stimuli, STIMULI[[5]].astype(np.float32))
    assert table.classes.names[labels[0]] == KINDS[5]
    with pytest.raises(DatasetError, match=r"holds 7 targets and .*stimuli.npy holds 300 stimuli"):
        opened(tmp_path / "stimuli.npy", KINDS[:7])


def test_the_bundled_digits_are_a_table():
    digits = load_digits()
    stimuli, labels = open_table(digits).read(slice(None))
    np.testing.assert_array_equal(stimuli, digits.stimuli)
    np.testing.assert_array_equal(labels, digits.labels)
    few = Dataset("few", digits.stimuli[:20], np.full(20, 3), n_classes=5)
    assert open_table(few).n_outputs == 5
    assert (open_table(few).read([0])[1] == 3).all()


def test_arrays_of_another_library_stay_there():
    there = {"x": array_api_strict.asarray(STIMULI), "y": array_api_strict.asarray(RESPONSES)}
    table = open_table(there, target="y", standardise=True, missing="mean")
    for name in ("float64", "float32"):
        stimuli, targets = open_table(there, target="y", standardise=True, dtype=name).read(slice(2, 9))
        assert stimuli.dtype == targets.dtype == getattr(array_api_strict, name)
    labelled = open_table({"x": there["x"], "y": array_api_strict.asarray(np.arange(N) % 3)}, target="y")
    assert labelled.read(slice(0, 4))[1].dtype == array_api_strict.int64
    assert table.read(slice(0, 1))[0].shape == (1, 4)


@pytest.mark.parametrize(
    ("targets", "options", "names"),
    [
        (np.arange(N) % 3 + 4, {}, ("4", "5", "6")),
        (np.arange(N) % 2 == 0, {}, ("False", "True")),
        (np.arange(N) % 2 + 12345678, {}, ("12345678", "12345679")),
        (KINDS, {}, ("setosa", "versicolor", "virginica")),
        (np.arange(N) % 2 / 2, {"task": "classification"}, ("0", "0.5")),
        (np.arange(N) % 3, {"task": "regression"}, None),
        (np.arange(N) / 2, {}, None),
        (np.arange(2 * N).reshape(N, 2), {}, None),
    ],
)
def test_targets_are_classes_or_numbers(targets, options, names):
    table = open_table(STIMULI, targets, **options)
    assert (table.classes and table.classes.names) == names
    got = table.read(slice(None))[1]
    if names is None:
        np.testing.assert_array_equal(got, targets.reshape(N, -1))
        assert got.dtype == np.float64
    else:
        distinct = np.unique(targets)
        np.testing.assert_array_equal(distinct[got], targets)


def test_missing_labels_are_nan(frame):
    frame.loc[3, "species"] = None
    labels = open_table(frame, target="species").read([2, 3])[1]
    assert labels.dtype == np.float64
    assert np.isnan(labels).tolist() == [False, True]
    frame["count"] = [1, None, 2] * (N // 3)
    labels = open_table(frame.drop(columns="species"), target="count").read([0, 1, 2])[1]
    np.testing.assert_array_equal(labels, [0, np.nan, 1])


@pytest.mark.parametrize("name", ["", "index", "ID", "Unnamed: 0", "anything"])
def test_an_index_is_recognised(frame, name):
    frame.insert(0, name, np.arange(1, N + 1))
    assert index_column(open_source(frame)) == 0
    assert open_table(frame, target="species").stimuli.names[0] == "sepal"
    assert open_table(frame, target="species", index=False).stimuli.names[0] == name


def test_a_column_is_an_index_only_if_it_is_the_first_or_named(frame):
    frame.insert(1, "index", np.arange(N))
    frame.insert(3, "subject", KINDS)
    assert index_column(open_source(frame)) is None
    with pytest.raises(DatasetError, match="column 'subject' holds text, but stimuli are numbers; name the column as"):
        open_table(frame, target="species")
    assert open_table(frame, target="species", index="subject").stimuli.names == ("sepal", "index", "petal", "colour", "age")
    assert open_table(frame, target="species", inputs=["age", "sepal"]).stimuli.names == ("age", "sepal")
    assert index_column(open_source(STIMULI)) is None
    counted = frame.drop(columns="species").assign(sepal=np.arange(N)[::-1])
    assert index_column(open_source(counted)) is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"target": "specis"}, r"column 'specis' of .*: unknown; did you mean species\?"),
        ({"inputs": ["petals"]}, r"did you mean petal\?"),
        ({"index": "colours", "target": "species"}, r"did you mean colour\?"),
        ({"target": ["species", "age"]}, "have to be one column of class names"),
        ({"target": "species", "task": "regression"}, "have to be one column of class names"),
        ({"target": ["sepal", "age"], "task": "classification", "inputs": "petal"}, "2 columns cannot be one class"),
        ({"target": "sepal", "index": "species", "inputs": []}, "no columns for stimuli"),
    ],
)
def test_wrong_columns_are_refused(frame, options, reason):
    with pytest.raises(DatasetError, match=reason):
        open_table(frame, **options)


@pytest.mark.parametrize("options", [{"missing": "median"}, {"task": "ranking"}, {"dtype": "float16"}])
def test_unknown_options_are_refused(options):
    with pytest.raises(SettingError, match=r"choose one of|did you mean"):
        open_table(STIMULI, np.zeros(N, int), **options)


def test_many_columns_are_not_listed():
    with pytest.raises(DatasetError) as caught:
        open_table(np.zeros((3, 784)), target="pixel")
    assert len(str(caught.value)) < 300


def test_too_many_classes_are_refused(monkeypatch):
    monkeypatch.setattr("riemannrnn.data.choosing.MOST_CLASSES", 9)
    with pytest.raises(DatasetError, match=r"more than 9 different values, which are not classes; .*task='regression'"):
        open_table(STIMULI, np.arange(N))


# --- missing numbers and standardisation ---------------------------------------------------


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_stimulus_with_a_hole_is_refused(wrong):
    holed = STIMULI.copy()
    holed[5, 2] = wrong
    table = open_table(holed, KINDS)
    table.read(slice(0, 5))
    with pytest.raises(DatasetError, match=r"a stimulus has a missing number or infinity in column 2; .*missing='mean'"):
        table.read(slice(0, 6))
    if np.isinf(wrong):
        with pytest.raises(DatasetError, match="infinity"):
            open_table(holed, KINDS, missing="mean").read(slice(0, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_statistics_come_only_from_the_training_rows(monkeypatch, dtype):
    monkeypatch.setattr("riemannrnn.data.source.CHUNK_BYTES", 500)
    holed = STIMULI.astype(dtype)
    holed[GENERATOR.random(STIMULI.shape) < 0.2] = np.nan
    training, held_out = open_table(holed, np.arange(N, dtype=float), standardise=True, missing="mean").split(0.25, seed=3)
    rows = np.array([training.part.rows(range(len(training))), held_out.part.rows(range(len(held_out)))], object)
    mean, deviation = np.nanmean(holed[rows[0]], axis=0, dtype=float), np.nanstd(holed[rows[0]].astype(float), axis=0)
    deviation[3] = 1  # the constant column
    for part, own in zip((training, held_out), rows, strict=True):
        stimuli, targets = part.read(slice(None))
        np.testing.assert_array_equal(targets[:, 0], own)
        expected = (np.where(np.isnan(holed[own]), mean, holed[own]) - mean) / deviation
        np.testing.assert_allclose(stimuli, expected, rtol=1e-9 if dtype == "float64" else 1e-3, atol=1e-5)
        assert stimuli.dtype == dtype
    holed[held_out.part.rows([0])] = 1e6
    again, _ = open_table(holed, np.arange(N, dtype=float), standardise=True, missing="mean").split(0.25, seed=3)
    np.testing.assert_array_equal(again.standardisation.shift, training.standardisation.shift)


def test_a_standardisation_can_be_saved(tmp_path):
    table = open_table(STIMULI, KINDS, standardise=True)
    np.savez(tmp_path / "model.npz", **table.standardisation.arrays())
    with np.load(tmp_path / "model.npz") as arrays:
        again = Standardisation.from_arrays(arrays)
    np.testing.assert_array_equal(again(STIMULI), table.read(slice(None))[0])
    assert np.isnan(again(np.full((1, 4), np.nan))).all()


def test_a_target_may_be_missing_but_not_infinite():
    wrong = RESPONSES.copy()
    wrong[8, 1] = -np.inf
    table = open_table(STIMULI, wrong)
    assert np.isnan(table.read(slice(0, 8))[1]).any()
    with pytest.raises(DatasetError, match="a target is infinite; repair it, or write NaN if it was not observed"):
        table.read(slice(0, 9))


def test_an_input_without_a_number_is_refused():
    holed = STIMULI.copy()
    holed[:, 1] = np.nan
    with pytest.raises(DatasetError, match="input 1 has no number in any of the training rows; leave its column out"):
        open_table(holed, missing="mean").read(slice(0, 1))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 99))
def test_moments_do_not_depend_on_the_blocks(sizes, seed):
    generator = np.random.default_rng(seed)
    rows = 1e3 + generator.standard_normal((sum(sizes), 3))
    rows[generator.random(rows.shape) < 0.2] = np.nan
    moments = Moments()
    for block in np.split(rows, np.cumsum(sizes)[:-1]):
        moments.add(block)
    there = ~np.isnan(rows)
    np.testing.assert_array_equal(moments.count, there.sum(axis=0))
    np.testing.assert_array_equal(moments.missing, (~there).sum(axis=0))
    for column in range(3):
        values = rows[there[:, column], column]
        if values.size:
            np.testing.assert_allclose(moments.mean[column], values.mean(), rtol=1e-12)
            np.testing.assert_allclose(moments.deviation[column], values.std(), rtol=1e-8, atol=1e-10)
            assert (moments.smallest[column], moments.largest[column]) == (values.min(), values.max())


# --- parts -----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(2, 15_000), st.integers(0, 9))
def test_two_parts_are_all_rows(data, total, seed):
    drawn = data.draw(st.integers(1, total - 1))
    parts = Part(total, drawn, seed), Part(total, drawn, seed, others=True)
    rows = [part.rows(range(len(part))) for part in parts]
    assert [len(part) for part in parts] == [drawn, total - drawn]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(total))
    some = data.draw(st.integers(0, total))
    for part, own in zip(parts, rows, strict=True):
        assert (np.diff(own) > 0).all()
        assert part.before(some) == (own < some).sum()
        np.testing.assert_array_equal(part.rows(np.array([len(part) - 1, 0])), own[[-1, 0]])


def test_every_row_is_as_likely_to_be_held_out():
    held = sum(np.bincount(Part(50, 10, seed).rows(range(10)), minlength=50) for seed in range(400))
    assert abs(held - 80).max() < 5 * np.sqrt(80 * 0.8)


@pytest.mark.parametrize("held_out", [0, 0.001, 300, 400, -3])
def test_empty_parts_are_refused(held_out):
    with pytest.raises(DatasetError, match="rows cannot be held out; hold out 1 to 299"):
        open_table(STIMULI).split(held_out, seed=0)


def test_a_split_depends_only_on_the_seed():
    table = open_table(STIMULI, KINDS)
    assert table.split(30, seed=1)[1].fingerprint == table.split(0.1, seed=1)[1].fingerprint
    assert table.split(30, seed=1)[1].fingerprint != table.split(30, seed=2)[1].fingerprint
    with pytest.raises(DatasetError, match="split the whole table"):
        table.split(30, seed=1)[0].split(3, seed=0)


def test_blocks_are_all_rows_in_order(monkeypatch):
    monkeypatch.setattr("riemannrnn.data.source.CHUNK_BYTES", 500)
    table = open_table(STIMULI, RESPONSES)
    for part in (table, *table.split(0.3, seed=0)):
        blocks = list(part.blocks())
        assert len(blocks) == len(part.bounds()) - 1 > 5
        for place, whole in enumerate(part.read(slice(None))):
            np.testing.assert_array_equal(np.concatenate([block[place] for block in blocks]), whole)


def test_a_table_can_be_sent_to_another_process(csv):
    table = opened(csv, target="species", standardise=True)
    copied = pickle.loads(pickle.dumps(table))
    assert copied.fingerprint == table.fingerprint
    np.testing.assert_array_equal(copied.read([1])[0], table.read([1])[0])
