"""Measurements on a sample of the batch: the contraction of plain iterations, the shared gain, and the better map."""

from math import inf, log
from typing import NamedTuple

from array_api_compat import device

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap
from riemannrnn.equilibrium.solution import quiet
from riemannrnn.equilibrium.solver import Problem
from riemannrnn.equilibrium.stages import MapStage
from riemannrnn.equilibrium.tuning import TUNING
from riemannrnn.norms import row_norms


class Probe(NamedTuple):
    """The measurements of plain iterations on a sample.

    Attributes
    ----------
    rate
        The factor by which an iteration shortens the residual of the slowest row; infinite if it does not contract.
    left
        The number of further iterations that the slowest row needs.
    gain
        The shared gain of the rows, shape (n,).
    """

    rate: float
    left: float
    gain: Array


def sample_of(equation: FixedPointEquation) -> Array:
    """Return the rows of the sample, spread over the batch."""
    xp, rows = namespace_of(equation.drive), equation.drive.shape[0]
    return xp.arange(0, rows, 1 + (rows - 1) // TUNING.sample_rows, device=device(equation.drive))


def measured(problem: Problem, known: Probe | None) -> Probe:
    """Return the measurements on the sample of a problem.

    The gain and the contraction of a known equation with the same T or its transpose are reused: the Jacobians at the known
    fixed points are the same, or their transposes up to similarity.
    """
    if known is not None and known.rate < 1:
        return Probe(known.rate, iterations_needed(known.rate, 1.0, problem.tolerance), known.gain)
    return probe(*problem.take(sample_of(problem.equation)), problem.tolerance)


def unmeasured(problem: Problem) -> Probe:
    """Return the assumption without a sample: plain iterations do not contract."""
    return Probe(inf, inf, namespace_of(problem.equation.drive).zeros_like(problem.equation.drive[0, :]))


def probe(equation: FixedPointEquation, state: Array, tolerance: float) -> Probe:
    """Iterate the rows of a sample from their states, and measure."""
    xp = namespace_of(equation.drive)
    sizes: list[Array] = []
    for count in range(1, TUNING.sample_iterations + 1):
        inputs = equation.inputs(state)
        image = equation.respond(inputs)
        sizes.append(row_norms(image - state))
        state = image
        if count >= TUNING.fewest_iterations and bool(xp.all(sizes[-1] <= TUNING.fast**2 * sizes[-3])):
            break
    gain = equation.operator.shared_gains(equation.slope(inputs, image))
    before, after = sizes[-3], sizes[-1]
    wanted = after > tolerance
    if not bool(xp.any(wanted)):
        return Probe(0.0, 0.0, gain)
    rate = float(xp.max(xp.where(wanted, after / before, 0.0))) ** 0.5
    if not rate < 1:
        return Probe(inf, inf, gain)
    return Probe(rate, iterations_needed(rate, float(xp.max(xp.where(wanted, after, 0.0))), tolerance), gain)


def iterations_needed(rate: float, residual: float, tolerance: float) -> float:
    """Return the number of iterations at this rate that bring a residual to the tolerance."""
    return log(residual / max(tolerance, 1e-300)) / -log(max(rate, 1e-3))


def initial_inputs(equation: FixedPointEquation, state: Array, start: Array) -> Array:
    """Return the start for maps of the inputs: the inputs of the state or of the start, whichever is closer.

    If neither is close, large weights would turn the error into inputs that saturate every unit. The drive alone is then a
    better start.
    """
    xp = namespace_of(start)
    inputs, misfit = equation.drive, xp.full_like(start[:, 0], TUNING.close)
    candidates = (start,) if state is start else (start, state)
    with quiet():
        for candidate in candidates:
            candidate_inputs = equation.inputs(candidate)
            residual = row_norms(equation.respond(candidate_inputs) - candidate) / row_norms(candidate)
            closer = residual < misfit
            inputs = xp.where(closer[:, None], candidate_inputs, inputs)
            misfit = xp.where(closer, residual, misfit)
    return inputs


def progress(fixed_point_map: FixedPointMap, problem: Problem) -> float:
    """Return the mean logarithm of the residual that a map of the inputs reaches on the sample in a few iterations."""
    sample, tolerance, most = sample_of(problem.equation), problem.tolerance, TUNING.trial_iterations
    equation, start = problem.take(sample)
    xp, inputs = namespace_of(start), initial_inputs(equation, start, start)
    trial = MapStage(most, Anderson(), fixed_point_map)
    with quiet():
        residual = trial.run(equation, sample, start, inputs, tolerance, most).residual
    return float(xp.mean(xp.log(xp.where(xp.isfinite(residual), residual, 1.0) + 0.1 * tolerance)))
