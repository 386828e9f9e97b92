"""A user-defined chart from two functions, differentiated by autograd."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

import autograd.numpy as anp
import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array
from autograd import grad, make_vjp
from autograd.differential_operators import make_jvp_reversemode

from manifolds.arrays import Array
from manifolds.charts import Chart
from manifolds.errors import InvalidArrayError, OutsideManifoldError
from manifolds.points import PointCache, all_finite


@contextmanager
def vanishing_derivatives() -> Iterator[None]:
    """Silence autograd's warning where a derivative is identically zero, as the second derivative of a linear function is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Output seems independent of input")
        yield


@final
class AutogradChart(Chart):
    """A chart from two functions of a NumPy array, differentiated by autograd.

    Parameters
    ----------
    forward, inverse
        φ and φ⁻¹, written with `autograd.numpy`.
    origin
        Coordinates around which random points are drawn: an array, or a number for all entries.

    Raises
    ------
    InvalidArrayError
        From methods that need a derivative, for points that are not NumPy arrays.
    OutsideManifoldError
        From methods that need coordinates, for points where `forward` is not finite.

    Notes
    -----
    The edge is not known: `exit_time` and `edge_distance` are infinite. The manifold still raises an error for a step to a
    point where `inverse` is not finite.
    """

    def __init__(
        self, forward: Callable[[Array], Array], inverse: Callable[[Array], Array], origin: Array | float = 0.0
    ) -> None:
        self._forward = forward
        self._inverse = inverse
        self._origin = origin
        # Per point: the coordinates and the two vector–Jacobian products, each traced once.
        self._at = PointCache(self._trace)

    def _trace(self, point: Array) -> tuple[Array, Callable[[Array], Array], Callable[[Array], Array]]:
        _check_numpy(point)
        with np.errstate(all="ignore"):  # the check below finds it
            pull_forward, coordinates = make_vjp(self._forward)(point)
        if not all_finite(coordinates):
            raise OutsideManifoldError(
                "φ(W) holds NaN or infinity",
                "the chart is defined where φ, given as forward, is finite",
                "Start from a point inside, or correct forward",
            )
        pull_inverse, _ = make_vjp(self._inverse)(coordinates)
        return coordinates, pull_forward, pull_inverse

    def value(self, point: Array) -> Array:
        return self._at(point)[0]

    def inverse(self, coordinates: Array) -> Array:
        with np.errstate(all="ignore"):  # the manifold checks that the end of a step is finite
            return self._inverse(coordinates)

    def differential(self, point: Array, vector: Array) -> Array:
        self._at(point)  # raises if this is not a point
        return make_jvp_reversemode(self._forward)(point)(vector)

    def adjoint(self, point: Array, coordinates: Array) -> Array:
        return self._at(point)[1](coordinates)

    def inverse_differential(self, point: Array, coordinates: Array) -> Array:
        return make_jvp_reversemode(self._inverse)(self.value(point))(coordinates)

    def inverse_adjoint(self, point: Array, covector: Array) -> Array:
        return self._at(point)[2](covector)

    def inverse_adjoint_derivative(self, point: Array, vector: Array, covector: Array) -> Array:
        # (Dφ*)⁻¹[U] is the gradient of Z ↦ ⟨U, φ⁻¹(Z)⟩, so its derivative is a Hessian–vector product of that function.
        velocity = self.differential(point, vector)
        pairing = grad(lambda coordinates: anp.sum(covector * self._inverse(coordinates)))
        with vanishing_derivatives():
            return grad(lambda coordinates: anp.sum(pairing(coordinates) * velocity))(self.value(point))

    def origin(self, like: Array) -> Array:
        xp = array_namespace(like)
        return xp.zeros_like(like) + xp.asarray(self._origin, dtype=like.dtype, device=device(like))


def _check_numpy(point: Array) -> None:
    if not is_numpy_array(point):
        raise InvalidArrayError(
            f"a point of type {type(point).__name__}",
            "autograd differentiates functions of NumPy arrays only",
            "Convert the point, or derive a class from Chart with its own derivatives",
        )
