"""If I − G W is singular the derivative does not exist: no solver may return one, and each failure names its reason."""

import numpy as np
import pytest

from riemannrnn import FixedPointCost, FixedPointError, RateNetwork, SquaredError, solve_fixed_points
from riemannrnn.equilibrium import Implicit
from riemannrnn.network import Dense
from riemannrnn.norms import row_norms

DTYPES = [np.float64, np.float32]
SOLVERS = ["auto", "chord", "splitting", "picard", "anderson", "newton"]


def symmetric(n, missing=0.0, dtype=np.float64, seed=0):
    """Return Q diag(1 − missing, others from −1 to 0.8) Qᵀ."""
    generator = np.random.default_rng(seed)
    Q = np.linalg.qr(generator.standard_normal((n, n)))[0]
    return ((Q * np.append(1 - missing, generator.uniform(-1, 0.8, n - 1))) @ Q.T).astype(dtype)


def normal(*shape, dtype=np.float64, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


SINGULAR = {
    "diagonal": ("identity", lambda n: np.diag(np.linspace(1, 0.5, n))),
    "rotated": ("identity", symmetric),
    "tanh at zero": ("tanh", symmetric),
    "identity": ("tanh", np.eye),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 60])
@pytest.mark.parametrize("which", SINGULAR)
def test_a_singular_system_has_no_gradient(which, n, dtype, solver):
    """Each has the fixed point 0 of stimulus 0, where the errors are the targets."""
    activation, build = SINGULAR[which]
    network = RateNetwork(n, activation=activation, dtype=dtype)
    zero, targets = np.zeros((1, n), dtype), normal(1, n, dtype=dtype)
    cost = FixedPointCost(network, zero, SquaredError(targets), solver=solver)
    weights = build(n).astype(dtype)
    with pytest.raises(FixedPointError, match=r"the adjoint of 1 of 1 stimuli is not solved; .* singular"):
        cost.gradient(weights)
    fixed_points = solve_fixed_points(weights, zero, activation, solver=solver)
    solution = Implicit(fixed_points, solver).solve_tangent(np.eye(n, dtype=dtype))  # V r = 0
    assert solution.converged.all()
    assert not solution.state.any()
    exact = FixedPointCost(network, zero, SquaredError(0 * zero), solver=solver)
    assert not exact.gradient(weights).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_stimulus_with_a_huge_certified_gradient_is_refused(dtype):
    """The allowance for rounding, 4 ε ‖u‖, exceeds the right-hand side."""
    stimuli = np.asarray([[0.0, 1.0]], dtype)
    cost = FixedPointCost(RateNetwork(2, activation="identity", dtype=dtype), stimuli, SquaredError(np.ones((1, 2), dtype)))
    with pytest.raises(FixedPointError, match="singular"):
        cost.gradient(np.diag([1.0, 0.5]).astype(dtype))


def test_peaceman_rachford_refuses_singular_weights():
    cost = FixedPointCost(
        RateNetwork(2, activation="identity"), np.eye(2)[1:], SquaredError(np.ones((1, 2))), solver="peaceman-rachford"
    )
    with pytest.raises(ValueError, match="not positive definite"):
        cost.gradient(np.diag([1.0, 0.5]))


@pytest.mark.parametrize("solver", [*SOLVERS, "peaceman-rachford"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_singular_linear_network_has_no_fixed_point(dtype, solver):
    """For peaceman-rachford a rounding error makes the weights monotone, so it accepts them."""
    weights = symmetric(20, 4 * np.finfo(dtype).eps, dtype)
    found = solve_fixed_points(weights, normal(3, 20, dtype=dtype), "identity", solver=solver, on_failure="mask")
    assert not found.converged.any()
    assert all(sentence.startswith(("Not converged", "Diverged")) for sentence in found.status)
    assert not any("the residual 0.0e+00" in sentence for sentence in found.status)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_singular_stimulus_harms_no_other(dtype):
    """Only stimulus 33 is 0, where the gains are 1; the sample of the automatic solver does not contain it."""
    n, weights = 120, symmetric(120, dtype=dtype)
    drive = normal(100, n, dtype=dtype) * 3
    drive[33] = 0
    solution = Implicit(solve_fixed_points(weights, drive, "tanh")).solve_adjoint(normal(100, n, dtype=dtype, seed=2))
    np.testing.assert_array_equal(solution.singular, np.arange(100) == 33)
    np.testing.assert_array_equal(solution.converged, ~solution.singular)
    assert "I − G W is singular to working precision" in solution.status[33]


@pytest.mark.parametrize("solver", ["auto", "chord", "splitting", "newton"])
@pytest.mark.parametrize(
    ("dtype", "missing", "accuracy"),
    [
        (np.float64, 1e-6, 1e-5),
        (np.float64, 1e-10, 1e-4),
        (np.float64, 1e-12, 1e-2),
        (np.float32, 1e-2, 1e-3),
        (np.float32, 1e-3, 5e-2),
    ],
)
def test_an_ill_conditioned_system_is_still_solved(dtype, missing, accuracy, solver):
    n, errors = 40, normal(5, 40, dtype=dtype)
    weights = symmetric(n, missing, dtype)
    found = Implicit(solve_fixed_points(weights, np.zeros((5, n), dtype), "tanh"), solver).solve_adjoint(errors)
    exact = np.linalg.solve(np.eye(n) - weights.T.astype(float), errors.T.astype(float)).T
    assert found.converged.all()
    assert (np.linalg.norm(found.state - exact, axis=1) <= accuracy * np.linalg.norm(exact, axis=1)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(5))
def test_the_residual_of_a_certified_solution_is_below_two_percent_of_the_right_hand_side(dtype, seed):
    """Measured in extended precision: 1 % by the rule, and as much by rounding of the measured residual."""
    n, errors = 40, normal(30, 40, dtype=dtype, seed=seed)
    for factor in (0.0, 3.0, 30.0, 300.0, 3000.0):
        weights = symmetric(n, factor * np.finfo(dtype).eps, dtype, seed)
        found = Implicit(solve_fixed_points(weights, np.zeros((30, n), dtype), "tanh")).solve_adjoint(errors)
        state = found.state.astype(np.longdouble)
        residual = np.linalg.norm(state @ weights + errors - state, axis=1) / np.linalg.norm(errors, axis=1)
        assert (residual[found.converged] < 0.02).all()
        assert factor > 0 or found.singular.sum() >= 27  # the others have hardly any component along the null vector


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e25), (np.float32, 1e-30), (np.float64, 1e200)])
@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_huge_and_tiny_states_are_solved(scale, dtype, size, solver):
    """The squares of the states and of the residuals overflow or underflow."""
    drive = (size * np.asarray([[1.0, -2.0], [0.0, 3.0]])).astype(dtype)
    found = solve_fixed_points(scale * np.eye(2, dtype=dtype), drive, "identity", solver=solver, tolerance=0.0)
    np.testing.assert_allclose(found.rates, drive / (1 - dtype(scale)), rtol=1e-5)
    assert found.rates.dtype == dtype


@pytest.mark.parametrize(("dtype", "largest"), [(np.float32, 38), (np.float64, 307)])
def test_norms_neither_overflow_nor_underflow(dtype, largest):
    powers = np.arange(-largest + 1, largest, dtype=np.longdouble)
    array = (np.longdouble(10) ** powers[:, None] * [3, -4]).astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_allclose(row_norms(array), 5 * np.longdouble(10) ** powers, rtol=5e-7)
        special = np.asarray([[0, 0], [np.inf, 1], [np.nan, 1], [1, 0]], dtype)
        np.testing.assert_array_equal(row_norms(special), [0, np.inf, np.nan, 1])
        biggest = np.full((1, 4), np.finfo(dtype).max, dtype)
        np.testing.assert_allclose(row_norms(biggest, 0.25), biggest[:, 0] / 2)
        norms = Dense().bind(array[-2:]).row_norms
        np.testing.assert_allclose(norms, [5 * 10.0 ** (largest - 2), 5 * 10.0 ** (largest - 1)], 1e-6)
        np.testing.assert_allclose(Dense().bind(array[-2:].T).transpose.row_norms, norms)


def adjoint(weights, errors, solver):
    weights, errors = np.asarray(weights, float), np.asarray(errors, float)
    return Implicit(solve_fixed_points(weights, np.ones_like(errors), "relu"), solver).adjoint(errors)


@pytest.mark.parametrize(
    ("errors", "solver", "reason", "excluded"),
    [
        ([[1.0]], "anderson", "anderson diverged within .* Choose solver='auto'", "targets"),
        ([[1.0]], "picard", "picard diverged within .* Choose solver='auto'", "targets"),
        ([[np.nan]], "anderson", "NaN or infinity. Look for them in the targets", "singular"),
        ([[np.inf]], "auto", "NaN or infinity. Look for them in the targets", "singular"),
    ],
)
def test_a_failed_adjoint_names_its_reason(errors, solver, reason, excluded):
    """I − G W = 4.646 is far from singular, and the plain iteration diverges."""
    with pytest.raises(FixedPointError, match=reason) as caught:
        adjoint([[-3.646]], errors, solver)
    assert "residual of nan" in str(caught.value)
    assert excluded not in str(caught.value).replace("close to singular", "")


@pytest.mark.parametrize("drive", [np.nan, np.inf])
def test_a_drive_that_is_not_finite_is_named(drive):
    """For an infinite drive tanh returns the rate 1, with residual 0."""
    found = solve_fixed_points(np.zeros((1, 1)), np.asarray([[drive]]), "tanh", solver="picard", on_failure="mask")
    assert found.status == [
        "Diverged at the start: the drive or the initial state holds NaN or infinity, or its image overflows."
    ]
