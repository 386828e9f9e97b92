"""pymanopt, imported when it is first used, and without the libraries of automatic differentiation that are installed.

`import pymanopt` imports `pymanopt.function`, which imports torch, JAX and TensorFlow where they are installed. This takes
seconds, and it switches JAX to double precision. Here `pymanopt.function` is loaded when its first attribute is used, by
`importlib.util.LazyLoader`. Other code uses pymanopt as before. If pymanopt is imported already, nothing is changed.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # by the aliases, type checkers know that other modules may import these names
    import pymanopt as pymanopt  # noqa: PLC0414
    from pymanopt.manifolds.manifold import Manifold as Manifold  # noqa: PLC0414

DEFERRED = "pymanopt.function"
"""The module that imports the libraries of automatic differentiation."""


class _Finder:
    """Finds the deferred module as the path does, and has it loaded when it is first used."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path, target) if fullname == DEFERRED else None
        if found is not None and found.loader is not None:
            found.loader = LazyLoader(found.loader)
        return found


@contextmanager
def _deferring() -> Iterator[None]:
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def __getattr__(name: str) -> Any:
    """Return `pymanopt`, or its base class `Manifold` of all manifolds."""
    if name not in ("Manifold", "pymanopt"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _deferring():
        package = import_module("pymanopt")
    return package if name == "pymanopt" else package.manifolds.manifold.Manifold


class _Given:
    """The backend of functions whose derivatives are given. The module of pymanopt's own one imports all others, too."""

    def __str__(self) -> str:
        return "NumPy"

    def is_available(self) -> bool:
        return True

    def prepare_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def generate_gradient_operator(self, function: Any, num_arguments: int) -> Any:
        """Refuse.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("this function has no automatic derivatives; pass its gradient and Hessian to the problem")

    generate_hessian_operator = generate_gradient_operator


def given_derivatives(manifold: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return pymanopt's decorator of functions on a manifold whose derivatives are given, as `pymanopt.function.numpy` does."""
    decorate = __getattr__("pymanopt").autodiff.backend_decorator_factory(_Given)
    decorator: Callable[[Callable[..., Any]], Any] = decorate(manifold)
    return decorator
