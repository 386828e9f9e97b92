"""The options for solving fixed points: one record for networks, costs and training."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from riemannrnn.equilibrium.solver import Solver
from riemannrnn.settings import Options, option

OnFailure: TypeAlias = Literal["raise", "mask", "inf"]
"""The policy for stimuli without a fixed point: an error; a mark in `converged`; or a mark and infinite rates."""


@dataclass(frozen=True)
class SolverOptions(Options):
    """The options for solving fixed points, adjoints and tangents."""

    solver: str | Solver = option(
        "auto",
        'The solver: "auto", "flow", "chord", "splitting", "picard", "anderson", "newton", or a `Solver` with its own options, '
        'for example `Automatic(precision="native")`.',
    )
    adjoint_solver: str | Solver | None = option(
        None, "The solver of adjoints and tangents, if it differs. `Neumann(k)` makes the derivatives inexact."
    )
    tolerance: float | None = option(
        None, "Largest residual ‖f(W r + x) − r‖₂ of each stimulus. Default: 1e-10 in float64, 1e-5 in float32.", least=0
    )
    max_iterations: int = option(1000, "Largest number of iterations of each stimulus.", least=0)
    on_failure: OnFailure = option(
        "raise",
        'The policy for stimuli without a fixed point: "raise" raises, "mask" marks them, "inf" makes the cost infinite.',
        choices=get_args(OnFailure),
    )
