"""What plain iterations of a sample of the batch show: how fast they contract, and the mean gain."""

from math import inf, log
from typing import NamedTuple

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointEquation
from riemannrnn.equilibrium.solution import quiet
from riemannrnn.norms import row_norms

SAMPLE_ROWS, SAMPLE_ITERATIONS, FEWEST_ITERATIONS = 32, 7, 4
"""Rows of the sample, spread over the batch; the most plain iterations of them, and the fewest."""

FAST = 0.6
"""Where the plain iteration contracts faster than this the chord map needs no sweeps over blocks of units."""

CLOSE = 0.3
"""A state whose residual is below this share of its norm is near enough to a fixed point to start from."""


class Probe(NamedTuple):
    """What the plain iterations of a sample show.

    Attributes
    ----------
    rate
        The factor by which an iteration shortens the residual of the slowest row; infinite where it does not contract.
    left
        How many more iterations the slowest row needs.
    gain
        The gain that the rows share, shape (n,).
    """

    rate: float
    left: float
    gain: Array


def probe(equation: FixedPointEquation, state: Array, tolerance: float) -> Probe:
    """Iterate the rows of a sample from their states, and measure."""
    xp = namespace_of(equation.drive)
    sizes: list[Array] = []
    for count in range(1, SAMPLE_ITERATIONS + 1):
        inputs = equation.inputs(state)
        image = equation.respond(inputs)
        sizes.append(row_norms(image - state))
        state = image
        if count >= FEWEST_ITERATIONS and bool(xp.all(sizes[-1] <= FAST**2 * sizes[-3])):
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
    """Return how many iterations of this rate take a residual to the tolerance."""
    return log(residual / max(tolerance, 1e-300)) / -log(max(rate, 1e-3))


def initial_inputs(equation: FixedPointEquation, state: Array, start: Array) -> Array:
    """Return where the maps of the inputs begin: at those of the state or the start, whichever is closer.

    Where neither is close, large weights would turn its error into inputs that saturate every unit, and the drive alone is the
    better beginning.
    """
    xp = namespace_of(start)
    inputs, misfit = equation.drive, xp.full_like(start[:, 0], CLOSE)
    candidates = (start,) if state is start else (start, state)
    with quiet():
        for candidate in candidates:
            candidate_inputs = equation.inputs(candidate)
            residual = row_norms(equation.respond(candidate_inputs) - candidate) / row_norms(candidate)
            closer = residual < misfit
            inputs = xp.where(closer[:, None], candidate_inputs, inputs)
            misfit = xp.where(closer, residual, misfit)
    return inputs
