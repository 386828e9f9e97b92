"""The engine behind "auto": inverse by blocks, mixed precision, the plan, and its safeguards."""

from dataclasses import replace

import autograd.numpy as anp
import numpy as np
import pytest
from cases import fixed_point_problem as problem
from hypothesis import example, given, settings
from hypothesis import strategies as st

from riemannrnn import (
    Automatic,
    RateNetwork,
    solve_fixed_points,
)
from riemannrnn.equilibrium import Iteration, Picard
from riemannrnn.equilibrium.chord import ChordMap, CorrectedMap
from riemannrnn.equilibrium.equation import FixedPointEquation
from riemannrnn.equilibrium.implicit import Implicit
from riemannrnn.equilibrium.iteration import Iterate
from riemannrnn.equilibrium.solution import certified
from riemannrnn.equilibrium.solver import Problem
from riemannrnn.equilibrium.stages import MixedStage
from riemannrnn.network import Dense
from riemannrnn.network.activations import as_activation


def test_the_splitting_map_needs_no_sample(monkeypatch):
    weights, drive = problem(radius=2.0)
    equation = FixedPointEquation(Dense().bind(weights), drive, as_activation("tanh"))

    def sampled(*arguments):
        raise AssertionError

    monkeypatch.setattr("riemannrnn.equilibrium.probe.probe", sampled)
    assert Automatic("splitting").prepare(Problem(equation, None, 1e-8, 100)).decision.plain == 0
    with pytest.raises(AssertionError):
        Automatic().prepare(Problem(equation, None, 1e-8, 100))


def test_one_slow_row_does_not_use_up_what_others_need(generator):
    weights = 1.15 * generator.standard_normal((40, 40)) / 40**0.5
    drive = 1.5 * generator.standard_normal((200, 40))
    drive[1] = 1e-3 * generator.standard_normal(40)
    found = solve_fixed_points(weights, drive, on_failure="mask", max_iterations=60)
    alone = solve_fixed_points(weights, np.delete(drive, 1, axis=0), on_failure="mask", max_iterations=60)
    assert int(found.converged.sum()) >= int(alone.converged.sum()) - 2 > 100


@pytest.mark.parametrize("tolerance", [1e-6, 1e-10, 1e-13])
@pytest.mark.parametrize("radius", [0.3, 0.6, 0.9, 1.1])
def test_float32_inside_is_float64_outside(radius, tolerance):
    weights, drive = problem(radius=radius)
    found = solve_fixed_points(weights, drive, tolerance=tolerance)
    assert found.converged.all()
    assert found.rates.dtype == np.float64
    assert np.linalg.norm(np.tanh(found.rates @ weights.T + drive) - found.rates, axis=1).max() <= tolerance + 1e-14


@pytest.mark.parametrize("gains", [None, 0.7])
def test_the_mixed_stage_on_its_own_reaches_float64(gains, generator):
    """Without later stages, which would hide its errors; nonlinear, and linear with gains."""
    weights, drive = problem(n=70, batch=30)
    activation = as_activation("tanh") if gains is None else np.full_like(drive, gains)
    equation = FixedPointEquation(Dense().bind(weights), drive, activation)
    single = equation.single()
    chord = ChordMap.build(single, np.full(70, 0.6, dtype=np.float32))
    from riemannrnn.equilibrium.anderson import Anderson

    rows = np.arange(30)
    solution = MixedStage(60, Anderson(2), chord).run(equation, rows, drive, drive, 1e-12, 60)
    assert solution.converged.all()
    np.testing.assert_allclose(equation.image(solution.state), solution.state, atol=2e-12)


def test_the_adjoint_stays_in_the_precision_of_the_map_and_converts_no_weights():
    weights, drive = problem(n=70, batch=30)
    equation = FixedPointEquation(Dense().bind(weights), drive, as_activation("tanh"))
    chord = ChordMap.build(equation.single(), np.full(70, 0.6, dtype=np.float32))
    adjoint = chord.at(FixedPointEquation(Dense().bind(weights).transpose, drive, np.full_like(drive, 0.7))).equation
    assert adjoint.drive.dtype == adjoint.activation.dtype == np.float32
    assert adjoint.operator.parameters is chord.equation.operator.parameters
    assert adjoint.operator.transposed


def test_saturated_networks_are_solved_by_plain_iteration():
    """A line search that goes to huge weights must still get the value of the cost."""
    column = np.ones((20, 1))
    weights, drive = 1e4 * column @ column.T, np.random.default_rng(0).standard_normal((30, 20)) + 0.5
    assert solve_fixed_points(weights, drive).converged.all()


def test_auto_says_what_it_picked():
    weights, drive = problem(n=100, batch=400, radius=0.9)
    network = RateNetwork(100, seed=0)
    assert network.solve(weights, drive).solver == "auto (chord map, accelerated, float32 corrected in float64)"
    assert network.solve(0.03 * weights, drive).solver == "auto (plain iteration)"
    far = network.solve(4 * weights, drive, on_failure="mask").solver
    assert far.startswith("auto (the dynamics, then Newton's method, ")
    assert far.endswith(" with gains that they share)")
    assert network.solve(weights, drive, solver="anderson").solver == "anderson"


def test_rows_that_are_close_are_not_given_to_another_method():
    """At radius 1.8 accelerated iterations need more than one stage; averaged iterations would take hundreds."""
    weights, drive = problem(n=100, batch=200, radius=1.8)
    assert solve_fixed_points(weights, drive, on_failure="mask", max_iterations=200).converged.mean() > 0.9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_one_gain_does_not_fit_get_others(dtype):
    """At radius 2.5 gains differ so much that with the mean over all stimuli hardly any stimulus reaches a fixed point."""
    weights, drive = problem(n=100, batch=200, radius=2.5, dtype=dtype)
    found = solve_fixed_points(weights, drive, on_failure="mask")
    assert found.converged.mean() > 0.3
    assert (found.stability()[found.converged] < 0).mean() > 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_factor_is_formed_for_unsolvable_systems(bad, monkeypatch):
    weights, drive = problem(n=40, batch=512, radius=1.3)
    drive[7, 3] = bad
    factors, build = [], ChordMap.build.__func__
    monkeypatch.setattr(ChordMap, "build", classmethod(lambda *arguments: factors.append(1) or build(*arguments)))
    assert solve_fixed_points(weights, drive, on_failure="mask").converged.sum() == 511
    assert len(factors) == 1  # the factor of the plan


def turning(n, size, dtype=np.float32):
    """Return size times an orthogonal skew matrix: rows have this norm, and I − G W has no small singular value."""
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0]
    return (size * basis @ np.kron(np.eye(n // 2), [[0, 1], [-1, 0]]) @ basis.T).astype(dtype)


@pytest.mark.parametrize("size", [0.1, 1, 10, 80])
def test_a_residual_at_rounding_is_converged_whatever_the_tolerance(size):
    """The rounding error of W r depends on its terms, which may be many times as large as their sum."""
    weights, drive = turning(100, size), problem(n=100, batch=30, dtype=np.float32)[1]
    found = solve_fixed_points(weights, drive, tolerance=0.0)
    exact = solve_fixed_points(weights.astype(float), drive.astype(float))
    norms = np.linalg.norm(exact.rates, axis=1)
    assert (np.linalg.norm(found.rates - exact.rates, axis=1) <= 1e-5 * norms).all()
    unit = np.finfo(np.float32).eps * norms * size
    assert (found.residual <= 8 * unit + 4.1 / size * unit).all()
    if size > 1:  # exact solutions have the same residual
        rates = exact.rates.astype(np.float32)
        assert (np.linalg.norm(np.tanh(rates @ weights.T + drive) - rates, axis=1) > 0.2 * unit).all()


@pytest.mark.parametrize(("size", "granted"), [(100, True), (1e6, False)])
def test_not_every_residual_is_rounding(size, granted):
    """Uses units that inhibit themselves, at their fixed point; for a millionfold inhibition float32 cannot resolve them."""
    rates = np.random.default_rng(0).uniform(0.5, 1.5, (30, 100))
    weights, drive = np.diag([-np.float32(size)] * 100), ((1 + size) * rates).astype(np.float32)
    equation = FixedPointEquation(Dense().bind(weights), drive, as_activation("relu"))
    found = certified(equation, rates.astype(np.float32), np.zeros(30, int), 1e-6)
    assert (found.residual > 1e-6 + 4 * np.finfo(np.float32).eps * np.linalg.norm(rates, axis=1)).all()
    assert (found.converged == granted).all()


@pytest.mark.parametrize("missing", [1e-3, 3e-4, 1e-4, 3e-5])
def test_large_weights_of_other_units_do_not_loosen_the_tolerance(missing):
    """The last unit satisfies r = r + c, and no other unit depends on it."""
    weights = np.diag([-100.0] * 99 + [1.0]).astype(np.float32)
    drive = np.array([[101.0] * 99 + [missing]], np.float32)
    assert not solve_fixed_points(weights, drive, "relu", on_failure="mask").converged.any()


def test_a_stimulus_of_infinite_gain_harms_no_other():
    """It must not enter the mean gain of the remaining stimuli."""
    steep = as_activation(lambda z: anp.where(z > 1e8, anp.maximum(z, 1.0) ** 40, anp.tanh(anp.minimum(z, 50.0))))
    weights, drive = problem(n=60, batch=200, radius=2.5)
    clean = solve_fixed_points(weights, drive, steep, on_failure="mask").converged.sum()
    spoilt = np.concatenate([drive, np.full((1, 60), 1e9)])
    assert clean > 120
    assert solve_fixed_points(weights, spoilt, steep, on_failure="mask").converged[:200].sum() > 0.9 * clean


def test_the_corrected_map_is_the_chord_map_with_less_rounding():
    weights, drive = turning(100, 10, float), problem(n=100, batch=30)[1]
    found, equation = (
        solve_fixed_points(weights, drive),
        FixedPointEquation(Dense().bind(weights), drive, as_activation("tanh")),
    )
    chord = ChordMap.build(equation, found.gains.mean(axis=0))
    state, corrected = drive + 1.0, CorrectedMap(chord)
    np.testing.assert_allclose(corrected.image(state), chord.image(state), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        corrected.take(slice(3, 5)).image(state[3:5]), corrected.image(state)[3:5], rtol=1e-12, atol=1e-12
    )

    def missed(fixed_point_map):
        """Return the residuals, in float64, at the states at which a map in float32 ends."""
        inputs = fixed_point_map.image(found.inputs.astype(np.float32)).astype(float)
        return np.linalg.norm(equation.inputs(equation.respond(inputs)) - inputs, axis=1)

    chord = ChordMap.build(equation.single(), chord.gain.astype(np.float32))
    assert (missed(CorrectedMap(chord)) < 0.3 * missed(chord)).all()


@settings(max_examples=25, deadline=None)
@example(radius=1.8868532282679968, seed=393, single=False, most=300)  # some rows use up the iterations of others
@example(radius=1.9089087465915482, seed=43, single=True, most=70)
@example(radius=1.1070762550810882, seed=36, single=False, most=40)
@example(radius=2.74609375, seed=99, single=True, most=70)  # the rounding of W r exceeds that of r
@given(radius=st.floats(0, 3), seed=st.integers(0, 1000), single=st.booleans(), most=st.sampled_from([20, 40, 70, 300]))
def test_converged_rows_meet_the_tolerance(radius, seed, single, most):
    weights, drive = problem(n=30, batch=64, radius=radius, seed=seed, dtype=np.float32 if single else np.float64)
    found = solve_fixed_points(weights, drive, on_failure="mask", max_iterations=most)
    residual = np.linalg.norm(np.tanh(found.rates @ weights.T + drive) - found.rates, axis=1)
    rounding = 8 * np.linalg.norm(found.rates, axis=1) + np.linalg.norm(np.abs(found.rates) @ np.abs(weights).T, axis=1)
    bound = found.tolerance * 1.01 + np.finfo(drive.dtype).eps * rounding  # the rounding of r, and that of W r
    assert (residual[found.converged] <= bound[found.converged]).all()
    assert (found.iterations <= most).all()


@pytest.mark.parametrize("radius", [0.3, 0.7, 0.99, 1.2])
def test_auto_converges_where_picard_does(radius):
    weights, drive = problem(n=60, batch=200, radius=radius)
    picard = solve_fixed_points(weights, drive, solver="picard", on_failure="mask", max_iterations=3000)
    auto = solve_fixed_points(weights, drive, on_failure="mask")
    assert auto.converged[picard.converged].all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6, 1e200])
def test_one_bad_stimulus_harms_no_other(bad):
    weights, drive = problem(n=40, batch=512)
    clean = solve_fixed_points(weights, drive)
    for row in (0, 300):  # in the sample or not
        spoilt = drive.copy()
        spoilt[row, 3] = bad
        found = solve_fixed_points(weights, spoilt, on_failure="mask")
        others = np.arange(512) != row
        assert found.converged[others].all()
        np.testing.assert_allclose(found.rates[others], clean.rates[others], atol=1e-9)
        assert found.converged[row] == np.isfinite(bad)


@pytest.mark.parametrize("solver", ["auto", "picard", "anderson", "newton"])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_small_batches(batch, solver):
    weights, drive = problem(batch=batch)
    found = solve_fixed_points(weights, drive, solver=solver)
    assert found.rates.shape == (batch, 40)
    assert found.converged.all()
    assert found.stability().shape == (batch,)
    assert Implicit(found, solver).adjoint(drive).shape == (batch, 40)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_adjoint_is_as_accurate_for_a_mean_as_for_a_sum(dtype, generator):
    weights, drive = problem(dtype=dtype)
    found = solve_fixed_points(weights, drive)
    errors = generator.standard_normal(drive.shape).astype(dtype)
    total = Implicit(found).adjoint(errors)
    mean = Implicit(found).adjoint(errors / dtype(4096))
    exact = [np.linalg.solve(np.eye(40) - g[:, None] * weights.T, g * e) for g, e in zip(found.gains, errors, strict=True)]
    for each in (total, 4096 * mean):
        np.testing.assert_allclose(each, exact, atol=100 * found.tolerance * np.abs(exact).max())


@pytest.mark.parametrize("solver", ["chord", "splitting", Automatic("chord", "native"), Automatic(precision="native")], ids=str)
@pytest.mark.parametrize("radius", [0.2, 0.9, 1.1])
def test_maps_by_name(solver, radius):
    weights, drive = problem(radius=radius)
    found = solve_fixed_points(weights, drive, solver=solver, on_failure="mask")
    plain = solve_fixed_points(weights, drive, on_failure="mask")
    assert (found.converged == plain.converged).all()
    good = found.converged
    assert good.mean() > 0.9
    if radius < 1:  # for a larger radius a stimulus may have several fixed points
        np.testing.assert_allclose(found.rates[good], plain.rates[good], atol=1e-8)
    assert "float32" not in found.solver or solver == "chord"
    if isinstance(solver, str):
        assert found.solver.startswith(f"{solver} (")


def test_a_custom_iteration():
    class Halfway(Iteration):
        name = "halfway"

        def update(self, equation, iterate, evaluated, tolerance):
            return Iterate(iterate.state + 0.5 * evaluated.residual)

    weights, drive = problem(radius=0.5)
    found = solve_fixed_points(weights, drive, solver=Halfway())
    assert found.solver == "halfway"
    np.testing.assert_allclose(found.rates, solve_fixed_points(weights, drive).rates, atol=1e-8)


def test_a_wrong_option_of_the_automatic_solver():
    with pytest.raises(ValueError, match="method = 'newton' is unknown; choose one of any, chord, splitting"):
        Automatic("newton")
    with pytest.raises(ValueError, match="precision = 'half' is unknown"):
        Automatic(precision="half")


@pytest.mark.parametrize("precision", ["mixed", "native"])
def test_one_factor_serves_the_fixed_points_and_every_derivative(precision, monkeypatch, generator):
    weights, drive = problem()
    built = []
    build = ChordMap.build
    monkeypatch.setattr(ChordMap, "build", lambda *arguments: built.append(1) or build(*arguments))
    solver = Automatic(precision=precision)
    found = solve_fixed_points(weights, drive, solver=solver)
    implicit, errors, vector = (
        Implicit(found, solver),
        generator.standard_normal(drive.shape),
        generator.standard_normal((40, 40)),
    )
    adjoint, tangent = implicit.adjoint(errors), implicit.tangent(vector)
    assert len(built) == 1
    alone = Implicit(replace(found, known=None), solver)
    np.testing.assert_allclose(adjoint, alone.adjoint(errors), atol=1e-8)
    np.testing.assert_allclose(tangent, alone.tangent(vector), atol=1e-8)


@pytest.mark.parametrize("solver", ["auto", "chord", "splitting", "picard", Picard(0.5), "anderson", "newton"], ids=str)
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
def test_nothing_of_the_caller_is_overwritten(solver, activation):
    weights, drive = problem(radius=0.6)
    start = np.tanh(drive[::-1])
    copies = [array.copy() for array in (weights, drive, start)]
    found = solve_fixed_points(weights, drive, activation, solver=solver, initial_rates=start)
    rates = found.rates.copy()
    Implicit(found, solver).adjoint(drive)
    for array, copy in zip((weights, drive, start, found.rates), (*copies, rates), strict=True):
        np.testing.assert_array_equal(array, copy)
