"""Each option is declared once: `train`, configuration files, estimators, costs and resumed runs share the records."""

import ast
import copy
import inspect
import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import riemannrnn
from riemannrnn import FixedPointClassifier, FixedPointCost, FixedPointRegressor, solve_fixed_points, train
from riemannrnn.cli.config import TABLES, TrainTable
from riemannrnn.equilibrium import Newton, SolverOptions
from riemannrnn.estimators.base import EstimatorOptions
from riemannrnn.rules.paper import DeltaW3
from riemannrnn.settings import Options, SettingError
from riemannrnn.training import StabilityGuard, TrainingOptions
from riemannrnn.training.options import SCHEDULES

SEEDS = {"seed"}
"""Names with different meanings in different tables: the seed of the network, of the data and of the order."""


def names(record):
    return [each.name for each in fields(record)]


def records(record=Options):
    """Return all records of options."""
    return {one for each in record.__subclasses__() for one in (each, *records(each))}


def repeated(tree, known):
    """Yield the lists, tables, calls and signatures of a module that name several options, with the names."""
    for node in ast.walk(tree):
        found = set()
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            found = {each.value for each in node.elts if isinstance(each, ast.Constant)}
        elif isinstance(node, ast.Dict):
            found = {each.value for each in node.keys if isinstance(each, ast.Constant)}
        elif isinstance(node, ast.ClassDef):
            own = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            found = {each.target.id for each in own if not named(each.value, ("again", "option"))}
        if len(found & known) > 3:
            yield node.lineno, sorted(found & known)


def named(call, functions):
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in functions


def test_no_option_is_declared_twice():
    helps = {}
    for record in records():
        for each in fields(record):
            helps.setdefault(each.name, set()).add(each.metadata["help"])
    assert {"learning_rate", "tolerance", "units"} <= set(helps)
    assert {name for name, told in helps.items() if len(told) > 1} == SEEDS


def test_no_module_lists_options_by_hand():
    known = {*names(TrainingOptions), *names(SolverOptions)}
    for path in sorted(Path(riemannrnn.__file__).parent.rglob("*.py")):
        assert not list(repeated(ast.parse(path.read_text(encoding="utf-8")), known)), path


def test_a_list_of_options_by_hand_is_seen():
    code = """KEYS = ["rule", "decay", "seed", "epochs"]
class Table:
    rule: str = key()
    decay: float = key()
    seed: int = 0
    epochs: int = 1
"""
    found = list(repeated(ast.parse(code), set(names(TrainingOptions))))
    assert {line for line, _ in found} == {1, 2}


@pytest.mark.parametrize(
    ("function", "record", "left_out"),
    [
        (train, TrainingOptions, set()),
        (train, SolverOptions, {"max_iterations", "on_failure"}),
        (solve_fixed_points, SolverOptions, {"adjoint_solver"}),
        (FixedPointCost, SolverOptions, set()),
        (FixedPointClassifier, EstimatorOptions, {"seed", "longest_step", "guard", "evaluate_every", "checkpoint_every"}),
        (FixedPointRegressor, EstimatorOptions, {"seed", "longest_step", "guard", "evaluate_every", "checkpoint_every"}),
    ],
)
def test_signatures_have_the_names_and_defaults_of_the_record(function, record, left_out):
    """The solver of training depends on the manifold, and a cost is infinite where other functions raise."""
    parameters = inspect.signature(function).parameters
    assert set(names(record)) - set(parameters) == left_out
    for each in fields(record):
        own = {(train, "solver"): None, (FixedPointCost, "on_failure"): "inf"}
        if each.name in parameters:
            assert parameters[each.name].default == own.get((function, each.name), each.default), each.name


def test_every_parameter_of_an_estimator_is_an_option():
    assert set(FixedPointClassifier().get_params()) - set(names(EstimatorOptions)) == {"random_state", "class_weight"}


def test_the_keys_of_a_configuration_are_the_options_of_train():
    assert TABLES["train"] is TrainTable
    assert names(TrainTable) == [*names(TrainingOptions), "margin", "record"]


def test_the_help_of_train_is_that_of_the_record():
    text = " ".join(train.__doc__.split())
    assert all(" ".join(each.metadata["help"].split()) in text for each in fields(TrainingOptions))
    assert "{options}" not in text


def test_objects_are_options_but_not_in_files():
    options = TrainingOptions(rule=DeltaW3(), seed=np.random.default_rng(0), guard=StabilityGuard(), schedule=lambda done: 0.5)
    assert isinstance(options.rule, DeltaW3)
    assert SolverOptions(solver=Newton()).solver == Newton()
    with pytest.raises(SettingError, match=r"^rule = .*: expected a text in quotes$"):
        TrainTable(rule=DeltaW3())
    with pytest.raises(SettingError, match=r"^solver = 3: expected a text in quotes or Solver$"):
        SolverOptions(solver=3)


def test_records_hold_plain_numbers_and_stay_checked():
    options = TrainingOptions(learning_rate=np.float32(0.5), batch_size=np.int64(3))
    assert (type(options.learning_rate), type(options.batch_size)) == (float, int)
    with pytest.raises(SettingError, match="batch_size = 0: it has to be 1 or more"):
        replace(options, batch_size=0)
    with pytest.raises(AttributeError):
        options.decay = 1.0


@pytest.mark.parametrize(
    "made", [TrainingOptions(rule="adam"), SolverOptions(solver=Newton()), TrainTable(), EstimatorOptions()]
)
def test_records_can_be_copied_and_stored(made):
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made


def test_what_a_resumed_run_may_change():
    free = {each.name for each in fields(TrainingOptions) if not each.metadata["resumed"]}
    assert free == {"seed", "evaluate_every", "checkpoint_every"}
    described = TrainingOptions(rule=DeltaW3(), schedule=SCHEDULES["linear"], guard=StabilityGuard(0.1)).described()
    assert not free & set(described)
    assert described["rule"].startswith("DeltaW3")
    assert described["schedule"] == "1, 0.75, 0.5, 0.25"
    assert described["guard"].startswith("StabilityGuard(margin=0.1")
