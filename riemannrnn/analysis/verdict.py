"""The main results about a path, as sentences that depend on its numbers."""

from math import isfinite, isinf

import numpy as np
import xarray as xr

from manifolds import Array
from riemannrnn.analysis.end_points import SAME_VALLEY, barriers

NEARLY_GEODESIC, MOSTLY_DETOURS = 0.9, 0.5
"""Efficiencies above the first or below the second value are reported."""

CLOSE, FAR = 0.05, 0.25
"""A deviation from the geodesic below the first or above the second share of its length is reported."""

STRAIGHT_ON, RANDOM_WALK, TURNS_MORE = 15.0, 60.0, 15.0
"""In degrees: a median turning below the first or above the second value is reported, and a change above the third."""

INFORMATIVE = 10.0
"""In degrees: an angle to a rule within this of 90° is not informative, because almost all directions are perpendicular."""

NEARER = 0.5
"""A distance that falls below this share of its value at the start is reported."""

RULE_LABELS = {"dW1": "ΔW1", "dW2": "ΔW2", "dW3": "ΔW3", "dW4": "ΔW4"}


def verdict(data: xr.Dataset) -> list[str]:
    """Return sentences on efficiency, deviation, turning, singularities, barriers and rules, from the dataset of `gather`.

    Unknown quantities give no sentence.
    """
    if not (data["length"] > 0).any():
        return ["The weights did not move."]
    parts = (_efficiency, _deviation, _turning, _singularity, _edges, _barriers, _rules)
    return [sentence for part in parts for sentence in part(data)]


def _efficiency(data: xr.Dataset) -> list[str]:
    known = {str(name): float(data["efficiency"].sel(metric=name)) for name in data["metric"].values}
    known = {name: share for name, share in known.items() if isfinite(share)}
    if not known:
        return []
    best = max(known, key=known.__getitem__)
    worst = min(known, key=known.__getitem__)
    share = known[best]
    kind = (
        "which is nearly a geodesic"
        if share >= NEARLY_GEODESIC
        else "so that most of its length was spent on detours"
        if share < MOSTLY_DETOURS
        else "so that about as much was spent on detours as on the way"
    )
    found = [f"The geodesic between the ends has {share:.0%} of the length of the path under the {best} metric, {kind}."]
    if worst != best:
        least = f"{worst} one ({known[worst]:.0%})"
        found.append(f"The path is straightest under the {best} metric, and least straight under the {least}.")
    return found


def _deviation(data: xr.Dataset) -> list[str]:
    found = []
    for name in map(str, data["metric"].values):
        share = (data["deviation"] / data["distance"]).sel(metric=name).values
        if not np.isfinite(share).any():
            continue
        place = int(np.nanargmax(share))
        step, most = int(data["step"][place]), float(share[place])
        if most < CLOSE:
            found.append(f"It stays within {most:.1%} of the geodesic's length from it under the {name} metric.")
        elif most > FAR:
            found.append(f"It strays from the geodesic by {most:.0%} of its length at step {step}, under the {name} metric.")
    return found


def _turning(data: xr.Dataset) -> list[str]:
    name = _best_known(data, "turning")
    angles = data["turning"].sel(metric=name).values
    angles = angles[np.isfinite(angles)]
    if not angles.size:
        return []
    median = float(np.median(angles))
    kind = (
        "it goes almost straight on"
        if median < STRAIGHT_ON
        else "it is close to a random walk, which turns by 90°"
        if median > RANDOM_WALK
        else "it bends steadily"
    )
    found = [f"From one recorded step to the next it turns by {median:.0f}° (median, {name} metric): {kind}."]
    third = max(1, angles.size // 3)
    early, late = float(np.median(angles[:third])), float(np.median(angles[-third:]))
    if abs(late - early) > TURNS_MORE:
        more = "more" if late > early else "less"
        found.append(f"It turns {more} at the end ({late:.0f}°) than at the start ({early:.0f}°).")
    return found


def _singularity(data: xr.Dataset) -> list[str]:
    if "singular_value" not in data:
        return []
    return _approach(data["singular_value"].values, data["step"].values, "The smallest singular value of I − G W")


def _edges(data: xr.Dataset) -> list[str]:
    return [
        sentence
        for name in map(str, data["metric"].values)
        for sentence in _approach(
            data["edge_distance"].sel(metric=name).values, data["step"].values, f"The distance to the edge of the {name} metric"
        )
    ]


def _approach(values: Array, steps: Array, what: str) -> list[str]:
    """Return sentences on the decrease of a quantity that is zero at a singularity."""
    there = np.isfinite(values)
    if not there.any():
        return []
    values, steps = values[there], steps[there]
    place = int(np.argmin(values))
    first, least = float(values[0]), float(values[place])
    if least >= NEARER * first:
        return [f"{what} stays above {least:.2g}; it was {first:.2g} at the start."]
    when = "at the end, and may fall further" if place == values.size - 1 else f"at step {int(steps[place])}"
    return [f"{what} falls from {first:.2g} to {least:.2g} {when}."]


def _barriers(data: xr.Dataset) -> list[str]:
    found = []
    for line in map(str, data["line"].values):
        curve = data["loss_between"].sel(line=line).values
        rise = float(barriers(curve)) if not np.isinf(curve[[0, -1]]).any() else float("nan")
        if isinf(rise):
            found.append(f"Along the {_named(line)} a stimulus loses its fixed point.")
        elif isfinite(rise) and rise > SAME_VALLEY * abs(float(curve[0])):
            found.append(f"Along the {_named(line)} the loss has a barrier of {rise:.2g} nat.")
        elif isfinite(rise):
            found.append(f"Along the {_named(line)} the loss has no barrier.")
    return found


def _named(line: str) -> str:
    """Return the name of a line within a sentence: "geodesic, resolvent" is the geodesic of the resolvent metric."""
    kind, _, metric = line.partition(", ")
    return f"{kind} of the {metric} metric" if metric else line


def _rules(data: xr.Dataset) -> list[str]:
    if "angle" not in data:
        return []
    found = []
    for part, when in ((data.isel(point=slice(0, max(1, data.sizes["point"] // 10))), "At the start"), (data, "In the median")):
        angles = rule_angles(part)
        telling = {key: angle for key, angle in angles.items() if abs(angle - 90) >= INFORMATIVE}
        if telling:
            rule, metric = min(telling, key=telling.__getitem__)
            near = f"{RULE_LABELS[rule]}: {telling[rule, metric]:.0f}° under the {metric} metric"
            found.append(f"{when} what was done is nearest to the steps of {near}.")
        elif angles and part is data:
            found.append(
                f"Along the path the steps of all rules are, in the median, within {INFORMATIVE:.0f}° of perpendicular to "
                "what was done, which tells nothing."
            )
    return found


def rule_angles(data: xr.Dataset) -> dict[tuple[str, str], float]:
    """Return the median angle between the step of each rule and the actual step, by rule and metric, if known."""
    found = {}
    for rule in map(str, data["rule"].values):
        for metric in map(str, data["metric"].values):
            angles = data["angle"].sel(rule=rule, metric=metric).values
            if np.isfinite(angles).any():
                found[rule, metric] = float(np.nanmedian(angles))
    return found


def _best_known(data: xr.Dataset, name: str) -> str:
    """Return the metric with the most measured values of a quantity; the last one, if there are several."""
    known = data[name].count("point").values
    return str(data["metric"].values[np.flatnonzero(known == known.max())[-1]])
