"""The grid of a sweep: its runs, their seeds, and errors in its file."""

import pytest

from riemannrnn.cli import sets
from riemannrnn.settings import SettingError
from riemannrnn.sweep import Grid, cell
from riemannrnn.sweep.cell import cell_keys
from riemannrnn.sweep.grid import SEEDS

BASE = {"network": {"units": 5}, "data": {"training_size": 20}, "train": {"batch_size": 10, "epochs": 1}}
AXES = {"train.manifold": ["euclidean", "monotone"], "train.learning_rate": [0.01, 0.1, 1]}
TOML = """
replicates = 2
[base.network]
units = 5
[grid]
"train.manifold" = ["euclidean", "monotone"]
train.learning_rate = [0.01, 0.1]
[[exclude]]
"train.manifold" = "monotone"
"train.learning_rate" = [0.1, 1.0]
"""


def test_a_cell_for_each_point_and_replicate():
    cells = Grid(BASE, AXES, replicates=2).cells()
    assert [(each.place["train.manifold"], each.place["train.learning_rate"], each.replicate) for each in cells] == [
        (manifold, rate, replicate) for manifold in AXES["train.manifold"] for rate in (0.01, 0.1, 1) for replicate in (0, 1)
    ]
    for each in cells:
        assert each.tables["train"] == BASE["train"] | {
            "manifold": each.place["train.manifold"],
            "learning_rate": each.place["train.learning_rate"],
            "seed": each.tables["train"]["seed"],
        }
    assert BASE["train"] == {"batch_size": 10, "epochs": 1}, "the base is not changed"


def test_points_that_are_excluded(tmp_path):
    (tmp_path / "grid.toml").write_text(TOML)
    grid = Grid.read(tmp_path / "grid.toml")
    assert len(grid.cells()) == 3 * 2
    assert {"train.manifold": "monotone", "train.learning_rate": 0.1} not in [each.place for each in grid.cells()]
    assert Grid.parse(grid.as_tables()) == grid
    with pytest.raises(SettingError, match="every point is excluded"):
        Grid(BASE, AXES, [{"train.manifold": ["euclidean", "monotone"]}]).cells()


def test_seeds_depend_only_on_the_replicate():
    cells = Grid(BASE, AXES, replicates=3).cells()
    seeds = {each.replicate: set() for each in cells}
    for each in cells:
        seeds[each.replicate].add(tuple(each.tables[path.split(".")[0]]["seed"] for path in SEEDS))
    assert {len(found) for found in seeds.values()} == {1}, "common to all points"
    assert len(set.union(*seeds.values())) == 3, "different for each replicate"
    assert len(SEEDS) == len(set(next(iter(seeds[0])))) >= 3, "different for each option"
    assert Grid(BASE, AXES, seed=1).seeds(0) != Grid(BASE, AXES).seeds(0) == Grid({}, {}).seeds(0)


def test_a_given_seed_is_kept():
    fixed = BASE | {"data": BASE["data"] | {"seed": 7}}
    assert {each.tables["data"]["seed"] for each in Grid(fixed, AXES, replicates=2).cells()} == {7}
    varied = Grid(BASE, {"network.seed": [3, 4]}, replicates=2).cells()
    assert [each.tables["network"]["seed"] for each in varied] == [3, 3, 4, 4]


def test_keys_follow_from_the_content(monkeypatch):
    cells = Grid(BASE, AXES, replicates=2).cells()
    keys = cell_keys(cells)
    assert len(set(keys)) == len(cells)
    assert cell_keys(Grid(BASE, dict(reversed(AXES.items())), replicates=2).cells()[:2])[0] == keys[0], "not from the place"
    written_out = BASE | {"network": BASE["network"] | {"activation": "tanh"}}
    assert cell_keys(Grid(written_out, AXES, replicates=2).cells()) == keys, "defaults are the same configuration"
    monkeypatch.setattr(cell, "version", lambda name: "9.9")
    assert not set(cell_keys(cells)) & set(keys)


def test_keys_follow_from_the_data(monkeypatch):
    cells = Grid(BASE, AXES).cells()
    keys = cell_keys(cells)
    monkeypatch.setattr(sets, "fingerprint", lambda *arrays: str(float(sum(array.sum() for array in arrays))))
    other = cell_keys(cells)
    assert not set(other) & set(keys)
    assert cell_keys(cells) == other


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"gird": {}}, "gird: unknown; did you mean grid"),
        ({"base": 3}, "base = 3: write it as a table"),
        ({"exclude": {"a": 1}}, r"exclude = .*: write it as a table"),
        ({"exclude": [3]}, r"exclude = \[3\]: write \[\[exclude\]\]"),
        ({"replicates": 0}, "replicates = 0: it has to be 1 or more"),
        ({"seed": 1.5}, "seed = 1.5: expected a whole number"),
        ({"grid": {"train.epochs": 3}}, "grid.train.epochs = 3: an axis is a list"),
        ({"grid": {"train.epochs": []}}, "grid.train.epochs = .*: an axis is a list with at least one value"),
        ({"grid": {"train.learning_rate": [1, 1.0]}}, "grid.train.learning_rate = .*: a value occurs twice"),
        (
            {"grid": AXES, "exclude": [{"train.manifolt": "dale"}]},
            "exclude.train.manifolt: unknown; did you mean train.manifold",
        ),
        ({"grid": {"train.manifolt": ["dale"]}}, "train.manifolt: unknown; did you mean train.manifold"),
        ({"grid": {"train.manifold": ["dales"]}}, "train.manifold = 'dales': unknown; did you mean dale"),
        ({"base": {"train": {"epochs": "3"}}}, "train.epochs = '3': expected a whole number"),
        ({"grid": {"train.epochs.x": [1]}, "base": {"train": {"epochs": 3}}}, "train.epochs.x: 'x' has no place in the base"),
    ],
)
def test_invalid_arguments_are_named_before_the_first_run(tables, message):
    with pytest.raises(SettingError, match=message):
        Grid.parse(tables).cells()


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingError, match="cannot be read: No such file"):
        Grid.read(tmp_path / "nowhere.toml")
    (tmp_path / "wrong.toml").write_text("[grid")
    with pytest.raises(SettingError, match="is not TOML"):
        Grid.read(tmp_path / "wrong.toml")
