"""The tuned constants of the automatic solver, with the measurements behind them."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Tuning:
    """Constants that decide how fast the automatic solver is, and for hard problems which rows it solves.

    None of them decides what counts as a solution: `riemannrnn.equilibrium.solution` has those constants. Each says where its
    value comes from. "Counted" follows from the number of matrix products. "Measured" was compared in time or in rows solved,
    on the networks named. "Chosen" was set without a recorded comparison.
    """

    # The sample of the batch.

    sample_rows: int = 32
    """Rows of the sample, spread over the batch. Chosen."""

    sample_iterations: int = 7
    """Most plain iterations of the sample. Measured: 6 judged the gains of slowly contracting networks too early."""

    fewest_iterations: int = 4
    """Fewest plain iterations of the sample. Chosen: two ratios of residuals need four."""

    close: float = 0.3
    """A state is close enough to a fixed point to start from if its residual is below this share of its norm. Chosen."""

    # Small problems. Work is counted in multiplications of a matrix product, of which a core does about 1e10 in a second.

    call_work: float = 1e5
    """Work that takes as long as the calls of an iteration on arrays of any size. Measured for 20 units and one stimulus."""

    entry_work: float = 60
    """Work that takes as long as tanh, sums and residuals of one entry. Measured for 20 to 200 units, 32 to 512 stimuli."""

    brief_work: float = 6e7
    """Work that takes as long as the sample, the decision and the calls of the stages, for fixed points and adjoints. Measured
    for 20 to 200 units, radius 0.3 to 0.9."""

    fewest_brief: int = 8
    """Plain iterations without a sample are done if at least this many are allowed. Measured like `brief_work`."""

    most_brief: int = 140
    """Most plain iterations without a sample. Measured like `brief_work`: with 200, batches of 32 with slow rows lost time."""

    brief_budget: int = 200
    """No plain iterations go first if fewer iterations are allowed in total. Chosen: the accelerated maps need up to 60."""

    brief_growth: int = 16
    """Iterations in which the residuals of a linear equation may grow at first. Measured for 20 units, radius 0.9."""

    brief_start: int = 2
    """Iterations before the first look at the residuals. Chosen."""

    # Plain iteration or a shared factor.

    chord_iterations: int = 3
    """Plain iterations that take as long as the chord map if it contracts well. Measured at a contraction of 0.2."""

    factor_products: float = 1.25
    """Half of the products of n × n matrices for the factor of the chord map: the adjoint reuses the factor. Counted for the
    inverse by blocks."""

    settling_iterations: int = 8
    """First plain iterations if they do not contract. Measured on huge weights: they solve units that are saturated."""

    relaxing_iterations: int = 2
    """Plain iterations before the chord map if a stimulus may have several fixed points. Chosen."""

    # Acceleration of the chord map.

    fast: float = 0.6
    """Below this contraction of the plain iteration, the chord map needs neither sweeps nor acceleration. Measured on tanh
    networks of 100 to 1,000 units."""

    slow: float = 0.9
    """Below this contraction, one difference accelerates the chord map as well as several, and sweeps need no acceleration.
    Measured on tanh networks: the contraction of few units varies much from stimulus to stimulus, of many units little."""

    memory: int = 3
    """Differences of Anderson acceleration at a slower contraction. Measured on slow tanh networks: with 2, more iterations."""

    fewest_blocks: int = 3
    """Fewest blocks of a sweep. Measured: two blocks saved products but no time."""

    most_blocks: int = 4
    """Most blocks of a sweep. Chosen."""

    narrowest: int = 100
    """Fewest units of a block. Measured: with fewer units, a part of a product took as long as it saved."""

    # Accelerated maps.

    accelerated_iterations: int = 60
    """Iterations of an accelerated map before the next stage. Chosen."""

    near: float = 0.1
    """An accelerated map continues while residuals fall and most are below this share of the norm of their states. Measured on
    chaotic weights and on trained weights, with rows that were given up before."""

    trial_iterations: int = 10
    """Iterations for which the maps compete on the sample if it does not contract. Chosen."""

    recentred_iterations: int = 300
    """Iterations of the chord map with repeatedly chosen gains. Measured on 500 digits and chaotic weights."""

    round: int = 15
    """Iterations of the chord map between two choices of its gains. Measured like `recentred_iterations`."""

    newton_iterations: int = 40
    """Iterations of Newton's method for rows for which the dynamics reach no fixed point. Chosen."""

    least_patience: int = 100
    """Averaged iterations in which the residual of a row has to fall at least once. Chosen."""

    # Maps of the inputs, and float32 inside float64.

    input_margin: float = 1.6
    """Maps of the inputs are iterated to this many tolerances: their residual belongs to the step before the last. Measured for
    tanh and relu, 100 to 1,000 units, radius 0.5 to 1.2: the residual of the rates was below half of it."""

    certifications: int = 3
    """Most repetitions, with a smaller residual, for rows of such a map with rates that miss the tolerance. Chosen."""

    single_aim: float = 2e-6
    """Root mean square residual of an input at which float64 replaces float32. Counted: ten roundings."""

    correction_aims: tuple[float, float] = (2e-5, 1e-1)
    """Bounds of the relative residual of corrections in float32. Chosen."""

    correction_margin: float = 0.7
    """Corrections are solved to this fraction of the tolerance. Another correction costs two products in float64. Chosen."""

    corrections: int = 4
    """Most corrections in a row. Chosen."""

    # Which of several fixed points.

    flow_steps: int = 300
    """Most steps of the integration for rows whose fixed point is in doubt. Chosen."""

    patience: int = 10
    """Rounds of the integration without progress after which a row is given up. Chosen."""

    further_iterations: int = 8
    """Plain iterations between two comparisons of a row in doubt. Chosen."""

    further_rounds: int = 4
    """Comparisons of a row in doubt before the dynamics are integrated. Chosen."""

    checked: float = 0.8
    """Contraction of the sample above which the stability of every solution is checked. Chosen."""

    powers: int = 4
    """Products in each of two series that show whether vectors shrink at a solution. Chosen."""

    clearly: float = 0.97
    """A solution is stable if each product of the second series shortens vectors by this factor. Chosen."""

    strictly: float = 1e-6
    """Weights count as monotone if I − sym W exceeds this multiple of the identity. Chosen, far above rounding."""


TUNING = Tuning()
"""The constants in use."""
