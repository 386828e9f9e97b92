"""Checks that the entries of stimuli and targets are finite."""

from array_api_compat import array_namespace

from manifolds import Array
from manifolds.points import all_finite


def check_finite(name: str, rows: Array) -> None:
    """Check that an array holds neither NaN nor infinity.

    Raises
    ------
    ValueError
        Naming the first row that holds any.
    """
    if not all_finite(rows):
        _refuse(name, array_namespace(rows).isfinite(rows), "NaN or infinity; repair it or leave it out")


def check_no_infinity(name: str, rows: Array) -> None:
    """Check that an array holds no infinity. NaN marks what is missing.

    Raises
    ------
    ValueError
        Naming the first row that holds any.
    """
    if not all_finite(rows):
        _refuse(name, ~array_namespace(rows).isinf(rows), "infinity; repair it, or mark what is missing by NaN")


def _refuse(name: str, valid: Array, reason: str) -> None:
    """Raise an error that names the first row with an entry that is not valid, if there is one."""
    xp = array_namespace(valid)
    rows = xp.nonzero(~xp.all(xp.reshape(valid, (valid.shape[0], -1)), axis=1))[0]
    if rows.shape[0]:
        raise ValueError(f"row {int(rows[0])} of the {name} holds {reason}")
