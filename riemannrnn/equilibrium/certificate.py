"""Which fixed points are not stable by a margin: a bound of the whole batch first, eigenvalues where it does not decide."""

from math import nan

from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.stability import unstable_stimuli
from riemannrnn.network.operator import Operator


def check_margin(name: str, margin: float | None) -> None:
    """Refuse a margin of stability that no network can have.

    Raises
    ------
    ValueError
        For a number outside [0, 1).
    """
    if margin is not None and not 0 <= margin < 1:
        raise ValueError(
            f"{name} = {margin} is outside [0, 1): without weights the spectral abscissa is −1 per time constant; "
            "choose a small margin such as 0.01, or None to ask for no stability"
        )


def not_stable(operator: Operator, gains: Array, margin: float) -> tuple[float, Array]:
    """Return the largest spectral abscissa of −I + G W, and the stimuli for which it is not below −margin.

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
        In units of 1/τ.

    Returns
    -------
    tuple
        A bound or an estimate of the largest abscissa, and the rows of the gains, shape (count,).
    """
    bound = abscissa_bound(operator, gains)
    if bound < -margin:
        return bound, array_namespace(gains).arange(0, device=device(gains))
    return unstable_stimuli(operator, gains, -margin)


def abscissa_bound(operator: Operator, gains: Array) -> float:
    """Return λ_max(sym(Ĝ^{1/2} W Ĝ^{1/2})) − 1, Ĝ the largest gain of each unit: no stimulus has a larger spectral abscissa.

    For G ≤ Ĝ, G W has the eigenvalues of D X D, X = Ĝ^{1/2} W Ĝ^{1/2}, D² = G Ĝ⁻¹ ≤ I, whose real parts are at most
    λ_max(D sym(X) D) ≤ max(λ_max(sym X), 0). NaN where a gain is negative. Infinity where the operator knows no bound.

    Parameters
    ----------
    operator
        The recurrent weights W on n units.
    gains
        Shape (batch, n).
    """
    xp = array_namespace(gains)
    if bool(xp.any(gains < 0)):
        return nan
    return max(operator.numerical_abscissa(xp.sqrt(xp.max(gains, axis=0))), 0.0) - 1
