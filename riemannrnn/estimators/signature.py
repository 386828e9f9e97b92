"""Signatures of constructors that pass keyword arguments on, as scikit-learn reads them."""

import inspect
from collections.abc import Callable
from typing import Any


def extended(base: Callable[..., Any], own: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a constructor with the parameters of the base that it passes on in place of its ``**options``.

    scikit-learn takes the names and defaults of the parameters of an estimator from this signature.
    """
    inherited, added = inspect.signature(base).parameters, inspect.signature(own).parameters
    named = [each for each in added.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    return inspect.Signature([*inherited.values(), *(each for each in named if each.name not in inherited)])
