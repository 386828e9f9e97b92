"""Fixed points of a whole batch of stimuli, with a residual, a verdict and a stability for each."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from array_api_compat import array_namespace, is_array_api_obj

from manifolds import Array
from manifolds.arrays import is_single_or_double, to_numpy
from manifolds.points import Point, all_finite, arrays_of, copied, map_arrays
from manifolds.summary import Summarised
from riemannrnn.backend import as_array
from riemannrnn.equilibrium.equation import FixedPointEquation
from riemannrnn.equilibrium.factors import Knowledge
from riemannrnn.equilibrium.options import OnFailure, SolverOptions
from riemannrnn.equilibrium.solution import Solution
from riemannrnn.equilibrium.solver import Problem, Solver
from riemannrnn.equilibrium.solving import solve_equation
from riemannrnn.equilibrium.stability import spectral_abscissa
from riemannrnn.network.activations import Activation, as_activation
from riemannrnn.network.connectivity import Connectivity
from riemannrnn.network.dense import Dense
from riemannrnn.network.operator import Operator


class FixedPointError(ArithmeticError):
    """Some stimuli have no fixed point to the tolerance, or a linear system at a fixed point was not solved.

    Parameters
    ----------
    message
        How many stimuli failed, the first of them, its residual, and what to do.
    fixed_points
        The results despite the failure; None if a linear system failed.
    """

    def __init__(self, message: str, fixed_points: "FixedPoints | None" = None) -> None:
        super().__init__(message, fixed_points)
        self.fixed_points = fixed_points

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, repr=False)
class FixedPoints(Summarised, Solution):
    """Fixed points r = f(W r + x) of a batch of stimuli.

    Attributes
    ----------
    rates, state
        r, shape (batch, n).
    inputs
        z = W r + x, shape (batch, n).
    gains
        g = f′(z), shape (batch, n).
    residual
        ‖f(W r + x) − r‖₂ recomputed at the rates returned, shape (batch,).
    converged
        Whether the residual is at most the tolerance and 4 machine epsilons times ‖r‖, shape (batch,). The residual of a unit
        does not count up to the rounding error of its sum (W r)ᵢ, 8 machine epsilons times gᵢ ‖Wᵢ‖ ‖r‖ / √n, if the whole
        residual is at most 10 tolerances and 400 machine epsilons times ‖r‖. A singular row has not converged.
    singular
        Whether the residual is this small only because ‖r‖ is large. With b = f(z) − G (z − x), and so r = G W r + b, the
        residual or 4 machine epsilons times ‖r‖ exceeds the tolerance plus 1 % of ‖b‖. Then I − G W is singular to working
        precision, shape (batch,).
    iterations
        Iterations that each stimulus took, shape (batch,).
    operator
        W, the recurrent weights.
    weights
        The parameters of W: an array of shape (n, n), or the parameters of another connectivity.
    activation, connectivity
        f, and how the parameters act as W.
    solver
        The name of the solver; for the automatic solver also its choice.
    tolerance
        The requested tolerance.
    time_constants
        τ of each unit, shape (n,). None: all are 1.
    known
        Results of the automatic solver about the weights, reused for linear systems at the fixed points.
    """

    operator: Operator
    solver: str
    tolerance: float
    activation: Activation
    connectivity: Connectivity
    time_constants: Array | None = None
    known: Knowledge | None = field(default=None, repr=False, compare=False)

    @property
    def rates(self) -> Array:
        """r, shape (batch, n)."""
        return self.state

    @property
    def weights(self) -> Point:
        """The parameters of W; an array of shape (n, n) for dense connectivity."""
        return self.operator.parameters

    def under(self, on_failure: "OnFailure") -> "FixedPoints":
        """Return the fixed points under a policy; under "raise" `FixedPointError` is raised if a stimulus failed."""
        xp = array_namespace(self.rates)
        failed = xp.nonzero(~self.converged)[0]
        if on_failure == "mask" or failed.shape[0] == 0:
            return self
        if on_failure == "inf":
            return replace(self, state=xp.where(self.converged[:, None], self.rates, xp.inf))
        first = int(failed[0])
        raise FixedPointError(
            f"{failed.shape[0]} of {self.rates.shape[0]} stimuli have no fixed point to the tolerance; the first is stimulus "
            f"{first}: {self.status[first]} "
            "Raise max_iterations or tolerance, choose another solver, shrink the weights, or pass on_failure='mask'.",
            self,
        )

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        stimuli, units = self.rates.shape
        facts: dict[str, object] = {"stimuli": stimuli, "units": units, "converged": int(to_numpy(self.converged).sum())}
        if stimuli:
            facts |= {
                "largest residual": f"{float(to_numpy(self.residual).max()):.1e}",
                "most iterations": int(to_numpy(self.iterations).max()),
            }
        return facts | {"activation": self.activation.name, "solver": self.solver, "dtype": str(self.rates.dtype)}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out `known`, which only saves time: a copy solves its linear systems without it."""
        return vars(self) | {"known": None}

    @property
    def status(self) -> list[str]:
        """A sentence for each stimulus."""
        return self.sentences(self.tolerance)

    def stability(self, time_constants: Any = None) -> Array:
        """Return the spectral abscissa of T⁻¹ (−I + G W) for each stimulus, shape (batch,): negative means stable.

        It is the growth rate of the slowest perturbation of τᵢ ṙᵢ = −rᵢ + f((W r + x)ᵢ); NaN for stimuli without a fixed point.

        Parameters
        ----------
        time_constants
            τ > 0 of each unit, shape (n,), in any unit of time; the result is in 1 over this unit. Default: the time constants
            of the network.

        Raises
        ------
        ValueError
            For time constants of another shape, or that are not positive and finite.
        """
        xp = array_namespace(self.rates)
        gains = xp.where(self.converged[:, None], self.gains, 0.0)
        times = self.time_constants if time_constants is None else time_constants
        abscissa = spectral_abscissa(self.operator, gains, times)
        return xp.where(self.converged, abscissa, xp.nan)


def solve_fixed_points(
    weights: Point,
    drive: Array,
    activation: str | Activation | Callable[[Array], Array] = "tanh",
    *,
    solver: str | Solver = "auto",
    initial_rates: Array | None = None,
    tolerance: float | None = None,
    max_iterations: int = 1000,
    on_failure: OnFailure = "raise",
    connectivity: Connectivity | None = None,
) -> FixedPoints:
    """Solve r = f(W r + x) for a batch of stimuli, each row of `drive` independently.

    Parameters
    ----------
    weights
        W, shape (n, n), or the parameters of `connectivity`.
    drive
        The external drive x of each unit, shape (batch, n).
    activation
        f: a name, an `Activation`, or a function written with `autograd.numpy`.
    solver
        "auto", "flow", "chord", "splitting", "picard", "anderson", "newton", or a `Solver` with its own options, for example
        `Automatic(precision="native")`.
    initial_rates
        The start, shape (batch, n). Default: f(x). A start that is a fixed point to the tolerance is returned unchanged.
        "flow" guarantees the fixed point that the dynamics reach from the start; "auto" finds it as far as possible.
    tolerance
        Largest ‖f(W r + x) − r‖₂ per stimulus. Default: 1e-10 in float64, 1e-5 in float32.
    max_iterations
        Largest number of iterations.
    on_failure
        "raise" raises an error. "mask" returns all stimuli, with `converged` False for those that failed. "inf" also sets their
        rates to infinity, so every cost of them is infinite or NaN.
    connectivity
        How the parameters act. Default: dense.

    Returns
    -------
    FixedPoints
        Rates, gains and convergence of each stimulus. A stimulus that fails does not affect others.

    Raises
    ------
    FixedPointError
        Under "raise", if a stimulus did not converge; the error holds the result.
    ValueError
        For masked arrays, arrays with shapes or dtypes that do not fit, weights that are not finite, an invalid option, or an
        unknown solver. (NaN in the drive is only a failure of its stimulus.)
    """
    f = as_activation(activation)
    connectivity = connectivity or Dense()
    options = SolverOptions(solver=solver, tolerance=tolerance, max_iterations=max_iterations, on_failure=on_failure)
    weights, drive, initial_rates = _as_arrays(weights, drive, initial_rates)
    _check_arrays(weights, drive, initial_rates)
    connectivity.check(weights, drive.shape[1])
    tolerance = default_tolerance(drive) if options.tolerance is None else options.tolerance
    equation = FixedPointEquation(connectivity.bind(weights), drive, f)
    solution, prepared = solve_equation(Problem(equation, initial_rates, tolerance, options.max_iterations), solver)
    result = FixedPoints(
        **vars(solution),
        operator=connectivity.bind(copied(weights)),  # the caller may change the weights in place before computing adjoints
        solver=prepared.name,
        tolerance=tolerance,
        activation=f,
        connectivity=connectivity,
        known=prepared.knowledge,
    )
    return result.under(options.on_failure)


def _as_arrays(weights: Point, drive: Any, initial_rates: Any) -> tuple[Point, Array, Array | None]:
    """Return arrays for arguments that may be lists or tables; integers and lists take the floating dtype of the others."""
    arrays = (each for each in (*arrays_of(weights), drive) if is_array_api_obj(each))
    dtype = next((str(each.dtype).rpartition(".")[2] for each in arrays if is_single_or_double(each)), "float64")
    weights = map_arrays(lambda each: as_array("weights", each, dtype), weights)
    rates = None if initial_rates is None else as_array("initial rates", initial_rates, dtype)
    return weights, as_array("drive", drive, dtype), rates


def _check_arrays(weights: Point, drive: Array, initial_rates: Array | None) -> None:
    array_namespace(*arrays_of(weights), drive)  # raises for arrays of several libraries
    if drive.ndim != 2:
        raise ValueError(f"the drive has shape {tuple(drive.shape)}; pass one row a stimulus, shape (batch, n)")
    if initial_rates is not None and initial_rates.shape != drive.shape:
        raise ValueError(
            f"initial_rates has shape {tuple(initial_rates.shape)}, the drive {tuple(drive.shape)}; make them equal"
        )
    for name, array in (*(("weights", array) for array in arrays_of(weights)), ("drive", drive)):
        if not is_single_or_double(array):
            raise ValueError(f"the {name} has dtype {array.dtype}; convert it to float32 or float64")
    for array in arrays_of(weights):
        if array.dtype != drive.dtype:
            raise ValueError(f"the weights are {array.dtype}, the drive is {drive.dtype}; convert one, dtypes are never mixed")
    if initial_rates is not None and initial_rates.dtype != drive.dtype:
        raise ValueError(f"initial_rates is {initial_rates.dtype}, the drive is {drive.dtype}; convert one")
    if not all_finite(weights):
        raise ValueError("the weights hold NaN or infinity; find the step that produced it")


def default_tolerance(array: Array) -> float:
    """Return the default tolerance: 1e-10 in float64, 1e-5 in float32."""
    return 1e-10 if float(array_namespace(array).finfo(array.dtype).eps) < 1e-10 else 1e-5
