"""Fixed points of a network, their stability, and their derivatives to second order."""

from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.auto import Automatic
from riemannrnn.equilibrium.autodiff import differentiable_fixed_points
from riemannrnn.equilibrium.fixed_points import FixedPointError, FixedPoints, solve_fixed_points
from riemannrnn.equilibrium.flow import Flow
from riemannrnn.equilibrium.implicit import Implicit, LinearSolution
from riemannrnn.equilibrium.iteration import Iteration
from riemannrnn.equilibrium.monotone import PeacemanRachford
from riemannrnn.equilibrium.neumann import Neumann
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.options import OnFailure, SolverOptions
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.solver import Prepared, Problem, Solver
from riemannrnn.equilibrium.stability import spectral_abscissa

__all__ = [
    "Anderson",
    "Automatic",
    "FixedPointError",
    "FixedPoints",
    "Flow",
    "Implicit",
    "Iteration",
    "LinearSolution",
    "Neumann",
    "Newton",
    "OnFailure",
    "PeacemanRachford",
    "Picard",
    "Prepared",
    "Problem",
    "Solver",
    "SolverOptions",
    "differentiable_fixed_points",
    "solve_fixed_points",
    "spectral_abscissa",
]
