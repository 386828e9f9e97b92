"""Packages whose public names are imported when they are first used (PEP 562)."""

import ast
import pkgutil
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def lazy_interface(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    The package imports its public names under `if TYPE_CHECKING:`, where type checkers read them. At run time, each name is
    imported from the same module when it is first used. The modules of the package are attributes in the same way.

    Parameters
    ----------
    package
        Its `__name__`.
    """
    homes = cache(lambda: _homes(package))

    def modules() -> list[str]:
        return [each.name for each in pkgutil.iter_modules(sys.modules[package].__path__)]

    def __getattr__(name: str) -> Any:  # noqa: N807
        if not name.startswith("__"):
            if name in homes():
                value = getattr(import_module(homes()[name]), name)
                setattr(sys.modules[package], name, value)  # the next use is an ordinary one
                return value
            if name in modules():
                return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*vars(sys.modules[package]), *homes(), *modules()})

    return __getattr__, __dir__


def _homes(package: str) -> dict[str, str]:
    """Return the module of each name that a package imports for type checkers."""
    source = pkgutil.get_data(package, "__init__.py") or b""
    blocks = [node for node in ast.parse(source).body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    imports = [node for node in imports if node.module != package]  # what a package imports from itself are its modules
    return {alias.name: str(node.module) for node in imports for alias in node.names}
