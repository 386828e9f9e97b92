"""Errors of the geometry: each names the offending value, the reason and the remedy."""


class ManifoldError(ValueError):
    """Base class of the errors of this package.

    Parameters
    ----------
    value
        What was met, with its number.
    reason
        Why that is wrong.
    remedy
        What the caller can do about it.
    """

    def __init__(self, value: str, reason: str, remedy: str) -> None:
        super().__init__(value, reason, remedy)
        self.value = value
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.value}: {self.reason}. {self.remedy}."


class SingularPointError(ManifoldError):
    """The point lies on the singular set of its chart or metric, or so near or far away that rounding leaves no digit there."""


class OutsideManifoldError(ManifoldError):
    """A step leads over the edge of the manifold, or a point lies beyond it."""


class NoGeodesicError(ManifoldError):
    """A geodesic or parallel transport was asked for, and the manifold does not know its geodesics, whatever their length."""


class InvalidArrayError(ManifoldError):
    """An array has the wrong shape or dtype, or holds NaN or infinity."""


class ConvergenceError(ManifoldError):
    """An iteration (a geodesic, a logarithm, a linear system) did not reach its tolerance."""
