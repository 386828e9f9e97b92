"""The error for data that cannot be used, and the message about a missing package."""

from importlib import import_module
from types import ModuleType


class DatasetError(ValueError):
    """A data set is missing, damaged or invalid; the message says which one, why, and what to do."""


def require(package: str, purpose: str) -> ModuleType:
    """Return an optional package.

    Parameters
    ----------
    package
        Its name in an import statement.
    purpose
        What needs the package, such as "a CSV file", for the message.

    Raises
    ------
    DatasetError
        If it cannot be imported.
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise DatasetError(
            f"{purpose} is read by {name}, which cannot be imported ({error}); install it: pip install 'riemannrnn[data]'"
        ) from error
