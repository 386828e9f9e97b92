"""The iterations themselves: the formula of an update, and the number of products."""

import numpy as np
import pytest
from cases import fixed_point_problem as problem
from scipy.optimize import brentq

from riemannrnn.equilibrium import Anderson, Picard, solve_fixed_points
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation
from riemannrnn.equilibrium.iteration import Evaluated, iterate_rows
from riemannrnn.equilibrium.stages import MapStage, RecentredStage
from riemannrnn.network import Dense
from riemannrnn.network.activations import as_activation


def equation_of(weights, drive):
    return FixedPointEquation(Dense().bind(weights), drive, as_activation("tanh"))


@pytest.mark.parametrize("memory", [1, 2, 4])
def test_anderson_mixes_as_least_squares_says(memory):
    weights, drive = problem(n=30, batch=6)
    equation, solver = equation_of(weights, drive), Anderson(memory)
    iterate, images, residuals = solver.start(drive.copy()), [], []
    for _ in range(6):
        image = equation.image(iterate.state)
        residual = image - iterate.state
        images, residuals = [image.copy(), *images][: memory + 1], [residual.copy(), *residuals][: memory + 1]
        iterate = solver.update(equation, iterate, Evaluated(image, residual, np.linalg.norm(residual, axis=1)), 1e-10)
        for row in range(6):
            changes = -np.diff([each[row] for each in residuals], axis=0).T
            steps = -np.diff([each[row] for each in images], axis=0).T
            best = np.linalg.lstsq(changes, residuals[0][row])[0] if changes.size else np.zeros(0)
            expected = images[0][row] - (steps @ best if changes.size else 0.0)
            np.testing.assert_allclose(iterate.state[row], expected, atol=1e-4 * np.linalg.norm(residuals[0][row]))


def test_the_last_product_is_saved_if_the_rate_allows_it():
    weights, drive = problem(n=60, batch=20, radius=0.5)
    chord = ChordMap.build(equation_of(weights, drive), np.full(60, 0.6))
    careful = iterate_rows(Picard(), chord, drive, 1e-9, 100)
    spared = iterate_rows(Picard(), chord, drive, 1e-9, 100, images=True)
    assert spared.converged.all()
    assert spared.iterations.max() < careful.iterations.max()
    assert np.linalg.norm(chord.image(spared.state) - spared.state, axis=1).max() <= 1e-9


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("blocks", [1, 2, 4, 30])
@pytest.mark.parametrize("radius", [0.5, 0.9])
def test_sweeps_contract_as_the_variances_of_their_blocks(radius, blocks, transposed):
    """With independent entries of variance q²/n, a block's mean square becomes q² times the current mean over all blocks,
    updated or not. With infinitely many blocks the rate is e^(−a/2), a = q² (eᵃ − 1)."""
    n, sweeps = 600, 8
    generator = np.random.default_rng(0)
    weights = radius * generator.standard_normal((n, n)) / n**0.5
    ones = np.ones((64, n))
    equation = FixedPointEquation(Dense().bind(weights).directed(transposed), 0 * ones, ones)  # z = T z, solved by z = 0
    chord, states = ChordMap.build(equation, np.zeros(n), blocks), [generator.standard_normal((64, n))]
    for _ in range(sweeps):
        states.append(chord.image(states[-1]))
    variances = np.eye(blocks)
    for block in range(blocks):
        variances[block] = radius**2 * variances.mean(axis=0)
    expected = np.abs(np.linalg.eigvals(variances)).max() ** 0.5
    assert (np.linalg.norm(states[-1]) / np.linalg.norm(states[2])) ** (1 / (sweeps - 2)) == pytest.approx(expected, rel=0.05)
    limit = brentq(lambda a: a - radius**2 * (np.exp(a) - 1), 0.1, 10)
    assert np.exp(-limit / 2) < expected * 1.001
    assert blocks < 30 or np.exp(-limit / 2) == pytest.approx(expected, rel=0.05)


def test_sweeps_take_fewer_products():
    weights, drive = problem(n=200, batch=40, radius=0.9)
    outcomes = [
        iterate_rows(Picard(), ChordMap.build(equation_of(weights, drive), np.full(200, 0.7), blocks), drive, 1e-9, 200)
        for blocks in (1, 2, 4)
    ]
    counts = [outcome.iterations.mean() for outcome in outcomes]
    assert counts[0] > 1.2 * counts[1] > 1.3 * counts[2]
    for outcome in outcomes[1:]:
        np.testing.assert_allclose(outcome.state, outcomes[0].state, atol=1e-8)


@pytest.mark.parametrize(
    ("n", "radius", "picked"),
    [(120, 0.4, ""), (40, 0.9, ", accelerated"), (290, 0.9, ", accelerated"), (320, 0.9, " in sweeps")],
)
def test_fallbacks_of_the_chord_map(n, radius, picked):
    """Many units contract equally for all stimuli, and need no acceleration."""
    weights, drive = problem(n=n, batch=300, radius=radius, dtype=np.float32)
    assert solve_fixed_points(weights, drive).solver == f"auto (chord map{picked})"


@pytest.mark.parametrize("radius", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_maps_of_the_inputs_rarely_miss_the_rates(activation, radius, monkeypatch):
    """Otherwise their products would be computed twice."""
    missed = []

    def counted(*arguments, **options):
        missed.append(1)
        return iterate_rows(*arguments, **options)

    monkeypatch.setattr("riemannrnn.equilibrium.stages.iterate_rows", counted)
    weights, drive = problem(n=150, batch=100, radius=radius)
    found = solve_fixed_points(weights.astype(np.float32), drive.astype(np.float32), activation, solver="chord")
    assert found.converged.all()
    assert len(missed) == 1


def test_new_gains_keep_to_the_budget():
    """Twenty iterations are a round of 15 and a round of 5."""
    weights, drive = problem(n=40, batch=30, radius=3.0)
    found = RecentredStage(20).run(equation_of(weights, drive), slice(None), drive, None, 1e-10, 20)
    assert not found.converged.any()
    assert (found.iterations == 20).all()


def test_rows_without_a_factor_are_unchanged(monkeypatch):
    def singular(*arguments):
        raise np.linalg.LinAlgError("Singular matrix")

    weights, drive = problem(n=40, batch=30, radius=3.0)
    monkeypatch.setattr(ChordMap, "build", singular)
    found = RecentredStage(20).run(equation_of(weights, drive), slice(None), drive, None, 1e-10, 20)
    np.testing.assert_array_equal(found.state, drive)
    assert not found.iterations.any()


def test_a_row_that_overflows_continues_from_its_last_state(monkeypatch):
    """It gets another gain in the next round."""
    starts, run = [], MapStage.run

    def spoil(stage, equation, rows, start, inputs, *limits):
        starts.append(inputs.copy())
        part = run(stage, equation, rows, start, inputs, *limits)
        if len(starts) == 1:
            part.inputs[0] = np.inf
        return part

    monkeypatch.setattr(MapStage, "run", spoil)
    weights, drive = problem(n=40, batch=30, radius=3.0)
    RecentredStage(30).run(equation_of(weights, drive), slice(None), drive, None, 1e-10, 30)
    np.testing.assert_array_equal(starts[1][0], drive[0])
    assert not (starts[1][1:] == drive[1:]).any()
