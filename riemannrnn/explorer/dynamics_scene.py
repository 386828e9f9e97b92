"""The picture of the dynamics view: one stimulus of a model, from chosen starts, and with a slow change."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np
from scipy.integrate import solve_ivp

from manifolds import Array
from riemannrnn.explorer.run_scene import COLOURS
from riemannrnn.explorer.state import State, bounded
from riemannrnn.models import RateNetwork
from riemannrnn.network import Activation
from riemannrnn.plots.panels import Dots, Line, Mark, Panel

TIMES, PHASES = 161, 201
"""Numbers of times at which rates are drawn, and of phases of a slow stimulus."""

TURNS = 2
"""Number of turns of the slow stimulus; the last is drawn."""


@dataclass(frozen=True)
class DynamicsState(State):
    """The state of the dynamics view.

    Attributes
    ----------
    run
        Whose weights; none: the two units of the playground.
    layer
        Of a stack, from 0, the lowest; of a run of fewer layers its highest one.
    step
        The step of learning; −1: the last.
    weights
        (w, c) of the two units, without a run.
    stimulus, other
        The stimulus, and the stimulus to which it changes slowly.
    starts, spread, seed
        Number of starts, their spread, and the random seed.
    duration
        How long rates are followed, in τ.
    ratio
        τ/T of the slow change.
    """

    run: str = ""
    layer: int = bounded(0, 0, 99)
    step: int = bounded(-1, -1, 10**9)
    weights: tuple[float, float] = (0.9, 0.5)
    stimulus: int = bounded(0, 0, 10**6)
    other: int = bounded(1, 0, 10**6)
    starts: int = bounded(6, 1, 20)
    spread: float = bounded(1.0, 0.0, 10.0)
    seed: int = bounded(0, 0, 10**6)
    duration: float = bounded(20.0, 1.0, 200.0)
    ratio: float = bounded(0.05, 0.001, 2.0)


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its weights and some stimuli.

    Attributes
    ----------
    name
        Name in the picture.
    network
        The network, in float64.
    weights
        W, shape (n, n).
    drive
        x of each stimulus, shape (batch, n).
    """

    name: str
    network: RateNetwork
    weights: Array
    drive: Array


@dataclass(frozen=True)
class DynamicsScene:
    """A picture of the dynamics: panels and sentences."""

    panels: tuple[Panel, ...]
    sentences: tuple[str, ...]


def two_units(state: DynamicsState) -> Model:
    """Return two tanh units with self-excitation w and coupling c, and a few stimuli."""
    w, c = state.weights
    angles = 2 * np.pi * np.arange(8) / 8
    drive = 0.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return Model("two tanh units", RateNetwork(2), np.array([[w, c], [c, w]]), drive)


def integrate(activation: Activation, weights: Array, drive: Callable[[float], Array], start: Array, times: Array) -> Array:
    """Return the rates of τ ṙ = −r + f(W r + x(t)) at given times, shape (times, n)."""

    def velocity(time: float, rates: Array) -> Array:
        change: Array = activation.respond(weights @ rates + drive(time)) - rates
        return change

    found: Array = solve_ivp(velocity, (times[0], times[-1]), start, "LSODA", times, rtol=1e-6, atol=1e-8).y.T
    return found


def dynamics_scene(state: DynamicsState, model: Model) -> DynamicsScene:
    """Return the picture of one stimulus of a model."""
    place, other = state.stimulus % len(model.drive), state.other % len(model.drive)
    x, end = model.drive[place], model.drive[other]
    generator, n = np.random.default_rng(state.seed), len(x)
    starts = state.spread * generator.standard_normal((state.starts, n))
    times = np.linspace(0, state.duration, TIMES)
    rates = np.array([integrate(model.network.activation, model.weights, lambda time: x, start, times) for start in starts])
    fixed = model.network.solve(model.weights, np.tile(x, (len(rates), 1)), initial_rates=rates[:, -1], on_failure="mask")
    found = _apart(fixed.rates[fixed.converged], fixed.gains[fixed.converged])
    panels = [_portrait(rates, found), _approach(times, rates, found, model), _spectrum(found, model)]
    panels += _slowly(state, model, x, end)
    return DynamicsScene(tuple(panels), _told(found, model, place, int(fixed.converged.sum()), state))


def _apart(rates: Array, gains: Array) -> list[tuple[Array, Array]]:
    """Return the distinct fixed points, with their gains."""
    found: list[tuple[Array, Array]] = []
    for row, gain in zip(rates, gains, strict=True):
        if all(np.linalg.norm(row - known) > 1e-4 * (1 + np.linalg.norm(known)) for known, _ in found):
            found.append((row, gain))
    return found


def _spectrum_of(model: Model, gains: Array) -> Array:
    """Return the eigenvalues of −I + G W, shape (n,)."""
    values: Array = np.linalg.eigvals(gains[:, None] * model.weights) - 1
    return values


def _portrait(rates: Array, found: list[tuple[Array, Array]]) -> Panel:
    """Return the rates in the plane of the two units, or of the first two principal components of the followed rates."""
    n = rates.shape[2]
    if n == 2:
        axes, centre, names = np.eye(2), np.zeros(2), ("rate of unit 1", "rate of unit 2")
    else:
        flat = rates.reshape(-1, n)
        centre = flat.mean(axis=0)
        axes = np.linalg.svd(flat - centre, full_matrices=False)[2][:2]
        names = ("first principal component of the rates", "second principal component")
    marks: list[Mark] = []
    for place, path in enumerate(rates):
        u, v = ((path - centre) @ axes.T).T
        colour = COLOURS[place % len(COLOURS)]
        marks += [Line(u, v, colour, "solid", 1.5), Dots(u[:1], v[:1], colour, "circle", 7, "a start" if not place else "")]
    for point, _ in found:
        u, v = axes @ (point - centre)
        marks.append(Dots(np.array([u]), np.array([v]), "#000000", "star", 14, "fixed point"))
    return Panel("Rates that settle", *names, tuple(marks))


def _approach(times: Array, rates: Array, found: list[tuple[Array, Array]], model: Model) -> Panel:
    """Return the distance from the fixed point at which each start ends, and the slowest exponential of the linear dynamics."""
    marks: list[Mark] = []
    for place, path in enumerate(rates):
        if not found:
            break
        near, gains = min(found, key=lambda each: float(np.linalg.norm(path[-1] - each[0])))
        away = np.linalg.norm(path - near, axis=1)
        marks.append(Line(times, np.where(away > 1e-9, away, np.nan), COLOURS[place % len(COLOURS)], "solid", 1.5))
        if place == 0:
            slowest = float(_spectrum_of(model, gains).real.max())
            marks.append(
                Line(times, away[0] * np.exp(slowest * times), "#000000", "dashed", 1.5, "as the rightmost eigenvalue says")
            )
    return Panel("Distance from the fixed point", "time (τ)", "‖r − r*‖", tuple(marks), logarithmic=True)


def _spectrum(found: list[tuple[Array, Array]], model: Model) -> Panel:
    marks: list[Mark] = []
    highest = 0.5
    for place, (_, gains) in enumerate(found):
        values = _spectrum_of(model, gains)
        highest = max(highest, float(np.abs(values.imag).max()) * 1.1)
        marks.append(Dots(values.real, values.imag, COLOURS[place % len(COLOURS)], "circle", 7, f"at fixed point {place + 1}"))
    marks.append(Line(np.zeros(2), np.array([-highest, highest]), "#000000", "dashed", 1.5, "edge of stability"))
    return Panel("Eigenvalues of −I + G W", "real part (1/τ)", "imaginary part", tuple(marks))


def _slowly(state: DynamicsState, model: Model, x: Array, end: Array) -> list[Panel]:
    """Return the response to a stimulus that changes to another and back, its fixed points, and the lag −τ (I − G W)⁻¹ ṙ*."""
    phases = np.linspace(0, 1, PHASES)
    if np.array_equal(x, end):
        end = -x

    def at(phase: Array | float) -> Array:
        return x + np.multiply.outer((1 - np.cos(2 * np.pi * np.asarray(phase))) / 2, end - x)

    fixed = model.network.solve(model.weights, at(phases), on_failure="mask")
    start = fixed.rates[0] if fixed.converged[0] else np.zeros_like(x)
    times = (TURNS - 1 + phases) / state.ratio
    whole = np.concatenate([[0.0], times]) if times[0] > 0 else times
    rates = integrate(model.network.activation, model.weights, lambda time: at(state.ratio * time), start, whole)[-PHASES:]
    motion = state.ratio * np.pi * np.sin(2 * np.pi * phases)[:, None] * (end - x)
    there = fixed.converged
    instantaneous = np.where(there[:, None], fixed.rates, np.nan)
    corrected = np.full_like(instantaneous, np.nan)
    corrected[there] = fixed.rates[there] + _lag(model, fixed.gains[there], motion[there])
    along = np.nanmax(instantaneous, axis=0) - np.nanmin(instantaneous, axis=0) if there.any() else np.ones_like(x)
    along = along / (np.linalg.norm(along) or 1.0)
    lines = (
        (instantaneous, "#000000", "solid", "fixed point of the stimulus now"),
        (rates, "#d55e00", "solid", "rates of the network"),
        (corrected, "#0072b2", "dashed", "fixed point with the lag −τ (I − G W)⁻¹ ṙ*"),
    )
    answer = tuple(Line(phases, values @ along, colour, dash, 2.0, label) for values, colour, dash, label in lines)
    errors = tuple(
        Line(phases, _positive(np.linalg.norm(rates - values, axis=1)), colour, dash, 2.0)
        for values, colour, dash, _ in (lines[0], lines[2])
    )
    slow = f"τ/T = {state.ratio:g}"
    return [
        Panel(f"A slow stimulus, {slow}", "phase (turns)", "rates, where they move most", answer),
        Panel("How far the network is from both", "phase (turns)", "distance", errors, logarithmic=True),
    ]


def _positive(values: Array) -> Array:
    return np.where(values > 1e-12, values, np.nan)


def _lag(model: Model, gains: Array, motion: Array) -> Array:
    """Return −τ (I − G W)⁻¹ ṙ* with ṙ* = (I − G W)⁻¹ G ẋ, shape (batch, n)."""
    jacobians = np.eye(gains.shape[1]) - gains[:, :, None] * model.weights
    moving = np.linalg.solve(jacobians, (gains * motion)[:, :, None])
    lag: Array = -np.linalg.solve(jacobians, moving)[:, :, 0]
    return lag


def _told(found: list[tuple[Array, Array]], model: Model, place: int, settled: int, state: DynamicsState) -> tuple[str, ...]:
    if not found:
        return (f"{model.name}, stimulus {place}: no fixed point was found where the rates arrive; they may oscillate.",)
    told = []
    for number, (rates, gains) in enumerate(found, 1):
        rightmost = float(_spectrum_of(model, gains).real.max())
        kind = "stable" if rightmost < 0 else "unstable"
        slowest = f", the slowest mode takes {-1 / rightmost:.3g} τ" if rightmost < 0 and isfinite(1 / rightmost) else ""
        told.append(
            f"{model.name}, stimulus {place}, fixed point {number}: {kind}, rightmost eigenvalue {rightmost:+.3g}/τ{slowest}; "
            f"norm of the rates {np.linalg.norm(rates):.3g}."
        )
    if settled < state.starts:
        told.append(f"{state.starts - settled} of {state.starts} starts do not end at a fixed point.")
    if len(found) > 1:
        told.append("The answer depends on the start: this stimulus has more than one fixed point.")
    return tuple(told)
