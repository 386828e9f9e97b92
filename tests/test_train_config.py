"""The configuration of `riemannrnn train`: errors name a wrong key or value by its path, with the nearest valid name."""

from dataclasses import asdict, fields

import pytest
from test_cli import names, refused, run

from riemannrnn.cli.config import PATHS, TABLES, Config, LayerTable, parse_config, read_config, write_config
from riemannrnn.cli.training_run import prepare
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.rules.named import RULES
from riemannrnn.settings import SettingError


def sentence(tmp_path, text):
    """Return the sentence of the error for a file, after a check that no folder was made."""
    (tmp_path / "wrong.toml").write_text(text)
    line = refused(run("train", "--config", tmp_path / "wrong.toml", "--output", tmp_path / "runs"))
    assert names(tmp_path) == ["wrong.toml"]
    return line.removeprefix("Error: ")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[train]\nlearning_rat = 0.1", "train.learning_rat: unknown; did you mean train.learning_rate?"),
        ("[trian]\nepochs = 2", "trian: unknown; did you mean train?"),
        ("[network]\nepochs = 2", "network.epochs: unknown; did you mean train.epochs?"),
        ("epochs = 2", "epochs: unknown; did you mean train.epochs?"),
        ("train = 2", "train = 2: expected a table; write [train], and its keys below"),
        ("[zzz]", "zzz: unknown; choose one of network, data, train"),
        ("[data]\nzzz = 2", "data.zzz: unknown; choose one of data.name, data.training_size, data.seed, data.folder"),
        ("[train]\nrule = 'adma'", "train.rule = 'adma': unknown; did you mean adam?"),
        ("[train]\nmanifold = 'rezolvent'", "train.manifold = 'rezolvent': unknown; did you mean resolvent?"),
        ("[train]\nschedule = 'zzz'", "train.schedule = 'zzz': unknown; choose one of constant, cosine, linear"),
        ("[network]\nactivation = 'tahn'", "network.activation = 'tahn': unknown; did you mean tanh?"),
        ("[network]\ndtype = 'float16'", "network.dtype = 'float16': unknown; did you mean float"),
        ("[train]\nepochs = 2.5", "train.epochs = 2.5: expected a whole number"),
        ("[train]\nepochs = true", "train.epochs = True: expected a whole number"),
        ("[train]\nguard = 1", "train.guard = 1: expected true or false"),
        ("[train]\nrule = 1", "train.rule = 1: expected a text in quotes"),
        ("[train]\nlearning_rate = '1'", "train.learning_rate = '1': expected a number"),
        ("[train]\nlearning_rate = 1" + 400 * "0", "train.learning_rate: a whole number of 401 digits is too large"),
        ("[network]\nunits = 0", "network.units = 0: it has to be 1 or more"),
        ("[train]\nlearning_rate = nan", "train.learning_rate = nan: it has to be 0 or more"),
        ("[train]\nlearning_rate = inf", "train.learning_rate = inf: it has to be below inf"),
        ("[train]\nmargin = 1", "train.margin = 1.0: it has to be below 1"),
        ("[train]\nbatch_size = 2000", "train.batch_size = 2000: too large; there are 1000 stimuli to learn"),
        ("[data]\ntraining_size = 1797", "data.training_size = 1797: too large; the largest is 1796"),
        ("[data]\nfolder = 'here'", "data.folder: the digits come with scikit-learn; leave it out"),
        ("[train]\nrule = 'dW3'\nmanifold = 'gain'", "train.manifold = 'gain': rule 'dW3' has a metric of its own"),
        ("[train]\nrule = 'adam'\nmanifold = 'sparse'", "train.manifold = 'sparse': Subspace (mask of"),
        ("[train]\nrule = 'dW3'\ndecay = 1", "train.decay = 1.0 needs a logarithm, and the rule DeltaW3 has"),
        ("[train]\nmanifold = 'low-rank'\nrule = 'descent'\ndecay = 1", "train.decay = 1.0 needs a logarithm"),
        ("[network]\nradius = 2", "train.manifold = 'scaled-monotone': no place to start; smallest eigenvalue of sym(I − W)"),
        ("[network]\nactivation = 'power-law'", "network.activation: activation 'power-law' has slope"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_made(tmp_path, text, line):
    assert sentence(tmp_path, text).startswith(line)


def test_files_that_cannot_be_read(tmp_path):
    assert sentence(tmp_path, "epochs =").startswith(f"{tmp_path / 'wrong.toml'} is not TOML: ")
    assert "nowhere.toml cannot be read: No such file" in refused(run("train", "--config", tmp_path / "nowhere.toml"))
    (tmp_path / "wrong.toml").write_bytes(b"\xff\xfe")
    assert "is not TOML" in refused(run("train", "--config", tmp_path / "wrong.toml"))


def test_a_byte_order_mark_is_no_error(tmp_path):
    (tmp_path / "config.toml").write_text("[train]\nepochs = 3", encoding="utf-8-sig")
    assert read_config(tmp_path / "config.toml").train.epochs == 3


@pytest.mark.parametrize(
    "text", ["x = " + 900 * "[" + 900 * "]", "x = " + 900 * "{y = " + "1" + 900 * "}", 900 * "y." + "y = 1"]
)
def test_values_that_are_nested_too_deeply(tmp_path, text):
    line = sentence(tmp_path, f"[network]\n{text}")
    assert "is nested too deeply" in line or "unknown; choose one of network.units" in line


@pytest.mark.parametrize("units", [10**6, 10**10, 10**18, 2**63 - 1])
def test_more_units_than_there_is_memory_for(tmp_path, units):
    line = sentence(tmp_path, f"[network]\nunits = {units}")
    assert line.startswith(f"network.units = {units}: too large; the recurrent weights alone take ")


def test_a_lack_of_memory_ends_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("riemannrnn.cli.training_run.physical_memory", lambda: float("inf"))
    result = run("compare", "--units", "1000000", "--output", tmp_path)
    line = refused(result, status=1)
    assert line.startswith("Error: there is not enough memory: Unable to allocate")
    assert line.endswith("choose fewer units or fewer stimuli")


@pytest.mark.parametrize("option", ["--config", "--output", "--data", "--rule"])
def test_resume_takes_no_other_option(tmp_path, option):
    assert "--resume takes no other option" in refused(run("train", "--resume", tmp_path, option, tmp_path))


@pytest.mark.parametrize("path", PATHS)
def test_every_key_is_the_nearest_to_its_own_misspelling(path):
    table, _, key = path.partition(".")
    for wrong in (f"{key}s", key[:-1], key.upper().lower()[::-1] if key[::-1] != key else key + "x"):
        with pytest.raises(SettingError) as caught:
            parse_config({table: {wrong: 1}})
        assert str(caught.value).startswith(f"{table}.{wrong}: unknown; ")
    with pytest.raises(SettingError, match=f"did you mean {path}"):
        parse_config({table: {f"{key}s": 1}})


def test_every_default_is_right_by_its_own_schema(tmp_path):
    defaults = {
        table: {key: value for key, value in keys.items() if value is not None} for table, keys in asdict(Config()).items()
    }
    assert parse_config(defaults) == parse_config({}) == Config()
    write_config(tmp_path / "config.toml", Config())
    assert read_config(tmp_path / "config.toml") == Config()
    assert all(each.metadata["help"] for schema in TABLES.values() for each in fields(schema))


def test_whole_numbers_are_numbers():
    learning_rate = parse_config({"train": {"learning_rate": 1}}).train.learning_rate
    assert isinstance(learning_rate, float)


@pytest.mark.parametrize("name", [*CATALOGUE])
def test_every_manifold_has_its_name(name):
    assert parse_config({"train": {"manifold": name, "rule": RULES[4]}}).train.manifold == name


def test_units_beside_layers_are_refused():
    both = parse_config({"network": {"units": 20, "layers": [{"units": 10}]}})
    with pytest.raises(SettingError, match=r"network\.units = 20: the layers have units of their own"):
        prepare(both)


def test_a_number_stands_for_a_layer_of_this_many_units(tmp_path):
    path = tmp_path / "stack.toml"
    path.write_text('[network]\nlayers = [40, {units = 20, activation = "relu"}, 10]\n', encoding="utf-8")
    layers = read_config(path).network.layers
    assert layers == (LayerTable(units=40), LayerTable(units=20, activation="relu"), LayerTable(units=10))
    write_config(tmp_path / "again.toml", read_config(path))
    assert read_config(tmp_path / "again.toml").network.layers == layers


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (40, r"network\.layers = 40: expected a list, each entry a table or a whole number"),
        ([40, "b"], r"network\.layers\[1\]\.units = 'b': expected a whole number"),
        ([40, 0], r"network\.layers\[1\]\.units = 0: it has to be 1 or more"),
        ([2.5], r"network\.layers\[0\]\.units = 2\.5: expected a whole number"),
        ([True], r"network\.layers\[0\]\.units = True: expected a whole number"),
    ],
)
def test_other_entries_of_layers_are_refused(layers, message):
    with pytest.raises(SettingError, match=message):
        parse_config({"network": {"layers": layers}})
