"""The steps of the automatic solver, as a pure function of the measurements. This module computes no arrays."""

from dataclasses import dataclass, field
from typing import Literal

from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.factors import MapName
from riemannrnn.equilibrium.iteration import Iteration
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.tuning import TUNING

Method = Literal["any", "chord", "splitting"]
Precision = Literal["mixed", "native"]


@dataclass(frozen=True)
class Situation:
    """The facts that are known before the first stage.

    Parameters
    ----------
    rate, left
        As in `Probe`: the contraction of the plain iteration on the sample, and how many more iterations it needs.
    rows, units, budget
        The size of the batch, and the most iterations of a row.
    nonlinear
        Whether the rows are fixed points rather than solutions of a linear equation.
    unique
        Whether each row has one solution, or any solution is acceptable.
    factor_rows
        The number of rows for which T s costs as much as a factor.
    divisible
        Whether T s at some of the units takes less time than at all units.
    factored
        Whether a factor exists already, from another equation with T or its transpose.
    method, precision
        As for `Automatic`.
    """

    rate: float
    left: float
    rows: int
    units: int
    factor_rows: int
    budget: int
    nonlinear: bool
    unique: bool
    divisible: bool
    factored: bool
    method: Method
    precision: Precision

    @property
    def contracting(self) -> bool:
        """Whether the plain iteration contracts on the sample."""
        return self.rate < 1

    def plain_pays(self, factored: bool) -> bool:
        """Tell whether plain iteration ends before a factor would pay off, or before accelerated iterations if one exists."""
        factor = 0 if factored else TUNING.factor_products * self.factor_rows / max(self.rows, 1)
        return self.method == "any" and self.left <= TUNING.chord_iterations + factor


@dataclass(frozen=True)
class Step:
    """One stage: the treatment of the rows that the previous stage left unsolved.

    Parameters
    ----------
    on
        What is iterated: the equation itself; a map of the inputs; the "better" or the "other" of the two maps that compete on
        the sample; or the "recentred" chord map, with a gain that is repeatedly set to the mean over the remaining rows.
    iterations, solver
        The most iterations, and the solver.
    repeated, patience
        As for `MapStage`.
    needs
        A map that must exist.
    otherwise
        The step to take if the map does not exist. None: no step.
    """

    on: Literal["equation", "recentred", "better", "other"] | MapName
    iterations: int
    solver: Iteration = field(default_factory=Anderson)
    repeated: bool = True
    patience: int | None = None
    needs: MapName | None = None
    otherwise: "Step | None" = None


Steps = tuple[Step, ...]


@dataclass(frozen=True)
class Decision:
    """The steps for rows of every kind, and the acceleration of the chord map.

    Parameters
    ----------
    situation
        The measurements.
    plain
        Number of plain iterations at the beginning.
    blocks
        Number of blocks of units in a sweep of the chord map.
    accelerated
        Whether the chord map needs Anderson acceleration.
    steps
        For rows for which any solution is acceptable.
    settling, contracting, separate, shared
        For rows that may have several solutions: plain iterations; the chord map, if it contracts; steps in which no row
        depends on another; and the last steps, for all remaining rows together.
    """

    situation: Situation
    plain: int
    blocks: int
    accelerated: bool
    steps: Steps
    settling: Steps
    contracting: Steps
    separate: Steps
    shared: Steps

    def description(self, factored: bool, corrected: bool) -> str:
        """Return the name of the first steps.

        Parameters
        ----------
        factored, corrected
            Whether a factor was formed in the end, and whether it was formed in float32.
        """
        situation = self.situation
        if situation.plain_pays(factored):
            return "plain iteration"
        if situation.method == "splitting":
            return "splitting map, accelerated"
        if situation.method == "any" and not situation.contracting:
            return "chord or splitting map, accelerated" if situation.unique else "the dynamics, then Newton's method"
        swept = "" if self.blocks == 1 else " in sweeps"
        single = ", float32 corrected in float64" if corrected and situation.contracting else ""
        return f"chord map{swept}" + (", accelerated" if self.accelerated else "") + single


def decide(situation: Situation) -> Decision:
    """Return the decision.

    If the plain iteration contracts fast, nothing is factored. If it contracts slowly, the chord map is fastest: in sweeps over
    blocks of units, and with Anderson acceleration if sweeps do not suffice. Other equations are solved by the chord map or by
    Peaceman–Rachford splitting, which compete on the sample. The last resort for fixed points is averaged splitting; for a
    linear equation it is the direct solution by Krylov steps.
    """
    settling = 0 if situation.contracting or situation.method == "splitting" else TUNING.settling_iterations
    fast = situation.plain_pays(situation.factored)
    plain = TUNING.sample_iterations + 2 * int(situation.left) if fast else settling
    blocks = _blocks(situation)
    accelerated = situation.rate >= TUNING.slow or (situation.rate >= TUNING.fast and blocks == 1)
    contracting = _contracting(situation, accelerated) if situation.contracting and situation.method != "splitting" else ()
    separate = (
        Step("splitting", TUNING.accelerated_iterations, repeated=False),
        Step("equation", TUNING.newton_iterations, Newton(situation.units)),
    )
    return Decision(
        situation,
        plain,
        blocks,
        accelerated,
        steps=(*_plain(plain), *contracting, *_competing(situation), *_last(situation)),
        settling=_plain(plain or TUNING.relaxing_iterations),
        contracting=contracting,
        separate=separate,
        shared=(Step("recentred", TUNING.recentred_iterations), *_last(situation)),
    )


def _blocks(situation: Situation) -> int:
    """Return the number of blocks of units in a sweep of the chord map."""
    blocks = situation.units // TUNING.narrowest
    whole = situation.rate < TUNING.fast or blocks < TUNING.fewest_blocks or not situation.divisible
    return 1 if whole else min(blocks, TUNING.most_blocks)


def _plain(iterations: int) -> Steps:
    return (Step("equation", iterations, Picard()),) if iterations else ()


def _contracting(situation: Situation, accelerated: bool) -> Steps:
    """Return the chord map for rows on which the plain iteration contracts, in float32 if this is requested and possible."""
    solver = Anderson(1 if situation.rate < TUNING.slow else TUNING.memory) if accelerated else Picard()
    chord = Step("chord", TUNING.accelerated_iterations, solver)
    if situation.precision == "native":
        return (chord,)
    return (Step("single", TUNING.accelerated_iterations, solver, otherwise=chord),)


def _competing(situation: Situation) -> Steps:
    """Return the accelerated maps, and after the first one the map for rows that no common gain fits."""
    most = TUNING.accelerated_iterations
    maps: Steps
    if situation.method != "any":
        maps = (Step(situation.method, most),)
    elif situation.contracting:
        maps = Step("chord", most), Step("splitting", most)
    else:
        maps = Step("better", most), Step("other", most)
    recentred = situation.nonlinear and situation.method != "splitting"
    return (maps[0], *((Step("recentred", TUNING.recentred_iterations),) if recentred else ()), *maps[1:])


def _last(situation: Situation) -> Steps:
    """Return the last resort."""
    direct = Step("equation", situation.budget, Newton(situation.units))
    if not situation.nonlinear:
        return (direct,)
    patience = max(TUNING.least_patience, situation.budget // 8)
    # Plain iterations first: a row that they solve must not be lost, for example by overflow of a map.
    return (
        Step("equation", TUNING.accelerated_iterations, Picard(), needs="splitting", otherwise=direct),
        Step("splitting", situation.budget, Picard(0.5), patience=patience),
    )
