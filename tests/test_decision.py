"""The decisions of the automatic solver, a function of measurements, tested without arrays."""

from dataclasses import replace
from math import inf

import pytest

from riemannrnn.equilibrium.decision import Situation, decide
from riemannrnn.equilibrium.tuning import TUNING

SLOWLY = Situation(
    rate=0.95,
    left=300.0,
    rows=500,
    units=100,
    factor_rows=100,
    budget=1000,
    nonlinear=True,
    unique=False,
    divisible=True,
    factored=False,
    method="any",
    precision="mixed",
)
"""A hundred units with a plain iteration that contracts slowly."""


def on(steps):
    return [step.on for step in steps]


@pytest.mark.parametrize(
    ("change", "blocks", "solver", "memory"),
    [
        ({"rate": 0.5, "left": 60.0}, 1, "picard", None),
        ({"rate": 0.7}, 1, "anderson", 1),
        ({"rate": 0.95}, 1, "anderson", TUNING.memory),
        ({"rate": 0.7, "units": 400}, 4, "picard", None),
        ({"rate": 0.95, "units": 400}, 4, "anderson", TUNING.memory),
        ({"rate": 0.5, "left": 60.0, "units": 400}, 1, "picard", None),
        ({"rate": 0.7, "units": 400, "divisible": False}, 1, "anderson", 1),
        ({"rate": 0.7, "units": 300}, 3, "picard", None),
        ({"rate": 0.7, "units": 299}, 1, "anderson", 1),
    ],
)
def test_fallbacks_of_the_chord_map(change, blocks, solver, memory):
    decision = decide(replace(SLOWLY, **change))
    (step,) = decision.contracting
    assert (decision.blocks, step.solver.name) == (blocks, solver)
    assert memory is None or step.solver.memory == memory
    assert decision.accelerated == (solver == "anderson")
    assert decision.description(True, False).startswith("chord map in sweeps" if blocks > 1 else "chord map")


@pytest.mark.parametrize(("left", "plain"), [(2.0, True), (3.2, True), (3.3, False)])
def test_no_factor_is_formed_if_plain_iteration_is_faster(left, plain):
    situation = replace(SLOWLY, rate=0.1, left=left)
    decision = decide(situation)
    assert decision.plain == (TUNING.sample_iterations + 2 * int(left) if plain else 0)
    assert (decision.description(False, False) == "plain iteration") == plain
    # With an existing factor, fewer plain iterations pay off. With few rows, more do.
    assert (decide(replace(situation, factored=True)).plain > 0) == (left <= 3)
    assert decide(replace(situation, rows=10)).plain > 0
    # A factor that costs little pays for fewer plain iterations.
    assert (decide(replace(situation, factor_rows=1)).plain > 0) == (left <= 3)


def test_float32_goes_first_where_it_is_allowed():
    (mixed,), (native,) = (decide(replace(SLOWLY, precision=each)).contracting for each in ("mixed", "native"))
    assert (mixed.on, native.on) == ("single", "chord")
    assert mixed.otherwise == native


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["single", "chord", "recentred", "splitting", "equation", "splitting"]),
        ({"nonlinear": False}, ["single", "chord", "splitting", "equation"]),
        ({"rate": inf, "left": inf}, ["equation", "better", "recentred", "other", "equation", "splitting"]),
        ({"rate": inf, "left": inf, "nonlinear": False}, ["equation", "better", "other", "equation"]),
        ({"method": "chord"}, ["single", "chord", "recentred", "equation", "splitting"]),
        ({"method": "splitting", "rate": inf, "left": inf}, ["splitting", "equation", "splitting"]),
    ],
)
def test_the_steps_with_several_solutions(change, expected):
    assert on(decide(replace(SLOWLY, unique=True, **change)).steps) == expected


def test_newtons_method_is_the_last_resort_without_a_splitting():
    step = decide(SLOWLY).steps[-2]
    assert (step.needs, step.solver.name, step.otherwise.solver.name) == ("splitting", "picard", "newton")
    assert step.otherwise.iterations == SLOWLY.budget


def test_rows_of_several_fixed_points_are_solved_one_by_one_before_they_are_solved_together():
    decision = decide(replace(SLOWLY, rate=inf, left=inf))
    assert on(decision.settling) == ["equation"]
    assert decision.contracting == ()
    assert on(decision.separate) == ["splitting", "equation"]
    assert not decision.separate[0].repeated
    assert on(decision.shared)[0] == "recentred"
    assert decision.description(False, False) == "the dynamics, then Newton's method"
