"""The conclusions of a comparison: rows that hold at their weights, the ranking, the recommendation, and the limits."""

import re
from dataclasses import replace

import pytest
from test_comparison import RATES, only, tiny_task

from riemannrnn.comparison import contest
from riemannrnn.comparison.comparison import Comparison, compare
from riemannrnn.comparison.contenders import choose_contenders
from riemannrnn.metrics import catalogue as geometries


@pytest.fixture(scope="module")
def task():
    return tiny_task()


@pytest.fixture(scope="module")
def comparison(task):
    return compare(task, choose_contenders(["conjugate", "dW"]), budget=7, learning_rates=RATES)


def test_rows_agree_with_a_cold_start_at_their_weights(task, comparison):
    for entry in (each for each in comparison.entries if each.contender.manifold != "low-rank"):
        assert task.cost(task.training)(entry.weights) == entry.training_loss, entry.contender.name
        assert contest.accuracy_on_test(task, entry.weights) == entry.test_accuracy


def test_contenders_that_keep_every_fixed_point_come_first_and_are_recommended(task):
    asked, free = (only(task, "resolvent/additive/conjugate", budget=14, stable=s).entries[0] for s in (0.01, None))
    assert asked.keeps_all
    assert not free.keeps_all
    assert asked.stability_seconds > free.stability_seconds == 0
    worse, lossy = replace(asked, training_loss=2.0), replace(free, training_loss=1.0)
    both = Comparison((lossy, worse), 8)
    assert both.ranking == [worse, lossy]
    assert both.recommendation.startswith(f"Recommended: {worse.contender.name}. It alone keeps every fixed point stable")
    assert f"but loses {lossy.without_stable_fixed_point} stable fixed points of" in both.recommendation
    one = replace(lossy, without_stable_fixed_point=1)
    assert "but loses 1 stable fixed point of" in Comparison((one, worse), 8).recommendation
    slow = replace(worse, out_of_time=True)
    sentence = "Contenders that ran out of time: 1. On a faster machine they may rank higher."
    assert sentence in Comparison((slow, lossy), 8).recommendation
    assert "ran out of time" not in both.recommendation
    assert "the fewest" in Comparison((lossy,), 8).recommendation
    assert "none took a step" in Comparison((replace(asked, weights=None),), 8).recommendation


def test_exhausted_time_ends_a_contender_and_keeps_its_result(task):
    (entry,) = only(task, "euclidean/additive/conjugate", budget=10**6, max_seconds=0.05).entries
    assert re.fullmatch(r"Used its 0.05 seconds, after \d+ of 1000000 evaluations.", entry.stopped)
    assert entry.training_loss < entry.history[0].loss


def test_few_inner_iterations_still_descend(task):
    """Every iterate of conjugate gradients is an inexact natural gradient that descends."""
    few, enough = (only(task, "response", budget=12, inner_iterations=most).entries[0] for most in (2, 50))
    for entry in (few, enough):
        assert entry.stopped == "Used its 12 evaluations."
        assert entry.training_loss < entry.history[0].loss
    assert few.iterations < enough.iterations


def test_exhausted_inner_iterations_far_from_the_solution_end_a_contender(task, monkeypatch):
    monkeypatch.setattr(geometries, "ENOUGH", 1e-9)
    (entry,) = only(task, "response", inner_iterations=1).entries
    assert entry.failed
    assert "after 1 iterations" in entry.stopped
