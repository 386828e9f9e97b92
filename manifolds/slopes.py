"""The elementary checks: the order of an error in the step, and the agreement of arrays and of numbers."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from manifolds.arrays import Array, frobenius_norm
from manifolds.summary import Summarised

SLOPE_TOLERANCE = 0.2
"""Tolerance below the expected slope."""


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check: true if it passed, and the reason either way."""

    name: str
    passed: bool
    reason: str

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {self.reason}"


@dataclass(frozen=True, repr=False)
class CheckReport(Summarised):
    """Outcome of all checks of a manifold: true if every check passed; prints one line for each."""

    subject: str
    results: tuple[CheckResult, ...]

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        failed = ", ".join(result.name for result in self.results if not result) or "none"
        return {"subject": self.subject, "checks": len(self.results), "failed": failed}

    def __bool__(self) -> bool:
        return all(self.results)

    def __iter__(self) -> Iterator[CheckResult]:
        return iter(self.results)

    def __getitem__(self, name: str) -> CheckResult:
        return next(result for result in self.results if result.name == name)

    def __str__(self) -> str:
        return "\n".join([f"{self.subject}: {'passed' if self else 'FAILED'}", *(f"  {result}" for result in self.results)])


def check_slope(name: str, error: Callable[[float], float], expected: float, scale: float, epsilon: float) -> CheckResult:
    """Check that error(t) vanishes like t to the power `expected`.

    The slope of log error against log t is fitted over the smallest decade of t with errors clearly above rounding. The range
    is found rather than fixed, so the same check serves float32 and float64.

    Parameters
    ----------
    name
        Name of the result.
    error
        The error as a function of the step t. The larger of its values at t and −t counts, because orders may cancel at one.
    expected
        The expected power, 2 for first-order and 3 for second-order agreement. A steeper slope passes too.
    scale
        Size of the quantities that the error is a difference of; its rounding error is `epsilon` times this.
    epsilon
        Machine epsilon of the dtype in which the error was computed.
    """
    steps = np.logspace(-8, 0, 41)
    errors = np.array([np.maximum(error(float(step)), error(-float(step))) for step in steps])
    if not np.all(np.isfinite(errors)):
        return CheckResult(name, False, f"the error is not finite at t = {steps[~np.isfinite(errors)][0]:.1e}")
    below = np.flatnonzero(errors <= 30 * epsilon * scale)
    first = int(below[-1]) + 1 if below.size else 0
    if first > len(steps) - 3:
        return CheckResult(name, True, f"the error stays at rounding, {errors.max():.1e} at most")
    window = slice(first, min(first + 6, len(steps)))
    slope = float(np.polyfit(np.log(steps[window]), np.log(errors[window]), 1)[0])
    reason = f"slope {slope:.2f}, expected {expected:g}, for t from {steps[first]:.1e} to {steps[window][-1]:.1e}"
    return CheckResult(name, slope > expected - SLOPE_TOLERANCE, reason)


def check_equal(name: str, actual: Array, expected: Array, tolerance: float) -> CheckResult:
    """Check that two arrays agree to `tolerance`, relative to the norm of the expected array (absolute if that is zero)."""
    size = frobenius_norm(expected)
    error = frobenius_norm(actual - expected) / (size if size > 0 else 1.0)
    return CheckResult(name, error <= tolerance, f"relative error {error:.1e}, allowed {tolerance:.1e}")


def check_numbers(name: str, actual: float, expected: float, tolerance: float, scale: float = 0.0) -> CheckResult:
    """Check that two numbers agree to `tolerance` relative to the larger of |expected| and `scale`."""
    error = abs(actual - expected) / max(abs(expected), scale, sys.float_info.min)
    return CheckResult(name, error <= tolerance, f"{actual:.10g} against {expected:.10g}, relative error {error:.1e}")
