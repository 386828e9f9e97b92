"""The metrics of a path by name: every manifold is known, and a path of W is lifted to the scaled monotone manifold."""

import numpy as np
import pytest
from test_cli import refused, run
from test_geodesics_command import trained
from test_recording import DATA, NETWORK
from threadpoolctl import threadpool_info

from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, train
from riemannrnn.analysis import METRIC_NAMES, LearningPath, PathRecorder, make_metric, read_run
from riemannrnn.analysis.path_metrics import WITHOUT_LOGARITHM
from riemannrnn.analysis.report import gather
from riemannrnn.analysis.scaled import LiftedScaledMonotone
from riemannrnn.cost.task import Task
from riemannrnn.data import load_digits
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.training.by_name import rule_on


def record(folder, manifold, dtype="float64"):
    """Return the folder of a short run on a manifold, and its history."""
    network = NETWORK | {"dtype": dtype}
    with PathRecorder(folder, {"network": network, "data": DATA, "training": {"manifold": manifold}}) as recorder:
        data, made = load_digits(dtype).split(60, seed=0)[0], RateNetwork(**network)
        task, rule = rule_on(Task(made, made.initial_weights(0.3), data, data, data), "descent", manifold)
        history = train(
            task.network, task.weights, data.stimuli, data.labels, rule, 0.02, 20, 3, 0, record=recorder, guard=False
        )
    return folder, history


@pytest.mark.parametrize("name", [name for name in METRIC_NAMES if name != "low-rank"])
def test_a_run_is_measured_under_the_metric_of_its_own_manifold(tmp_path, name):
    folder, history = record(tmp_path, name)
    with read_run(folder) as recorded:
        path = LearningPath.of_run(recorded, recorded.cost(20))
        assert recorded.manifold == name
        data = path.measure(path.metrics([name])).squeeze()
        assert len(recorded) == len(history.loss) + 1
    gone = data["step_length"].values[:-1]
    assert np.isfinite(gone).all(), data.attrs["notes"]
    assert (gone > 0).all()
    assert ("lengths are those of chords" in data.attrs["notes"]) is (name in WITHOUT_LOGARITHM)
    assert bool(np.isnan(data["efficiency"])) is (name in WITHOUT_LOGARITHM)
    exact = name not in ("response", "aggregated")  # these are computed from fewer stimuli here than in training
    if exact:
        np.testing.assert_allclose(gone, history.step_length, rtol=0.05, atol=1e-4)


def test_every_name_of_a_manifold_is_known():
    assert {*METRIC_NAMES} == {*CATALOGUE}


def test_factors_are_refused_with_the_metric_to_choose(tmp_path):
    folder, _ = record(tmp_path, "euclidean")
    message = refused(run("geodesics", folder, "--metric", "low-rank"))
    assert "measures factors of W, and a recorded path holds W itself" in message
    with pytest.raises(ValueError, match=r"metric 'gain' is made for a task; pass the path of a run"):
        make_metric("gain", 3)


def test_the_default_metric_is_the_metric_of_the_run(tmp_path):
    folder, _ = record(tmp_path, "scaled-monotone")
    output = run("geodesics", folder, "--animation", "none", "--stimuli", 20)
    assert output.exit_code == 0, output.output
    assert "length, scaled-monotone" in " ".join(output.stdout.split())
    assert "resolvent" not in output.stdout.partition("Written")[0].replace("ΔW", "")


def test_a_run_without_a_manifold_is_measured_as_before(tmp_path):
    folder = trained(tmp_path / "run", "dW3")
    output = run("geodesics", folder, "--animation", "none", "--stimuli", 20).stdout
    assert "resolvent" in output


@pytest.mark.parametrize("growth", [1.0, 3.0])
def test_a_lift_is_the_shortest_vector_over_a_change_of_weights(growth):
    manifold, generator = LiftedScaledMonotone(5, growth), np.random.default_rng(0)
    point = manifold.over(0.2 * generator.standard_normal((5, 5)), 0.1 * generator.standard_normal((5, 1)))
    change = generator.standard_normal((5, 5))
    vector = manifold.lift(point, change)
    parts = [point[:, :-1], point[:, -1:]]
    np.testing.assert_allclose(manifold.manifold.velocity(parts, [vector[:, :-1], vector[:, -1:]]), change, atol=1e-12)
    for _ in range(5):  # along a vector that does not change W
        v = generator.standard_normal((5, 1))
        vertical = np.hstack([growth * v * (np.eye(5) - parts[0]), v])
        np.testing.assert_allclose(manifold.manifold.velocity(parts, [vertical[:, :-1], v]), 0, atol=1e-12)
        assert abs(manifold.inner_product(point, vector, vertical)) < 1e-10


def test_the_lift_of_a_gradient_flow_is_its_path(tmp_path):
    points = []
    network, data = RateNetwork(**NETWORK), load_digits().split(60, seed=0)[0]
    from manifolds import ScaledMonotoneManifold

    def keep(step, history):
        points.append((history.weights.copy(), history.point[1].copy()))

    train(
        network, network.initial_weights(0.3), data.stimuli, data.labels, "descent", 0.02, epochs=20, seed=0,
        manifold=ScaledMonotoneManifold(NETWORK["n_units"], 3.0), callback=keep,
    )  # fmt: skip
    weights = [network.initial_weights(0.3), *(W for W, _ in points)]
    lifted = LiftedScaledMonotone(NETWORK["n_units"], 3.0).lifted(weights)
    moved = np.linalg.norm(points[-1][1])
    assert moved > 0.01
    np.testing.assert_allclose(lifted[-1][:, -1:], points[-1][1], atol=0.05 * moved)


def test_a_path_is_lifted_once_and_its_lifts_at_a_point_share_a_factor(monkeypatch):
    lifts, systems = [], []
    lifted, prepare = LiftedScaledMonotone.lifted, LiftedScaledMonotone._prepare

    def counted_lifts(self, points):
        lifts.append({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
        return lifted(self, points)

    def counted_systems(self, point):
        systems.append(point)
        return prepare(self, point)

    monkeypatch.setattr(LiftedScaledMonotone, "lifted", counted_lifts)
    monkeypatch.setattr(LiftedScaledMonotone, "_prepare", counted_systems)
    network, data = RateNetwork(**NETWORK), load_digits().split(20, seed=0)[0]
    points = [network.initial_weights(radius) for radius in (0.3, 0.31, 0.32)]
    path = LearningPath(points, cost=FixedPointCost(network, data.stimuli, CrossEntropy(data.labels)))
    gather(path, path.metrics(["scaled-monotone"]), plane_points=2)
    assert lifts == [{1}]
    assert len(systems) == 2 + 2  # of two steps, and of four rules at each point before the last
