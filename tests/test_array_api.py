"""The numerical core on array-api-strict, which has only the standard: results as with NumPy, in its own namespace."""

import array_api_strict as strict
import numpy as np
import pytest
from cases import CALLS, gains, short_vector

from manifolds import Identity, PullbackManifold, Resolvent, check_manifold
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, SquaredError, power_law, solve_fixed_points
from riemannrnn.equilibrium import Anderson, Implicit, Picard
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation
from riemannrnn.metrics import AggregatedMetric, ResponseMetric
from riemannrnn.network import ACTIVATIONS, Dense
from riemannrnn.rules import KFAC, check_descent
from riemannrnn.rules.paper import delta_w1, delta_w3, delta_w4

N, BATCH = 6, 9
DTYPES = {"float64": 1e-12, "float32": 2e-5}


def there(array):
    """Return a NumPy array as an array of array-api-strict."""
    return strict.asarray(array)


def same(found, expected, tolerance):
    """Assert that a result is a strict array (or a Python number) equal to NumPy's, including the dtype."""
    if isinstance(expected, float):
        assert type(found) is float
    else:
        assert isinstance(found, type(strict.zeros(1)))
        assert str(found.dtype).rsplit(".", maxsplit=1)[-1] == str(expected.dtype)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=tolerance, atol=tolerance * (1 + np.abs(expected).max()))


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture
def tolerance(dtype):
    return DTYPES[dtype]


@pytest.fixture
def arrays(dtype, generator):
    """Return W, x and errors of a small problem."""
    W = 0.6 * generator.standard_normal((N, N)) / N**0.5
    x, errors = generator.standard_normal((2, BATCH, N))
    return tuple(array.astype(dtype) for array in (W, x, errors))


CHARTS = {
    "identity": lambda convert, dtype: Identity(),
    "resolvent": lambda convert, dtype: Resolvent(),
    "resolvent with gains": lambda convert, dtype: Resolvent(convert(gains(dtype, N))),
}


@pytest.mark.parametrize("retraction", ["geodesic", "additive"])
@pytest.mark.parametrize("chart", CHARTS)
def test_manifolds(chart, retraction, dtype, tolerance):
    empty = np.empty(0, dtype)
    here = PullbackManifold(CHARTS[chart](np.asarray, dtype), N, retraction, seed=0, like=empty, validate=True)
    abroad = PullbackManifold(CHARTS[chart](there, dtype), N, retraction, seed=0, like=there(empty), validate=True)
    W = here.random_point()
    same(abroad.random_point(), W, tolerance)
    V = short_vector(here, W)
    same(short_vector(abroad, there(W)), V, tolerance)
    W2 = here.exp(W, V)
    for call in CALLS.values():
        expected = call(here, W, W2, V)
        same(call(abroad, there(W), there(W2), there(V)), expected, 20 * tolerance)


def test_check_manifold_on_strict_arrays(dtype):
    report = check_manifold(PullbackManifold(Resolvent(), 3, seed=0, like=there(np.empty(0, dtype))))
    assert report, str(report)


@pytest.mark.parametrize("solver", ["auto", "picard", Picard(0.5), "anderson", Anderson(memory=7), "newton"], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fixed_points(solver, activation, arrays, dtype, tolerance):
    W, x, _ = arrays
    W, x = W / 2, x / 2
    options = {"activation": activation, "solver": solver, "on_failure": "mask", "max_iterations": 100}
    expected = solve_fixed_points(W, x, **options)
    found = solve_fixed_points(there(W), there(x), **options)
    loose = 100 * max(tolerance, expected.tolerance)
    np.testing.assert_array_equal(np.asarray(found.converged), expected.converged)
    assert expected.converged.any()
    good = np.flatnonzero(expected.converged)
    for name in ("rates", "inputs", "gains"):
        assert str(getattr(found, name).dtype) == f"array_api_strict.{dtype}"
        same(strict.take(getattr(found, name), there(good), axis=0), getattr(expected, name)[good], loose)
    same(strict.take(found.stability(), there(good)), expected.stability()[good], loose)
    assert len(found.status) == BATCH


@pytest.mark.parametrize("on_failure", ["mask", "inf"])
@pytest.mark.parametrize("solver", ["auto", "picard", "anderson", "newton"])
def test_failed_stimuli(solver, on_failure, arrays):
    W, x, _ = arrays
    x[2, 0] = np.nan
    found = solve_fixed_points(there(W), there(x), solver=solver, on_failure=on_failure)
    np.testing.assert_array_equal(np.asarray(found.converged), np.arange(BATCH) != 2)
    assert found.status[2].startswith("Diverged")
    assert np.isnan(np.asarray(found.stability())[2])


def test_auto_goes_through_all_its_stages(arrays):
    """Uses weights for which plain iterations, and some chords, do not suffice."""
    W, x, _ = arrays
    expected = solve_fixed_points(3 * W, x, on_failure="mask")
    found = solve_fixed_points(there(3 * W), there(x), on_failure="mask")
    assert expected.iterations.max() > 8
    np.testing.assert_array_equal(np.asarray(found.converged), expected.converged)


@pytest.mark.parametrize("solver", ["auto", "picard", "anderson", "newton"])
@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_implicit_derivatives(solver, activation, arrays, tolerance, generator):
    W, x, errors = arrays
    V = generator.standard_normal((N, N)).astype(W.dtype)
    expected = Implicit(solve_fixed_points(W, x, activation), solver)
    found = Implicit(solve_fixed_points(there(W), there(x), activation), solver)
    adjoint = expected.adjoint(errors)
    loose = 1e-8 if tolerance < 1e-8 else 1e-3
    same(found.adjoint(there(errors)), adjoint, loose)
    same(found.tangent(there(V)), expected.tangent(V), loose)
    same(found.gradient(there(adjoint)), expected.gradient(adjoint), loose)
    hessian = expected.hessian(errors, adjoint, V, lambda change: change)
    same(found.hessian(there(errors), there(adjoint), there(V), lambda change: change), hessian, loose)


@pytest.mark.parametrize("kind", ["squared error", "cross-entropy"])
def test_losses(kind, arrays, tolerance):
    _, y, v = arrays
    labels = np.arange(BATCH) % N
    here, abroad = (
        SquaredError(convert(v)) if kind == "squared error" else CrossEntropy(convert(labels))
        for convert in (np.asarray, there)
    )
    same(abroad.value(there(y)), here.value(y), tolerance)
    same(abroad.gradient(there(y)), here.gradient(y), tolerance)
    same(abroad.hessian(there(y), there(v)), here.hessian(y, v), tolerance)
    rows = np.array([3, 1])
    same(abroad.take(there(rows)).value(there(y[rows])), here.value(y)[rows], tolerance)


def test_rules(arrays, tolerance):
    W, rates, errors = arrays
    gain = 1 - np.tanh(rates) ** 2
    same(delta_w1(there(rates), there(errors)), delta_w1(rates, errors), tolerance)
    for rule in (delta_w3, delta_w4):
        same(rule(*map(there, (W, rates, gain, errors))), rule(W, rates, gain, errors), 10 * tolerance)


def test_metrics_of_a_network(arrays, tolerance):
    W, x, targets = arrays
    x = np.concatenate([x, x[::-1] ** 2])
    targets = np.concatenate([targets, targets])
    here, abroad = (
        FixedPointCost(RateNetwork(N, dtype=W.dtype, backend=backend), convert(x), SquaredError(convert(targets)))
        for backend, convert in (("numpy", np.asarray), (strict, there))
    )
    here, abroad, gradient = here.at(W), abroad.at(there(W)), here.gradient(W)
    loose = 1e-7 if tolerance < 1e-8 else 1e-2
    for metric in (AggregatedMetric, lambda evaluation: ResponseMetric(evaluation, 0.1)):
        for call in ("sharp", "flat"):
            same(getattr(metric(abroad), call)(there(gradient)), getattr(metric(here), call)(gradient), loose)
    steps = (KFAC().step(each.weights, each, 0.1)[0] for each in (abroad, here))
    same(*steps, loose)
    assert check_descent(abroad).cosine == pytest.approx(check_descent(here).cosine, abs=loose)


@pytest.mark.parametrize("f", [*ACTIVATIONS.values(), power_law(1.0), power_law(1.5)])
def test_activations(f, arrays, tolerance):
    z = arrays[1]
    r = f.function(z)
    same(f.function(there(z)), r, tolerance)
    same(f.derivative(there(z), there(r)), f.derivative(z, r), tolerance)
    same(f.second_derivative(there(z), there(r)), f.second_derivative(z, r), tolerance)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_sweeps(linear, transposed, arrays, tolerance):
    """The other networks here are too small for sweeps."""
    images = []
    for convert in (there, lambda array: array):
        W, x, errors = (convert(array) for array in arrays)
        equation = FixedPointEquation(Dense().bind(W).directed(transposed), x, errors if linear else ACTIVATIONS["tanh"])
        images.append(ChordMap.build(equation, convert(np.full(N, 0.7, arrays[0].dtype)), 3).image(errors))
    same(*images, tolerance)
