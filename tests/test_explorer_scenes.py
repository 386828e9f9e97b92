"""The pictures of the playground: curves, steps of rules, the background, and the claims of each lesson."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from manifolds import AutogradChart, PullbackManifold
from riemannrnn.explorer.curves import (
    MANIFOLDS,
    OWN,
    RULES,
    advance,
    ball,
    begin,
    distances,
    geodesic,
    manifold_of,
    refused_step,
    rule_names,
    shown,
)
from riemannrnn.explorer.planes import NETWORKS
from riemannrnn.explorer.playground import HURRY, Paths, Playground, scene
from riemannrnn.explorer.presets import PRESETS
from riemannrnn.explorer.surveys import survey
from riemannrnn.plots.panels import Image, Line

PLACES = {"chain": (0.4, -0.3), "pair": (0.3, -0.2), "large": (0.3, 0.02)}
JOINED = ("euclidean", "resolvent", "left-invariant", "right-invariant", "monotone", "gain")


def setting(network="chain", activation="tanh", **options):
    return Playground(network=network, activation=activation, units=12, **options).setting()


def followed(preset, **changes):
    """Return the scene of a lesson, and the paths of its rules by name."""
    state, paths = replace(PRESETS[preset].state, **changes), Paths()
    made = scene(state, None, paths)
    return made, {path.rule: path for path in paths(state, None, None)}


@pytest.fixture(params=NETWORKS)
def network(request):
    return request.param


def test_a_place_stands_for_weights_and_back(network):
    made, place = setting(network), PLACES[network]
    W = made.weights(place)
    assert np.allclose(made.place(W), place)
    if network != "large":
        A = np.linalg.inv(np.eye(2) - W)
        assert np.allclose(made.resolvent_place(W), A[0])
        assert np.allclose(W[0], place)
    assert made.cost(made.weights(made.target)) < 1e-12


@pytest.mark.parametrize("name", JOINED)
def test_balls_hold_the_points_of_one_distance(name, network):
    made = setting(network)
    W, metric = made.weights(PLACES[network]), shown(name, made)
    curve = ball(metric, made, W, 0.1, 9)
    assert not curve.reason
    assert len(curve.points) == 9
    if metric.joined:
        assert np.allclose([metric.manifold.dist(W, point) for point in curve.points], 0.1, atol=1e-6)


@pytest.mark.parametrize("name", JOINED)
def test_geodesics_join_the_ends_and_are_shortest(name):
    made = setting("pair")
    start, end = made.weights((0.3, -0.2)), made.weights((-0.5, 0.4))
    metric = shown(name, made)
    points = geodesic(metric, start, end, 5).points
    assert np.allclose(points[0], start)
    assert np.allclose(points[-1], end)
    legs = [metric.manifold.dist(a, b) for a, b in pairwise(points)]
    assert np.isclose(sum(legs), metric.manifold.dist(start, end), rtol=1e-6)


def test_a_geodesic_that_does_not_exist_says_why():
    made = setting(activation="identity")
    for name in ("resolvent", "right-invariant", "response"):
        curve = geodesic(shown(name, made), made.weights((0.6, 0.0)), made.weights((1.6, 0.5)), 9)
        assert curve.reason
    assert "no closed form" in geodesic(shown("response", made), *(made.weights((0.1, 0.2)),) * 2, 3).reason


@pytest.mark.parametrize("rule", [name for name in rule_names() if not name.startswith("adam")])
def test_a_short_step_of_every_rule_descends(rule, network):
    made = setting(network)
    slow = 0.05 if "left" in rule or "right" in rule else 0.1
    path = advance(begin(rule, made, made.weights(PLACES[network])), made, slow, 2)
    assert not path.reason
    assert path.losses[-1] < path.losses[0]
    if network != "large":
        assert all(np.allclose(point, made.weights(made.place(point))) for point in path.points), "it left the plane"


def test_steps_agree_with_the_library():
    made = setting()
    W = made.weights((0.4, -0.3))
    gradient = made.subspace.project(made.cost.gradient(W))
    assert np.allclose(advance(begin("dW1", made, W), made, 0.3, 1).points[1], W - 0.3 * gradient)
    pair = setting("pair")
    W = pair.weights((0.3, -0.2))
    full = manifold_of("resolvent", pair).exp(
        W, -0.3 * manifold_of("resolvent", pair).euclidean_to_riemannian_gradient(W, pair.cost.gradient(W))
    )
    assert np.allclose(advance(begin("dW2", pair, W), pair, 0.3, 1).points[1], full), "the pair's plane is totally geodesic"


def test_adam_is_for_networks_with_all_weights_learned():
    assert "no frame" in advance(begin("adam/resolvent", setting(), np.zeros((2, 2))), setting(), 0.1, 1).reason
    made = setting("large")
    path = advance(begin("adam/resolvent", made, made.weights(PLACES["large"])), made, 0.01, 2)
    assert path.losses[-1] < path.losses[0]


def test_extended_paths_equal_new_paths():
    paths, state = Paths(), Playground(rules=("dW2", "momentum/resolvent"), steps=2, start=(0.2, 0.2))
    paths(state, None, None)
    grown, fresh = (each(replace(state, steps=5), None, None) for each in (paths, Paths()))
    for ours, theirs in zip(grown, fresh, strict=True):
        assert len(ours.points) == 6
        assert np.array_equal(ours.points, theirs.points)
    assert [len(path.points) for path in paths(state, None, None)] == [3, 3]
    assert [len(path.points) for path in Paths()(replace(state, steps=50), None, HURRY)] == [HURRY + 1] * 2


def test_the_ground_is_the_loss_and_its_sets():
    made = setting(activation="identity")
    ground = survey(made, 12)
    image = next(mark for mark in ground.weights if isinstance(mark, Image) and mark.logarithmic)
    x, y = np.linspace(*image.x, 12), np.linspace(*image.y, 12)
    assert np.isclose(image.values[3, 5], made.cost(made.weights((x[5], y[3]))))
    lines = {}
    for mark in ground.weights:
        if isinstance(mark, Line) and mark.label:
            lines.setdefault(mark.label, []).append(np.array([mark.x, mark.y]))
    w, _ = np.concatenate(lines["I − W singular"], axis=1)
    assert np.allclose(w, 1.0, atol=0.01)
    w, c = np.concatenate(lines["edge of the monotone set"], axis=1)
    assert np.allclose(1 - w, c**2 / 4, atol=0.02)
    w, _ = np.concatenate(lines["edge of stability"], axis=1)
    assert np.allclose(w, 1.0, atol=0.05)
    assert any(mark.label == "A singular: W infinite" for mark in ground.resolvent)
    assert survey(made, 5, in_resolvent=False).resolvent == ()


def test_a_survey_is_cancelled_by_its_progress():
    class StoppedError(Exception):
        pass

    def stop(share):
        raise StoppedError

    with pytest.raises(StoppedError):
        survey(setting(), 9, stop)


def test_lesson_cliff():
    made, paths = followed("cliff")
    first = {rule: distances(setting(activation="identity"), path.points[:2])[0] for rule, path in paths.items()}
    assert first["dW1"] > 100 * first["dW2"]
    assert paths["dW2"].losses[-1] < 0.05
    assert paths["dW1"].losses[-1] > 0.5
    assert abs(paths["dW1"].losses[-1] / paths["dW1"].losses[1] - 1) < 0.05, "it has stopped falling"
    assert "thrown out of the picture" in made.rows[0].verdict
    assert "ΔW1 divides" in " ".join(made.sentences)
    _, away = followed("cliff", start=(-0.5, -1.0))
    assert max(path.losses[-1] for path in away.values()) < 0.5 * away["dW1"].losses[0]


def test_lesson_infinity():
    made, paths = followed("infinity")
    assert "exit time" in paths["dW2"].reason
    assert "exit time" in made.rows[0].verdict
    state = PRESETS["infinity"].state
    across = refused_step(state.setting(), paths["dW2"].points[0], state.rate, np.linspace(0, 1, 5))
    signs = [np.sign(np.linalg.det(np.eye(2) - W)) for W in across]
    assert signs[0] > 0 > signs[-1]
    labels = {mark.label for panel in made.panels for mark in panel.marks if isinstance(mark, Line)}
    assert {"ΔW2 refused: its formula passes W = ∞", "straight in A, through W = ∞"} <= labels
    _, shorter = followed("infinity", rate=1.0)
    assert shorter["dW2"].losses[-1] < 1e-9


@pytest.mark.parametrize("rate", [1.0, 40.0, 1e3])
def test_lesson_monotone(rate):
    made, paths = followed("monotone", rate=rate)
    for point in paths["descent/monotone"].points:
        assert np.linalg.eigvalsh(np.eye(2) - (point + point.T) / 2).min() > 0
    if rate == 40:
        assert "jumped across the singular set" in made.rows[0].verdict


def test_lesson_correlated():
    def detour(path):
        """The length of the path in A, relative to the straight line."""
        places = np.array([made.resolvent_place(point) for point in path.points])
        legs = np.linalg.norm(np.diff(places, axis=0), axis=1).sum()
        return legs / np.linalg.norm(places[-1] - places[0])

    made = PRESETS["correlated"].state.setting()
    two = {"rules": ("dW2", "descent/response"), "steps": 30}
    _, paths = followed("correlated", **two)
    assert detour(paths["descent/response"]) < 1.02
    assert detour(paths["dW2"]) > 1.08
    made = replace(PRESETS["correlated"].state, correlation=0.0).setting()
    _, white = followed("correlated", correlation=0.0, **two)
    assert detour(white["dW2"]) < 1.02


def test_lesson_large():
    _, paths = followed("large")
    assert paths["dW1"].losses[-1] > paths["dW1"].losses[0]
    assert max(paths[rule].losses[-1] for rule in ("dW2", "dW3")) < paths["dW2"].losses[0]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_lesson_has_all_its_panels(preset):
    state = replace(PRESETS[preset].state, units=20)
    made = scene(state, None, Paths(), hurry=True)
    assert len(made.panels) == 3 + len(state.manifolds)
    assert len(made.rows) == len(state.rules)
    assert state.lesson == preset


def test_a_custom_manifold_is_shown():
    import autograd.numpy as anp

    own = PullbackManifold(AutogradChart(anp.sinh, anp.arcsinh), 2)
    state = Playground(manifolds=(OWN,), rules=(f"descent/{OWN}",), steps=3)
    made = scene(state, None, Paths(), own)
    assert made.panels[-1].title.startswith("your manifold")
    assert made.rows[0].after < made.rows[0].before
    without = scene(state, None, Paths())
    assert "not offered" in " ".join(without.sentences)


def test_every_manifold_and_rule_is_offered():
    assert {"euclidean", "resolvent", "monotone", "response", "gain"} <= set(MANIFOLDS)
    assert {"dW1", "dW2", "dW3", "dW4", "kfac"} == set(RULES)
    with pytest.raises(ValueError, match="choose one of"):
        manifold_of("no such", setting())


def test_a_loss_that_no_longer_falls_is_told():
    made, paths = followed("cliff")
    assert made.rows[0].verdict.endswith("the loss fell, but it no longer does")
    assert made.rows[1].verdict == "the loss fell"
    assert paths["dW2"].losses[-1] < paths["dW1"].losses[-1]


def test_what_a_quick_survey_does_not_know_is_marked():
    made = setting("large")
    quick, full = ({mark.label for mark in survey(made, 5, iterations=each).weights} for each in (1, None))
    assert "not known yet" in quick
    assert "not known yet" not in full
