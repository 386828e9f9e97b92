"""Every user mistake is a documented error that names the value, the reason and the remedy."""

import numpy as np
import pytest

from manifolds import (
    FixedRank,
    Identity,
    InvalidArrayError,
    ManifoldError,
    MonotoneManifold,
    OutsideManifoldError,
    PullbackManifold,
    Resolvent,
    SignedLog,
    SingularPointError,
    check_manifold,
    mask,
)
from riemannrnn import (
    Anderson,
    AutogradLoss,
    CrossEntropy,
    FixedPointCost,
    FixedPointError,
    Newton,
    Picard,
    RateNetwork,
    SquaredError,
    differentiable_fixed_points,
    solve_fixed_points,
    train,
)
from riemannrnn.rules.named import make_rule

N = 3
ZERO = np.zeros((N, N))
EYE = np.eye(N)
NAN = np.full((N, N), np.nan)
SINGLE = ZERO.astype(np.float32)
WIDE = np.zeros((N, N + 1))


def resolvent(gain=None, retraction="geodesic", **options):
    return PullbackManifold(Resolvent(gain), N, retraction, **options)


NEEDS_A_REGULAR_POINT = {
    "inner_product": lambda m, W: m.inner_product(W, EYE, EYE),
    "norm": lambda m, W: m.norm(W, EYE),
    "exp": lambda m, W: m.exp(W, EYE),
    "exp of no step": lambda m, W: m.exp(W, ZERO),
    "exp down a gradient": lambda m, W: m.exp(W, -0.01 * m.euclidean_to_riemannian_gradient(W, np.ones((N, N)))),
    "retraction": lambda m, W: m.retraction(W, EYE),
    "retraction of no step": lambda m, W: m.retraction(W, ZERO),
    "log": lambda m, W: m.log(W, ZERO),
    "dist": lambda m, W: m.dist(ZERO, W),
    "transport": lambda m, W: m.transport(W, ZERO, EYE),
    "exit_time": lambda m, W: m.exit_time(W, EYE),
}


@pytest.mark.parametrize("method", NEEDS_A_REGULAR_POINT)
def test_a_singular_point(method):
    """I is singular exactly, the others to working precision: σ_min(I − W) is 1e-17 or a rounding error."""
    along = np.array([3.0, -1.0, 2.0]) / 14**0.5
    for W in (EYE, EYE - np.diag([1.0, 1.0, 1e-17]), np.outer(along, along)):
        with pytest.raises(
            SingularPointError, match=r"σ_min\(I − G W\) = .*: the point lies on the singular set .*\. Start from"
        ):
            NEEDS_A_REGULAR_POINT[method](resolvent(), W)


METHODS = {
    "inner_product": lambda m, W, V: m.inner_product(W, V, V),
    "gradient": lambda m, W, V: m.euclidean_to_riemannian_gradient(W, V),
    "hessian": lambda m, W, V: m.euclidean_to_riemannian_hessian(W, V, V, V),
    "exp": lambda m, W, V: m.exp(W, V),
    "retraction": lambda m, W, V: m.retraction(W, V),
    "log": lambda m, W, V: m.log(W, V),
    "dist": lambda m, W, V: m.dist(W, V),
    "transport": lambda m, W, V: m.transport(W, W, V),
    "projection": lambda m, W, V: m.projection(W, V),
    "to_tangent_space": lambda m, W, V: m.to_tangent_space(W, V),
    "pair_mean": lambda m, W, V: m.pair_mean(W, V),
    "exit_time": lambda m, W, V: m.exit_time(W, V),
    "norm": lambda m, W, V: m.norm(W, V),
}

BAD_ARRAYS = {
    "shape": (WIDE, r"of shape \(3, 4\): .* has shape \(3, 3\)\. Pass one array of that shape"),
    "vector": (np.zeros(N), r"of shape \(3,\)"),
    "dtype": (SINGLE, r"of dtype float32: points and vectors are .* of one dtype \(the point's: float64\)\. Convert it"),
    "integers": (ZERO.astype(int), r"of dtype int64"),
    "half precision": (ZERO.astype(np.float16), r"of dtype float16: points and vectors are float32 or float64"),
    "NaN": (NAN, r"holds NaN or infinity: no metric is defined there\. Find the step"),
    "infinity": (np.full((N, N), np.inf), r"holds NaN or infinity"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_a_bad_array(method, what):
    array, message = BAD_ARRAYS[what]
    with pytest.raises(InvalidArrayError, match=message):
        METHODS[method](resolvent(validate=True), ZERO, array)


@pytest.mark.parametrize("what", [name for name in BAD_ARRAYS if name != "dtype"])
def test_a_bad_point(what):
    array, message = BAD_ARRAYS[what]
    with pytest.raises(InvalidArrayError, match=f"^point .*{message[:12]}"):
        resolvent(validate=True).edge_distance(array)


CASES = {
    # Manifolds
    "over the edge": (
        lambda: resolvent().exp(ZERO, -2 * EYE),
        OutsideManifoldError,
        r"exit time t\* = 0\.5: .*\. Shorten the step",
    ),
    "step to NaN": (lambda: resolvent().exp(ZERO, NAN), InvalidArrayError, "tangent vector holds NaN .*Find the step"),
    "step from NaN": (lambda: resolvent().exp(NAN, EYE), InvalidArrayError, "point holds NaN .*Check where the weights"),
    "endless step": (
        lambda: resolvent().retraction(ZERO, np.full((N, N), np.inf)),
        InvalidArrayError,
        "tangent vector holds NaN or infinity",
    ),
    "exit time of NaN": (
        lambda: resolvent().exit_time(ZERO, NAN),
        InvalidArrayError,
        "tangent vector holds NaN .*Find the step",
    ),
    "point of NaN": (
        lambda: resolvent().norm(NAN, EYE),
        InvalidArrayError,
        "point holds NaN .*Check where the weights come from",
    ),
    "additive step to NaN": (
        lambda: PullbackManifold(Identity(), N, "additive").retraction(ZERO, NAN),
        OutsideManifoldError,
        "the step ends in NaN",
    ),
    "edge of NaN": (lambda: resolvent().edge_distance(NAN), InvalidArrayError, "point holds NaN .*Find the step"),
    "no plane": (
        lambda: MonotoneManifold(N).sectional_curvature(ZERO, EYE, 2 * EYE),
        InvalidArrayError,
        "= 0: parallel vectors span no plane",
    ),
    "signs of another dtype": (
        lambda: PullbackManifold(SignedLog(np.ones(N)), N).exp(SINGLE + 1, SINGLE),
        InvalidArrayError,
        "signs of dtype float64 at a point of dtype float32: their dtypes must be equal",
    ),
    "a mask that is not a matrix": (lambda: mask([True, False]), InvalidArrayError, r"mask of shape \(2,\).*Pass a matrix"),
    "retraction": (lambda: resolvent(retraction="polar"), ValueError, "'polar' is unknown; choose one of .*geodesic.*additive"),
    "no size": (lambda: PullbackManifold(Identity(), 0), ValueError, r"shape = \(0, 0\) is not a shape of weights"),
    "no sizes": (lambda: PullbackManifold(Identity(), ()), ValueError, "is not a shape of weights"),
    "zero gain": (lambda: Resolvent(np.array([1.0, 0.0])), InvalidArrayError, "gain .* zero or not finite: .*Bound the gains"),
    "NaN gain": (lambda: Resolvent(np.array([1.0, np.nan])), InvalidArrayError, "gain .* zero or not finite"),
    "gains of another length": (
        lambda: resolvent(np.ones(1)).norm(ZERO, EYE),
        InvalidArrayError,
        r"point of shape \(3, 3\) with gains of shape \(1,\): .* one gain for each row",
    ),
    "gains of another dtype": (
        lambda: resolvent(np.ones(N)).norm(SINGLE, SINGLE),
        InvalidArrayError,
        "gains of dtype float64 at a point of dtype float32: .*Convert one",
    ),
    "resolvent of a rectangle": (
        lambda: PullbackManifold(Resolvent(), (N, N + 1)).norm(WIDE, WIDE),
        InvalidArrayError,
        r"shape \(3, 4\).*needs a square point",
    ),
    "factors of another rank": (
        lambda: FixedRank(N, N, 1).euclidean_to_riemannian_gradient(*2 * (FixedRank(N, N, 2).random_point(),)),
        ValueError,
        r"shapes \[\(3, 2\), \(2,\), \(2, 3\)\]; .* rank 1 have \[\(3, 1\), \(1,\), \(1, 3\)\]: choose its sizes to fit",
    ),
    "no weights to check": (
        lambda: check_manifold(FixedRank(N, N, 2)),
        TypeError,
        "rank 2 is neither a WeightManifold nor a",
    ),
    # Fixed points
    "no fixed point": (
        lambda: solve_fixed_points(2 * np.ones((1, 1)), np.ones((1, 1)), "power-law", max_iterations=9),
        FixedPointError,
        "1 of 1 stimuli have no fixed point .* stimulus 0: .*or pass on_failure='mask'",
    ),
    "half precision": (
        lambda: solve_fixed_points(ZERO.astype(np.float16), np.zeros((2, N), np.float16)),
        ValueError,
        "weights has dtype float16; convert it to float32 or float64",
    ),
    "one-dimensional drive": (
        lambda: solve_fixed_points(ZERO, np.zeros(N)),
        ValueError,
        r"drive has shape \(3,\); pass one row a",
    ),
    "weights of another size": (
        lambda: solve_fixed_points(WIDE, np.zeros((2, N))),
        ValueError,
        r"weights have shape \(3, 4\), .*pass",
    ),
    "mixed dtypes": (
        lambda: solve_fixed_points(SINGLE, np.zeros((2, N))),
        ValueError,
        "weights are float32, the drive is float64; co",
    ),
    "NaN in the weights": (lambda: solve_fixed_points(NAN, np.zeros((2, N))), ValueError, "weights hold NaN .*; find the step"),
    "start of another shape": (
        lambda: solve_fixed_points(ZERO, np.zeros((2, N)), initial_rates=np.zeros((1, N))),
        ValueError,
        r"initial_rates has shape \(1, 3\), the drive \(2, 3\); make them equal",
    ),
    "start of another dtype": (
        lambda: solve_fixed_points(ZERO, np.zeros((2, N)), initial_rates=np.zeros((2, N), np.float32)),
        ValueError,
        "initial_rates is float32, the drive is float64; convert one",
    ),
    "solver": (
        lambda: solve_fixed_points(ZERO, EYE, solver="broyden"),
        ValueError,
        "'broyden' is unknown; choose one of auto, chord",
    ),
    "policy": (
        lambda: solve_fixed_points(ZERO, EYE, on_failure="ignore"),
        ValueError,
        "on_failure = 'ignore': unknown; choose one of raise, mask, inf",
    ),
    "activation": (lambda: solve_fixed_points(ZERO, EYE, "sin"), ValueError, "'sin' is unknown; choose one of identity"),
    "tolerance": (
        lambda: solve_fixed_points(ZERO, EYE, tolerance=np.nan),
        ValueError,
        "tolerance = nan: it has to be 0 or more",
    ),
    "negative tolerance": (lambda: solve_fixed_points(ZERO, EYE, tolerance=-1.0), ValueError, r"tolerance = -1\.0"),
    "iterations": (
        lambda: solve_fixed_points(ZERO, EYE, max_iterations=-1),
        ValueError,
        "max_iterations = -1: it has to be 0 or more",
    ),
    "no damping": (lambda: Picard(damping=0.0), ValueError, r"damping = 0\.0 is not in \(0, 1\]; 1 is the plain"),
    "over-relaxation": (lambda: Picard(damping=1.5), ValueError, r"damping = 1\.5"),
    "memory": (lambda: Anderson(memory=0), ValueError, "memory = 0 is below 1; without any, use Picard"),
    "Krylov steps": (lambda: Newton(max_krylov=0), ValueError, "max_krylov = 0 is below 1"),
    "no fixed point for autograd": (
        lambda: differentiable_fixed_points("power-law")(2 * np.ones((1, 1)), np.ones((1, 1))),
        FixedPointError,
        "no fixed point",
    ),
    "an option that does not exist": (lambda: differentiable_fixed_points(on_failure="mask"), TypeError, "on_failure"),
    # Networks
    "no units": (lambda: RateNetwork(0), ValueError, "n_units = 0 is not positive"),
    "no inputs": (lambda: RateNetwork(2, 0), ValueError, "n_inputs = 0"),
    "no outputs": (lambda: RateNetwork(2, 2, -1), ValueError, "n_outputs = -1"),
    "dtype": (lambda: RateNetwork(2, dtype=int), ValueError, "dtype = int64 is not supported; choose float32"),
    "no stimuli": (
        lambda: FixedPointCost(RateNetwork(2, 3), np.zeros((0, 3)), SquaredError(np.zeros((0, 2)))),
        ValueError,
        "no stimuli: .*pass at least one row",
    ),
    "stimuli of another width": (
        lambda: RateNetwork(2, 3).fixed_points(np.zeros((2, 2)), np.zeros((5, 2))),
        ValueError,
        r"stimuli have shape \(5, 2\); this network takes \(batch, 3\)",
    ),
    # Losses and costs
    "labels that are not integers": (
        lambda: CrossEntropy(np.zeros(2)),
        ValueError,
        "dtype float64; pass one integer a stimulus",
    ),
    "labels of two axes": (lambda: CrossEntropy(np.zeros((2, 1), int)), ValueError, r"shape \(2, 1\)"),
    "label beyond the outputs": (
        lambda: CrossEntropy(np.array([3])).value(np.zeros((1, 3))),
        ValueError,
        "each between 0 and 2",
    ),
    "negative label": (lambda: CrossEntropy(np.array([-2])).gradient(np.zeros((1, 3))), ValueError, "each between 0 and 2"),
    "too few labels": (lambda: CrossEntropy(np.array([0])).value(np.zeros((2, 3))), ValueError, r"1 labels .* shape \(2, 3\)"),
    "targets of another shape": (
        lambda: SquaredError(np.zeros((2, 1))).value(np.zeros((2, 3))),
        ValueError,
        r"targets have shape \(2, 1\), the outputs \(2, 3\)",
    ),
    "targets of another dtype": (
        lambda: SquaredError(np.zeros((2, 3))).gradient(np.zeros((2, 3), np.float32)),
        ValueError,
        "float64, the outputs float32; make them equal",
    ),
    "a loss that is one number": (
        lambda: AutogradLoss(lambda y, t: np.sum(y), np.zeros(2)).value(np.zeros((2, 3))),
        ValueError,
        r"returned shape \(\); return one number a stimulus",
    ),
    "policy of a cost": (
        lambda: FixedPointCost(RateNetwork(2), np.zeros((1, 2)), SquaredError(np.zeros((1, 2))), on_failure="nan"),
        ValueError,
        "on_failure = 'nan': unknown; choose one of raise, mask, inf",
    ),
    # Rules and training
    "rule": (lambda: make_rule("dW5", N), ValueError, "rule 'dW5' is unknown; choose one of dW1, dW2"),
    "rule with a metric of its own": (
        lambda: make_rule("dW3", N, resolvent()),
        ValueError,
        "metric of its own; use 'descent'",
    ),
    "too many labels": (
        lambda: train(RateNetwork(2, 2, 2), np.zeros((2, 2)), np.zeros((3, 2)), np.zeros(4, int)),
        ValueError,
        r"labels have shape \(4,\); pass one a stimulus, shape \(3,\)",
    ),
}
"""A mistake, the error, and the text of the message."""


@pytest.mark.parametrize("mistake", CASES)
def test_a_mistake(mistake):
    call, error, message = CASES[mistake]
    with pytest.raises(error, match=message):
        call()


def test_errors_of_manifolds_are_value_errors_with_three_parts():
    error = SingularPointError("σ_min = 0", "it is singular", "Move away")
    assert isinstance(error, ManifoldError)
    assert isinstance(error, ValueError)
    assert str(error) == "σ_min = 0: it is singular. Move away."
    assert (error.value, error.reason, error.remedy) == error.args


def test_unvalidated_manifolds_do_not_pay_for_the_check():
    assert np.isnan(PullbackManifold(Identity(), N).norm(ZERO, NAN))
