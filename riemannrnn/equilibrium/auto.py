"""Choosing a solver: a sample of the batch is iterated, its contraction measured, and a plan made that all rows follow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from threading import RLock
from typing import Literal, final

import numpy as np
from array_api_compat import device

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation, Rows, take_rows
from riemannrnn.equilibrium.iteration import Solver
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.probe import FAST, SAMPLE_ITERATIONS, SAMPLE_ROWS, initial_inputs, iterations_needed, probe
from riemannrnn.equilibrium.relaxing import completed, has_unique_solutions, relaxed_solution
from riemannrnn.equilibrium.solution import Solution, certified, quiet
from riemannrnn.equilibrium.stages import DirectStage, MapStage, MixedStage, RecentredStage, Stage
from riemannrnn.network.operator import to_single
from riemannrnn.norms import row_norms

METHODS, PRECISIONS = ("any", "chord", "splitting"), ("mixed", "native")

CHORD_ITERATIONS = 3
"""Plain iterations that take as long as those of the chord map on a problem that contracts well."""

FACTOR_PRODUCTS = 1.25
"""The factor of the chord map takes twice this many products of n × n matrices, and serves the adjoint, too."""

TRIAL_ITERATIONS = 10
"""Where the sample does not contract, the accelerated maps compete on it for this many iterations."""

ACCELERATED_ITERATIONS, NEAR = 60, 0.1
"""Maximum iterations of an accelerated map. They are repeated while residuals fall and most are below `NEAR` times the norm of
the state."""

RELAXING_ITERATIONS = 2
"""Plain iterations of every row before the chord map, where a stimulus may have several fixed points."""

NEWTON_ITERATIONS = 40
"""Iterations of Newton's method for rows that the dynamics bring to no fixed point."""

LEAST_PATIENCE = 100
"""Averaged iterations, at least, in which the residual of a row has to fall, or the row is given up."""

RECENTRED_ITERATIONS = 300
"""Iterations of the chord map whose gains are chosen again and again, for rows that other maps leave unsolved."""

FEWEST_BLOCKS, MOST_BLOCKS, NARROWEST = 3, 4, 100
"""Blocks of a sweep, and the units of one, at least: two blocks saved products but no time, fewer units neither."""

SETTLING_ITERATIONS = 8
"""Plain iterations that go first where they do not contract: they solve huge weights, which saturate every unit."""

SLOW = 0.9
"""Where it contracts faster than this, one difference accelerates the chord map as well as several would, and sweeps need none:
the rates of few units vary much from stimulus to stimulus, those of many little."""

MEMORY = 3
"""Differences that Anderson acceleration keeps where it contracts more slowly; where it does not, as many as by default."""


@final
@dataclass(frozen=True)
class Automatic(Solver):
    """Picks by what a sample of the batch shows, and says in its results what it picked.

    Parameters
    ----------
    method
        "any" finds for each stimulus the fixed point at which the dynamics settle, as far as they settle. A stimulus for which
        they do not settle may get another fixed point; which one can depend on the other stimuli and on rounding.
        "chord" or "splitting" (Peaceman–Rachford) uses that map alone, with gains that the stimuli share: which of several
        fixed points is found can depend on the batch. What a map leaves unsolved goes on to plain and then to averaged
        iterations, so that no stimulus fails where these would converge.
    precision
        Of float64 problems: "mixed" iterates the chord map in float32, and corrects and certifies in float64; "native" does
        everything in float64.

    Raises
    ------
    ValueError
        For an unknown method or precision.
    """

    method: Literal["any", "chord", "splitting"] = "any"
    precision: Literal["mixed", "native"] = "mixed"

    def __post_init__(self) -> None:
        for name, value, known in (("method", self.method, METHODS), ("precision", self.precision, PRECISIONS)):
            if value not in known:
                raise ValueError(f"{name} = {value!r} is unknown; choose one of {', '.join(known)}")

    @property
    def name(self) -> str:
        return "auto" if self.method == "any" else self.method


class Plan:
    """What a sample of the batch says should be done, and the doing of it for any rows.

    Where the plain iteration contracts fast, nothing is factored. Where it contracts, the chord map is quickest: in sweeps over
    blocks of units where the contraction is slow, with Anderson acceleration where that is not enough. A later stage gets the
    rows that the one before left, from where they started.

    A row of a nonlinear equation may have several fixed points, unless `has_unique_solutions` excludes it. `relaxed_solution`
    then chooses the one at which the dynamics settle. Other equations that the plain iteration does not contract are solved by
    the chord map or by Peaceman–Rachford splitting, which compete on the sample. The last resort for fixed points is averaged
    splitting; for a linear equation it is the direct solution by Krylov steps.

    Parameters
    ----------
    equation, start, tolerance, budget
        What is to be solved, from where (None: φ(d)), to what residual and in how many iterations.
    options
        The method and the precision.
    known
        The plan of another equation with the same T or its transpose, whose sample and factors are used again.
    """

    def __init__(
        self,
        equation: FixedPointEquation,
        start: Array | None,
        tolerance: float,
        budget: int,
        options: Automatic,
        known: "Plan | None" = None,
    ) -> None:
        self.equation, self.tolerance, self.budget, self.options = equation, tolerance, budget, options
        self.start = start
        xp, rows, self.together = namespace_of(equation.drive), equation.drive.shape[0], 0
        self._lock, self._maps = RLock(), dict[str, ChordMap | None]()
        self.rate: float
        self.left: float
        self.gain: Array
        self._ranked: list[Callable[[], ChordMap | None]] | None = None
        self.sample = xp.arange(0, rows, 1 + (rows - 1) // SAMPLE_ROWS, device=device(equation.drive))
        with quiet():
            if options.method == "splitting":  # which does not depend on it
                self.rate = self.left = inf
            elif known is None or not known.rate < 1:
                self.rate, self.left, self.gain = probe(*self.taken(self.sample), tolerance)
            else:  # the Jacobians are those at the known fixed points, or their transposes up to similarity
                self.rate, self.gain, self.left = known.rate, known.gain, iterations_needed(known.rate, 1.0, tolerance)
        if known is not None:
            self._maps = {name: each and each.at(equation) for name, each in known._maps.items()}
        settling = 0 if self.rate < 1 or options.method == "splitting" else SETTLING_ITERATIONS
        several = options.method == "any" and equation.nonlinear
        self.unique = not several or has_unique_solutions(equation)
        self.plain = SAMPLE_ITERATIONS + 2 * int(self.left) if self.fast else settling

    @property
    def fast(self) -> bool:
        """Whether plain iteration is done before a factor would pay, or before the accelerated iterations with one known."""
        if self.options.method != "any":
            return False
        batch, n = self.equation.drive.shape
        factor = FACTOR_PRODUCTS * n / max(batch, 1)
        return self.left <= CHORD_ITERATIONS + (0 if self._maps else factor)

    def prepare(self) -> "Plan":
        """Form the factor that every row will need, if there is one, on all cores; return the plan."""
        if not self.plain:
            next(self._stages(), None)
        return self

    def solve(self, rows: slice) -> Solution:
        """Return the solution for some of the rows."""
        return self.staged(rows, self._stages(), self.budget) if self.unique else relaxed_solution(self, rows)

    def finished(self, solution: Solution) -> Solution:
        """Return the solution of the whole batch, with the rows that are left solved together, whatever chunks they were in."""
        if self.unique:
            return solution
        before, xp = solution.converged, namespace_of(solution.converged)
        solution = completed(self, solution, xp.arange(before.shape[0], device=device(before)), self.shared_stages)
        self.together = int(xp.count_nonzero(solution.converged & ~before))
        return solution

    def staged(self, rows: Rows, stages: Iterator[Stage], budget: int, inputs: Array | None = None) -> Solution:
        """Return the solution of some rows by stages, of which each takes up the rows that the one before left unsolved.

        Parameters
        ----------
        rows, stages, budget
            Which rows, the stages in order, and the iterations at most.
        inputs
            Where maps of the inputs begin, shape (rows, n). Default: at the drive, or next to the start where there is one.
        """
        xp = namespace_of(self.equation.drive)
        equation, start = self.taken(rows)
        solution: Solution | None = None
        left = xp.arange(rows.start, rows.stop, device=device(start)) if isinstance(rows, slice) else rows
        state, spent = start, 0
        stage, best = next(stages, None), xp.full_like(start[:, 0], xp.inf)
        while spent < budget and stage is not None:
            if inputs is None and not isinstance(stage, DirectStage):
                cold = self.start is None and solution is None
                inputs = equation.drive if cold else initial_inputs(equation, state, start)
            chosen = rows if solution is None else left
            part = stage.run(equation, chosen, start, inputs, self.tolerance, min(stage.iterations, budget - spent))
            solution = part if solution is None else solution.completed(part, solution.unsolved(self.equation))
            spent += stage.iterations
            again = xp.nonzero(part.unsolved(self.equation))[0]
            if not again.shape[0]:
                return solution
            equation = equation.take(again)
            left, start, state = (take_rows(array, again) for array in (left, start, part.state))
            residual, before = take_rows(part.residual, again), take_rows(best, again)
            near, best = residual < xp.minimum(NEAR * row_norms(state), 0.5 * before), xp.minimum(residual, before)
            if inputs is not None:  # what is far away begins anew in the next stage
                inputs = xp.where(near[:, None], take_rows(part.inputs, again), take_rows(inputs, again))
            if not (isinstance(stage, MapStage) and stage.repeated and 2 * int(xp.count_nonzero(near)) > again.shape[0]):
                stage = next(stages, None)
        return solution or certified(equation, start, xp.zeros_like(left), self.tolerance)

    @property
    def description(self) -> str:
        """What goes first, and how many stimuli were solved by gains that they share at the end."""
        return self._first + (f", {self.together} with gains that they share" if self.together else "")

    @property
    def _first(self) -> str:
        if self.fast:
            return "plain iteration"
        corrected = ", float32 corrected in float64" if self._maps.get("single") else ""
        if self.options.method == "splitting":
            return "splitting map, accelerated"
        if self.options.method == "any" and not self.rate < 1:
            return "chord or splitting map, accelerated" if self.unique else "the dynamics, then Newton's method"
        swept = "" if self._blocks == 1 else " in sweeps"
        return f"chord map{swept}" + (", accelerated" if self._accelerated else "") + (corrected if self.rate < 1 else "")

    def _stages(self) -> Iterator[Stage]:
        """Yield the stages of an equation whose rows have one solution each, each factor formed when its turn comes."""
        if self.plain:
            yield DirectStage(self.plain, Picard())
        if self.rate < 1 and self.options.method != "splitting":
            yield from self.contracting_stages()
        recentred = self.equation.nonlinear and self.options.method != "splitting"
        for place, build in enumerate(self._order()):
            if (fixed_point_map := build()) is not None:
                yield MapStage(ACCELERATED_ITERATIONS, Anderson(), fixed_point_map)
            if recentred and place == 0:
                yield RecentredStage(RECENTRED_ITERATIONS)
        yield from self._last_stages()

    def settling_stages(self) -> Iterator[Stage]:
        """Yield plain iterations, towards the solution that the dynamics choose where there are several."""
        yield DirectStage(self.plain or RELAXING_ITERATIONS, Picard())

    def separate_stages(self) -> Iterator[Stage]:
        """Yield stages in which no row depends on another, for rows that the dynamics bring to no fixed point."""
        if (splitting := self._splitting()) is not None:
            yield MapStage(ACCELERATED_ITERATIONS, Anderson(), splitting, repeated=False)
        yield DirectStage(NEWTON_ITERATIONS, Newton(self.equation.drive.shape[1]))

    def shared_stages(self) -> Iterator[Stage]:
        """Yield the last stages; the gains of the first one are means of the rows that are left."""
        yield RecentredStage(RECENTRED_ITERATIONS)
        yield from self._last_stages()

    def _last_stages(self) -> Iterator[Stage]:
        splitting = self._splitting() if self.equation.nonlinear else None
        if splitting is None:
            yield DirectStage(self.budget, Newton(self.equation.drive.shape[1]))
        else:
            yield DirectStage(ACCELERATED_ITERATIONS, Picard())  # what it solves must not be lost to the maps, say by overflow
            patience = max(LEAST_PATIENCE, self.budget // 8)
            yield MapStage(self.budget, Picard(0.5), splitting, patience=patience)

    def contracting_stages(self) -> Iterator[Stage]:
        """Yield the chord map as it suits rows that the plain iteration contracts."""
        accelerator = Anderson(1 if self.rate < SLOW else MEMORY) if self._accelerated else Picard()
        single = self._single_chord() if self.options.precision == "mixed" else None
        if single is not None:
            yield MixedStage(ACCELERATED_ITERATIONS, accelerator, single)
        elif (chord := self._chord()) is not None:
            yield MapStage(ACCELERATED_ITERATIONS, accelerator, chord)

    def _order(self) -> list[Callable[[], ChordMap | None]]:
        """Return what builds the maps, the better first."""
        builds: dict[str, Callable[[], ChordMap | None]] = {"chord": self._chord, "splitting": self._splitting}
        if self.options.method != "any":
            return [builds[self.options.method]]
        if self.rate < 1:
            return list(builds.values())
        with self._lock:
            if self._ranked is None:
                self._ranked = sorted(builds.values(), key=self._progress)
            return self._ranked

    @property
    def _blocks(self) -> int:
        """Blocks of units in a sweep of the chord map."""
        blocks = self.equation.drive.shape[1] // NARROWEST
        whole = self.rate < FAST or blocks < FEWEST_BLOCKS or not self.equation.operator.divisible
        return 1 if whole else min(blocks, MOST_BLOCKS)

    @property
    def _accelerated(self) -> bool:
        """Whether the chord map needs Anderson acceleration."""
        return self.rate >= SLOW or (self.rate >= FAST and self._blocks == 1)

    def _single_chord(self) -> ChordMap | None:
        """Return the chord map in float32, if there is such a precision below that of the equation."""

        def build() -> ChordMap | None:
            single = self.equation.single()
            return ChordMap.build(single, to_single(self.gain), self._blocks) if single else None

        return self._built("single", build)

    def _chord(self) -> ChordMap | None:
        return self._built("chord", lambda: ChordMap.build(self.equation, self.gain, self._blocks))

    def _splitting(self) -> ChordMap | None:
        return self._built("splitting", lambda: ChordMap.splitting(self.equation))

    def _built(self, name: str, build: Callable[[], ChordMap | None]) -> ChordMap | None:
        """Return a map, formed once for all threads; None if it or its factor does not exist."""
        with self._lock:
            if name not in self._maps:
                try:
                    self._maps[name] = build()
                except np.linalg.LinAlgError:
                    self._maps[name] = None
            return self._maps[name]

    def taken(self, rows: Rows) -> tuple[FixedPointEquation, Array]:
        """Return the equation of some rows, and where they start."""
        equation = self.equation.take(rows)
        return equation, equation.respond(equation.drive) if self.start is None else take_rows(self.start, rows)

    def _progress(self, build: Callable[[], ChordMap | None]) -> float:
        """Return the mean logarithm of the residual that a map reaches on the sample."""
        xp = namespace_of(self.equation.drive)
        fixed_point_map = build()
        if fixed_point_map is None:
            return inf
        rest, start = self.taken(self.sample)
        trial, inputs = MapStage(TRIAL_ITERATIONS, Anderson(), fixed_point_map), initial_inputs(rest, start, start)
        with quiet():
            residual = trial.run(rest, self.sample, start, inputs, self.tolerance, TRIAL_ITERATIONS).residual
        return float(xp.mean(xp.log(xp.where(xp.isfinite(residual), residual, 1.0) + 0.1 * self.tolerance)))
