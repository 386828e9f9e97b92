"""Texts about the steps of rules: names, colours, a row of a table, and sentences."""

from dataclasses import dataclass

import numpy as np

from manifolds import Array
from riemannrnn.analysis.singularity import SmallestSingularValue
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.equilibrium.stability import survey_stability, unstable_stimuli
from riemannrnn.explorer.curves import OWN, RulePath, distances
from riemannrnn.explorer.planes import Setting
from riemannrnn.plots.geodesics import METRIC_STYLES
from riemannrnn.plots.paper import RULE_COLOURS, RULE_LABELS

STANDS, STILL, LEARNED = 5, 0.99, 1e-3
"""A loss no longer falls if it has more steps than this, fell by less than 1 % in the later half, and is not small already."""


@dataclass(frozen=True)
class RuleRow:
    """A row of the table of rules: name, colour, losses at the start and at the end, length of its path, and what happened."""

    name: str
    colour: str
    before: float
    after: float
    distance: float
    verdict: str


def rule_label(rule: str) -> str:
    """Return the name of a rule in pictures."""
    kind, _, manifold = rule.partition("/")
    if manifold:
        return f"{kind}, {manifold_label(manifold)}"
    return "K-FAC" if kind == "kfac" else RULE_LABELS.get(kind, kind)


def manifold_label(manifold: str) -> str:
    """Return the name of a manifold in pictures."""
    return "your manifold" if manifold == OWN else manifold


def colour_of(name: str) -> str:
    """Return the colour of a rule or of a manifold."""
    kind, _, manifold = name.partition("/")
    known = RULE_COLOURS | {"kfac": "#E69F00", OWN: "#000000"} | {each: style[0] for each, style in METRIC_STYLES.items()}
    return known.get(manifold or kind, "#555555")


def told(made: Setting, start: tuple[float, float], paths: list[RulePath]) -> list[str]:
    """Return the distance of the start from a singularity, and the lengths of the rules' first steps."""
    try:
        at = made.cost.at(made.weights(start))
        nearest = SmallestSingularValue()(at.weights, at.gains)
        abscissa, _ = survey_stability(at.fixed_points.operator, at.gains)
    except (FixedPointError, ValueError) as error:
        return [f"At the start: {error}"]
    stable = "stable" if abscissa < 0 else "unstable"
    said = [
        f"At the start the smallest singular value of I − G W is {nearest:.3g}, and the fixed points are {stable} "
        f"(rightmost eigenvalue of −I + G W: {abscissa:+.2f}/τ)."
    ]
    lengths = {path.rule: distances(made, path.points[:2])[0] for path in paths if len(path.points) > 1}
    if lengths:
        steps = ", ".join(f"{rule_label(rule)} {length:.3g}" for rule, length in lengths.items())
        said.append(f"Lengths of the first step in the picture: {steps}.")
        if "dW1" in lengths and nearest < 0.5:
            said.append(f"ΔW1 divides by that singular value: 1/{nearest:.3g} = {1 / nearest:.3g} for each factor (I − G W)⁻¹.")
    return said


def rule_row(made: Setting, path: RulePath, hurry: bool = False) -> RuleRow:
    """Return the row of a rule in the table; with `hurry`, eigenvalues are not computed."""
    gone = distances(made, path.points)
    verdict = _verdict(made, path, hurry)
    return RuleRow(rule_label(path.rule), colour_of(path.rule), path.losses[0], path.losses[-1], sum(gone), verdict)


def _verdict(made: Setting, path: RulePath, hurry: bool) -> str:
    """Return a short text about the effect of a rule's steps."""
    if len(path.points) < 2:
        return path.reason or "no step yet"
    first, last = path.points[0], path.points[-1]
    identity = np.eye(len(first))
    signs = [float(np.linalg.slogdet(identity - point)[0]) for point in (first, last)]
    said = []
    if signs[0] * signs[1] < 0:
        said.append("jumped across the singular set")
    try:
        if not hurry and _unstable(made, last):
            said.append("its fixed points are unstable")
    except (FixedPointError, ValueError):
        said.append("a stimulus has no fixed point")
    place, (left, right, bottom, top) = made.place(last), made.window
    if not (left <= place[0] <= right and bottom <= place[1] <= top):
        said.append(f"thrown out of the picture, to ({place[0]:.3g}, {place[1]:.3g})")
    said.append(_course(path.losses))
    return "; ".join([*said, *([path.reason] if path.reason else [])])


def _course(losses: list[float]) -> str:
    """Return in a few words how the loss went: whether it fell, and whether it still does."""
    if losses[-1] >= losses[0]:
        return "the loss rose"
    half = losses[len(losses) // 2 : -1]
    stands = len(losses) > STANDS and losses[-1] > STILL * max(half) and losses[-1] > LEARNED * losses[0]
    return "the loss fell, but it no longer does" if stands else "the loss fell"


def _unstable(made: Setting, weights: Array) -> bool:
    """Tell whether a stimulus has an unstable fixed point. Eigenvalues are computed where Arnoldi steps do not decide."""
    found = made.cost.at(weights).fixed_points
    gains = found.gains[found.converged]
    return len(gains) > 0 and len(unstable_stimuli(found.operator, gains)[1]) > 0
