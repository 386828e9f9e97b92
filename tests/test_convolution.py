"""Convolutional connectivity against its dense weights, and against finite differences."""

import array_api_strict as strict
import numpy as np
import pytest
from convolutions import CONVOLUTIONS, dense, tied
from device import nothing_moves, same

from riemannrnn import Automatic, PeacemanRachford, solve_fixed_points
from riemannrnn.equilibrium import Implicit, spectral_abscissa
from riemannrnn.equilibrium.certificate import not_stable
from riemannrnn.equilibrium.stability import survey_stability
from riemannrnn.network import Convolution, Operator

BATCH = 5


@pytest.fixture(params=CONVOLUTIONS)
def connectivity(request):
    return CONVOLUTIONS[request.param]


def drawn(connectivity, radius=0.7, batch=BATCH, dtype=np.float64, seed=0):
    """Return kernels, a drive, and the coefficients of a cost Σ ⟨c, r⟩ + ½ ‖r‖²."""
    generator = np.random.default_rng(seed)
    kernels = connectivity.initial(connectivity.n_units, radius, generator)
    drive, coefficients = generator.standard_normal((2, batch, connectivity.n_units))
    return kernels.astype(dtype), drive.astype(dtype), coefficients.astype(dtype)


def derivatives(weights, drive, coefficients, vector=None, **options):
    """Return cost, gradient and Hessian along a vector of Σ ⟨c, r⟩ + ½ ‖r‖² at the fixed points of tanh."""
    found = solve_fixed_points(weights, drive, "tanh", **options)
    implicit = Implicit(found)
    errors = coefficients + found.rates
    adjoint = implicit.adjoint(errors)
    cost = np.sum(coefficients * found.rates) + np.sum(found.rates**2) / 2
    hessian = None if vector is None else implicit.hessian(errors, adjoint, vector, lambda change: change)
    return cost, implicit.gradient(adjoint), hessian


@pytest.mark.parametrize("transposed", [False, True])
def test_an_operator_is_its_matrix(connectivity, transposed):
    kernels, rows, _ = drawn(connectivity)
    W = dense(connectivity, kernels)
    T, operator = W.T if transposed else W, connectivity.bind(kernels).directed(transposed)
    np.testing.assert_allclose(operator.apply(rows), rows @ T.T, atol=1e-13)
    np.testing.assert_allclose(operator.row_norms, np.linalg.norm(T, axis=1))
    scales = operator.shared_gains(np.random.default_rng(1).random((3, connectivity.n_units)))
    norm = np.linalg.norm(scales[:, None] * (T - 2 * np.eye(len(T))) / scales, 2)
    assert operator.spectral_norm(scales, -2.0) == pytest.approx(norm)
    assert Operator.spectral_norm(operator, scales, -2.0) == pytest.approx(norm)
    scaled = scales[:, None] * T * scales
    assert operator.numerical_abscissa(scales) == pytest.approx(np.linalg.eigvalsh((scaled + scaled.T) / 2)[-1])


def test_the_propagator_is_global_and_has_the_gradient_of_its_matrices(connectivity):
    kernels, rows, covectors = drawn(connectivity)
    operator = connectivity.bind(kernels)
    gain = operator.shared_gains(np.random.default_rng(1).random((3, connectivity.n_units)))
    propagator = operator.propagator(gain)
    W = dense(connectivity, kernels)
    M = np.linalg.solve(np.eye(len(W)) - W * gain, W)
    np.testing.assert_allclose(propagator.apply(rows), rows @ M.T, atol=1e-12)
    np.testing.assert_allclose(propagator.transpose.apply(rows), rows @ M, atol=1e-12)
    gradient = propagator.accumulate(covectors, rows)  # the cost is linear in the matrices
    assert np.vdot(gradient, propagator.symbol).real == pytest.approx(np.sum(covectors * propagator.apply(rows)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_derivatives_agree_with_the_dense_weights(connectivity, dtype):
    kernels, drive, coefficients = drawn(connectivity, dtype=dtype)
    vector = np.random.default_rng(1).standard_normal(kernels.shape).astype(dtype)
    tolerance = 1e-13 if dtype is np.float64 else 1e-6
    W, V = dense(connectivity, kernels), dense(connectivity, vector)
    found = derivatives(kernels, drive, coefficients, vector, connectivity=connectivity, tolerance=tolerance)
    expected = derivatives(W, drive, coefficients, V, tolerance=tolerance)
    assert found[0] == pytest.approx(expected[0], rel=1e-9 if dtype is np.float64 else 1e-5)
    for ours, theirs in zip(found[1:], (tied(connectivity, each) for each in expected[1:]), strict=True):
        assert ours.dtype == dtype
        assert np.abs(ours - theirs).max() <= (1e-9 if dtype is np.float64 else 1e-4) * max(np.abs(theirs).max(), 1)


@pytest.mark.parametrize("precision", ["mixed", "native"])
def test_derivatives_agree_with_finite_differences(connectivity, precision):
    kernels, drive, coefficients = drawn(connectivity)
    vector, h = np.random.default_rng(1).standard_normal(kernels.shape), 1e-5
    vector /= np.linalg.norm(vector)
    options = {"connectivity": connectivity, "tolerance": 1e-13, "solver": Automatic(precision=precision)}
    _, gradient, hessian = derivatives(kernels, drive, coefficients, vector, **options)
    ahead, behind = (derivatives(kernels + step * vector, drive, coefficients, **options) for step in (h, -h))
    slope, curvature = (ahead[0] - behind[0]) / (2 * h), (ahead[1] - behind[1]) / (2 * h)
    assert np.vdot(gradient, vector) == pytest.approx(slope, abs=4e-8 * np.linalg.norm(gradient))
    assert np.abs(hessian - curvature).max() <= 4e-8 * max(np.abs(curvature).max(), 1)


@pytest.mark.parametrize("solver", ["auto", "chord", "splitting", "anderson", "newton", "flow", PeacemanRachford()])
def test_every_solver_finds_the_fixed_points(solver):
    connectivity = CONVOLUTIONS["odd"]
    kernels, drive, _ = drawn(connectivity, 0.5)
    expected = solve_fixed_points(dense(connectivity, kernels), drive, tolerance=1e-13)
    found = solve_fixed_points(kernels, drive, connectivity=connectivity, solver=solver, tolerance=1e-11)
    np.testing.assert_allclose(found.rates, expected.rates, atol=1e-10)


def test_a_bound_holds_where_the_scales_of_a_channel_differ(connectivity, generator):
    kernels, *_ = drawn(connectivity, 2.0)
    for shift in (0.0, 10.0):  # the symmetric part is indefinite, or negative definite
        centre = tuple(size // 2 for size in kernels.shape[2:])
        kernels[:, :, *centre] -= shift * np.eye(connectivity.channels)
        W, scales = dense(connectivity, kernels), generator.random(connectivity.n_units)
        scaled = scales[:, None] * W * scales
        exact = np.linalg.eigvalsh((scaled + scaled.T) / 2)[-1]
        assert exact <= connectivity.bind(kernels).numerical_abscissa(scales) + 1e-12


def test_stability_needs_no_matrix(monkeypatch):
    """Uses more units than the limit up to which `spectral_abscissa` computes all eigenvalues."""
    connectivity = Convolution(3, (10, 9))
    generator = np.random.default_rng(0)
    kernels, gains = connectivity.initial(270, 1.1, generator), generator.random((3, 270))
    jacobians = gains[:, :, None] * dense(connectivity, kernels)
    exact = np.linalg.eigvals(jacobians).real.max(axis=1) - 1
    limit = float(np.mean(np.sort(exact)[1:]))
    monkeypatch.setattr(Operator, "matrix", property(lambda self: pytest.fail("the matrix was formed")))
    operator = connectivity.bind(kernels)
    np.testing.assert_allclose(spectral_abscissa(operator, gains), exact, atol=1e-6)
    assert survey_stability(operator, gains) == (pytest.approx(exact.max(), abs=1e-6), np.count_nonzero(exact >= 0))
    shifted = connectivity.bind(connectivity.scaled(kernels, 1 / (1 + limit)))  # some are stable, and some are not
    _, rows = not_stable(shifted, gains, 0.0)
    np.testing.assert_array_equal(rows, np.flatnonzero(exact >= limit))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_on_strict_arrays(dtype):
    connectivity = CONVOLUTIONS["even"]
    kernels, drive, _ = drawn(connectivity, dtype=dtype)
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    expected = solve_fixed_points(kernels, drive, connectivity=connectivity, tolerance=tolerance)
    found = solve_fixed_points(strict.asarray(kernels), strict.asarray(drive), connectivity=connectivity, tolerance=tolerance)
    assert found.rates.dtype == (strict.float64 if dtype is np.float64 else strict.float32)
    np.testing.assert_allclose(np.asarray(found.rates), expected.rates, atol=10 * tolerance)
    gradients = [Implicit(each).gradient(each.rates, each.rates) for each in (expected, found)]
    np.testing.assert_allclose(np.asarray(gradients[1]), gradients[0], rtol=1e4 * np.finfo(dtype).eps, atol=1e-4 * tolerance)
    operator, there = connectivity.bind(kernels), connectivity.bind(strict.asarray(kernels))
    ones = np.ones(connectivity.n_units, dtype)
    assert there.numerical_abscissa(strict.asarray(ones)) == pytest.approx(operator.numerical_abscissa(ones))
    assert there.numerical_abscissa_below(10.0)


def test_a_factor_of_a_few_channels_is_formed_early():
    """Its cost is T s for a few rows, not for as many rows as there are units."""
    connectivity = Convolution(1, (12, 12))
    kernels, drive, _ = drawn(connectivity, 0.5, batch=4)
    found = solve_fixed_points(kernels, drive, connectivity=connectivity, solver=Automatic(precision="native"))
    as_dense = solve_fixed_points(dense(connectivity, kernels), drive, solver=Automatic(precision="native"))
    assert found.solver.startswith("auto (chord map")
    assert as_dense.solver == "auto (plain iteration)"


def test_blocks_of_rows_change_nothing(monkeypatch):
    connectivity = CONVOLUTIONS["even"]
    kernels, rows, covectors = drawn(connectivity, batch=40)
    operator = connectivity.bind(kernels)
    whole = operator.apply(rows), operator.accumulate(covectors, rows)
    monkeypatch.setattr("riemannrnn.network.convolution.BLOCK_BYTES", 1)
    parts = operator.apply(rows), operator.accumulate(covectors, rows)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_invalid_arguments_are_refused(generator):
    connectivity = Convolution(2, (3, 4))
    kernels = connectivity.initial(24, 0.5, generator)
    with pytest.raises(ValueError, match=r"channels = 0.*1 or more"):
        Convolution(0, (3, 3))
    with pytest.raises(ValueError, match=r"the weights have shape \(2, 2, 3, 1\); pass kernels of shape \(2, 2, 3, 3\)"):
        connectivity.check(kernels[..., :1], 24)
    for call in (lambda: connectivity.check(kernels, 25), lambda: connectivity.initial(25, 0.5, generator)):
        with pytest.raises(ValueError, match="25 units"):
            call()
    with pytest.raises(ValueError, match="gains of the units of a channel differ"):
        connectivity.bind(kernels).propagator(generator.random(24))
    with pytest.raises(ValueError, match="scales of the units of a channel differ"):
        connectivity.bind(kernels).spectral_norm(generator.random(24))


def test_on_a_device(xp):
    """Nothing is transferred to or from the device."""
    connectivity = CONVOLUTIONS["even"]
    kernels, drive, coefficients = drawn(connectivity)
    there = [xp.asarray(each) for each in (kernels, drive, coefficients)]
    options = {"tolerance": 1e-12, "connectivity": connectivity}
    expected = derivatives(kernels, drive, coefficients, kernels, **options)
    with nothing_moves():
        found = solve_fixed_points(there[0], there[1], "tanh", **options)
        implicit = Implicit(found)
        errors = there[2] + found.rates
        adjoint = implicit.adjoint(errors)
        gradient = implicit.gradient(adjoint)
        hessian = implicit.hessian(errors, adjoint, there[0], lambda change: change)
    same(gradient, expected[1], 1e-9, xp)
    same(hessian, expected[2], 1e-9, xp)
