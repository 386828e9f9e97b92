"""Choosing a solver: a sample of the batch is iterated, its contraction measured, and a plan made that all rows follow."""

from collections.abc import Callable, Iterator
from math import inf, log
from threading import Lock

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.equilibrium.anderson import Anderson
from riemannrnn.equilibrium.chord import ChordMap
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, row_norms, take_rows
from riemannrnn.equilibrium.iteration import Solver
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.picard import Picard
from riemannrnn.equilibrium.solution import Solution, certified, quiet
from riemannrnn.equilibrium.splitting import PeacemanRachfordMap
from riemannrnn.equilibrium.stages import DirectStage, MapStage, MixedStage, Stage

SAMPLE_ROWS, SAMPLE_ITERATIONS = 32, 6
"""Plain iterations of about so many rows, spread over the batch, show the contraction and the mean gain."""

CHORD_ITERATIONS = 10
"""Plain iterations that take as long as the accelerated ones of a problem that contracts well."""

FACTOR_PRODUCTS = 3.0
"""The factor of the chord map takes as long as so many products of an n × n matrix with itself."""

TRIAL_ITERATIONS = 10
"""Where the sample does not contract, the accelerated maps compete on it for so many iterations; the better goes first."""

ACCELERATED_ITERATIONS = 60
"""Iterations of each accelerated map."""

FAST = 0.6
"""Where the plain iteration contracts faster than this the chord map needs no acceleration."""

SETTLING_ITERATIONS = 8
"""Where it does not contract, so many plain iterations go first: huge weights saturate every unit, and are solved by them."""

MEMORY = 2
"""Differences that Anderson acceleration keeps on a map that contracts; on others, as many as by default."""

CLOSE = 0.3
"""A state whose residual is below this share of its norm is near enough to a fixed point to start from."""


class Plan:
    """What a sample of the batch says should be done, and the doing of it for any rows.

    Where the plain iteration contracts fast, nothing is factored. Where it contracts, the chord map with Anderson acceleration
    is quickest. Where it does not, the chord map and Peaceman–Rachford splitting compete on the sample. The last resort for
    fixed points is averaged splitting, slow but sturdy; for a linear equation it is the direct solution by Krylov steps. A
    later stage gets the rows that the one before left, from where they started: no row changes branch by a detour.
    """

    def __init__(self, equation: FixedPointEquation, start: Array | None, tolerance: float, budget: int) -> None:
        self.equation, self.tolerance, self.budget = equation, tolerance, budget
        self.cold = start is None
        self.start = start = equation.respond(equation.drive) if start is None else start
        xp = array_namespace(start)
        self._lock, self._maps = Lock(), dict[str, FixedPointMap | None]()
        self.sample = xp.arange(0, start.shape[0], 1 + (start.shape[0] - 1) // SAMPLE_ROWS, device=device(start))
        with quiet():
            self.rate, self.left = self._contraction()
        worthwhile = CHORD_ITERATIONS + FACTOR_PRODUCTS * start.shape[1] / max(start.shape[0], 1)
        self.fast = self.left <= worthwhile
        settling = 0 if self.rate < 1 else SETTLING_ITERATIONS
        self.plain = SAMPLE_ITERATIONS + 2 * int(self.left) if self.fast else settling

    def solve(self, rows: Array) -> Solution:
        """Return the solution for some of the rows."""
        xp = array_namespace(self.start)
        equation, start = self.equation.take(rows), take_rows(self.start, rows)
        solution: Solution | None = None
        inputs: Array | None = None
        state, left, spent = start, rows, 0
        stages = self._stages()
        while spent < self.budget and (stage := next(stages, None)) is not None:
            if inputs is None and not isinstance(stage, DirectStage):
                cold = self.cold and solution is None
                inputs = equation.drive if cold else _initial_inputs(equation, state, start)
            part = stage.run(equation, left, start, inputs, self.tolerance, min(stage.iterations, self.budget - spent))
            solution = part if solution is None else solution.completed(part)
            spent += stage.iterations
            again = xp.nonzero(~part.converged)[0]
            if again.shape[0] == 0:
                return solution
            equation = equation.take(again)
            left, start, state = (take_rows(array, again) for array in (left, start, part.state))
            inputs = None if inputs is None else take_rows(inputs, again)
        return solution or certified(equation, start, xp.zeros_like(rows), self.tolerance)

    @property
    def description(self) -> str:
        """What goes first."""
        if self.fast:
            return "plain iteration"
        if not self.rate < 1:
            return "chord or splitting map, accelerated"
        accelerated = "" if self.rate < FAST else ", accelerated"
        return f"chord map{accelerated}" + (", float32 corrected in float64" if self.equation.single() else "")

    def _stages(self) -> Iterator[Stage]:
        """Yield the stages in order, each factor formed when its turn comes."""
        if self.plain:
            yield DirectStage(self.plain, Picard())
        order = [self._chord, self._splitting]
        if self.rate < 1 and (single := self._single_chord()) is not None:
            yield MixedStage(ACCELERATED_ITERATIONS, self._accelerator(), single)
        elif self.rate < 1 and (chord := self._chord()) is not None:
            yield MapStage(ACCELERATED_ITERATIONS, self._accelerator(), chord)
        else:
            order = sorted(order, key=self._progress)
        for build in order:
            fixed_point_map = build()
            if fixed_point_map is not None:
                yield MapStage(ACCELERATED_ITERATIONS, Anderson(), fixed_point_map)
        splitting = self._splitting() if self.equation.nonlinear else None
        if splitting is None:
            yield DirectStage(self.budget, Newton(self.start.shape[1]))
        else:
            yield DirectStage(ACCELERATED_ITERATIONS, Picard())  # what it solves must not be lost to the maps, say by overflow
            yield MapStage(self.budget, Picard(0.5), splitting)

    def _accelerator(self) -> Solver:
        return Picard() if self.rate < FAST else Anderson(MEMORY)

    def _single_chord(self) -> ChordMap | None:
        """Return the chord map in float32, if there is such a precision below that of the equation."""
        single = self.equation.single()
        if single is None:
            return None
        gain = array_namespace(self.gain).astype(self.gain, single.drive.dtype)
        built = self._built("single", lambda: ChordMap.build(single, gain))
        return built if isinstance(built, ChordMap) else None

    def _chord(self) -> FixedPointMap | None:
        return self._built("chord", lambda: ChordMap.build(self.equation, self.gain))

    def _splitting(self) -> FixedPointMap | None:
        return self._built("splitting", lambda: PeacemanRachfordMap.build(self.equation))

    def _built(self, name: str, build: Callable[[], FixedPointMap]) -> FixedPointMap | None:
        """Return a map, formed once for all threads; None if its factor does not exist."""
        with self._lock:
            if name not in self._maps:
                try:
                    self._maps[name] = build()
                except np.linalg.LinAlgError:
                    self._maps[name] = None
            return self._maps[name]

    def _contraction(self) -> tuple[float, float]:
        """Rate at which the plain iteration of the sample contracts, of the slowest row, and how many more it would need."""
        xp = array_namespace(self.start)
        equation, state = self.equation.take(self.sample), take_rows(self.start, self.sample)
        sizes = []
        for _ in range(SAMPLE_ITERATIONS):
            image = equation.image(state)
            sizes.append(row_norms(image - state))
            state = image
        self.gain = _mean_gain(equation, state)
        before, after = sizes[-3], sizes[-1]
        wanted = after > self.tolerance
        if not bool(xp.any(wanted)):
            return 0.0, 0.0
        rate = float(xp.max(xp.where(wanted, after / before, 0.0))) ** 0.5
        if not rate < 1:
            return inf, inf
        return rate, log(float(xp.max(xp.where(wanted, after, 0.0))) / max(self.tolerance, 1e-300)) / -log(max(rate, 1e-3))

    def _progress(self, build: Callable[[], FixedPointMap | None]) -> float:
        """Return the mean logarithm of the residual that a map reaches on the sample."""
        xp = array_namespace(self.start)
        fixed_point_map = build()
        if fixed_point_map is None:
            return inf
        rest, start = self.equation.take(self.sample), take_rows(self.start, self.sample)
        inputs = _initial_inputs(rest, start, start)
        trial = MapStage(TRIAL_ITERATIONS, Anderson(), fixed_point_map)
        with quiet():
            residual = trial.run(rest, self.sample, start, inputs, self.tolerance, TRIAL_ITERATIONS).residual
        return float(xp.mean(xp.log(xp.where(xp.isfinite(residual), residual, 1.0) + 0.1 * self.tolerance)))


def _mean_gain(equation: FixedPointEquation, state: Array) -> Array:
    """Return the mean of φ′ over rows, shape (n,)."""
    xp = array_namespace(state)
    with quiet():
        inputs = equation.inputs(state)
        gains = equation.slope(inputs, equation.respond(inputs))
    return xp.mean(xp.where(xp.isfinite(gains), gains, 0.0), axis=0)


def _initial_inputs(equation: FixedPointEquation, state: Array, start: Array) -> Array:
    """Return where the maps of the inputs begin: at those of the state or the start, whichever is closer.

    Where neither is close, large weights would turn its error into inputs that saturate every unit, and the drive alone is the
    better beginning.
    """
    xp = array_namespace(start)
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
