"""A user-defined connectivity with only the required methods gives the results of its dense weights."""

import ast
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import array_api_strict as strict
import numpy as np
import pytest
from array_api_compat import array_namespace

import riemannrnn
from riemannrnn import Automatic, FixedPointCost, LowRank, RateNetwork, SquaredError, solve_fixed_points
from riemannrnn.equilibrium.certificate import not_stable
from riemannrnn.equilibrium.stability import spectral_abscissa, survey_stability
from riemannrnn.network import Convolution, Dense, Operator

N, BATCH = 6, 9


@dataclass(frozen=True, eq=False)
class RingOperator(Operator):
    """The operator of a diagonal and a ring: T s = a s + b times the neighbour, parameters (a, b) of shape (n,)."""

    def apply(self, rows, out=None):
        own, ring = self.parameters
        xp = array_namespace(rows)
        if self.transposed:
            result = rows * own + xp.roll(rows * ring, -1, axis=1)
        else:
            result = rows * own + xp.roll(rows, 1, axis=1) * ring
        if out is None:
            return result
        out[...] = result
        return out

    def accumulate(self, adjoints, rates):
        if self.transposed:
            adjoints, rates = rates, adjoints
        xp = array_namespace(rates)
        return xp.sum(adjoints * rates, axis=0), xp.sum(adjoints * xp.roll(rates, 1, axis=1), axis=0)

    def propagator(self, gain):
        matrix = replace(self, transposed=False).matrix
        xp = array_namespace(matrix)
        solution = xp.linalg.solve(xp.eye(matrix.shape[0], dtype=matrix.dtype) - matrix * gain, matrix)
        return Dense().bind(solution).directed(self.transposed)

    @cached_property
    def row_norms(self):
        own, ring = self.parameters
        xp = array_namespace(own)
        return xp.sqrt(own**2 + (xp.roll(ring, -1) if self.transposed else ring) ** 2)


class Ring:
    """Each unit excites itself and is excited by the unit before it."""

    def bind(self, parameters):
        return RingOperator(parameters)

    def check(self, parameters, n):
        if [each.shape for each in parameters] != [(n,), (n,)]:
            raise ValueError(f"{len(parameters)} arrays; pass a and b of shape ({n},)")

    def initial(self, n, radius, generator):
        return radius * generator.standard_normal(n), radius * generator.standard_normal(n)

    def scaled(self, parameters, factor):
        return tuple(factor * each for each in parameters)

    def change(self, vector):
        return vector


CASES = {
    "dense": Dense(),
    "low rank": LowRank(2),
    "full rank": LowRank(N),
    "convolution": Convolution(2, (1, 3)),
    "global kernels": Convolution(3, (2, 1), (2, 1)),
    "a user's": Ring(),
}
"""To test another connectivity, add it here."""


@pytest.fixture(params=CASES)
def connectivity(request):
    return CASES[request.param]


def weights_of(connectivity, parameters):
    """Return W, entry by entry from its action on unit vectors."""
    return np.stack([connectivity.bind(parameters).apply(row[None, :])[0] for row in np.eye(N)], axis=1)


@pytest.fixture
def parameters(connectivity, generator):
    return connectivity.initial(N, 0.7, generator)


@pytest.mark.parametrize("transposed", [False, True])
def test_an_operator_is_its_matrix(connectivity, parameters, transposed, generator):
    W = weights_of(connectivity, parameters)
    T = W.T if transposed else W
    operator = connectivity.bind(parameters).directed(transposed)
    rows, out = generator.standard_normal((BATCH, N)), np.empty((BATCH, N))
    gain = operator.shared_gains(generator.random((BATCH, N)))
    assert operator.transposed == transposed
    assert operator.transpose.parameters is operator.parameters
    np.testing.assert_allclose(operator.matrix, T)
    np.testing.assert_allclose(operator.apply(rows), rows @ T.T)
    assert operator.apply(rows, out) is out
    np.testing.assert_allclose(out, rows @ T.T)
    np.testing.assert_allclose(operator.transpose.apply(rows), rows @ T)
    np.testing.assert_allclose(operator.transpose.transpose.apply(rows), rows @ T.T)
    np.testing.assert_allclose(operator.row_norms, np.linalg.norm(T, axis=1))
    propagator = operator.propagator(gain)
    expected = np.linalg.solve(np.eye(N) - T * gain, T)
    np.testing.assert_allclose(propagator.matrix, expected, atol=1e-12)
    np.testing.assert_allclose(propagator.transpose.apply(rows), rows @ expected, atol=1e-12)
    part = operator.part(slice(1, 4))
    assert (part is not None) == operator.divisible == isinstance(connectivity, Dense)
    if part is not None:
        np.testing.assert_allclose(part.apply(rows), rows @ T[1:4].T)
    assert operator.single().apply(rows.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("transposed", [False, True])
def test_the_gradient_in_the_parameters(connectivity, parameters, transposed, generator):
    adjoints, rates = generator.standard_normal((2, BATCH, N))
    operator = connectivity.bind(parameters).directed(transposed)
    several = isinstance(parameters, tuple)
    flat = np.concatenate([np.ravel(each) for each in (parameters if several else (parameters,))])
    gradient = operator.accumulate(adjoints, rates)
    found = np.concatenate([np.ravel(each) for each in (gradient if several else (gradient,))])

    def value(entries):
        """⟨U, R Tᵀ⟩, which is linear in each entry of the parameters."""
        parts, start = [], 0
        for each in parameters if several else (parameters,):
            parts.append(entries[start : start + each.size].reshape(each.shape))
            start += each.size
        moved = connectivity.bind(tuple(parts) if several else parts[0]).directed(transposed)
        return np.sum(adjoints * moved.apply(rates))

    unit = np.eye(len(flat))
    expected = [(value(flat + row) - value(flat - row)) / 2 for row in unit]
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("gains", ["finite", "some infinite", "none finite"])
def test_shared_gains_ignore_what_is_not_finite(connectivity, parameters, gains, generator):
    rows = generator.random((BATCH, N))
    rows[: {"finite": 0, "some infinite": 2, "none finite": BATCH}[gains], 1] = np.inf
    finite = rows[np.isfinite(rows).all(axis=1)]
    found = connectivity.bind(parameters).shared_gains(rows)
    expected = finite.mean(axis=0) if len(finite) else np.zeros(N)
    if isinstance(connectivity, Convolution):
        expected = np.tile(expected.reshape(-1, connectivity.channels).mean(axis=0), N // connectivity.channels)
    np.testing.assert_allclose(found, expected)


def test_bounds_of_the_numerical_range_hold(connectivity, parameters, generator):
    W, scales = weights_of(connectivity, parameters), generator.random(N)
    for operator in (connectivity.bind(parameters), connectivity.bind(parameters).transpose):
        scaled = scales[:, None] * W * scales
        assert operator.numerical_abscissa(scales) >= np.linalg.eigvalsh((scaled + scaled.T) / 2)[-1] - 1e-12
        exact = np.linalg.eigvalsh((W + W.T) / 2)[-1]
        assert not operator.numerical_abscissa_below(exact - 1e-6)
        assert operator.numerical_abscissa_below(exact + 1e-6) == isinstance(connectivity, Dense | Convolution)


@pytest.mark.parametrize("size", [1.0, 4.0])
def test_stability_agrees_with_the_matrix(connectivity, parameters, size, generator):
    parameters = connectivity.scaled(parameters, size)
    operator, gains = connectivity.bind(parameters), generator.random((BATCH, N))
    every = np.linalg.eigvals(gains[:, :, None] * weights_of(connectivity, parameters)).real.max(axis=1) - 1
    for each in (operator, operator.transpose):
        np.testing.assert_allclose(spectral_abscissa(each, gains), every, atol=1e-10)
    assert survey_stability(operator, gains) == (pytest.approx(every.max(), abs=1e-10), np.count_nonzero(every >= 0))
    worst, rows = not_stable(operator, gains, 0.05)
    assert worst >= every.max() - 1e-9
    np.testing.assert_array_equal(rows, np.flatnonzero(every >= -0.05))


@pytest.mark.parametrize("solver", ["auto", "flow", "chord", "splitting", "picard", "anderson", "newton"])
def test_fixed_points(connectivity, parameters, solver, generator):
    drive = generator.standard_normal((BATCH, N))
    expected = solve_fixed_points(weights_of(connectivity, parameters), drive, solver="newton", tolerance=1e-13)
    found = solve_fixed_points(parameters, drive, connectivity=connectivity, solver=solver, tolerance=1e-12)
    np.testing.assert_allclose(found.rates, expected.rates, atol=1e-11)
    np.testing.assert_allclose(found.stability(), expected.stability(), atol=1e-9)


@pytest.mark.parametrize("precision", ["mixed", "native"])
def test_derivatives(precision, generator):
    """Compares the cost in the parameters of the ring with central differences; low rank has its own tests."""
    network = RateNetwork(N, 4, 3, seed=0, connectivity=Ring())
    stimuli, targets = generator.standard_normal((BATCH, 4)), generator.standard_normal((BATCH, 3))
    cost = FixedPointCost(network, stimuli, SquaredError(targets), solver=Automatic(precision=precision), tolerance=1e-13)
    point, h = network.initial_weights(0.6), 1e-5
    vector = tuple(generator.standard_normal((2, N)))
    ahead, behind = (tuple(p + step * v for p, v in zip(point, vector)) for step in (h, -h))
    slope = sum(np.vdot(g, v) for g, v in zip(cost.gradient(point), vector))
    assert slope == pytest.approx((cost(ahead) - cost(behind)) / (2 * h), rel=1e-7)
    for found, plus, minus in zip(cost.hessian(point, vector), cost.gradient(ahead), cost.gradient(behind)):
        np.testing.assert_allclose(found, (plus - minus) / (2 * h), atol=1e-7)


@pytest.mark.parametrize("rank", [2, N])
def test_weights_of_low_rank_are_never_formed(rank, generator, monkeypatch):
    def formed(self):
        raise NotImplementedError

    monkeypatch.setattr(Operator, "matrix", property(formed))
    network = RateNetwork(N, 4, 3, seed=0, connectivity=LowRank(rank))
    cost = FixedPointCost(
        network, generator.standard_normal((BATCH, 4)), SquaredError(generator.standard_normal((BATCH, 3))), stable=0.01
    )
    for size in (0.5, 3.0):
        found = cost.at(network.initial_weights(size)).fixed_points
        assert found.stability().shape == (BATCH,)
    with pytest.raises(NotImplementedError):  # shows that forming W would be noticed
        _ = found.operator.matrix
    u, s, vt = network.initial_weights(0.5)
    assert len(cost.gradient((u, s, vt))) == 3
    assert len(cost.hessian((u, s, vt), (u, np.diag(s), vt.T))) == 3


def test_on_strict_arrays(generator):
    ring, drive = Ring(), generator.standard_normal((BATCH, N))
    point = ring.initial(N, 0.6, generator)
    there = tuple(map(strict.asarray, point))
    found = solve_fixed_points(there, strict.asarray(drive), connectivity=ring, tolerance=1e-12)
    expected = solve_fixed_points(point, drive, connectivity=ring, tolerance=1e-12)
    np.testing.assert_allclose(np.asarray(found.rates), expected.rates, atol=1e-11)


def test_no_code_asks_for_the_type_of_the_connectivity():
    """Otherwise other connectivities would be treated differently."""
    for path in Path(riemannrnn.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                kinds = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
                assert not kinds & {
                    "Dense",
                    "LowRank",
                    "Convolution",
                    "DenseOperator",
                    "LowRankOperator",
                    "ConvolutionOperator",
                }, f"{path}, line {node.lineno}"
