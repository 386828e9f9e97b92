"""Bounds of the errors of rates, layer by layer, against rates without residuals."""

from dataclasses import replace

import numpy as np
import pytest

from manifolds import MonotoneManifold
from riemannrnn import Layer, Stack, solve_fixed_points
from riemannrnn.equilibrium import SolverOptions
from riemannrnn.models.error_bounds import error_bounds


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("seed", range(4))
def test_errors_of_rates_are_within_their_bounds(activation, seed):
    stack = Stack([Layer(6), Layer(5), Layer(4, skips=(0,))], 7, 3, activation=activation, seed=seed)
    P = stack.initial_parameters(0.9)
    for name in stack.recurrent:
        P[name] = MonotoneManifold(len(P[name])).nearest(3 * P[name], 0.1)
    batch = stack.prepare(np.random.default_rng(seed).standard_normal((20, 7)))
    rough = stack.respond(P, batch, SolverOptions("splitting", tolerance=1e-3))
    exact = stack.respond(P, batch, SolverOptions("splitting", tolerance=1e-12))
    errors = [np.linalg.norm(a.rates - b.rates, axis=1) for a, b in zip(rough.layers, exact.layers, strict=True)]
    bounds = rough.error_bounds()
    for error, bound in zip(errors, bounds, strict=True):
        assert np.all(error <= bound + 1e-10)
    assert max(float(error.max()) for error in errors) > 1e-4  # errors are large enough for a real test
    assert all(np.isfinite(bound).all() for bound in bounds)
    P["layers.0.recurrent"] = 1.5 * np.eye(6)
    unbounded = stack.respond(P, batch, SolverOptions("auto", max_iterations=5)).error_bounds()
    assert all(np.isinf(bound).all() for bound in unbounded)


def test_a_layer_without_residual_has_the_error_of_its_source():
    """For linear layers of one unit the bound is known: 1 + |1 − w| times the error."""
    stack = Stack([1, 1], activation="identity")
    P = stack.initial_parameters()
    P |= {
        "layers.0.recurrent": np.array([[0.4]]),
        "layers.1.recurrent": np.array([[-0.5]]),
        "layers.1.input": np.array([[3.0]]),
    }
    below, above = stack.respond(P, stack.prepare(np.ones((2, 1)))).layers
    moved_below = replace(below, state=below.rates + 0.1, residual=np.full(2, 0.06))
    exact = solve_fixed_points(P["layers.1.recurrent"], 3.0 * moved_below.rates, "identity")
    error = float(abs(exact.rates - above.rates).max())
    bounds = error_bounds((moved_below, exact), stack.bind(stack.flat(P)).layers, stack.read_in)
    assert error == pytest.approx(3 * 0.1 / 1.5)
    np.testing.assert_allclose(bounds[0], 1.6 * 0.1, rtol=1e-6)
    np.testing.assert_allclose(bounds[1], 1.6 * error, rtol=1e-6)
