"""Who may import whom, read from the source: nothing imports upwards, and every dependency has its place."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for package in ("manifolds", "riemannrnn") for path in (ROOT / package).rglob("*.py"))

LAYERS = {
    "riemannrnn.backend": 0,
    "riemannrnn.data": 0,
    "riemannrnn.norms": 0,
    "riemannrnn.progress": 0,
    "riemannrnn.runtime": 0,
    "riemannrnn.run_folder": 0,
    "riemannrnn.settings": 0,
    "riemannrnn.state_file": 0,
    "riemannrnn.network": 1,
    "riemannrnn.equilibrium": 2,
    "riemannrnn.models": 3,
    "riemannrnn.cost": 4,
    "riemannrnn.metrics": 5,
    "riemannrnn.rules": 6,
    "riemannrnn.training": 7,
    "riemannrnn.comparison": 8,
    "riemannrnn.analysis": 9,
    "riemannrnn.plots": 10,
    "riemannrnn.estimators": 10,
    "riemannrnn.paper": 11,
    "riemannrnn.explorer": 11,
    "riemannrnn.cli.common": 12,
    "riemannrnn.cli.config": 12,
    "riemannrnn.cli.layers": 12,
    "riemannrnn.cli.options": 12,
    "riemannrnn.cli.sets": 12,
    "riemannrnn.cli.training_run": 12,
    "riemannrnn.cli.train": 12,  # the run of a configuration, which a sweep repeats
    "riemannrnn.sweep": 13,
    "riemannrnn.cli": 14,
    "riemannrnn": 15,  # the table of contents
    "riemannrnn.__main__": 16,
}
"""The higher may import the lower; a module belongs to the longest prefix of its name."""

PRIVATE_ACCESS_LEFT = {
    ("manifolds.fixed_rank", "_FixedRankPoint"),
    ("manifolds.fixed_rank", "_FixedRankTangentVector"),
    ("manifolds.points", "_ProductTangentVector"),
    ("manifolds.subspace", "_like"),
}
"""Modules that still use a private name of another module; the set may only shrink."""

GLOBAL_RANDOMNESS = {"seed", "rand", "randn", "randint", "random", "normal", "uniform", "choice", "shuffle", "permutation"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Return every module or name that a file imports, dotted, wherever in the file it does."""
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            origin = base if node.level else node.module
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def layer(name: str) -> int | None:
    """Return the layer of a module or of a name imported from one; None outside riemannrnn."""
    parts = name.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((LAYERS[prefix] for prefix in prefixes if prefix in LAYERS), None)


def upward_imports(path: Path) -> set[str]:
    own = layer(module_name(path))
    return set() if own is None else {name for name in imports(path) if (layer(name) or 0) > own}


def private_access(path: Path) -> set[str]:
    """Return the private names that a file uses and does not define: imported ones, and attributes of other objects."""
    nodes = list(ast.walk(tree(path)))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    of_self = {node.attr for node in attributes if ast.unparse(node.value) in ("self", "cls", "super()")}
    used = {node.attr for node in attributes if ast.unparse(node.value) not in ("self", "cls", "super()")}
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return {name for name in (used - own - of_self) | imported if name.startswith("_") and not name.endswith("__")}


@pytest.fixture(params=FILES, ids=module_name)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_manifolds_knows_nothing_of_networks(path):
    if module_name(path).split(".")[0] == "manifolds":
        allowed = {"manifolds", "numpy", "scipy", "autograd", "array_api_compat", "pymanopt", *sys.stdlib_module_names}
        assert {name.split(".")[0] for name in imports(path)} <= allowed


def test_every_module_has_a_layer(path):
    if module_name(path) not in ("riemannrnn", "riemannrnn.__main__") and module_name(path).startswith("riemannrnn."):
        assert layer(module_name(path)) < LAYERS["riemannrnn"], "give it a layer"


def test_nothing_imports_upwards(path):
    assert not upward_imports(path)


def test_matplotlib_is_for_plots_and_cupy_for_the_backend(path):
    roots = {name.split(".")[0] for name in imports(path)}
    assert "matplotlib" not in roots or module_name(path).startswith("riemannrnn.plots")
    assert not any("cupy" in name for name in imports(path)) or path.name == "backend.py"


def test_nothing_uses_pickle(path):
    assert not {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"} & {name.split(".")[0] for name in imports(path)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False


def test_nothing_uses_global_randomness(path):
    names = {ast.unparse(node) for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)} | imports(path)
    for prefix in ("np.random", "numpy.random"):
        assert not {f"{prefix}.{function}" for function in GLOBAL_RANDOMNESS} & names
    assert "random" not in {name.split(".")[0] for name in imports(path)}


def test_nothing_validates_by_assert(path):
    """`python -O` would remove the check."""
    assert not [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]


def test_nothing_uses_private_names_of_other_modules(path):
    left = {name for module, name in PRIVATE_ACCESS_LEFT if module == module_name(path)}
    found = private_access(path)
    assert found <= left, "make the name public, or use what is"
    assert found == left, "remove it from PRIVATE_ACCESS_LEFT"


def test_private_access_is_seen(tmp_path):
    code = (
        "from numpy import _core\nclass A:\n    def f(self, b):\n        return self._x + b._x + b._y + b.c._z() + b.__doc__\n"
    )
    (tmp_path / "bad.py").write_text(code)
    assert private_access(tmp_path / "bad.py") == {"_core", "_y", "_z"}


def test_a_file_that_imports_upwards_is_seen(tmp_path, monkeypatch):
    offender = tmp_path / "riemannrnn" / "network" / "bad.py"
    offender.parent.mkdir(parents=True)
    offender.write_text("from ..cost import cost\nimport cupy.linalg\nfrom riemannrnn.plots import figure\nimport numpy\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert imports(offender) == {"riemannrnn.cost.cost", "cupy.linalg", "riemannrnn.plots.figure", "numpy"}
    assert upward_imports(offender) == {"riemannrnn.cost.cost", "riemannrnn.plots.figure"}


def test_scikit_learn_is_imported_when_it_is_wanted() -> None:
    lines = [
        "import sys, riemannrnn",
        "assert 'sklearn' not in sys.modules",
        "assert 'estimators' in dir(riemannrnn) and 'train' in dir(riemannrnn)",
        "assert riemannrnn.estimators.FixedPointRegressor is riemannrnn.FixedPointRegressor",
        "assert not hasattr(riemannrnn, 'nothing')",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
