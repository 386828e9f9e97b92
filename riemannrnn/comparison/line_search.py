"""A line search with a bounded first trial, for the optimisers of pymanopt."""

from collections.abc import Callable
from math import inf
from typing import Any, final

from manifolds import Point, ProductManifold, WeightManifold


@final
class BoundedLineSearcher:
    """Backtracking by Armijo's rule, as pymanopt's `AdaptiveLineSearcher`, with a bound on the first trial.

    pymanopt reuses the step size α of the previous search, not the length α‖d‖. If a direction is 1e10 times longer than
    the previous direction, pymanopt tries a step that is 1e10 times longer. Here the first trial is at most

        min(share t* ‖d‖, growth ℓ),

    where t* is the time at which the path along d leaves the manifold and ℓ is the length of the last accepted step. If the
    bound is not active, the search equals pymanopt's.

    Parameters
    ----------
    contraction
        Factor by which a rejected step is shortened.
    sufficient_decrease
        c in Armijo's rule J(W′) ≤ J(W) + c α ⟨grad J, d⟩.
    most_trials
        Most trials of a search; if all are rejected and the last does not lower J, no step is taken.
    first_length
        Length of the first trial of the first search.
    growth
        A first trial is at most this many times as long as the last accepted step.
    share
        Largest share of the exit time for a first trial.
    """

    def __init__(
        self,
        contraction: float = 0.5,
        sufficient_decrease: float = 0.5,
        most_trials: int = 11,
        first_length: float = 1.0,
        growth: float = 10.0,
        share: float = 0.5,
    ) -> None:
        self._contraction, self._decrease, self._most_trials = contraction, sufficient_decrease, most_trials
        self._growth, self._share, self._first_length = growth, share, first_length
        self._size: float | None = None
        self._accepted = inf

    def search(
        self, objective: Callable[[Point], float], manifold: Any, x: Point, d: Point, f0: float, df0: float
    ) -> tuple[float, Point]:
        """Return the length of the step, 0 if there is none, and its end.

        Parameters
        ----------
        objective
            J.
        manifold
            A manifold of pymanopt. The exit time of a `WeightManifold` is respected, also if it is a factor of a
            product.
        x, d
            The point and the tangent vector along which to search.
        f0, df0
            J at the point, and its derivative along `d`.
        """
        norm = float(manifold.norm(x, d))
        if norm == 0:
            return 0.0, x
        size = self._first_length / norm if self._size is None else self._size
        size = min(size, self._share * _exit_time(manifold, x, d), self._growth * self._accepted / norm)
        trials = 0
        while True:
            end = manifold.retraction(x, size * d)
            value, trials = float(objective(end)), trials + 1
            if value <= f0 + self._decrease * size * df0 or trials >= self._most_trials:
                break
            size *= self._contraction
        # One rejected trial means that the size is right. With none, or several, the next first trial is longer.
        self._size = size if trials == 2 else 2 * size
        if not value <= f0:
            self._size = None
            return 0.0, x
        self._accepted = size * norm
        return self._accepted, end


def _exit_time(manifold: Any, x: Point, d: Point) -> float:
    """Return the time at which the path along a direction leaves a manifold, or a product in one of its factors."""
    if isinstance(manifold, ProductManifold):
        at, along = manifold.named(x), manifold.named(d)
        return min(_exit_time(factor, at[name], along[name]) for name, factor in manifold.factors.items())
    return manifold.retraction_exit_time(x, d) if isinstance(manifold, WeightManifold) else inf
