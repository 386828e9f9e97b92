"""Geodesics, parallel transport and logarithms by numerical integration, for metrics without a closed form.

NumPy and float64 only: SciPy integrates, and in float32 rounding would hide the errors that control the step size.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
from scipy.integrate import solve_ivp
from scipy.sparse.linalg import LinearOperator, gmres

from manifolds.arrays import Array, frobenius_norm
from manifolds.cometric import Cometric
from manifolds.errors import ConvergenceError, ManifoldError, OutsideManifoldError

DIFFERENCE_STEP = 1e-4
"""Step of the finite differences that approximate a product with the Jacobian, relative to the velocity."""

JACOBIAN_TOLERANCE = 1e-8
"""Accuracy of the geodesics for these differences. The product is then accurate to 1e-4, which suffices for Newton's method."""

End: TypeAlias = Callable[[Array, float], Array]
"""The end of a geodesic as a function of its initial velocity and of the relative accuracy."""

NewtonStep: TypeAlias = Callable[[Array, Array, float], Array]
"""The Newton step at a velocity, for a miss and its norm relative to the target."""

MAX_EVALUATIONS = 10_000
"""Most evaluations of Hamilton's equations for one geodesic; a geodesic that needs more is hardly resolved."""

MAX_NEWTON_STEPS = 30
"""Most Newton steps; about five suffice if the points are not far apart."""

MAX_HALVINGS = 16
"""Most halvings of a Newton step that does not come nearer."""


def integrate_geodesic(
    cometric: Cometric, point: Array, covector: Array, *carried: Array, tolerance: float
) -> tuple[Array, ...]:
    """Integrate Hamilton's equations, and parallel transport along the solution, from t = 0 to 1.

    Ẇ = ♯_W P and Ṗ = −½ ∂_W⟨P, ♯_W P⟩ (Abraham and Marsden, *Foundations of Mechanics*, 1978, section 3.7), with
    V̇ = −Γ_W(Ẇ, V) for a carried vector. An evaluation costs one ♯ and its gradient. A carried vector adds one ♭, two
    derivatives of ♯ and another gradient. The error control is of order 8, relative to the displacement.

    Parameters
    ----------
    cometric
        The metric.
    point, covector
        W and P = ♭Ẇ at t = 0, NumPy.
    carried
        A tangent vector V, or none.
    tolerance
        Largest error of an integration step, relative to the displacement, P and V.

    Returns
    -------
    tuple of arrays
        The displacement W(1) − W(0), then P, then V, in float64.

    Raises
    ------
    OutsideManifoldError
        If the solution ends before t = 1.
    ConvergenceError
        After `MAX_EVALUATIONS`.
    """
    start = point.astype(np.float64)
    state = np.stack([np.zeros_like(start), *(array.astype(np.float64) for array in (covector, *carried))])
    evaluations = 0

    def field(time: float, flat_state: Array) -> Array:
        nonlocal evaluations
        evaluations += 1
        if evaluations > MAX_EVALUATIONS:
            raise ConvergenceError(
                f"{evaluations - 1} evaluations of Hamilton's equations reached t = {time:.3g}",
                "the geodesic turns too often, or its metric is not smooth",
                "Shorten the step",
            )
        try:
            return _hamilton(cometric, start, flat_state.reshape(state.shape)).reshape(-1)
        except (ManifoldError, np.linalg.LinAlgError):  # beyond the edge; a shorter step may stay inside
            return np.full(flat_state.shape, np.nan)

    with np.errstate(all="ignore"):  # a step that overflows is rejected
        first = field(0.0, state.reshape(-1)).reshape(state.shape)
        reached = 0.0
        if np.all(np.isfinite(first)):
            scales = np.max(np.abs([first[0], *state[1:]]), axis=(1, 2))
            allowed = np.repeat(tolerance * np.where(scales > 0, scales, 1.0), start.size)
            solution = solve_ivp(
                field,
                (0.0, 1.0),
                state.reshape(-1),
                method="DOP853",
                rtol=tolerance,
                atol=allowed,
                first_step=1.0,  # most geodesics are short: one step suffices
            )
            if solution.success:
                return tuple(solution.y[:, -1].reshape(state.shape))
            reached = float(solution.t[-1])
    raise OutsideManifoldError(
        f"the geodesic ends at t = {reached:.3g}",
        "it meets the edge of the manifold or a point where sharp is not finite",
        "Shorten the step below that t",
    )


def _hamilton(cometric: Cometric, start: Array, state: Array) -> Array:
    displacement, covector, *carried = state
    point = start + displacement
    rates = [cometric.sharp(point, covector), -cometric.gradient(point, covector, covector) / 2]
    rates += [-cometric.christoffel(point, covector, cometric.flat(point, vector)) for vector in carried]
    return np.stack(rates)


def shoot(end: End, target: Array, tolerance: float, newton_step: NewtonStep | None = None) -> Array:
    """Solve end(V) = target by Newton's method from V = 0.

    The Jacobian is never formed. A step that does not come nearer, or leads out of the manifold, is halved.

    Parameters
    ----------
    end
        The map from an initial velocity V to the displacement at t = 1, with end(0) = 0; NumPy, float64.
    target
        The displacement to reach.
    tolerance
        Distance to the target, relative to its norm.
    newton_step
        Newton's step from a velocity that is not zero. Default: by GMRES, from differences of `end`.

    Returns
    -------
    Array
        V. If there are several solutions, any of them may be found; usually it is the shortest.

    Raises
    ------
    ConvergenceError
        If halved steps do not come nearer, or after `MAX_NEWTON_STEPS`.

    References
    ----------
    Knoll and Keyes, Journal of Computational Physics 193, 2004, section 2.
    """
    velocity, miss = np.zeros_like(target), target
    distance, steps = frobenius_norm(target), 0
    goal, newton_step = tolerance * distance, newton_step or partial(_newton_step, end)
    while not frobenius_norm(miss) <= goal:
        if steps == MAX_NEWTON_STEPS:
            raise _missed(target, miss, f"after {steps} Newton steps")
        try:  # the derivative of the exponential map at zero is the identity
            step = newton_step(velocity, miss, frobenius_norm(miss) / distance) if np.any(velocity) else miss
        except ManifoldError as error:
            raise _missed(target, miss, "at a geodesic with neighbours that leave the manifold") from error
        velocity, miss = _come_nearer(end, target, velocity, step, frobenius_norm(miss), tolerance / 4)
        steps += 1
    return velocity


def _newton_step(end: End, velocity: Array, miss: Array, relative_miss: float) -> Array:
    arrival = end(velocity, JACOBIAN_TOLERANCE)

    def jacobian(direction: Array) -> Array:
        length = DIFFERENCE_STEP * frobenius_norm(velocity) / np.linalg.norm(direction)
        moved = end(velocity + length * direction.reshape(miss.shape), JACOBIAN_TOLERANCE)
        return ((moved - arrival) / length).reshape(-1)

    operator = LinearOperator((miss.size, miss.size), matvec=jacobian, dtype=np.float64)
    step, _ = gmres(operator, miss.reshape(-1), rtol=1e-3, restart=min(miss.size, 50), maxiter=1)
    return step.reshape(miss.shape)


def _come_nearer(
    end: End, target: Array, velocity: Array, step: Array, distance: float, tolerance: float
) -> tuple[Array, Array]:
    miss = target
    for halvings in range(MAX_HALVINGS):
        fraction = 0.5**halvings
        try:
            miss = target - end(velocity + fraction * step, tolerance)
        except ManifoldError:
            continue
        if frobenius_norm(miss) < (1 - 1e-4 * fraction) * distance:
            return velocity + fraction * step, miss
    raise _missed(target, miss, "and no part of the Newton step comes nearer")


def _missed(target: Array, miss: Array, when: str) -> ConvergenceError:
    return ConvergenceError(
        f"relative miss {frobenius_norm(miss) / frobenius_norm(target):.1e} {when}",
        "no geodesic between the two points was found: they may be too far apart, or no geodesic may exist",
        "Take a point between them, and use two geodesics",
    )
