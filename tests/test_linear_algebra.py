"""Inverses, solutions and products of square matrices, computed by matrix products."""

import numpy as np
import pytest

from manifolds import linear_algebra
from manifolds.linear_algebra import chain, inverse, orthogonal_factor, power_series, solve


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 64, 65, 150, 301])
def test_the_inverse_by_blocks_is_the_inverse(n, dtype, generator):
    matrix = (np.eye(n) - 0.9 * generator.standard_normal((n, n)) / n**0.5).astype(dtype)
    result = inverse(matrix)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, np.linalg.inv(matrix), rtol=0, atol=2e3 * np.finfo(dtype).eps)


def test_a_singular_leading_block_has_no_effect(generator):
    matrix = generator.standard_normal((200, 200))
    matrix[:100, :100] = 0
    np.testing.assert_allclose(inverse(matrix), np.linalg.inv(matrix), rtol=1e-9, atol=1e-9)
    matrix[:100, :100] = 1e-14 * generator.standard_normal((100, 100))
    np.testing.assert_allclose(inverse(matrix), np.linalg.inv(matrix), rtol=1e-9, atol=1e-9)
    with pytest.raises(np.linalg.LinAlgError):
        inverse(np.zeros((200, 200)))


@pytest.mark.parametrize(("smallest", "products"), [(1.0, 1), (1e-5, 3)])
def test_a_solution_less_accurate_than_elimination_is_corrected(smallest, products, generator, monkeypatch):
    """Its residual is then as small as by elimination: after one product with the inverse, or after two more."""
    n, shapes = 100, []
    left, values, right = np.linalg.svd(np.eye(n) - 0.5 * generator.standard_normal((n, n)) / n**0.5)
    values[-1] *= smallest
    matrix, solution = left * values @ right, generator.standard_normal((n, n)) / n
    right_hand_side = matrix @ solution
    monkeypatch.setattr(linear_algebra, "chain", lambda *factors: shapes.append(factors[0].shape) or chain(*factors))
    found = solve(matrix, right_hand_side)
    assert shapes.count((n, n)) == products
    rounding = np.finfo(float).eps * np.linalg.norm(matrix) * np.linalg.norm(solution)
    assert np.linalg.norm(matrix @ found - right_hand_side) < 2 * rounding


def test_a_power_series_is_the_sum_of_its_terms(generator):
    matrix = generator.standard_normal((5, 5)) / 3
    for terms in range(1, 11):
        coefficients = list(generator.standard_normal(terms))
        expected = sum(c * np.linalg.matrix_power(matrix, k) for k, c in enumerate(coefficients, start=1))
        np.testing.assert_allclose(power_series(matrix, coefficients), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-3, 0.2, 3.0])
def test_the_orthogonal_factor_agrees_with_the_polar_decomposition(size, dtype, generator):
    turn = np.linalg.qr(generator.standard_normal((6, 6)))[0]
    root = generator.standard_normal((6, 6))
    matrix = (turn @ (np.eye(6) + size * root @ root.T / 20)).astype(dtype)
    found = orthogonal_factor(matrix)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, turn, atol=50 * np.finfo(dtype).eps)
