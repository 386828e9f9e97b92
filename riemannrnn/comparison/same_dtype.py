"""Optimisers of pymanopt that keep the dtype of the point, on every manifold."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from array_api_compat import array_namespace

from manifolds import Point
from manifolds.deferred import pymanopt


class SameDtypeConjugateGradient(pymanopt.optimizers.ConjugateGradient):
    """Conjugate gradients in the dtype of the point.

    The factor β of the last direction is a Python float here. pymanopt takes β from the metric. The metric of a product returns
    a NumPy float64, which turns a float32 direction into float64.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        rule: Callable[..., Any] = self._beta_update  # type: ignore[has-type]  # pymanopt is not typed
        self._beta_update = lambda **quantities: float(rule(**quantities))


class SameDtypeTrustRegions(pymanopt.optimizers.TrustRegions):
    """Trust regions in the dtype of the point: pymanopt's step to the boundary is a NumPy float64, which widens float32."""

    def _truncated_conjugate_gradient(self, problem: Any, x: Point, *args: Any) -> Any:
        eta, hessian_eta, *reasons = super()._truncated_conjugate_gradient(_InPythonFloats(problem), x, *args)
        return _in_dtype_of(x, eta), _in_dtype_of(x, hessian_eta), *reasons


class _InPythonFloats:
    """A problem with inner products that are Python floats, which never widen an array."""

    def __init__(self, problem: Any) -> None:
        manifold = problem.manifold
        self.riemannian_hessian = problem.riemannian_hessian
        self.preconditioner = problem.preconditioner
        self.manifold = SimpleNamespace(
            inner_product=lambda *arguments: float(manifold.inner_product(*arguments)),
            zero_vector=manifold.zero_vector,
            to_tangent_space=manifold.to_tangent_space,
        )


def _in_dtype_of(point: Point, vector: Point) -> Point:
    if isinstance(vector, list):  # in place, because the vectors of a product have their own arithmetic
        vector[:] = [_in_dtype_of(*pair) for pair in zip(point, vector, strict=True)]
        return vector
    return array_namespace(point).astype(vector, point.dtype, copy=False)
