"""Errors of the geometry: each names the offending value, the reason and the remedy."""


class ManifoldError(ValueError):
    """Base class of the errors of this package.

    Parameters
    ----------
    value
        What was found, with its value.
    reason
        Why it is wrong.
    remedy
        What the caller can do.
    """

    def __init__(self, value: str, reason: str, remedy: str) -> None:
        super().__init__(value, reason, remedy)
        self.value = value
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.value}: {self.reason}. {self.remedy}."


class SingularPointError(ManifoldError):
    """The point is on the singular set of its chart or metric, or too near or too far away for the working precision."""


class OutsideManifoldError(ManifoldError):
    """A step crosses the edge of the manifold, or a point is outside."""


class NoGeodesicError(ManifoldError):
    """A geodesic or parallel transport was requested from a manifold that has no formula for its geodesics."""


class InvalidArrayError(ManifoldError):
    """An array has the wrong shape or dtype, or holds NaN or infinity."""


class ConvergenceError(ManifoldError):
    """An iteration (a geodesic, a logarithm, a linear system) did not reach its tolerance."""
