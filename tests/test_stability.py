"""The survey of stability, against all eigenvalues of all stimuli."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from riemannrnn.equilibrium.stability import survey_stability
from riemannrnn.network import Dense


@pytest.mark.parametrize("units", [3, 60])
@pytest.mark.parametrize("radius", [0.3, 0.9, 1.3])
@pytest.mark.parametrize("kind", ["disc", "outlier", "inhibition"])
def test_survey_finds_the_worst_and_counts_the_unstable(units: int, radius: float, kind: str) -> None:
    generator = np.random.default_rng(units)
    weights = radius * generator.standard_normal((units, units)) / units**0.5
    if kind == "outlier":  # one direction decides
        weights += 2.2 * np.outer(weights[0], weights[0]) / (weights[0] @ weights[0])
    if kind == "inhibition":
        weights -= 30 * np.outer(weights[0], weights[0]) / (weights[0] @ weights[0])
    gains = generator.uniform(0.2, 1.0, (80, units)) * generator.uniform(0.5, 1.0, (80, 1))
    every = np.linalg.eigvals(gains[:, :, None] * weights).real.max(axis=1) - 1
    worst, unstable = survey_stability(Dense(), weights, gains)
    assert_allclose(worst, every.max(), rtol=1e-10)
    assert unstable == np.count_nonzero(every >= 0)
    if kind == "outlier" and units == 60 and radius == 0.3:
        assert 0 < unstable < 80
