"""Fixtures of the whole suite."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores: one thread each, set before NumPy is imported
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ["COLUMNS"] = "200"  # xdist gives its workers 80, which would stand for whatever a test says

from typing import Any

import numpy as np
import pytest
import refusing
from cases import CASES, CATALOGUE, FLAT_GEOMETRIES, Case
from hypothesis import settings

from manifolds import PullbackManifold, WeightManifold
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, train
from riemannrnn.backend import BackendError, namespace
from riemannrnn.data import load_digits


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks of tests that `-m` selects."""
    config.addinivalue_line("markers", "browser: drives a headless Chromium; by `make test-browser`, or -m browser")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests in a browser, unless the selected marks name them."""
    if "browser" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("browser")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


settings.register_profile("same", derandomize=True)
settings.register_profile("search", max_examples=200)  # --hypothesis-profile=search looks for new counterexamples
settings.load_profile("same")


@pytest.fixture
def generator() -> np.random.Generator:
    """Return the test's own source of random numbers."""
    return np.random.default_rng(0)


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    """Run the test on every row of the table."""
    return request.param


@pytest.fixture
def manifold(case: Case) -> WeightManifold:
    """Return the manifold of every row of the table."""
    return case.manifold()


@pytest.fixture(params=CATALOGUE, ids=lambda case: case.metric)
def geometry(request: pytest.FixtureRequest) -> WeightManifold:
    """Return a manifold for every metric of the table, in float64."""
    return request.param.manifold()


@pytest.fixture(params=FLAT_GEOMETRIES, ids=lambda case: case.metric)
def flat_geometry(request: pytest.FixtureRequest) -> PullbackManifold:
    """Return a manifold for every chart of the table, in float64."""
    return request.param.manifold()


@pytest.fixture(params=["refusing", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> Any:
    """Return the namespace of arrays on a device: refusing arrays, and CuPy arrays if there is a GPU."""
    if request.param == "refusing":
        return refusing.namespace
    try:
        return namespace("cupy")
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def trained() -> tuple[list[Any], FixedPointCost]:
    """A network trained by full-batch ΔW3 on digits: path, cost, and learning rate."""
    data = load_digits().split(80, seed=0)[0]
    network = RateNetwork(50, 64, 10, seed=0)
    points: list[Any] = []
    history = train(
        network, network.initial_weights(0.5), data.stimuli, data.labels, "dW3", 0.1, epochs=12, seed=0,
        callback=lambda step, history: points.append(history.weights),
    )  # fmt: skip
    return [*points, history.weights], FixedPointCost(network, data.stimuli, CrossEntropy(data.labels))
