"""Inexact derivatives by a truncated Neumann series."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.solution import Solution, certified
from riemannrnn.equilibrium.solver import Prepared, Problem, Solver

if TYPE_CHECKING:
    from riemannrnn.equilibrium.factors import Knowledge


@final
@dataclass(frozen=True)
class Neumann(Solver):
    """u ≈ Σ (G Wᵀ)ʲ G ℓ over j < k: inexact derivatives with k − 1 products, for any tolerance.

    The residual of the result shows its error. One term is G ℓ, "Jacobian-free backpropagation" (Fung et al., AAAI 2022). More
    terms are the undamped "phantom gradient" of Geng et al. (NeurIPS 2021). It does not solve for fixed points.

    Parameters
    ----------
    terms
        k, at least 1.

    Raises
    ------
    ValueError
        For a smaller number.
    """

    terms: int = 1

    def __post_init__(self) -> None:
        if self.terms < 1:
            raise ValueError(f"terms = {self.terms} is below 1, which leaves nothing of the derivative; pass 1 or more")

    nonlinear: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return f"neumann({self.terms})"

    def prepare(self, problem: Problem, known: "Knowledge | None" = None) -> Prepared:
        return _Truncated(self, problem)


@dataclass(frozen=True)
class _Truncated(Prepared):
    """The truncated series of a linear equation."""

    solver: Neumann
    problem: Problem

    @property
    def name(self) -> str:
        return self.solver.name

    def solve(self, rows: slice) -> Solution:
        equation, products = self.problem.equation.take(rows), self.solver.terms - 1
        state: Array = equation.respond(equation.drive)
        for _ in range(products):
            state = equation.image(state)
        xp = array_namespace(state)
        counts = xp.full((state.shape[0],), products, dtype=xp.int64, device=device(state))
        return certified(equation, state, counts, self.problem.tolerance)
