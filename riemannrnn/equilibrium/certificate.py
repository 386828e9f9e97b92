"""Which fixed points are not stable by a margin: a bound for the whole batch first, eigenvalues where it does not suffice."""

from math import nan
from typing import Any

from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.diagonal_lyapunov import stable_by_rows
from riemannrnn.equilibrium.equation import take_rows
from riemannrnn.equilibrium.jacobians import checked_time_constants
from riemannrnn.equilibrium.stability import unstable_stimuli
from riemannrnn.network.operator import Operator


def check_margin(name: str, margin: float | None, slowest: float = 1.0) -> None:
    """Check that a margin of stability is possible: without weights the spectral abscissa is −1 / max τ.

    Parameters
    ----------
    name
        Name of the margin in the message.
    margin
        The margin; None requires no stability.
    slowest
        max τ, the largest time constant.

    Raises
    ------
    ValueError
        For a number outside [0, 1 / max τ).
    """
    if margin is not None and not 0 <= margin < 1 / slowest:
        raise ValueError(
            f"{name} = {margin} is outside [0, {1 / slowest:g}): without weights the spectral abscissa is −1 per largest time "
            f"constant; choose a small margin such as {0.01 / slowest:g}, or None to require no stability"
        )


def not_stable(operator: Operator, gains: Array, margin: float, time_constants: Any = None) -> tuple[float, Array]:
    """Return the largest spectral abscissa of T⁻¹ (−I + G W), and the stimuli for which it is not below −margin.

    One symmetric eigenvalue problem, `abscissa_bound`, often shows that there are none. Otherwise `unstable_stimuli` screens
    all stimuli by Arnoldi steps in lock-step, and computes eigenvalues of the stimuli that screening does not decide. Up to 64
    units, and for low rank, it computes eigenvalues of every stimulus.

    Parameters
    ----------
    operator
        The recurrent weights W on n units.
    gains
        g, shape (batch, n), with at least one stimulus.
    margin
        In units of 1/τ, or 1 over the unit of the time constants.
    time_constants
        The diagonal τ of T, positive, shape (n,), in any unit of time. Default: all are 1.

    Returns
    -------
    tuple
        A bound or an estimate of the largest abscissa, and the rows of the gains, shape (count,).

    Raises
    ------
    ValueError
        For time constants of another shape, or that are not positive and finite.
    """
    bound = abscissa_bound(operator, gains, time_constants)
    if bound < -margin:
        return bound, array_namespace(gains).arange(0, device=device(gains))
    return unstable_stimuli(operator, gains, -margin, time_constants)


def rows_not_stable(operator: Operator, gains: Array, margin: float, time_constants: Any = None) -> Array:
    """Return the stimuli for which the spectral abscissa is not below −margin, as `not_stable`, without an estimate of it.

    Cholesky factors decide what they can (`diagonal_lyapunov`). Eigenvalues decide the rest.
    """
    xp = array_namespace(gains)
    if abscissa_bound(operator, gains, time_constants) < -margin:
        return xp.arange(0, device=device(gains))
    rest = xp.nonzero(~stable_by_rows(operator, gains, margin, time_constants))[0]
    if not rest.shape[0]:
        return rest
    return take_rows(rest, unstable_stimuli(operator, take_rows(gains, rest), -margin, time_constants)[1])


def abscissa_bound(operator: Operator, gains: Array, time_constants: Any = None) -> float:
    """Return a bound of the spectral abscissa of T⁻¹ (−I + G W) for all stimuli, from one symmetric eigenvalue problem.

    With Ĝ the largest gain of each unit and λ = max(λ_max(sym(Ĝ^½ W Ĝ^½)), 0), it is (λ − 1) / max τ if λ ≤ 1, and
    (λ − 1) / min τ otherwise. For equal time constants it is (λ − 1) / τ.

    *Why.* Let C = I + β T have positive entries and P = T⁻¹ C. For 0 < G ≤ Ĝ the matrix T⁻¹ (−I + G W) − β I = T⁻¹ (G W − C) is
    similar to P M, where M = C^-½ G^½ W G^½ C^-½ − I. If sym M is negative definite, P M is stable, because
    P⁻¹ (P M) + (P M)ᵀ P⁻¹ = 2 sym M. That is so if λ < min C, because λ_max(D X D) ≤ max(λ_max(X), 0) max D² for symmetric X
    and diagonal D. So the abscissa is at most β for every β with λ < 1 + β τ for all τ. The bound is the limit of these β.
    Gains of 0 follow by continuity.

    NaN if a gain is negative. Infinity if the operator knows no bound.

    Parameters
    ----------
    operator
        The recurrent weights W on n units.
    gains
        Shape (batch, n).
    time_constants
        As for `not_stable`.

    Raises
    ------
    ValueError
        For time constants of another shape, or that are not positive and finite.
    """
    xp = array_namespace(gains)
    excess = nan
    if not bool(xp.any(gains < 0)):
        excess = max(operator.numerical_abscissa(xp.sqrt(xp.max(gains, axis=0))), 0.0) - 1
    if time_constants is None:
        return excess
    times = checked_time_constants(time_constants, gains)
    return excess / float(xp.max(times) if excess < 0 else xp.min(times))
