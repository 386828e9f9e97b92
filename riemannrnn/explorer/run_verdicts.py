"""What is said about the stability of a run at a step: a row for each layer, and one for the whole stack."""

from collections.abc import Sequence
from math import inf, isnan

import numpy as np

from manifolds import Array
from riemannrnn.analysis import RecordedRunError
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.explorer.sources import Loaded, Seen
from riemannrnn.network.activations import Activation, as_activation, check_slopes

COLUMNS = (
    "run", "layer", "step", "of", "loss of the stimuli shown", "rightmost eigenvalue", "unstable stimuli",
    "smallest eigenvalue of sym(I − W)", "verdict",
)  # fmt: skip
"""Columns of the table, in order; a row has some of them."""

UNDECIDED = "not decided: W is not monotone, and rates are known at the end only"


def monotone_margin(weights: Array) -> float:
    """Return the smallest eigenvalue of the symmetric part of I − W: W is monotone where it is positive."""
    return float(1 - np.linalg.eigvalsh((weights + weights.T) / 2)[-1])


def rows_of(loaded: Loaded, step: int) -> list[dict[str, object]]:
    """Return the rows of the table for a run at a step of learning.

    The spectrum of −I + G W of a stack is the union of those of its layers, whatever the read-ins are: it is stable where every
    layer is.

    Parameters
    ----------
    loaded
        The run, or one of its layers.
    step
        The step.
    """
    if not loaded.stacked:
        return [_row(loaded, step)]
    rows = [{"run": loaded.name, "layer": str(each.number)} | _row(each, step) for each in loaded.layers]
    return [*rows, {"run": loaded.name, "layer": "all", "verdict": _together(loaded.layers, rows)}]


def _row(loaded: Loaded, step: int) -> dict[str, object]:
    """Return the numbers of a layer at a step, and what they say of its stability."""
    run = loaded.run
    row: dict[str, object] = {"run": loaded.name, "step": int(run.steps[loaded.point(step)]), "of": int(run.steps[-1])}
    try:
        weights, seen = loaded.weights(step), loaded.seen(step)
    except (RecordedRunError, FixedPointError) as error:
        return row | {"verdict": f"not decided: {error}"}
    margin = monotone_margin(weights)
    unstable = None
    if seen is not None:
        stability = np.asarray(seen.fixed_points.stability())
        unstable = int((~(stability < 0)).sum())  # NaN: no fixed point
        row |= {"loss of the stimuli shown": None if isnan(seen.loss) else float(seen.loss)}
        row |= {"rightmost eigenvalue": float(stability.max()) if stability.size else inf, "unstable stimuli": unstable}
    return row | {"smallest eigenvalue of sym(I − W)": margin, "verdict": _verdict(margin, _slopes(loaded, seen), unstable)}


def _verdict(margin: float, bounded: bool, unstable: int | None) -> str:
    if margin > 0 and bounded:
        return "monotone: every stimulus has one fixed point, a stable one"
    if unstable is None:
        return UNDECIDED
    return "stable for the stimuli shown" if unstable == 0 else f"unstable, or without a fixed point: {unstable} stimuli shown"


def _slopes(loaded: Loaded, seen: Seen | None) -> bool:
    """Tell whether the slopes of the activation are known to be in [0, 1]."""
    try:
        name = loaded.run.settings.get("network", {}).get("activation")
        activation: Activation = as_activation(name) if seen is None else seen.fixed_points.activation
        check_slopes(activation)
    except (ValueError, TypeError):
        return False
    return True


def _together(layers: Sequence[Loaded], rows: Sequence[dict[str, object]]) -> str:
    """Return what the verdicts of the layers say of the whole stack."""
    told = {each.number: str(row["verdict"]) for each, row in zip(layers, rows, strict=True)}
    for kind in ("unstable", "not decided"):
        those = [str(number) for number, verdict in told.items() if verdict.startswith(kind)]
        if those:
            return f"{kind}, because of layer {', '.join(those)}"
    if all(verdict.startswith("monotone") for verdict in told.values()):
        return "stable for every stimulus: all layers are monotone"
    return "stable for the stimuli shown: every layer is"
