"""Networks and their fixed points with every array on a device: results equal NumPy's, and nothing moves."""

import numpy as np
import pytest
from device import BATCH, N, nothing_moves, problem, same

from manifolds.arrays import to_numpy
from riemannrnn import Anderson, FixedPointError, Picard, solve_fixed_points, to_backend
from riemannrnn.equilibrium import Implicit
from riemannrnn.network import ACTIVATIONS

SOLVERS = ["auto", "picard", Picard(0.5), "anderson", Anderson(memory=7), "newton"]
DTYPES = {"float64": 1e-8, "float32": 2e-3}


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture
def arrays(generator, dtype):
    """Return W, x and errors of a small problem."""
    W = 0.6 * generator.standard_normal((N, N)) / N**0.5
    return tuple(array.astype(dtype) for array in (W, *generator.standard_normal((2, BATCH, N))))


def test_a_network_is_the_same_everywhere(xp, dtype):
    for found, expected in zip(problem(xp, dtype)[1:], problem("numpy", dtype)[1:], strict=True):
        same(found, expected, 0, xp)
    here, there = problem("numpy", dtype)[0], problem(xp, dtype)[0]
    same(there.input_weights, here.input_weights, 0, xp)
    same(there.readout, here.readout, 0, xp)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fixed_points(xp, solver, activation, arrays, dtype):
    W, x, _ = (array / 2 for array in arrays)
    there = to_backend(W, xp), to_backend(x, xp)
    options = {"solver": solver, "on_failure": "mask", "max_iterations": 100}
    expected = solve_fixed_points(W, x, activation, **options)
    with nothing_moves():
        found = solve_fixed_points(*there, activation, **options)
    np.testing.assert_array_equal(to_numpy(found.converged), expected.converged)
    assert expected.converged.any()
    assert found.solver == expected.solver
    good = np.flatnonzero(expected.converged)
    for name in ("rates", "inputs", "gains"):
        same(xp.take(getattr(found, name), xp.asarray(good), axis=0), getattr(expected, name)[good], DTYPES[dtype], xp)
    same(found.stability(), expected.stability(), DTYPES[dtype], xp)
    assert len(found.status) == BATCH


@pytest.mark.parametrize("gain", [0.9, 1.2, 2.0])
def test_auto_goes_through_all_its_stages(xp, gain, generator):
    """Uses enough units for sweeps, and weights for which plain iterations and some chords do not suffice."""
    W, x = gain * generator.standard_normal((300, 300)) / 300**0.5, generator.standard_normal((40, 300))
    there = to_backend(W, xp), to_backend(x, xp)
    with nothing_moves():
        found = solve_fixed_points(*there, on_failure="mask")
    converged = to_numpy(found.converged)
    rates = to_numpy(found.rates)[converged]
    assert converged.any()
    assert gain > 1 or "in sweeps" in found.solver
    np.testing.assert_allclose(np.tanh(rates @ W.T + x[converged]), rates, atol=1e-9)


@pytest.mark.parametrize("on_failure", ["mask", "inf"])
@pytest.mark.parametrize("solver", ["auto", "picard", "anderson", "newton"])
def test_failed_stimuli(xp, solver, on_failure, arrays):
    W, x, _ = arrays
    x[2, 0] = np.nan
    there = to_backend(W, xp), to_backend(x, xp)
    with nothing_moves():
        found = solve_fixed_points(*there, solver=solver, on_failure=on_failure)
    np.testing.assert_array_equal(to_numpy(found.converged), np.arange(BATCH) != 2)
    assert found.status[2].startswith("Diverged")
    with pytest.raises(FixedPointError, match="the first is stimulus 2: Diverged"):
        solve_fixed_points(*there, solver=solver)


@pytest.mark.parametrize("solver", ["auto", "picard", "anderson", "newton"])
def test_implicit_derivatives(xp, solver, arrays, dtype, generator):
    W, x, errors = arrays
    V = generator.standard_normal((N, N)).astype(dtype)
    here = Implicit(solve_fixed_points(W, x, "softplus"), solver)
    u = here.adjoint(errors)
    W_there, x_there, errors_there, V_there, u_there = (to_backend(array, xp) for array in (W, x, errors, V, u))
    with nothing_moves():
        there = Implicit(solve_fixed_points(W_there, x_there, "softplus"), solver)
        found = (
            there.adjoint(errors_there),
            there.tangent(V_there),
            there.gradient(u_there),
            there.hessian(errors_there, u_there, V_there, lambda change: change),
        )
    expected = u, here.tangent(V), here.gradient(u), here.hessian(errors, u, V, lambda change: change)
    for each, other in zip(found, expected, strict=True):
        same(each, other, DTYPES[dtype], xp)
