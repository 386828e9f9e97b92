"""The iterations themselves: what an update is, and how many products are spent."""

import numpy as np
import pytest
from cases import fixed_point_problem as problem

from riemannrnn.equilibrium import Anderson, Picard, solve_fixed_points
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation, Operator
from riemannrnn.equilibrium.iteration import Evaluated, iterate_rows
from riemannrnn.network.activations import as_activation
from riemannrnn.network.connectivity import Dense


def equation_of(weights, drive):
    return FixedPointEquation(Operator(Dense(), weights), drive, as_activation("tanh"))


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


def test_the_last_product_is_spared_where_the_rate_promises_it():
    weights, drive = problem(n=60, batch=20, radius=0.5)
    chord = ChordMap.build(equation_of(weights, drive), np.full(60, 0.6))
    careful = iterate_rows(Picard(), chord, drive, 1e-9, 100)
    spared = iterate_rows(Picard(), chord, drive, 1e-9, 100, images=True)
    assert spared.converged.all()
    assert spared.iterations.max() < careful.iterations.max()
    assert np.linalg.norm(chord.image(spared.state) - spared.state, axis=1).max() <= 1e-9


@pytest.mark.parametrize("radius", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_maps_of_the_inputs_rarely_miss_the_rates(activation, radius, monkeypatch):
    """Or their products would be spent twice."""
    missed = []

    def counted(*arguments, **options):
        missed.append(1)
        return iterate_rows(*arguments, **options)

    monkeypatch.setattr("riemannrnn.equilibrium.stages.iterate_rows", counted)
    weights, drive = problem(n=150, batch=100, radius=radius)
    found = solve_fixed_points(weights.astype(np.float32), drive.astype(np.float32), activation, solver="chord")
    assert found.converged.all()
    assert len(missed) == 1
