"""Pages that the build makes from the code: API reference and table of metrics; and a check that nothing is missing."""

import ast
import inspect
import pkgutil
from importlib import import_module
from textwrap import dedent
from types import ModuleType

from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from writing import GENERATED, write_page

from riemannrnn.explorer.playground import Paths, scene
from riemannrnn.explorer.presets import PRESETS
from riemannrnn.explorer.surveys import survey
from riemannrnn.metrics.catalogue import metrics_table
from riemannrnn.plots.panels import picture

SIDE = 25
"""Points along each side of the losses in the pictures of the explorer."""

MODULES = (
    "manifolds",
    "riemannrnn",
    "riemannrnn.models",
    "riemannrnn.network",
    "riemannrnn.equilibrium",
    "riemannrnn.cost",
    "riemannrnn.metrics",
    "riemannrnn.metrics.catalogue",
    "riemannrnn.rules",
    "riemannrnn.training",
    "riemannrnn.training.stopping",
    "riemannrnn.comparison",
    "riemannrnn.sweep",
    "riemannrnn.data",
    "riemannrnn.analysis",
    "riemannrnn.explorer",
    "riemannrnn.paper",
    "riemannrnn.plots",
)
"""One page for each, in this order; a name that several of them export is described on the first."""

TITLES = ("Classes", "Functions", "Errors", "Constants and types")
"""The kinds of public names, in the order of a page."""

DESCRIBED: dict[tuple[str, int], str] = {}
"""The place where each public name is described, by the name and the identity of its object."""


def write(app=None):
    """Write everything that is generated; Sphinx calls it before it looks for sources.

    Pictures that are there are kept, and pages are written where they change, so that a second build is short. `make docs`
    begins with nothing.
    """
    GENERATED.mkdir(exist_ok=True)
    for name in MODULES:
        write_page(f"{name}.rst", api_page(import_module(name)))
    write_page("metrics.md", metrics_table() + "\n")
    for name, preset in PRESETS.items():
        path = GENERATED / f"explorer-{name}.png"
        if not path.exists():
            panels = scene(preset.state, survey(preset.state.setting(), SIDE), Paths()).panels
            path.write_bytes(picture(panels, "png", preset.title))


def public_names(module: ModuleType) -> list[str]:
    """Return `__all__`, or for a module without it the names that the module defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__, key=str.casefold)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    constants = [name for name in vars(module) if name.isupper()]
    return sorted((name for name in {*own, *constants} if not name.startswith("_")), key=str.casefold)


def api_page(module: ModuleType) -> str:
    """Return the reference of a module: its docstring, a table of each kind of public name, and every name that is not a class.

    A class gets a page of its own, which this function writes.
    """
    name = module.__name__
    groups: dict[str, list[tuple[str, str]]] = {title: [] for title in TITLES}
    elsewhere = []
    for public in public_names(module):
        value = getattr(module, public)
        if isinstance(value, ModuleType):
            elsewhere.append(f"- :doc:`{public} <{value.__name__}>`, a module")
        elif (public, id(value)) in DESCRIBED:
            elsewhere.append(f"- `{public} <{DESCRIBED[public, id(value)]}>`")
        else:
            DESCRIBED[public, id(value)] = f"{name}.{public}"
            group, directive = _kind(module, public, value)
            groups[group].append((public, directive))
    for public, directive in groups["Classes"]:
        write_page(f"{name}.{public}.rst", class_page(name, public, directive))
    parts = [f"{name}\n{'=' * len(name)}", f".. automodule:: {name}\n   :no-members:", f".. currentmodule:: {name}"]
    for title, described in groups.items():
        if described:
            parts += [f"{title}\n{'-' * len(title)}", _summary(title, [public for public, _ in described])]
            parts += [directive for _, directive in described if title != "Classes"]
    if elsewhere:
        parts += ["Described elsewhere\n-------------------", "\n".join(elsewhere)]
    return "\n\n".join(parts) + "\n"


def class_page(module: str, name: str, directive: str) -> str:
    """Return the page of a class."""
    return f"{name}\n{'=' * len(name)}\n\n.. currentmodule:: {module}\n\n{directive}\n"


def _summary(title: str, names: list[str]) -> str:
    """Return a table of names and first sentences; classes lead to their pages. Constants stand below, without a table."""
    if title == "Constants and types":
        return ""
    options = ["   :nosignatures:"] + ["   :toctree:"] * (title == "Classes")
    return "\n".join([".. autosummary::", *options, "", *(f"   {name}" for name in names)])


def _kind(module: ModuleType, name: str, value: object) -> tuple[str, str]:
    """Return the group of a public name, and the directive that describes it."""
    full = f"{module.__name__}.{name}"
    if inspect.isclass(value) and getattr(value, "__name__", None) == name:
        if issubclass(value, BaseException):
            return "Errors", f".. autoexception:: {full}\n   :show-inheritance:"
        bases = "" if value.__bases__ == (object,) else "\n   :show-inheritance:"
        return "Classes", f".. autoclass:: {full}\n   :members:{bases}"
    if inspect.isroutine(value):
        return "Functions", f".. autofunction:: {full}"
    text = _documentation(module, name) or ["(no description)"]
    return "Constants and types", "\n".join([f".. py:data:: {name}", "", *(f"   {line}" for line in text)])


def _documentation(module: ModuleType, name: str) -> list[str]:
    """Return the docstring below an assignment, in the module itself or in the module that defines the name."""
    for candidate in (module.__name__, *_modules(module.__name__.split(".")[0])):
        found = ModuleAnalyzer.for_module(candidate).find_attr_docs().get(("", name))
        if found:
            return found
    return []


def skip_requests(app, what, name, member, skip, options):
    """Leave out scikit-learn's methods for routing metadata; their docstrings refer to scikit-learn's own pages."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def tidy_members(app, what, name, obj, options, lines):
    """Leave out of the table of methods what is documented elsewhere, and let attributes refer to this class.

    numpydoc writes the table. A method without a docstring overrides a method that is documented in a base class.
    """
    if what != "class":
        return
    lines[:] = [line.replace("<.", f"<{name}.") if line.strip().startswith(":obj:`") else line for line in lines]
    if ".. autosummary::" in lines:
        first = lines.index(".. autosummary::") + 2
        last = next((number for number in range(first, len(lines)) if not lines[number].strip()), len(lines))
        documented = [line for line in lines[first:last] if getattr(getattr(obj, line.strip(), None), "__doc__", None)]
        if documented:
            lines[first:last] = documented
        else:
            del lines[first - 4 : last]


def source_signature(app, what, name, obj, options, signature, returns):
    """Return the signature as written, with aliases such as `Array` and `Retraction` instead of their values."""
    if what == "module":
        return None
    function = obj.__init__ if inspect.isclass(obj) else obj
    try:
        (definition,) = ast.parse(dedent(inspect.getsource(inspect.unwrap(function)))).body
    except (OSError, TypeError):  # generated methods of a dataclass have no source
        return None
    if not isinstance(definition, ast.FunctionDef):
        return None
    arguments = definition.args
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        del arguments.args[0]
    written = None if inspect.isclass(obj) or definition.returns is None else ast.unparse(definition.returns)
    return f"({ast.unparse(arguments)})", written and written.strip("'")


def _modules(package: str) -> list[str]:
    """Return the names of a package and of all its modules, without `__main__`, which runs when it is imported."""
    inside = pkgutil.walk_packages(import_module(package).__path__, f"{package}.")
    return [package, *(each.name for each in inside if not each.name.endswith("__main__"))]


def check_complete(app, env):
    """Check that the documentation contains every name of every `__all__`."""
    there = {*env.domains.python_domain.objects, *MODULES}
    missing = []
    for package in ("manifolds", "riemannrnn"):
        for name in _modules(package):
            module = import_module(name)
            for public in getattr(module, "__all__", ()):
                value = getattr(module, public)
                found = value.__name__ if isinstance(value, ModuleType) else DESCRIBED.get((public, id(value)))
                if found not in there:
                    missing.append(f"{name}.{public}")
    if missing:
        raise ExtensionError(f"public but not documented: {', '.join(missing)}; give the module a page in docs/pages.py")
    logging.getLogger(__name__).info("every public name is documented")
