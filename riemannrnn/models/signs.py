"""Excitatory and inhibitory units under Dale's law: all weights from a unit to others have the sign of the unit."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from manifolds import Array
from riemannrnn.backend import Namespace, to_backend
from riemannrnn.network import Connectivity


def own_signs(
    signs: Any, inhibitory: float | None, n_units: int, connectivity: Connectivity, dtype: Any, xp: Namespace
) -> Array | None:
    """Return the signs of the units of a layer, each 1 or −1, on the backend, shape (n_units,). None: the layer has none.

    Parameters
    ----------
    signs
        1 (excitatory) or −1 (inhibitory) for each unit.
    inhibitory
        The share of inhibitory units, which are the last ones. None: `signs` holds them, if there are any.
    n_units, connectivity
        Size and connectivity of the layer.
    dtype, xp
        Dtype and backend of its weights.

    Raises
    ------
    ValueError
        For signs and a share at once, signs that are not 1 or −1, one for each unit, a share outside [0, 1] or of less than a
        unit, or a connectivity other than dense.
    """
    if signs is None and inhibitory is None:
        return None
    if signs is not None and inhibitory is not None:
        raise ValueError("signs and inhibitory both say which units are inhibitory; pass one of them")
    if not connectivity.bind(connectivity.initial(n_units, 0.0, np.random.default_rng(0))).formed:
        raise ValueError(
            f"{connectivity} has no weights from one unit to another that could have its sign; leave out the connectivity, or "
            "the signs and the share of inhibitory units"
        )
    checked = _given(signs, n_units) if inhibitory is None else _last(inhibitory, n_units)
    return to_backend(checked.astype(dtype), xp)


def _given(signs: Any, n_units: int) -> NDArray[np.float64]:
    values = np.asarray(signs)
    if values.shape != (n_units,):
        raise ValueError(f"the signs have shape {values.shape}, but there are {n_units} units; pass one sign for each unit")
    wrong = np.flatnonzero((values != 1) & (values != -1))
    if wrong.size:
        raise ValueError(
            f"the sign {values[wrong[0]]} of unit {wrong[0]} is neither 1 nor −1; pass 1 for an excitatory unit, −1 for an "
            "inhibitory unit"
        )
    return values.astype(np.float64)


def _last(share: float, n_units: int) -> NDArray[np.float64]:
    if isinstance(share, bool) or not 0 <= share <= 1:
        raise ValueError(f"inhibitory = {share} is not a share of the units; pass a number from 0 to 1, such as 0.2")
    count = round(share * n_units)
    if share and not count:
        raise ValueError(
            f"inhibitory = {share} of {n_units} units is less than half a unit; pass a larger share, or 0 for excitatory units "
            "alone"
        )
    return np.where(np.arange(n_units) < n_units - count, 1.0, -1.0)


def check_signs(weights: Array, signs: Array | None) -> None:
    """Check that no weight has the sign opposite to its unit; W has shape (n, n), and column j holds the weights of unit j.

    Raises
    ------
    ValueError
        Naming the first unit with such a weight.
    """
    if signs is None or weights.shape[1:] != signs.shape:  # the connectivity checks the shape
        return
    xp = array_namespace(weights)
    smallest = xp.min(signs * weights, axis=0)
    if not bool(xp.any(smallest < 0)):
        return
    unit = int(xp.argmax(xp.astype(smallest < 0, xp.int8)))
    kind, value = ("excitatory", smallest[unit]) if float(signs[unit]) > 0 else ("inhibitory", -smallest[unit])
    raise ValueError(
        f"unit {unit} is {kind}, but one of its weights is {float(value):.3g}; pass weights with the signs of their units, and "
        "train on the manifold 'dale', which keeps them"
    )


def with_signs(weights: NDArray[np.float64], signs: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Return weights of random sizes with the signs of their units and a given spectral radius.

    Inhibitory weights are larger by the ratio of the numbers of excitatory and inhibitory units, so that excitation and
    inhibition cancel on average.
    """
    inhibitory = np.count_nonzero(signs < 0)
    balance = (signs.size - inhibitory) / inhibitory if 0 < inhibitory < signs.size else 1.0
    sized = abs(weights) * np.where(signs < 0, -balance, 1.0)
    found = float(abs(np.linalg.eigvals(sized)).max())
    return sized * (radius / found) if found else sized


def inhibitory_units(signs: tuple[Array | None, ...]) -> dict[str, object]:
    """Return the number of inhibitory units of each layer to print; nothing if no layer has signs."""
    counts = ["any signs" if each is None else str(int(array_namespace(each).count_nonzero(each < 0))) for each in signs]
    return {} if all(each is None for each in signs) else {"inhibitory": " → ".join(counts)}
