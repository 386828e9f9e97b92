"""Errors of stacks and products, and the matching of factors by name."""

import numpy as np
import pytest

from manifolds import Identity, MonotoneManifold, ProductManifold, PullbackManifold
from riemannrnn import CrossEntropy, FixedPointCost, Stack, train

X, Y = np.random.default_rng(0).standard_normal((12, 4)), np.arange(12) % 3


def stack():
    return Stack([5, 4], 4, 3, seed=0)


def factors(stack):
    return {
        name: MonotoneManifold(len(value)) if name in stack.recurrent else PullbackManifold(Identity(), value.shape, "additive")
        for name, value in stack.initial_parameters().items()
    }


def learn(manifold):
    return train(stack(), stack().initial_parameters(), X, Y, rule="descent", learning_rate=0.1, manifold=manifold, seed=0)


def test_numbers_of_numpy_are_sizes():
    assert Stack(list(np.array([5, 4])), 4, 3).units == (5, 4)


@pytest.mark.parametrize("options", [{"trained": ("readout",)}, {"trained": ("input",), "n_inputs": None, "n_outputs": 3}])
def test_a_stack_that_trains_nothing_is_refused(options):
    with pytest.raises(ValueError, match="trained"):
        Stack([4], **{"n_inputs": 4, **options})


def test_parameters_of_another_shape_are_named():
    P = {**stack().initial_parameters(), "readout": np.zeros((3, 5))}
    with pytest.raises(ValueError, match=r"readout.*shape"):
        FixedPointCost(stack(), X, CrossEntropy(Y))(P)
    with pytest.raises(ValueError, match=r"readout.*shape"):
        train(stack(), P, X, Y)


def test_a_product_without_a_factor_for_each_parameter_is_refused():
    with pytest.raises(ValueError, match="readout"):
        learn(ProductManifold({"layers.0.recurrent": MonotoneManifold(5)}))


def test_factors_are_matched_by_name():
    made = factors(stack())
    expected = learn(ProductManifold(made)).loss
    assert learn(ProductManifold(dict(reversed(made.items())))).loss == expected


def test_factors_of_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"x\.layers"):
        learn(ProductManifold({f"x.{name}": factor for name, factor in factors(stack()).items()}))
