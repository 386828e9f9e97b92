"""Fixtures of the whole suite."""

import numpy as np
import pytest
from cases import CASES, FLAT_GEOMETRIES, GEOMETRIES, Case

from manifolds import PullbackManifold, WeightManifold


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


@pytest.fixture(params=GEOMETRIES, ids=lambda case: case.metric)
def geometry(request: pytest.FixtureRequest) -> WeightManifold:
    """Return a manifold for every metric of the table, in float64."""
    return request.param.manifold()


@pytest.fixture(params=FLAT_GEOMETRIES, ids=lambda case: case.metric)
def flat_geometry(request: pytest.FixtureRequest) -> PullbackManifold:
    """Return a manifold for every chart of the table, in float64."""
    return request.param.manifold()
