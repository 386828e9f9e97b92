"""Which fixed points are not stable by a margin: a bound of the whole batch first, eigenvalues where it does not decide."""

from math import nan

from array_api_compat import array_namespace, device

from manifolds import Array
from manifolds.arrays import Point
from riemannrnn.equilibrium.stability import unstable_stimuli
from riemannrnn.network.connectivity import Connectivity


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


def not_stable(connectivity: Connectivity, weights: Point, gains: Array, margin: float) -> tuple[float, Array]:
    """Return the largest spectral abscissa of −I + G W, and the stimuli for which it is not below −margin.

    One symmetric eigenvalue problem, `abscissa_bound`, often shows that there are none. Otherwise all stimuli are screened by
    Arnoldi steps in lock-step, and eigenvalues are computed for the stimuli that screening leaves open, as by
    `unstable_stimuli`. Up to 64 units, and for low rank, eigenvalues are computed for every stimulus.

    Parameters
    ----------
    connectivity, weights
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
    xp, n = array_namespace(gains), gains.shape[1]
    if connectivity.reduced_jacobians(weights, gains[:1, :]) is None:
        identity = xp.eye(n, dtype=gains.dtype, device=device(gains))
        bound = abscissa_bound(connectivity.apply(weights, identity).T, gains)
        if bound < -margin:
            return bound, xp.arange(0, device=device(gains))
    return unstable_stimuli(connectivity, weights, gains, -margin)


def abscissa_bound(weights: Array, gains: Array) -> float:
    """Return λ_max(sym(Ĝ^{1/2} W Ĝ^{1/2})) − 1, Ĝ the largest gain of each unit: no stimulus has a larger spectral abscissa.

    For G ≤ Ĝ, G W has the eigenvalues of D X D, X = Ĝ^{1/2} W Ĝ^{1/2}, D² = G Ĝ⁻¹ ≤ I, whose real parts are at most
    λ_max(D sym(X) D) ≤ max(λ_max(sym X), 0). NaN where a gain is negative.

    Parameters
    ----------
    weights
        W, shape (n, n).
    gains
        Shape (batch, n).
    """
    xp = array_namespace(gains)
    if bool(xp.any(gains < 0)):
        return nan
    roots = xp.sqrt(xp.max(gains, axis=0))
    scaled = roots[:, None] * weights * roots
    return max(float(xp.linalg.eigvalsh((scaled + scaled.T) / 2)[-1]), 0.0) - 1
