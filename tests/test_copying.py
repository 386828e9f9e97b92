"""Public objects can be pickled and copied, and the copies behave like the originals."""

import copy
import pickle

import numpy as np
import pytest
from public_objects import OBJECTS, N, digits, network

from manifolds import WeightManifold
from riemannrnn import Activation, FixedPointCost, FixedPoints, Loss, RateNetwork

COPIES = {"pickle": lambda made: pickle.loads(pickle.dumps(made)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", OBJECTS)
def test_every_public_object_can_be_copied(name, way):
    made = OBJECTS[name]()
    copied = COPIES[way](made)
    assert type(copied) is type(made)
    assert repr(copied) == repr(made)
    for before, after in zip(results(made), results(copied), strict=True):
        np.testing.assert_array_equal(before, after)


def geometry(manifold):
    point = manifold.random_point()
    gradient = manifold.euclidean_to_riemannian_gradient(point, manifold.projection(point, point))
    return [gradient, manifold.retraction(point, 0.1 * point)]


def rates(network):
    return [network.fixed_points(network.initial_weights(), digits().stimuli.astype(network.dtype)).rates]


def derivatives(activation):
    inputs = np.linspace(-2, 2, 9)
    values = activation.function(inputs)
    return [values, activation.derivative(inputs, values), activation.second_derivative(inputs, values)]


def losses(loss):
    outputs = np.random.default_rng(1).standard_normal((60, 10))
    return [loss.value(outputs), loss.gradient(outputs), loss.hessian(outputs, outputs)]


def costs(cost):
    weights = 0.02 * np.random.default_rng(0).random((N, N))
    return [cost(weights), cost.gradient(weights)]


KINDS = {
    WeightManifold: geometry,
    RateNetwork: rates,
    Activation: derivatives,
    Loss: losses,
    FixedPointCost: costs,
    FixedPoints: lambda each: [each.rates, each.stability()],
}


def results(made):
    """Return numbers that an object computes, if its type is in the table."""
    return next((of(made) for kind, of in KINDS.items() if isinstance(made, kind)), [])


def test_a_copy_of_a_network_is_on_its_backend():
    import array_api_strict

    copied = pickle.loads(pickle.dumps(network(backend=array_api_strict)))
    assert copied.namespace is array_api_strict
    assert array_api_strict.isdtype(copied.readout.dtype, "real floating")


def test_a_copy_leaves_out_what_can_be_computed_again():
    manifold = OBJECTS["pullback"]()
    empty = len(pickle.dumps(manifold))
    manifold.norm(0.1 * np.eye(N), np.eye(N))
    assert len(pickle.dumps(manifold)) == empty


def test_a_copied_fixed_point_still_has_its_derivatives():
    from riemannrnn.equilibrium.implicit import Implicit

    fixed_points = OBJECTS["fixed points"]()
    copied = pickle.loads(pickle.dumps(fixed_points))
    errors = np.ones_like(fixed_points.rates)
    before, after = (Implicit(each).adjoint(errors) for each in (fixed_points, copied))
    np.testing.assert_allclose(after, before, rtol=1e-8, atol=1e-10)
