"""Norms, inner products and distances neither overflow nor underflow if the result is in the range of a Python float."""

from math import inf, isnan

import numpy as np
import pytest

from manifolds import Identity, MonotoneManifold, ProductManifold, PullbackManifold, Resolvent, left_invariant
from manifolds.arrays import frobenius_norm, inner
from riemannrnn.norms import largest_norm

SIZES = {np.float32: (1e-44, 1e-30, 1e-20, 1e19, 1e25, 1e38), np.float64: (1e-320, 1e-200, 1e-160, 1e154, 1e200, 1e307)}
CASES = [(dtype, size) for dtype, sizes in SIZES.items() for size in sizes]
ENTRIES = np.array([[3.0, -2.0], [1.0, 1.5]])
NORM = float(np.linalg.norm(ENTRIES))


@pytest.mark.parametrize(("dtype", "size"), CASES)
def test_a_norm_is_in_range(dtype, size):
    exact = size * NORM
    rounding = 1e-6 if np.finfo(dtype).smallest_normal < size else 0.2  # subnormal numbers have few digits
    assert frobenius_norm((ENTRIES * size).astype(dtype)) == pytest.approx(exact, rel=rounding, abs=0)


@pytest.mark.parametrize(("dtype", "size"), CASES)
def test_the_largest_norm_of_a_row_is_in_range(dtype, size):
    rows = np.array([[3.0, -2.0], [1.0, 0.0], [0.0, 0.0]]) / 4
    rounding = 1e-6 if np.finfo(dtype).smallest_normal < size else 0.2
    for factor in (1.0, 0.5):
        with np.errstate(all="ignore"):  # as in the solvers
            found = largest_norm((rows * size).astype(dtype), factor)
        assert found == pytest.approx(factor * size * 13**0.5 / 4, rel=rounding, abs=0)


def test_the_largest_norm_is_nan_if_a_row_is_not_finite():
    for rows in (np.array([[1.0, 2.0], [np.nan, 0.0]]), np.array([[np.inf, 0.0], [1.0, 1.0]]), np.empty((0, 2))):
        with np.errstate(all="ignore"):
            assert isnan(largest_norm(rows))
    assert largest_norm(np.zeros((2, 3))) == 0


@pytest.mark.parametrize("size", [1e-30, 1e25, 1e38])
def test_an_inner_product_in_float32_is_in_range(size):
    a, b = (ENTRIES * size).astype(np.float32), np.eye(2, dtype=np.float32)
    assert inner(a, a) == pytest.approx((size * NORM) ** 2, rel=1e-6, abs=0)
    assert inner(a, b) == pytest.approx(4.5 * size, rel=1e-6, abs=0)
    assert inner(a, (1 / size) * a / np.float32(size)) == pytest.approx(NORM**2, rel=1e-6)


def test_an_inner_product_of_large_and_small_arrays_is_in_range():
    assert inner(1e300 * ENTRIES, 1e-300 * ENTRIES) == pytest.approx(NORM**2)
    assert inner(np.array([1e300, 1e300]), np.array([1e300, -1e300])) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_stay_unchanged(value):
    a = np.array([[value, 1.0]])
    for found in (frobenius_norm(a), inner(a, a)):
        assert isnan(found) if isnan(value) else found == inf


def test_empty_arrays_and_zero_have_norm_zero():
    for a in (np.zeros((2, 2)), np.zeros((0, 3))):
        assert frobenius_norm(a) == inner(a, a) == 0


MANIFOLDS = {
    "identity": lambda: PullbackManifold(Identity(), 2),
    "resolvent": lambda: PullbackManifold(Resolvent(), 2),
    "left-invariant": lambda: left_invariant(2),
    "monotone": lambda: MonotoneManifold(2),
}


@pytest.mark.parametrize(("dtype", "size"), [case for case in CASES if case[1] not in (1e-44, 1e-320)])
@pytest.mark.parametrize("name", MANIFOLDS)
def test_the_norm_of_a_tangent_vector_is_homogeneous(name, dtype, size):
    manifold, W, V = MANIFOLDS[name](), np.array([[0.1, 0.2], [-0.1, 0.0]], dtype), ENTRIES.astype(dtype) / 4
    assert manifold.norm(W, dtype(size) * V) == pytest.approx(size * manifold.norm(W, V), rel=1e-5, abs=0)
    assert manifold.norm(W, manifold.zero_vector(W)) == 0


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e25), (np.float64, 1e200), (np.float64, 1e-200)])
def test_the_distance_of_far_points_is_in_range(dtype, size):
    euclidean = PullbackManifold(Identity(), 2)
    W, other = np.zeros((2, 2), dtype), (size * ENTRIES).astype(dtype)
    assert euclidean.dist(W, other) == pytest.approx(size * NORM, rel=1e-6, abs=0)
    product = ProductManifold({"first": euclidean, "second": euclidean})
    assert product.dist([W, W], [other, other]) == pytest.approx(2**0.5 * size * NORM, rel=1e-6, abs=0)
    assert product.norm([W, W], [other, other]) == pytest.approx(2**0.5 * size * NORM, rel=1e-6, abs=0)
