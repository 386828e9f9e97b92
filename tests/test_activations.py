"""Activations: values, derivatives, dtypes, extreme inputs, and a user's own."""

import autograd.numpy as anp
import numpy as np
import pytest
from cases import TWINS

from riemannrnn import Activation, RateNetwork, power_law, register_activation
from riemannrnn.network.activations import ACTIVATIONS, as_activation

AT_NAN_AND_INFINITY = {
    "identity": (-np.inf, np.inf),
    "tanh": (-1, 1),
    "relu": (0, np.inf),
    "softplus": (0, np.inf),
    "sigmoid": (0, 1),
    "power-law": (0, np.inf),
}

Z = np.array([-3.0, -1.1, -0.3, 0.2, 0.9, 2.5])
"""Inputs away from the kinks."""


def test_the_tables_are_complete():
    assert set(TWINS) == set(AT_NAN_AND_INFINITY) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", TWINS)
def test_derivatives_agree_with_autograd(name):
    f, twin = ACTIVATIONS[name], Activation.from_function(TWINS[name])
    r = f.function(Z)
    np.testing.assert_allclose(r, TWINS[name](Z), rtol=1e-13)
    np.testing.assert_allclose(f.derivative(Z, r), twin.derivative(Z, r), rtol=1e-12)
    np.testing.assert_allclose(f.second_derivative(Z, r), twin.second_derivative(Z, r), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("f", [*ACTIVATIONS.values(), power_law(1.0, 2.0), power_law(1.5), power_law(3.0, 0.1)])
def test_derivatives_agree_with_finite_differences(f):
    step = 1e-5

    def difference(function):
        above, below = Z + step, Z - step
        return (function(above, f.function(above)) - function(below, f.function(below))) / (2 * step)

    np.testing.assert_allclose(f.derivative(Z, f.function(Z)), difference(lambda z, r: r), rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(f.second_derivative(Z, f.function(Z)), difference(f.derivative), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dtype_is_kept_and_extremes_do_not_warn(name, dtype):
    f = ACTIVATIONS[name]
    tiny = np.finfo(dtype).smallest_subnormal
    z = np.array([0, tiny, -tiny, 1e-30, -1e-30, 50, -50, 1e3, -1e3, 1e15, -1e15, np.inf, -np.inf], dtype)
    with np.errstate(under="ignore"):
        r = f.function(z)
        values = r, f.derivative(z, r)
        curvature = f.second_derivative(z[:-2], r[:-2])
    for value in (*values, curvature):
        assert value.dtype == dtype
        assert not np.any(np.isnan(value))
    assert (r[-1], r[-2]) == AT_NAN_AND_INFINITY[name]
    assert np.all(np.isfinite(curvature))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan(name):
    """A rectifier that turned NaN into 0 would certify a fixed point for a stimulus with NaN."""
    assert np.isnan(ACTIVATIONS[name].function(np.array([np.nan]))).all()


@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0, 2.5])
def test_power_law_derivatives_vanish_below_threshold(exponent):
    f = power_law(exponent)
    z = np.array([-1.0, 0.0, np.finfo(float).smallest_subnormal])
    with np.errstate(under="ignore"):
        r = f.function(z)
        gain, curvature = f.derivative(z, r), f.second_derivative(z, r)
    np.testing.assert_array_equal(r[:2], 0)
    np.testing.assert_array_equal(gain[:2], 0)
    np.testing.assert_array_equal(curvature[:2], 0)
    assert np.isfinite(curvature[2])


@pytest.mark.parametrize("exponent", [0.5, 0.999, -1, np.nan])
def test_power_law_below_one_is_refused(exponent):
    with pytest.raises(ValueError, match=f"exponent = {exponent} is below 1.*choose 1 or more"):
        power_law(exponent)


def test_a_custom_activation(monkeypatch):
    def swish(z):
        return z / (1 + anp.exp(-z))

    f = as_activation(swish)
    assert f.name == "swish"
    sigma = 1 / (1 + np.exp(-Z))
    np.testing.assert_allclose(f.derivative(Z, swish(Z)), sigma + Z * sigma * (1 - sigma), rtol=1e-12)
    monkeypatch.setattr("riemannrnn.network.activations.ACTIVATIONS", dict(ACTIVATIONS))
    assert register_activation(f) is f
    assert as_activation("swish") is f
    assert RateNetwork(3, activation="swish").activation is f
    with pytest.raises(ValueError, match="'swish' exists already; give yours another name"):
        register_activation(Activation.from_function(swish))


def test_an_unknown_name_is_refused_with_the_known_names():
    with pytest.raises(
        ValueError, match="'tanhh' is unknown; choose one of identity, power-law, relu, sigmoid, softplus, tanh"
    ):
        as_activation("tanhh")
