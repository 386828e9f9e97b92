"""The background of the playground: the loss over a plane in W and in A, the singular sets, and the stable regions."""

from dataclasses import dataclass

import numpy as np

from manifolds import Array
from riemannrnn.analysis.landscape import landscape
from riemannrnn.explorer.planes import Setting
from riemannrnn.plots.panels import LOSSES, Image, Line, Mark, contours
from riemannrnn.progress import Progress, ignore
from riemannrnn.runtime import cores

FINE = 121
"""Points along each side for determinants and eigenvalues of 2 × 2 matrices."""

BLOCK = 5
"""Points of a large network that each core evaluates before the survey can be ended."""

EDGE, SINGULAR, MONOTONE = "#000000", "#882255", "#009e73"
"""Colours of the edge of stability, of the singular set, and of the monotone set."""


@dataclass(frozen=True, eq=False)
class Ground:
    """The marks under the curves of a picture.

    Attributes
    ----------
    weights, resolvent
        The marks under the curves in W, and in A.
    plain
        The marks in W without contours of the loss.
    side
        Points along each side of the evaluated loss.
    """

    weights: tuple[Mark, ...]
    resolvent: tuple[Mark, ...]
    plain: tuple[Mark, ...]
    side: int


def survey(
    setting: Setting,
    side: int,
    progress: Progress = ignore,
    in_resolvent: bool = True,
    iterations: int | None = None,
    known: dict[object, Array] | None = None,
) -> Ground:
    """Evaluate the loss over the window of both pictures, `side` × `side` points each.

    Parameters
    ----------
    setting
        The network and its plane.
    side
        Points along each side.
    progress
        Called with the completed share; an error in it ends the survey.
    in_resolvent
        Whether the picture in A is wanted.
    iterations
        Fixed-point iterations at most. A point that needs more is marked as not known. Default: the iterations of the
        setting, after which the picture says that no fixed point was found.
    known
        Blocks of the pictures that are done. New blocks are added, so that a survey that was ended goes on from there.
    """
    known = {} if known is None else known
    grounds = []
    for place, in_weights in enumerate((True, False)[: 1 + in_resolvent]):
        left, right, bottom, top = setting.window if in_weights else setting.resolvent_window
        x, y = np.linspace(left, right, side), np.linspace(bottom, top, side)

        def told(share: float, place: int = place) -> None:
            progress((place + share) / (1 + in_resolvent))

        cost, abscissa = _evaluated(setting, in_weights, x, y, iterations, told, known)
        open_ = np.isposinf(cost) if iterations is not None else np.zeros_like(cost, bool)
        marks = _losses(np.where(open_, np.nan, cost), abscissa, x, y)
        if open_.any():
            marks.insert(0, _where(open_, x, y, "#cc79a7", "not known yet"))
        grounds.append((*marks, *_sets(setting, in_weights, x, y, known)))
        told(1.0)
    plain = tuple(mark for mark in grounds[0] if not isinstance(mark, Line) or mark.label)
    return Ground(grounds[0], grounds[1] if in_resolvent else (), plain, side)


def _evaluated(
    setting: Setting,
    in_weights: bool,
    x: Array,
    y: Array,
    iterations: int | None,
    progress: Progress,
    known: dict[object, Array],
) -> tuple[Array, Array]:
    """Return the loss and the abscissa over a picture, shape (rows, columns), block by block."""
    plane = setting.plane if in_weights else setting.resolvent_plane
    cost = setting.cost.take(np.arange(len(setting.cost.batch)), max_iterations=iterations)
    across, up = (len(x), len(y)) if setting.small else (cores(), BLOCK)
    corners = [(i, j) for i in range(0, len(x), across) for j in range(0, len(y), up)]
    values = np.empty((2, len(y), len(x)))
    for number, (i, j) in enumerate(corners):
        key = (in_weights, iterations, len(x), i, j)
        if key not in known:
            first, second = setting.unit * x[i : i + across], setting.unit * y[j : j + up]
            data = landscape(cost, plane, first, second, progress if setting.small else ignore)
            known[key] = np.stack([data[name].transpose("second", "first").values for name in ("plane_cost", "abscissa")])
        values[:, j : j + up, i : i + across] = known[key]
        progress(number / len(corners))
    return values[0], values[1]


def _losses(cost: Array, abscissa: Array, x: Array, y: Array) -> list[Mark]:
    """Return the loss as an image, and what has no fixed point or an unstable one."""
    sides = (float(x[0]), float(x[-1])), (float(y[0]), float(y[-1]))
    finite = cost[np.isfinite(cost) & (cost > 0)]
    marks: list[Mark] = []
    if finite.size:
        low, high = float(np.quantile(finite, 0.02)), float(np.quantile(finite, 0.95))
        values = np.where(np.isfinite(cost), cost, np.nan)
        marks.append(Image(values, *sides, LOSSES, low, max(high, 1.01 * low), logarithmic=True))
    for there, colour, label in (
        (abscissa > 0, "#e69f00", "a fixed point is unstable"),
        (np.isposinf(cost), "#56b4e9", "no fixed point found"),
    ):
        if there.any():
            marks.append(_where(there, x, y, colour, label))
    unstable = np.clip(np.where(np.isposinf(cost), 1.0, abscissa), -1, 1)
    marks += contours(x, y, unstable, 0.0, colour=EDGE, width=1.5, label="edge of stability")
    if finite.size:
        for level in np.geomspace(low, max(high, 1.01 * low), 9)[1:-1]:
            marks += contours(x, y, np.where(np.isfinite(cost), cost, np.nan), level, colour="#8a8f99", width=0.6)
    return marks


def _where(there: Array, x: Array, y: Array, colour: str, label: str) -> Image:
    """Return the points of a picture where something holds, in a light colour."""
    sides = (float(x[0]), float(x[-1])), (float(y[0]), float(y[-1]))
    return Image(np.where(there, 1.0, np.nan), *sides, (colour,), 0, 1, opacity=0.35, label=label)


def _sets(setting: Setting, in_weights: bool, x: Array, y: Array, known: dict[object, Array]) -> list[Line]:
    """Return where I − W, or A, is singular, and the edge of the set where its symmetric part is positive definite."""
    if setting.small:
        x, y = np.linspace(x[0], x[-1], FINE), np.linspace(y[0], y[-1], FINE)
    plane, unit = (setting.plane if in_weights else setting.resolvent_plane), setting.unit
    kind = np.float64 if setting.small else np.float32  # it moves a line by less than a pixel, in half of the time
    identity = np.eye(setting.network.n_units, dtype=kind)
    origin, first, second = (each.astype(kind) for each in (plane.origin, unit * plane.first, unit * plane.second))
    key = (in_weights, len(x))
    if key not in known:
        rows = []
        for v in y:
            row = origin + x[:, None, None].astype(kind) * first + kind(v) * second
            matrices = identity - row if in_weights else row
            rows.append((_root_determinant(matrices), _least_symmetric(matrices)))
        known[key] = np.array(rows, float).swapaxes(0, 1)
    singular, least = known[key]
    name = "I − W singular" if in_weights else "A singular: W infinite"
    return [
        *contours(x, y, least, 0.0, colour=MONOTONE, dash="dashdot", width=3.5, label="edge of the monotone set"),
        *contours(x, y, singular, 0.0, colour=SINGULAR, dash="dashed" if in_weights else "dotted", width=2.2, label=name),
    ]


def _root_determinant(matrices: Array) -> Array:
    """Return the n-th root of the absolute value of each determinant, with its sign."""
    sign, logarithm = np.linalg.slogdet(matrices)
    return sign * np.exp(np.maximum(logarithm, -700.0) / matrices.shape[-1])


def _least_symmetric(matrices: Array) -> Array:
    """Return the smallest eigenvalue of the symmetric part of each matrix."""
    least: Array = np.linalg.eigvalsh((matrices + matrices.mT) / 2)[:, 0]
    return least
