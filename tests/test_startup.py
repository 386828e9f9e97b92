"""What is imported when: help and invalid arguments import nothing heavy, and public names come when they are used."""

import ast
import inspect
import os
import pickle
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest

import manifolds
import riemannrnn
from riemannrnn.cli import commands

HEAVY = (
    *("autograd", "bokeh", "dask", "h5py", "h5netcdf", "jax", "matplotlib", "pandas", "panel"),
    *("pymanopt", "scipy", "sklearn", "tensorflow", "torch", "xarray"),
)
"""Libraries that help and errors in arguments have no use for."""

LAZY = ["manifolds", "riemannrnn"] + [
    f"riemannrnn.{name}"
    for name in ("analysis", "comparison", "data", "metrics", "models", "network", "rules", "training")
]  # fmt: skip
"""Packages whose names are imported when they are used."""

COMMAND_LINES = """
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from typer.main import get_command

from riemannrnn.cli import app

INVALID = (["compare", "--units", "many"], ["train", "--epochs", "few"], ["predict"])


def lines(command, path):
    yield from ([*path, "--help"], [*path, "--nothing"])
    for name, each in getattr(command, "commands", {}).items():
        yield from lines(each, [*path, name])


tried = [["--version"], ["nothing"], *lines(get_command(app), []), *INVALID]
assert {"train", "sweep", "check"} <= {word for line in tried for word in line}
for line in tried:
    output = StringIO()
    with redirect_stderr(output), redirect_stdout(output):
        try:
            app(line)
        except SystemExit as end:
            assert end.code == (0 if line[-1] in ("--help", "--version") else 2), (line, end.code)
    assert output.getvalue()
    found = sorted(set(sys.argv[1:]) & set(sys.modules))
    assert not found, f"riemannrnn {' '.join(line)} imports {', '.join(found)}"
"""

WITH_OTHERS = """
import sys

before = list(sys.meta_path)
import manifolds
import numpy as np
import riemannrnn

heavy = {"pymanopt", "scipy", "sklearn", "xarray", "matplotlib", "pandas"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
network = riemannrnn.RateNetwork(n_units=5, n_inputs=3, n_outputs=2, seed=0)
W, stimuli, labels = network.initial_weights(0.5), np.eye(3), np.array([0, 1, 0])
riemannrnn.train(network, W, stimuli, labels, learning_rate=0.1, epochs=1)
cost = riemannrnn.FixedPointCost(network, stimuli, riemannrnn.CrossEntropy(labels))
problem = cost.problem(manifolds.PullbackManifold(manifolds.Resolvent(), 5))
import pymanopt

assert pymanopt.optimizers.SteepestDescent(max_iterations=2, verbosity=0).run(problem, initial_point=W).cost < cost(W)
assert sys.meta_path == before
unused = {"torch", "jax", "sklearn", "xarray", "matplotlib", "pandas"}
assert not unused & set(sys.modules), f"training imports {unused & set(sys.modules)}"

assert callable(pymanopt.function.jax(problem.manifold))  # other code has them as ever
assert {"torch", "jax"} <= set(sys.modules)
"""


def run(code: str, *arguments: str, folder: Path | None = None) -> None:
    environment = dict(os.environ) | ({"PYTHONPATH": str(folder)} if folder else {})
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_help_and_invalid_arguments_import_nothing_heavy():
    run(COMMAND_LINES, *HEAVY)


def test_pymanopt_imports_no_library_beside_it_until_it_is_used(tmp_path):
    (tmp_path / "torch.py").write_text("autograd = None\n")
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("from types import SimpleNamespace\nconfig = SimpleNamespace(update=print)\n")
    (tmp_path / "jax" / "numpy.py").write_text("")
    run(WITH_OTHERS, folder=tmp_path)


def test_functions_with_given_derivatives_have_no_others():
    from manifolds.deferred import given_derivatives

    decorated = given_derivatives(manifolds.PullbackManifold(manifolds.Identity(), 2))(lambda point: 1.0)
    assert decorated(0) == 1
    with pytest.raises(NotImplementedError, match="pass its gradient and Hessian"):
        decorated.get_gradient_operator()


COMMANDS = [command for command in vars(commands).values() if inspect.isfunction(command) and hasattr(command, "__wrapped__")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_each_command_takes_the_options_that_are_declared(command, monkeypatch):
    """Call it with all options that its declaration has: the module behind it takes just these."""
    declared = inspect.unwrap(command)
    called = []
    for module in pkgutil.iter_modules(import_module("riemannrnn.cli").__path__, "riemannrnn.cli."):
        home = import_module(module.name)
        if hasattr(home, f"{declared.__name__}_command"):
            work = getattr(home, f"{declared.__name__}_command")
            monkeypatch.setattr(home, work.__name__, lambda **options: called.append(options))
    command(**dict.fromkeys(inspect.signature(command).parameters))
    assert [each.keys() for each in called] == [inspect.signature(work).parameters.keys()]
    kinds = get_type_hints(work)
    assert kinds == get_type_hints(declared) | {"return": type(None)}


def declared_in(package: str) -> dict[str, str]:
    """Return the module of each name that a package imports for type checkers."""
    tree = ast.parse(Path(str(import_module(package).__file__)).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {alias.name: str(node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


@pytest.mark.parametrize("package", LAZY)
def test_lazy_packages_have_the_names_that_they_declare(package):
    module, homes = import_module(package), declared_in(package)
    assert set(module.__all__) == set(homes)
    assert set(module.__all__) <= set(dir(module))
    found: dict[str, object] = {}
    exec(f"from {package} import *", found)
    for name, home in homes.items():
        assert found[name] is getattr(import_module(home), name), name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing
    with pytest.raises(ImportError, match="nothing"):
        exec(f"from {package} import nothing")


@pytest.mark.parametrize("package", LAZY)
def test_no_name_is_hidden_by_a_module_of_the_package(package):
    """The import of a module sets the attribute of its package that has its name."""
    modules = {each.name for each in pkgutil.iter_modules(import_module(package).__path__)}
    assert not modules & {name for name, home in declared_in(package).items() if home != package}


def test_all_packages_that_are_lazy_are_tested():
    root = Path(str(riemannrnn.__file__)).parents[1]
    sources = {path: path.read_text(encoding="utf-8") for path in root.glob("riemannrnn/**/__init__.py")}
    lazy = {path.parent.relative_to(root).parts for path, source in sources.items() if "lazy_interface" in source}
    assert {".".join(parts) for parts in lazy} == {*LAZY} - {"manifolds"}


def test_public_classes_are_pickled_by_their_modules():
    for package in LAZY:
        for name in import_module(package).__all__:
            value = getattr(import_module(package), name)
            if inspect.isclass(value):
                assert pickle.loads(pickle.dumps(value)) is value


@pytest.mark.parametrize("name", ["rules", "data", "estimators", "cost", "settings"])
def test_modules_are_attributes_of_the_package(name):
    run(f"import riemannrnn\nassert riemannrnn.{name}.__name__ == 'riemannrnn.{name}'\nassert '{name}' in dir(riemannrnn)")
