"""What the automatic solver does: a pure function of what was measured. No arrays are computed here."""

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
    """What is known before the first stage.

    Parameters
    ----------
    rate, left
        As in `Probe`: the contraction of the plain iteration on the sample, and how many more iterations it needs.
    rows, units, budget
        The size of the batch, and the most iterations of a row.
    nonlinear
        Whether the rows are fixed points rather than solutions of a linear equation.
    unique
        Whether each row has one solution, or any solution will do.
    factor_rows
        For how many rows T s costs as much as a factor.
    divisible
        Whether T s at some of the units takes less time than at all units.
    factored
        Whether a factor is there already, from another equation with T or its transpose.
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
        """Tell whether plain iteration is done before a factor would pay, or before accelerated iterations with a known one."""
        factor = 0 if factored else TUNING.factor_products * self.factor_rows / max(self.rows, 1)
        return self.method == "any" and self.left <= TUNING.chord_iterations + factor


@dataclass(frozen=True)
class Step:
    """What one stage does with the rows that the stage before left unsolved.

    Parameters
    ----------
    on
        What is iterated: the equation itself, a map of the inputs, the "better" or the "other" map of the two that compete on
        the sample, or the "recentred" chord map, whose gain is again and again the mean of the rows that are left.
    iterations, solver
        The most iterations, and what iterates.
    repeated, patience
        As for `MapStage`.
    needs
        A map that must exist.
    otherwise
        The step that is done if the map does not exist. None: no step.
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
    """The steps for rows of every kind, and how the chord map is helped.

    Parameters
    ----------
    situation
        What was measured.
    plain
        Plain iterations that go first.
    blocks
        Blocks of units in a sweep of the chord map.
    accelerated
        Whether the chord map needs Anderson acceleration.
    steps
        For rows of which any solution will do.
    settling, contracting, separate, shared
        For rows that may have several solutions: plain iterations; the chord map, where it contracts; steps in which no row
        depends on another; and the last steps, for all rows that are left together.
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
        """Return what goes first, in words.

        Parameters
        ----------
        factored, corrected
            Whether a factor was formed in the end, and whether in float32.
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
    """Return what to do.

    Where the plain iteration contracts fast, nothing is factored. Where it contracts, the chord map is quickest: in sweeps over
    blocks of units where the contraction is slow, with Anderson acceleration where sweeps are not enough. Other equations are
    solved by the chord map or by Peaceman–Rachford splitting. These compete on the sample. The last resort for fixed points is
    averaged splitting; for a linear equation it is the direct solution by Krylov steps.
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
    """Return the chord map as it suits rows that the plain iteration contracts, in float32 if that is asked for and exists."""
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
    # Plain iterations first: what they solve must not be lost to the maps, for example by overflow.
    return (
        Step("equation", TUNING.accelerated_iterations, Picard(), needs="splitting", otherwise=direct),
        Step("splitting", situation.budget, Picard(0.5), patience=patience),
    )
