"""Manifolds with every array on a device, and operations that raise an error there."""

import sys
from types import ModuleType, SimpleNamespace

import autograd.numpy as anp
import numpy as np
import pytest
from cases import CALLS, gains, short_vector, signs
from device import nothing_moves, same

from manifolds import (
    AutogradChart,
    Composition,
    Identity,
    InvalidArrayError,
    MonotoneManifold,
    OutsideManifoldError,
    PullbackManifold,
    Resolvent,
    SignedLog,
    SingularPointError,
    SubspaceManifold,
    check_manifold,
    circulant,
    zero_diagonal,
)
from manifolds.arrays import to_numpy
from manifolds.linear_algebra import direct_inverse, eigenvalues, inverse
from riemannrnn import AutogradLoss, BackendError, CrossEntropy, FixedPointCost, RateNetwork, SquaredError, to_backend, train

N = 5
DTYPES = {"float64": 1e-11, "float32": 1e-3}

CHARTS = {
    "identity": lambda backend, dtype: Identity(),
    "resolvent": lambda backend, dtype: Resolvent(),
    "resolvent with gains": lambda backend, dtype: Resolvent(to_backend(gains(dtype, N), backend)),
    "resolvent after identity": lambda backend, dtype: Composition(Resolvent(), Identity()),
    "resolvent after resolvent": lambda backend, dtype: Composition(
        Resolvent(to_backend(-gains(dtype, N), backend)), Resolvent()
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("retraction", ["geodesic", "additive"])
@pytest.mark.parametrize("chart", CHARTS)
def test_manifolds(xp, chart, retraction, dtype):
    empty = np.empty(0, dtype)
    here, there = (
        PullbackManifold(CHARTS[chart](backend, dtype), N, retraction, seed=0, like=to_backend(empty, backend), validate=True)
        for backend in ("numpy", xp)
    )
    W = here.random_point()
    same(there.random_point(), W, DTYPES[dtype], xp)
    V = short_vector(here, W)
    W2 = here.exp(W, V)
    here.generator, there.generator = np.random.default_rng(1), np.random.default_rng(1)
    W_there, W2_there, V_there = (to_backend(array, xp) for array in (W, W2, V))
    for name, call in CALLS.items():
        with nothing_moves(uploads=1 if "random" in name else 0):
            found = call(there, W_there, W2_there, V_there)
        same(found, call(here, W, W2, V), DTYPES[dtype], xp)


OTHERS = {
    "monotone": lambda backend, like: MonotoneManifold(N, seed=0, like=like),
    "signed logarithm": lambda backend, like: PullbackManifold(
        SignedLog(to_backend(signs(like.dtype, N), backend)), N, seed=0, like=like
    ),
    "circulant in resolvent": lambda backend, like: SubspaceManifold(
        PullbackManifold(Resolvent(), N, seed=0, like=like), circulant(N)
    ),
    "mask in identity": lambda backend, like: SubspaceManifold(
        PullbackManifold(Identity(), N, seed=0, like=like), zero_diagonal(N)
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OTHERS)
def test_other_manifolds(xp, name, dtype):
    here, there = (OTHERS[name](backend, to_backend(np.empty(0, dtype), backend)) for backend in ("numpy", xp))
    W = here.random_point()
    same(there.random_point(), W, DTYPES[dtype], xp)
    V = short_vector(here, W)
    W2 = here.exp(W, V)
    here.generator, there.generator = np.random.default_rng(1), np.random.default_rng(1)
    W_there, W2_there, V_there = (to_backend(array, xp) for array in (W, W2, V))
    for call in (call for name, call in CALLS.items() if "random" not in name):
        with nothing_moves():
            found = call(there, W_there, W2_there, V_there)
        same(found, call(here, W, W2, V), DTYPES[dtype], xp)
    report = check_manifold(there)
    assert report, str(report)


@pytest.mark.parametrize("chart", CHARTS)
def test_check_manifold(xp, chart):
    manifold = PullbackManifold(CHARTS[chart](xp, "float64"), N, seed=0, like=to_backend(np.empty(0), xp))
    report = check_manifold(manifold)
    assert report, str(report)


def test_singular_matrices_are_noticed(xp):
    """CuPy inverts them to NaN or infinity without an error."""
    for n in (3, 100):
        for matrix in (np.zeros((n, n)), np.ones((n, n))):
            for invert in (direct_inverse, inverse):
                with pytest.raises(np.linalg.LinAlgError, match="Singular"):
                    invert(to_backend(matrix, xp))
    manifold = PullbackManifold(Resolvent(), 2)
    for W in (np.eye(2), np.diag([0.0, 1.0]), np.ones((2, 2)) / 2):
        with pytest.raises(SingularPointError):
            manifold.norm(to_backend(W, xp), to_backend(np.ones((2, 2)), xp))


@pytest.mark.parametrize("n", [3, 100])
def test_inverse(xp, n, generator):
    matrix = generator.standard_normal((n, n))
    with np.errstate(all="raise"):
        same(inverse(to_backend(matrix, xp)), np.linalg.inv(matrix), 1e-8, xp)


def test_eigenvalues(xp):
    rotation = np.array([[0.0, 1.0], [-1.0, 0.0]])
    found = eigenvalues(to_backend(rotation, xp))
    assert sorted(to_numpy(found), key=np.imag) == pytest.approx([-1j, 1j])


def test_the_edge(xp):
    manifold = PullbackManifold(Resolvent(), 2)
    W, V = (to_backend(array, xp) for array in (np.zeros((2, 2)), -2 * np.eye(2)))
    with nothing_moves():
        assert manifold.exit_time(W, V) == pytest.approx(0.5)
        shortened = manifold.retraction(W, V)
        with pytest.raises(OutsideManifoldError, match="exit time"):
            manifold.exp(W, V)
    same(shortened, np.eye(2) * -9.0, 1e-12, xp)


def swish(z):
    return z / (1 + anp.exp(-z))


def cost(xp, **changes):
    """Evaluate a cost and its gradient; one part may be on the wrong backend."""
    parts = {
        "network": RateNetwork(3, 2, 2, backend=xp),
        "stimuli": to_backend(np.ones((4, 2)), xp),
        "loss": CrossEntropy(to_backend(np.zeros(4, int), xp)),
    } | changes
    weights = parts.pop("weights", to_backend(np.zeros((3, 3)), xp))
    return FixedPointCost(**parts).gradient(weights)


REFUSED = {
    "stimuli": (lambda xp: cost(xp, stimuli=np.ones((4, 2))), r"stimuli of numpy: .*\. Move them once"),
    "weights": (lambda xp: cost(xp, weights=np.zeros((3, 3))), "weights of numpy"),
    "labels": (lambda xp: cost(xp, loss=CrossEntropy(np.zeros(4, int))), "labels of numpy"),
    "targets": (lambda xp: cost(xp, loss=SquaredError(np.zeros((4, 2)))), "targets of numpy"),
    "network": (lambda xp: cost(xp, network=RateNetwork(3, 2, 2)), "stimuli of .*: the computation uses numpy"),
    "loss by autograd": (lambda xp: cost(xp, loss=AutogradLoss(lambda y, t: y[:, 0], np.zeros(4))), "AutogradLoss on"),
    "activation by autograd": (lambda xp: cost(xp, network=RateNetwork(3, 2, 2, swish, backend=xp)), "activation 'swish' on"),
    "training": (
        lambda xp: train(RateNetwork(3, 2, 2, backend=xp), to_backend(np.zeros((3, 3)), xp), np.ones((4, 2)), np.zeros(4, int)),
        "stimuli of numpy",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_arrays_of_two_backends(xp, what):
    call, message = REFUSED[what]
    with pytest.raises(BackendError, match=message):
        call(xp)


def test_a_chart_by_autograd(xp):
    manifold = PullbackManifold(AutogradChart(swish, swish), 2)
    for call in (manifold.norm, manifold.exp):
        with pytest.raises(InvalidArrayError, match="autograd differentiates functions of NumPy arrays only"):
            call(*(to_backend(array, xp) for array in (np.zeros((2, 2)), np.ones((2, 2)))))


def test_what_moves_once_is_all_there_is(xp):
    assert cost(xp).shape == (3, 3)


def test_an_unknown_backend():
    with pytest.raises(BackendError, match=r"backend = 'torch': the name is unknown\. Choose one of numpy, cupy"):
        RateNetwork(3, backend="torch")


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match=r"backend = 'cupy': CuPy cannot be imported .*riemannrnn\[cuda12\]"):
        RateNetwork(3, backend="cupy")


@pytest.mark.parametrize("answer", [0, "cudaErrorInsufficientDriver"])
def test_without_a_gpu(monkeypatch, answer):
    """CuPy is installed, but finds no usable device."""

    def count():
        if answer:
            raise CUDARuntimeError(answer)
        return 0

    class CUDARuntimeError(RuntimeError):
        pass

    runtime = SimpleNamespace(getDeviceCount=count, CUDARuntimeError=CUDARuntimeError)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", ModuleType("array_api_compat.cupy"))
    with pytest.raises(BackendError, match=rf"CUDA finds no GPU that it can use.*{answer or ''}.*Run on a machine"):
        RateNetwork(3, backend="cupy")
