"""The background of the playground: the loss over a plane in W and in A, the singular sets, and the stable regions."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from manifolds import Array
from riemannrnn.analysis.landscape import landscape
from riemannrnn.explorer.planes import Setting
from riemannrnn.plots.panels import LOSSES, Image, Line, Mark, contours
from riemannrnn.progress import Progress, ignore

FINE = 121
"""Points along each side for determinants and eigenvalues of 2 × 2 matrices."""

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


def survey(setting: Setting, side: int, progress: Progress = ignore, in_resolvent: bool = True) -> Ground:
    """Evaluate the loss over the windows of both pictures, with `side` × `side` points each.

    Parameters
    ----------
    setting
        The network and its plane.
    side
        Points along each side.
    progress
        Called with the completed share; an error in it ends the survey.
    in_resolvent
        Whether the picture in A is needed.
    """
    made: list[tuple[Mark, ...]] = []
    for place, in_weights in enumerate((True, False)[: 1 + in_resolvent]):
        plane = setting.plane if in_weights else setting.resolvent_plane
        left, right, bottom, top = setting.window if in_weights else setting.resolvent_window
        x, y = np.linspace(left, right, side), np.linspace(bottom, top, side)

        def told(share: float, place: int = place) -> None:
            progress((place + share) / (1 + in_resolvent))

        data = landscape(setting.cost, plane, setting.unit * x, setting.unit * y, told)
        made.append((*_losses(data, x, y), *_sets(setting, in_weights, x, y)))
    plain = tuple(mark for mark in made[0] if not isinstance(mark, Line) or mark.label)
    return Ground(made[0], made[1] if in_resolvent else (), plain, side)


def _losses(data: xr.Dataset, x: Array, y: Array) -> list[Mark]:
    """Return the loss as an image, and the regions without fixed points or with unstable ones."""
    cost, abscissa = (data[name].transpose("second", "first").values for name in ("plane_cost", "abscissa"))
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
            marks.append(Image(np.where(there, 1.0, np.nan), *sides, (colour,), 0, 1, opacity=0.35, label=label))
    unstable = np.clip(np.where(np.isposinf(cost), 1.0, abscissa), -1, 1)
    marks += contours(x, y, unstable, 0.0, colour=EDGE, width=1.5, label="edge of stability")
    if finite.size:
        for level in np.geomspace(low, max(high, 1.01 * low), 9)[1:-1]:
            marks += contours(x, y, np.where(np.isfinite(cost), cost, np.nan), level, colour="#8a8f99", width=0.6)
    return marks


def _sets(setting: Setting, in_weights: bool, x: Array, y: Array) -> list[Line]:
    """Return the set where I − W, or A, is singular, and the edge of the set where its symmetric part is positive definite."""
    small = setting.network.n_units == 2
    if small:
        x, y = np.linspace(x[0], x[-1], FINE), np.linspace(y[0], y[-1], FINE)
    plane, unit = (setting.plane if in_weights else setting.resolvent_plane), setting.unit
    rows = [plane.origin + unit * (x[:, None, None] * plane.first + v * plane.second) for v in y]
    matrices = partial(np.subtract, np.eye(setting.network.n_units)) if in_weights else np.asarray
    singular = np.array([_root_determinant(matrices(row)) for row in rows])
    least = np.array([_least_symmetric(matrices(row)) for row in rows])
    name = "I − W singular" if in_weights else "A singular: W infinite"
    return [
        *contours(x, y, least, 0.0, colour=MONOTONE, dash="dashdot", width=1.8, label="edge of the monotone set"),
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
