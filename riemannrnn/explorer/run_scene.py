"""The run view: its state, and its picture as panels and sentences, without widgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from manifolds import Array, Identity, PullbackManifold, Resolvent
from manifolds.errors import ManifoldError
from riemannrnn.analysis import LearningPath, RecordedRunError, make_metric
from riemannrnn.analysis.landscape import Plane, path_on_plane
from riemannrnn.analysis.singularity import SmallestSingularValue
from riemannrnn.analysis.survey import evenly
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.explorer.run_verdicts import monotone_margin, rows_of
from riemannrnn.explorer.sources import Loaded, Seen
from riemannrnn.explorer.state import State, bounded
from riemannrnn.explorer.verdicts import colour_of
from riemannrnn.plots.panels import SIGNED, Dots, Image, Line, Mark, Panel
from riemannrnn.progress import Progress, ignore

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#882255")
"""Colours of runs (Okabe and Ito), colour-blind safe."""

DASHES = ("solid", "dashed", "dotted", "dotdash")
"""Line styles of runs, one for each cycle of the colours."""

SURVEYED, PROJECTED, GEODESIC_POINTS = 24, 120, 41
"""Numbers of points of a path with measured distances, of drawn points, and of points of a geodesic."""

CLOSED = ("euclidean", "resolvent", "monotone")
"""Metrics with drawn geodesics: their logarithms have a closed form."""


@dataclass(frozen=True)
class RunState(State):
    """The state of the run view.

    Attributes
    ----------
    runs
        Names of the runs; empty: all given runs.
    focus
        The run whose W, rates and path are shown; none: the first.
    layer
        The layer of stacks whose W, rates and path are shown, from 0, the lowest; of a run of fewer layers its highest one.
    step
        The step of learning; −1: the last.
    stimuli
        Number of stimuli with visible rates, and the first of them.
    metrics
        The metrics of the geodesics that are drawn beside the path.
    """

    runs: tuple[str, ...] = ()
    focus: str = ""
    layer: int = bounded(0, 0, 99)
    step: int = bounded(-1, -1, 10**9)
    first: int = bounded(0, 0, 10**6)
    stimuli: int = bounded(3, 1, 12)
    metrics: tuple[str, ...] = bounded(("euclidean", "resolvent"), choices=CLOSED)


@dataclass(frozen=True, eq=False)
class PathSurvey:
    """The measurements along the whole path of a run.

    Attributes
    ----------
    steps
        The measured steps, shape (points,).
    edge, singular
        Distance to the edge A singular in the resolvent metric, 1/‖I − W‖₂; and the smallest singular value of I − G W over
        stimuli, of a stack that of I − W. NaN where it was not measured.
    margin
        Smallest eigenvalue of the symmetric part of I − W: W is monotone where it is positive.
    plane
        The plane of the path's principal components in W.
    places
        The path on the plane, shape (drawn points, 2).
    place_steps
        The steps of the places.
    lines
        Geodesics between its ends on the plane, by metric, shape (GEODESIC_POINTS, 2).
    problems
        Sentences about geodesics that do not exist.
    """

    steps: Array
    edge: Array
    singular: Array
    margin: Array
    plane: Plane
    places: Array
    place_steps: Array
    lines: dict[str, Array]
    problems: tuple[str, ...]


def survey_path(loaded: Loaded, metrics: Sequence[str], progress: Progress = ignore) -> PathSurvey:
    """Measure the path of a run at a few points, and find the geodesics between its ends.

    Parameters
    ----------
    loaded
        The run.
    metrics
        The metrics of the geodesics.
    progress
        Called with the completed share; an error in it ends the survey.

    Raises
    ------
    RecordedRunError
        If a point of the path is damaged.
    """
    run, smallest = loaded.run, SmallestSingularValue()
    chosen = evenly(len(run), SURVEYED)
    rows = []
    for row, place in enumerate(chosen):
        rows.append(_distances_at(loaded, int(run.steps[place]), smallest))
        progress(0.7 * (row + 1) / len(chosen))
    edge, singular, margin = np.array(rows).T
    drawn = evenly(len(run), PROJECTED)
    points = [run[place] for place in drawn]
    plane = Plane.of_path(Identity(), points)
    progress(0.8)
    lines, problems = {}, []
    for name in metrics:
        geodesic = LearningPath([points[0], points[-1]]).geodesic(make_metric(name, run.n_units))
        if geodesic.velocity is None:
            problems.append(f"{loaded.name}: no geodesic of the {name} metric between its ends. {geodesic.reason}")
            continue
        times = np.linspace(0, 1, GEODESIC_POINTS)
        lines[name] = np.array([plane.project(geodesic.point(float(time))) for time in times])
    progress(1.0)
    places = path_on_plane(plane, points)
    return PathSurvey(run.steps[chosen], edge, singular, margin, plane, places, run.steps[drawn], lines, tuple(problems))


def _distances_at(loaded: Loaded, step: int, smallest: SmallestSingularValue) -> tuple[float, float, float]:
    """Return the edge, the singular value and the margin of a `PathSurvey` at a step."""
    weights, edge, singular = loaded.weights(step), nan, nan
    try:
        edge = PullbackManifold(Resolvent(), len(weights)).edge_distance(weights)
        if loaded.stacked:
            singular = smallest(weights, np.ones((1, len(weights))))
        elif (seen := loaded.seen(step)) is not None:
            found = seen.fixed_points
            singular = smallest(weights, np.where(found.converged[:, None], found.gains, nan))
    except (ManifoldError, FixedPointError, np.linalg.LinAlgError):
        pass
    return edge, singular, monotone_margin(weights)


@dataclass(frozen=True)
class RunScene:
    """A picture of runs: panels, a table with one row for each run, and sentences."""

    panels: tuple[Panel, ...]
    rows: tuple[dict[str, object], ...]
    sentences: tuple[str, ...]


def run_scene(state: RunState, loaded: Sequence[Loaded], surveys: Mapping[str, PathSurvey]) -> RunScene:
    """Return the picture of runs at a step of learning.

    Parameters
    ----------
    state
        The state.
    loaded
        The runs, at least one.
    surveys
        The surveys of their whole paths, by name.
    """
    focus = next((each for each in loaded if each.name == state.focus), loaded[0])
    last = max(int(each.run.steps[-1]) for each in loaded)
    step = last if state.step < 0 else min(state.step, last)
    styles = {each.name: _style(place) for place, each in enumerate(loaded)}
    problems: list[str] = []
    seen: dict[str, Seen] = {}
    weights: dict[str, Array] = {}
    for each in loaded:
        try:
            weights[each.name] = each.weights(step)
            known = each.seen(step)
        except (RecordedRunError, FixedPointError) as error:
            problems.append(f"{each.name}: {error}")
            continue
        if known is not None:
            seen[each.name] = known
    of = f", layer {focus.number}" if focus.stacked else ""
    panels = [_curves(loaded, styles, step, "loss"), _curves(loaded, styles, step, "accuracy")]
    if focus.name in weights:
        panels.append(_matrix(weights[focus.name], of))
    panels.append(_eigenvalues(weights, styles, of))
    panels.append(_rightmost(seen, styles, of))
    if focus.name in seen:
        panels.append(_rates(seen[focus.name].fixed_points.rates, state, of))
    panels += [_distances(loaded, surveys, styles, step), _path(focus, surveys.get(focus.name), step)]
    rows = tuple(row for each in loaded for row in rows_of(each, step))
    told = [problem for each in loaded for problem in each.problems]
    told += [problem for each in surveys.values() for problem in each.problems]
    return RunScene(tuple(panels), rows, tuple(dict.fromkeys([*problems, *told])))


def _style(place: int) -> dict[str, str]:
    return {"colour": COLOURS[place % len(COLOURS)], "dash": DASHES[(place // len(COLOURS)) % len(DASHES)]}


def _now(step: int, low: float, high: float) -> Line:
    return Line(np.array([step, step], float), np.array([low, high]), "#777777", "dotted", 1.2, "the step that is shown")


def _curves(loaded: Sequence[Loaded], styles: Mapping[str, dict[str, str]], step: int, name: str) -> Panel:
    """Return a measured quantity against steps; for a run without it, the losses recorded with the path."""
    marks: list[Mark] = []
    for each in loaded:
        style, history = styles[each.name], each.history
        if history is not None and name in history:
            steps, values = history["step"].values, history[name].values
            marks.append(Line(steps, _smooth(values), **style, width=1.6, label=each.name))
            held_out = f"test_{name}"
            if held_out in history:
                there = np.isfinite(history[held_out].values)
                marks.append(Dots(steps[there], history[held_out].values[there], style["colour"], "diamond", 6))
        elif name == "loss":
            marks.append(Line(each.run.steps, each.run.losses, **style, width=1.6, label=each.name))
    numbers = np.concatenate([np.zeros(0), *(np.asarray(mark.y, float) for mark in marks if not isinstance(mark, Image))])
    numbers = numbers[np.isfinite(numbers) & ((numbers > 0) | (name != "loss"))]
    if numbers.size:
        marks.append(_now(step, float(numbers.min()), float(numbers.max())))
    title = f"{name.capitalize()} (◆ held out)" if numbers.size else f"{name.capitalize()}: not recorded yet"
    return Panel(title, "step of learning", name, tuple(marks), logarithmic=name == "loss")


def _smooth(values: Array) -> Array:
    """Return running means over a fortieth of the values."""
    size = max(len(values) // 40, 1)
    kept = np.where(np.isfinite(values), values, nan)
    if size == 1:
        return kept
    window = np.lib.stride_tricks.sliding_window_view(np.pad(kept, (size // 2, size - 1 - size // 2), mode="edge"), size)
    counts = np.maximum(np.isfinite(window).sum(axis=1), 1)
    means: Array = np.nansum(window, axis=1) / counts
    return means


def _matrix(weights: Array, of: str) -> Panel:
    largest = float(np.abs(weights).max()) or 1.0
    n = len(weights)
    image = Image(weights[::-1], (0, n - 1), (0, n - 1), SIGNED, -largest, largest)
    title = f"W{of}: −{largest:.2g} blue, {largest:.2g} orange"
    return Panel(title, "from unit", "to unit (the first on top)", (image,), (-0.5, n - 0.5), (-0.5, n - 0.5), equal=True)


def _eigenvalues(weights: Mapping[str, Array], styles: Mapping[str, dict[str, str]], of: str) -> Panel:
    angles = np.linspace(0, 2 * np.pi, 121)
    marks: list[Mark] = [
        Line(np.cos(angles), np.sin(angles), "#aaaaaa", "solid", 1.0),
        Line(np.ones(2), np.array([-1.1, 1.1]), "#882255", "dashed", 1.5, "eigenvalue 1: I − W singular"),
    ]
    for name, matrix in weights.items():
        values = np.linalg.eigvals(matrix)
        marks.append(Dots(values.real, values.imag, styles[name]["colour"], "circle", 5))
    return Panel(f"Eigenvalues of W{of}", "real part", "imaginary part", tuple(marks))


def _rightmost(seen: Mapping[str, Seen], styles: Mapping[str, dict[str, str]], of: str) -> Panel:
    """Return the rightmost real part of −I + G W of each stimulus, in increasing order."""
    marks: list[Mark] = []
    for name, each in seen.items():
        values = np.sort(np.asarray(each.fixed_points.stability(), float))
        marks.append(Line(np.arange(1, len(values) + 1), values, **styles[name], width=2.0))
        marks.append(Dots(np.arange(1, len(values) + 1), values, styles[name]["colour"], "circle", 4))
    count = max((len(mark.x) for mark in marks if isinstance(mark, Line)), default=1)
    marks.append(Line(np.array([1, count]), np.zeros(2), "#000000", "solid", 1.2, "edge of stability"))
    title = f"Rightmost eigenvalue of −I + G W{of}" if seen else f"−I + G W{of}: known at the end"
    return Panel(title, "stimulus, in order", "real part (1/τ)", tuple(marks))


def _rates(rates: Array, state: RunState, of: str) -> Panel:
    """Return the rates of some stimuli, units in the order of the rates of the first."""
    chosen = np.arange(state.first, state.first + state.stimuli) % len(rates)
    order = np.argsort(rates[chosen[0]])
    units = np.arange(1, rates.shape[1] + 1)
    marks = tuple(
        Line(units, np.asarray(rates[row][order], float), COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)], 1.5,
             f"stimulus {row}")
        for place, row in enumerate(chosen)
    )  # fmt: skip
    return Panel(f"Rates of some stimuli{of}", f"unit, in the order of stimulus {chosen[0]}", "rate", marks)


def _distances(
    loaded: Sequence[Loaded], surveys: Mapping[str, PathSurvey], styles: Mapping[str, dict[str, str]], step: int
) -> Panel:
    marks: list[Mark] = []
    for each in loaded:
        found, colour = surveys.get(each.name), styles[each.name]["colour"]
        if found is None:
            continue
        what = "I − W of the layer" if each.stacked else "I − G W"
        marks.append(Line(found.steps, found.singular, colour, "solid", 2.0, f"smallest singular value of {what}"))
        marks.append(Line(found.steps, found.edge, colour, "dashed", 1.5, "distance to the edge, resolvent metric"))
        marks.append(
            Line(found.steps, found.margin, colour, "dotted", 1.5, "smallest eigenvalue of sym(I − W): above 0 monotone")
        )
    highest = [float(np.nanmax(mark.y)) for mark in marks if isinstance(mark, Line) and np.isfinite(mark.y).any()]
    if highest:
        marks.append(_now(step, 0.0, max(highest)))
    title = "Distance from what is singular (0: singular)" if surveys else "Distances: being measured"
    return Panel(title, "step of learning", "distance", tuple(marks))


def _path(focus: Loaded, found: PathSurvey | None, step: int) -> Panel:
    axes = ("first principal component in W", "second principal component")
    if found is None:
        return Panel("The path and its geodesics: being measured", *axes)
    marks: list[Mark] = [
        Line(line[:, 0], line[:, 1], colour_of(name), "solid", 2.0, f"geodesic, {name}") for name, line in found.lines.items()
    ]
    x, y = found.places.T
    here = max(int(np.searchsorted(found.place_steps, step, side="right")) - 1, 0)
    marks += [
        Line(x, y, "#999999", "solid", 1.2),
        Line(x[: here + 1], y[: here + 1], "#000000", "solid", 2.0, "path of learning"),
        Dots(x[:1], y[:1], "#ffffff", "circle", 10),
        Dots(x[-1:], y[-1:], "#ffffff", "star", 13),
        Dots(x[here : here + 1], y[here : here + 1], "#e69f00", "circle", 10),
    ]
    share = "" if np.isnan(found.plane.explained) else f", {found.plane.explained:.0%} in this plane"
    return Panel(f"The path{share}", *axes, tuple(marks))
