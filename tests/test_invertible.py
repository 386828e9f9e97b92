"""Errors name the cause if a matrix is not inverted: it is singular, its entries are too large, or out of range."""

import numpy as np
import pytest

from manifolds import ConvergenceError, OutsideManifoldError, PullbackManifold, Resolvent, SingularPointError
from manifolds.cometric import conjugate_gradient
from manifolds.invertible import why_not_invertible
from manifolds.linear_algebra import condition
from riemannrnn.metrics.kronecker import response_factor

DTYPES = [np.float64, np.float32]
TURN = np.array([[0.6, 0.8], [-0.8, 0.6]])
SINGULAR = r"σ_min\(I − G W\) = \S+: the point lies on the singular set det\(I − G W\) = 0 to working precision\."
LARGE = r"I − G W has the condition number \S+, with σ_min = \S+ and σ_max = \S+: its entries are so large"
POINTS = {
    "singular": (np.eye(2), SINGULAR),
    "singular, turned": (np.eye(2) - TURN @ np.diag([1.0, 0.0]) @ TURN.T, SINGULAR),
    "singular and large": (np.eye(2) - 2.0**60 * np.ones((2, 2)), SINGULAR),
    "large": (np.diag([-0.2, 1e17]), LARGE),
    "large, turned": (np.array([[0.0, 1e17], [-0.2, 0.0]]), LARGE),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("point", "message"), POINTS.values(), ids=POINTS)
def test_the_cause_is_named(point, message, dtype):
    with pytest.raises(SingularPointError, match=message):
        PullbackManifold(Resolvent(), 2).norm(point.astype(dtype), np.ones((2, 2), dtype))


def test_the_numbers_agree_with_the_matrix():
    with pytest.raises(
        SingularPointError, match=r"condition number 8\.33e\+16, with σ_min = 1\.2 and σ_max = 1e\+17: .*4\.5e\+15\."
    ):
        PullbackManifold(Resolvent(), 2).norm(np.diag([-0.2, 1e17]), np.ones((2, 2)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_matrix_with_an_overflowing_norm_is_inverted(dtype):
    """Only ‖M‖ ‖M⁻¹‖ matters; the norm of M is infinite here."""
    size = dtype(0.9) * np.finfo(dtype).max
    W = size * np.array([[1.0, 0.5], [-1.0, 0.5]], dtype)
    inverted = (np.linalg.inv(np.eye(2, dtype=dtype) - W / size) / size).astype(dtype)
    assert condition(W, inverted) < 100
    assert np.all(np.isfinite(PullbackManifold(Resolvent(), 2).chart.value(W)))


def test_a_moderate_condition_number_is_not_the_cause():
    found, reason = why_not_invertible("M", 1e-310 * np.eye(2))
    assert found == "M has singular values from 1e-310 to 1e-310"
    assert reason == "a number in the calculation of its inverse is too large or too small for float64"


def test_a_step_that_ends_where_rounding_hides_the_edge():
    chart = Resolvent()
    zero = np.zeros((2, 2))
    for V, message in (
        (np.diag([0.0, 1e20]), r"I − W G \+ V G has the condition number 1e\+20, .*: the step ends on the edge .*Shorten"),
        (-np.eye(2), r"σ_min\(I − W G \+ V G\) = 0: the step ends on the edge of the manifold"),
    ):
        with pytest.raises(OutsideManifoldError, match=message):
            chart.exponential(zero, V)


def test_the_response_at_a_singular_point():
    with pytest.raises(SingularPointError, match=r"at the mean gains σ_min\(I − G W\) = 0: the point lies on the singular set"):
        response_factor(2 * np.eye(2), np.full(2, 0.5))


def test_conjugate_gradients_that_overflow_do_not_blame_the_metric():
    message = r"⟨P, ♯P⟩ = (inf|nan) after 0 iterations: .* too large for float64"
    with pytest.raises(ConvergenceError, match=message), np.errstate(all="ignore"):
        conjugate_gradient(lambda P: 1e300 * P, np.full((2, 2), 1e10), None, 1e-10, "♯", most=9)
