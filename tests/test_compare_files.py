"""`riemannrnn compare` on files and on stacks, and what it says of the contenders that do not fit."""

import csv
import re
import tomllib

import numpy as np
import pytest
from data_files import package
from test_cli import names, refused, run
from test_train_files import STIMULI, neurons, write_csv, write_hdf5

SHORT = ("--units", 8, "--budget", 6, "--workers", 0)
FEW = ("--contender", "monotone/geodesic", "--contender", "euclidean/additive/descent")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    package("pandas")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def rows(folder, kind="compare"):
    (found,) = folder.glob(f"{kind}-*")
    with open(found / "summary.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)), tomllib.loads((found / "config.toml").read_text(encoding="utf-8"))


def test_the_path_from_a_file_to_predictions(tmp_path):
    """The commands of the README: string labels, missing values, and a column that names the rows."""
    write_csv(tmp_path / "flowers.csv")
    file, runs = tmp_path / "flowers.csv", tmp_path / "runs"
    options = ("--target", "species", "--missing", "mean", "--units", 12)
    checked = run("data", "check", file, "--target", "species")
    assert checked.exit_code == 0, checked.output
    compared = run("compare", "--data", file, *options, "--budget", 12, "--workers", 0, *FEW, "--output", runs)
    assert compared.exit_code == 0, compared.output
    assert re.search(r"Recommended: \S+\. .* with a test accuracy of [\d.]+ % in", compared.stdout), compared.stdout
    trained = run("train", "--data", file, *options, "--epochs", 8, "--manifold", "monotone", "--output", runs)
    assert trained.exit_code == 0, trained.output
    (folder,) = runs.glob("train-*")
    predicted = run("predict", folder, file, "--output", tmp_path / "predictions.csv")
    assert predicted.exit_code == 0, predicted.output
    with open(tmp_path / "predictions.csv", encoding="utf-8", newline="") as opened:
        guesses = [row["species"] for row in csv.DictReader(opened)]
    with open(file, encoding="utf-8", newline="") as opened:
        known = [row["species"] for row in csv.DictReader(opened)]
    right = [guess == label for guess, label in zip(guesses, known, strict=True) if label]
    assert np.mean(right) > 0.9
    table, config = rows(runs)
    assert min(float(row["test_accuracy"]) for row in table) > 0.8
    assert config["data"]["target"] == ["species"]
    assert config["network"]["units"] == 12


def test_rows_without_a_target_take_no_part(tmp_path):
    """Of 120 rows 24 are held out, and every nineteenth has no label: a fifth of the others is for learning rates."""
    write_csv(tmp_path / "flowers.csv")
    data = ("--data", tmp_path / "flowers.csv", "--target", "species", "--missing", "mean")
    result = run("compare", *data, *SHORT, *FEW[:2], "--output", tmp_path)
    counts = [int(each) for each in re.search(r"(\d+) of 96 .* on (\d+) others, and (\d+) rows", result.stdout).groups()]
    assert sum(counts) == 120 - 7
    assert counts[1] == round(0.2 * (counts[0] + counts[1]))


@pytest.mark.parametrize("size", [5, 40])
def test_the_number_of_rows_to_learn_is_a_choice(tmp_path, size):
    write_csv(tmp_path / "flowers.csv", holes=False)
    data = ("--data", tmp_path / "flowers.csv", "--target", "species", "--training-size", size)
    result = run("compare", *data, *SHORT, *FEW[:2], "--output", tmp_path)
    assert f"{size} of 96 training rows are learned" in result.stdout


@pytest.mark.parametrize(("command", "short"), [("compare", (*SHORT, *FEW[:2])), ("train", ("--units", 8, "--epochs", 1))])
def test_the_columns_of_stimuli_and_the_index_are_options(tmp_path, command, short):
    """Without them the texts of the species would be stimuli, which is an error."""
    write_csv(tmp_path / "flowers.csv", holes=False, index=False)
    chosen = ("--target", "length", "--inputs", "width", "--index", "species")
    result = run(command, "--data", tmp_path / "flowers.csv", *chosen, *short, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    config = tomllib.loads(next(tmp_path.glob(f"{command}-*/config.toml")).read_text(encoding="utf-8"))
    assert (config["data"]["inputs"], config["data"]["index"]) == (["width"], "species")


def test_missing_stimuli_are_refused_as_in_training(tmp_path):
    write_csv(tmp_path / "flowers.csv")
    data = ("--data", tmp_path / "flowers.csv", "--target", "species")
    results = [run(command, *data, "--output", tmp_path / "runs") for command in ("compare", "train")]
    assert [each.exit_code for each in results] == [2, 2]
    sentence, same = (each.stderr.splitlines()[-1] for each in results)  # the first also says that it converts the file
    assert sentence == same
    assert "missing='mean'" in sentence
    assert names(tmp_path) == ["flowers.csv"]


def test_numbers_are_ranked_by_loss_and_judged_by_their_explained_variance(tmp_path):
    """Responses of two neurons with holes: R² of the row is that of predictions against the mean over held-out responses."""
    package("h5py")
    write_hdf5(tmp_path / "neurons.h5", neurons())
    data = ("--data", tmp_path / "neurons.h5", "--target", "responses")
    result = run("compare", *data, *SHORT, *FEW, "--budget", 30, "--output", tmp_path / "runs")
    assert result.exit_code == 0, result.output
    assert re.search(r"with a test R² of 0\.\d+ in", result.stdout), result.stdout
    assert "test: R²" in result.stdout
    assert "%" not in result.stdout.partition("Recommended")[2]
    table, config = rows(tmp_path / "runs")
    assert all(row["test_accuracy"] == "nan" for row in table)
    best = min(table, key=lambda row: float(row["training_loss"]))
    assert 0.3 < float(best["test_r_squared"]) < 1
    assert config["data"]["target"] == ["responses"]
    assert len(STIMULI) == 120


@pytest.mark.parametrize("how", ["option", "file"])
def test_a_stack_is_compared_on_products(tmp_path, how):
    layers = ("--layers", "7,5")
    if how == "file":
        (tmp_path / "stack.toml").write_text("[[network.layers]]\nunits = 7\n[[network.layers]]\nunits = 5\n")
        layers = ("--config", tmp_path / "stack.toml")
    few = [part for name in ("dW3", "response", "descent", "left-invariant", "trust") for part in ("--contender", name)]
    result = run("compare", *layers, "--training-size", 30, "--budget", 6, "--workers", 0, *few, "--output", tmp_path / "runs")
    assert result.exit_code == 0, result.output
    (sentence,) = (line for line in result.stdout.splitlines() if line.startswith("Left out, because"))
    assert "per-stimulus/additive/dW3, response/additive/conjugate-gradient" in sentence
    table, config = rows(tmp_path / "runs")
    assert {row["stopped"] for row in table} == {"Used its 6 evaluations."}
    assert [row["contender"] for row in table] == config["compare"]["contenders"]
    assert not {"per-stimulus", "response"} & {row["manifold"] for row in table}
    assert [each["units"] for each in config["network"]["layers"]] == [7, 5]
    assert len({row["training_loss"] for row in table}) > 3, "the manifold matters"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layers", "7,five"), "--layers = '7,five' is not a list of numbers of units; write for instance 200,100"),
        (("--layers", "7,0"), "units = 0"),
        (("--layers", "7,5", "--units", 4), "network.units = 4: the layers have units of their own"),
        (("--layers", "7,5", "--manifold", "gain"), "No contender is left; choose other manifolds, such as monotone"),
        (("--target", "species"), "data.target = 'species' belongs to a file"),
        (("--training-size", 1301), "--training-size = 1301 is outside 10 to 1300"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, arguments, message):
    assert message in refused(run("compare", *arguments, "--output", tmp_path / "runs"))
    assert names(tmp_path) == []
