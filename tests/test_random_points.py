"""Random points are well inside a manifold, so `check_manifold` passes for every draw."""

import numpy as np
import pytest
from cases import gains

from manifolds import Composition, PullbackManifold, Resolvent, check_manifold

N = 5
CHARTS = {
    "resolvent": lambda dtype: Resolvent(),
    "resolvent with gains": lambda dtype: Resolvent(gains(dtype, N)),
    "resolvent with large gains": lambda dtype: Resolvent(10 * gains(dtype, N)),
    "resolvent after resolvent": lambda dtype: Composition(Resolvent(-gains(dtype, N)), Resolvent()),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("chart", CHARTS)
def test_a_manifold_passes_its_checks_whatever_the_draw(chart, dtype):
    like = np.empty(0, dtype)
    manifolds = [PullbackManifold(CHARTS[chart](dtype), N, seed=seed, like=like) for seed in range(25)]
    failed = [str(report) for report in map(check_manifold, manifolds) if not report]
    assert not failed, f"{len(failed)} of {len(manifolds)} draws\n{failed[0]}"


def test_the_draws_of_a_chart_whose_origin_is_far_from_its_edge_keep_their_spread():
    manifold = PullbackManifold(Resolvent(), 20, seed=0)
    deviations = [manifold.chart.value(manifold.random_point()) - np.eye(20) for _ in range(20)]
    assert np.std(deviations) == pytest.approx(0.5 / 20**0.5, rel=0.05)
