"""The verdict on a path: sentences that its numbers decide, and none for unknown numbers."""

import re

import numpy as np
import pytest
import xarray as xr

from riemannrnn import plots
from riemannrnn.analysis.verdict import verdict

POINTS = 9


def report(**changed):
    """Return the dataset of a straight path far from all singularities, with some numbers changed."""
    numbers = {
        "efficiency": [1.0],
        "deviation": np.zeros(POINTS),
        "turning": np.full(POINTS, 2.0),
        "edge_distance": np.full(POINTS, np.inf),
        "singular_value": np.full(POINTS, 0.5),
        "loss_between": np.linspace(2, 1, 5),
        "angle": np.full(POINTS, 90.0),
        "length": [3.0],
    } | changed
    per_point = {name: (("metric", "point"), [numbers[name]]) for name in ("deviation", "turning", "edge_distance")}
    return xr.Dataset(
        per_point
        | {
            "efficiency": ("metric", numbers["efficiency"]),
            "length": ("metric", numbers["length"]),
            "distance": ("metric", [2.0]),
            "singular_value": ("point", numbers["singular_value"]),
            "loss_between": (("line", "time"), [numbers["loss_between"]]),
            "angle": (("metric", "rule", "point"), [[numbers["angle"]]]),
        },
        coords={
            "metric": ["resolvent"],
            "step": ("point", 10 * np.arange(POINTS)),
            "line": ["geodesic, resolvent"],
            "time": np.linspace(0, 1, 5),
            "rule": ["dW3"],
        },
    )


ramp = np.linspace(0, 1, POINTS)

CASES = [
    ({}, "has 100% of the length of the path under the resolvent metric, which is nearly a geodesic"),
    ({"efficiency": [0.2]}, "has 20% of the length .* most of its length was spent on detours"),
    ({"efficiency": [0.7]}, "has 70% of the length"),
    ({}, "stays within 0.0% of the geodesic's length"),
    ({"deviation": ramp}, "strays from the geodesic by 50% of its length at step 80"),
    ({}, r"turns by 2° \(median, resolvent metric\): it goes almost straight on"),
    ({"turning": np.full(POINTS, 85.0)}, "close to a random walk"),
    ({"turning": 40 * ramp}, "turns more at the end .* than at the start"),
    ({"turning": 40 * ramp[::-1]}, "turns less at the end .* than at the start"),
    ({}, "smallest singular value of I − G W stays above 0.5"),
    ({"singular_value": 1.05 - ramp}, "falls from 1.1? to 0.05 at the end, and may fall further"),
    ({"singular_value": 0.1 + abs(ramp - 0.5)}, "falls from 0.6 to 0.1 at step 40"),
    ({"edge_distance": 1.1 - ramp}, "distance to the edge of the resolvent metric falls from 1.1 to 0.1"),
    ({}, "Along the geodesic of the resolvent metric the loss has no barrier"),
    ({"loss_between": np.array([2, 2, 3, 2, 1.0])}, "has a barrier of 1.5 nat"),
    ({"loss_between": np.array([2, np.inf, 3, 2, 1.0])}, "a stimulus loses its fixed point"),
    ({}, "the steps of all rules are, in the median, within 10° of perpendicular"),
    ({"angle": np.where(ramp > 0, 90.0, 40.0)}, "At the start what was done is nearest to the steps of ΔW3: 40°"),
    ({"angle": np.full(POINTS, 20.0)}, "nearest to the steps of ΔW3: 20° under the resolvent metric"),
]


@pytest.mark.parametrize(("changed", "sentence"), CASES)
def test_each_sentence_follows_from_the_numbers(changed, sentence):
    told = verdict(report(**changed))
    assert any(re.search(sentence, each) for each in told), told
    usual = verdict(report())
    if changed:
        assert not any(re.search(sentence, each) for each in usual)
    assert all(each.endswith(".") and "nan" not in each for each in told)


def test_unknown_quantities_give_no_sentence():
    unknown = {name: np.full(POINTS, np.nan) for name in ("deviation", "turning", "singular_value", "angle")}
    told = verdict(report(efficiency=[np.nan], loss_between=np.full(5, np.nan), **unknown))
    assert told == []
    assert verdict(report(length=[0.0])) == ["The weights did not move."]


def test_a_rule_without_results_is_named_and_not_drawn():
    silent = plots.plot_angles(report(), "resolvent")
    assert [line for line in silent.lines if len(line.get_xdata()) == POINTS] == []
    assert "ΔW3" in silent.texts[0].get_text()
    telling = plots.plot_angles(report(angle=np.full(POINTS, 20.0)), "resolvent")
    assert len([line for line in telling.lines if len(line.get_xdata()) == POINTS]) == 1
    assert not telling.texts


def test_the_distance_from_singular_points_has_its_own_name():
    assert plots.plot_nearness(report()).get_ylabel() == "distance from singular\n(0: singular)"
