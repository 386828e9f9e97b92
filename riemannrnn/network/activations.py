"""Activation functions f of a rate network with their first and second derivatives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from autograd import elementwise_grad

from manifolds import Array
from manifolds.autograd_chart import vanishing_derivatives
from riemannrnn.backend import check_numpy, namespace_of

SLOPE_ROUNDING = 1e-12
"""Rounding may raise the computed derivative of an activation with slope 1 above 1 by at most this."""


@dataclass(frozen=True)
class Activation:
    """An elementwise function r = f(z) with the derivatives that implicit differentiation needs.

    Parameters
    ----------
    name
        Name on the command line and in messages.
    function
        f(z), on arrays of any shape and namespace.
    derivative
        f′, as a function of z and of r = f(z); it may use whichever is cheaper (tanh: 1 − r²).
    second_derivative
        f″, as a function of z and r.
    elementary
        The equal function of the array API, if there is one; f can then be computed in place.
    arguments
        The arguments for which the function in `FAMILIES` with this name makes this activation. Default: it is in no family.
    """

    name: str
    function: Callable[[Array], Array] = field(repr=False)
    derivative: Callable[[Array, Array], Array] = field(repr=False)
    second_derivative: Callable[[Array, Array], Array] = field(repr=False)
    elementary: str | None = field(default=None, repr=False)
    arguments: tuple[float, ...] = field(default=(), repr=False)

    def respond(self, inputs: Array, out: Array | None = None) -> Array:
        """Return f(inputs), in the array `out` if f can be computed in place, otherwise in a new array."""
        if self.elementary is None:
            value = self.function(inputs)
            shared = value is inputs or (isinstance(value, np.ndarray) and np.may_share_memory(value, inputs))
            return namespace_of(inputs).asarray(value, copy=True) if shared else value
        return into(out, getattr(namespace_of(inputs), self.elementary), inputs)

    @classmethod
    def from_function(cls, function: Callable[[Array], Array], name: str | None = None) -> "Activation":
        """Make an activation from an elementwise function written with `autograd.numpy`; autograd computes its derivatives.

        Raises
        ------
        BackendError
            From the function and both derivatives, for arrays of a library other than NumPy.

        Examples
        --------
        >>> import autograd.numpy as anp, numpy as np
        >>> swish = Activation.from_function(lambda z: z / (1 + anp.exp(-z)), "swish")
        >>> round(float(swish.derivative(np.zeros(1), np.zeros(1))[0]), 6)
        0.5
        """
        label = name or str(getattr(function, "__name__", "custom"))
        value, first, second = (_Differentiated(label, function, order) for order in range(3))
        return cls(label, value, first, second)


@dataclass(frozen=True)
class _Differentiated:
    """A derivative of order 0, 1 or 2 of a function of NumPy arrays; it pickles if the function does."""

    label: str
    function: Callable[[Array], Array]
    order: int

    def __call__(self, z: Array, r: Array | None = None) -> Array:
        check_numpy(f"activation {self.label!r}", z)
        derivative = self.function
        for _ in range(self.order):
            derivative = elementwise_grad(derivative)
        if self.order < 2:
            return derivative(z)
        with vanishing_derivatives():
            return derivative(z).astype(z.dtype, copy=False)  # a NumPy scalar in the function widens float32


def check_slopes(activation: Activation) -> None:
    """Check that monotone weights guarantee stability for an activation: it must be non-decreasing with slope at most 1.

    The slope is tested at inputs of sizes 1e-6 to 1e3, of both signs, and at zero.

    Raises
    ------
    ValueError
        Naming the slope, the input where it was found, and what to do.
    """
    sizes = np.concatenate([np.geomspace(1e-6, 1e3, 2000), np.linspace(0, 20, 2001)])
    inputs = np.sort(np.concatenate([sizes, -sizes]))
    with np.errstate(all="ignore"):  # a user-defined function may overflow at large inputs; its slope there is unknown
        slopes = activation.derivative(inputs, activation.function(inputs))
    outside = np.nan_to_num(np.fmax(slopes - 1, -slopes), nan=-np.inf)
    worst = int(np.argmax(outside))
    if outside[worst] > SLOPE_ROUNDING:
        raise ValueError(
            f"activation {activation.name!r} has slope {slopes[worst]:.4g} at input {inputs[worst]:.4g}: where a slope is "
            "below 0 or above 1, monotone weights do not make fixed points unique and stable. Choose one with slopes in "
            "[0, 1], such as tanh, relu, softplus or sigmoid, or another manifold and solver='auto'"
        )


def into(out: Array | None, function: Callable[..., Array], *arguments: Array) -> Array:
    """Return a function's value, in the array `out` if one is given, without a temporary array if the library allows it."""
    if out is None:
        return function(*arguments)
    if isinstance(out, np.ndarray) or hasattr(out, "__cuda_array_interface__"):
        return function(*arguments, out=out)
    out[...] = function(*arguments)
    return out


def power_law(exponent: float = 2.0, scale: float = 1.0) -> Activation:
    """Return the supralinear power law f(z) = scale · max(z, 0)^exponent (Ahmadian, Rubin & Miller, Neural Comput. 2013).

    Raises
    ------
    ValueError
        For an exponent below 1: the gain would be infinite at threshold.
    """
    if not exponent >= 1:
        raise ValueError(f"exponent = {exponent} is below 1, where the gain at threshold is infinite; choose 1 or more")
    exponent, scale = float(exponent), float(scale)  # NumPy scalars would widen float32
    value, first, second = (partial(each, exponent, scale) for each in (_power, _power_derivative, _power_second_derivative))
    return Activation("power-law", value, first, second, arguments=(exponent, scale))


def _power(exponent: float, scale: float, z: Array) -> Array:
    return scale * _relu(z) ** exponent


def _power_derivative(exponent: float, scale: float, z: Array, r: Array) -> Array:
    return _where_positive(z, scale * exponent * _relu(z) ** (exponent - 1))


def _power_second_derivative(exponent: float, scale: float, z: Array, r: Array) -> Array:
    return _where_positive(z, scale * exponent * (exponent - 1) * _positive_power(z, exponent - 2))


def _where_positive(z: Array, values: Array) -> Array:
    return namespace_of(z).where(z > 0, values, 0)


def _positive_power(z: Array, exponent: float) -> Array:
    # Only numbers above the smallest normal number are raised: a negative exponent then cannot overflow.
    xp = namespace_of(z)
    return xp.where(z > float(xp.finfo(z.dtype).smallest_normal), z, 1) ** exponent


def _identity(z: Array) -> Array:
    return z


def _relu(z: Array) -> Array:
    return namespace_of(z).maximum(z, 0)  # keeps NaN, and is ten times as fast as `where` for mixed signs


def _tanh(z: Array) -> Array:
    return namespace_of(z).tanh(z)


def _tanh_derivative(z: Array, r: Array) -> Array:
    return 1 - r * r


def _tanh_second_derivative(z: Array, r: Array) -> Array:
    return -2 * r * (1 - r * r)


def _sigmoid(z: Array) -> Array:
    # tanh saturates without overflow; exp does not.
    return 0.5 * (1 + namespace_of(z).tanh(0.5 * z))


def _softplus(z: Array) -> Array:
    xp = namespace_of(z)
    return xp.logaddexp(xp.zeros_like(z), z)


def _identity_derivative(z: Array, r: Array) -> Array:
    return namespace_of(z).ones_like(z)


def _zero(z: Array, r: Array) -> Array:
    return namespace_of(z).zeros_like(z)


def _step(z: Array, r: Array) -> Array:
    xp = namespace_of(z)
    return xp.astype(z > 0, z.dtype)


def _sigmoid_derivative(z: Array, r: Array) -> Array:
    return r * (1 - r)


def _sigmoid_second_derivative(z: Array, r: Array) -> Array:
    return r * (1 - r) * (1 - 2 * r)


def _softplus_derivative(z: Array, r: Array) -> Array:
    return _sigmoid(z)


def _softplus_second_derivative(z: Array, r: Array) -> Array:
    slope = _sigmoid(z)
    return slope * (1 - slope)


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("identity", _identity, _identity_derivative, _zero),
        Activation("tanh", _tanh, _tanh_derivative, _tanh_second_derivative, "tanh"),
        Activation("relu", _relu, _step, _zero),
        Activation("softplus", _softplus, _softplus_derivative, _softplus_second_derivative),
        Activation("sigmoid", _sigmoid, _sigmoid_derivative, _sigmoid_second_derivative),
        power_law(),
    )
}
"""The activations by name; `register_activation` adds to them."""

FAMILIES: dict[str, Callable[..., Activation]] = {"power-law": power_law}
"""Functions that make activations from numbers, by the name of the activations."""


def register_activation(activation: Activation) -> Activation:
    """Register an activation under its name, also for the command line, and return it.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if activation.name in ACTIVATIONS:
        raise ValueError(f"activation {activation.name!r} exists already; give yours another name")
    ACTIVATIONS[activation.name] = activation
    return activation


def as_activation(activation: "str | Activation | Callable[[Array], Array]") -> Activation:
    """Return the activation with a name, the activation itself, or an activation made from an autograd function.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known names.
    """
    if isinstance(activation, Activation):
        return activation
    if callable(activation):
        return Activation.from_function(activation)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation {activation!r} is unknown; choose one of {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[activation]
