"""The dynamics τ ṙ = −r + φ(T r + d), integrated from the start with error control until they reach a fixed point."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from array_api_compat import device, is_numpy_array

from manifolds import Array
from riemannrnn.backend import namespace_of
from riemannrnn.equilibrium.equation import FixedPointEquation, FixedPointMap, take_rows
from riemannrnn.equilibrium.iteration import Evaluated, Iterate, Iteration, iterated
from riemannrnn.equilibrium.newton import Newton
from riemannrnn.equilibrium.solution import Solution, certified
from riemannrnn.equilibrium.solver import Prepared, Problem, Solver
from riemannrnn.equilibrium.stability import unstable_stimuli
from riemannrnn.network.operator import Operator
from riemannrnn.norms import row_norms

if TYPE_CHECKING:
    from riemannrnn.equilibrium.factors import Knowledge

ACCURACY = 1e-3
"""Error of one step of the integration, relative to the norm of the rates."""

FIRST_STEP = 0.25
"""Length of the first step, in units of τ."""

SHRINK, GROW = 0.2, 5.0
"""A step is at least and at most this many times as long as the previous step."""

ROUND = 10
"""Steps of the integration between two attempts to finish by Newton's method."""

CLOSE = 0.1
"""Newton's method is tried if the residual is below this share of the norm of the rates."""

AGAIN = 0.3
"""It is tried again if the residual has fallen to this share of its value at the last attempt."""

NEWTON_ITERATIONS = 8
"""Iterations of Newton's method in one attempt."""

LINEAR = 0.3
"""An attempt is accepted if the dynamics between the state and the fixed point are linear up to this share of the residual."""

LINEAR_STEPS = 64
"""Number of half-steps of the linear dynamics that show on a device whether a fixed point is stable."""

PROGRESS = 0.9
"""A round makes progress if the residual falls below this share of the smallest residual so far."""


@final
@dataclass(frozen=True)
class RungeKutta(Iteration):
    """The Bogacki–Shampine method of orders 3 and 2 for τ ṙ = −r + φ(T r + d), with a step length for each stimulus.

    A step evaluates the map at three states. A step with too large an error is repeated with a shorter length.

    References
    ----------
    Bogacki and Shampine, A 3(2) pair of Runge–Kutta formulas, Applied Mathematics Letters 2(4), 1989.
    """

    @property
    def name(self) -> str:
        return "runge-kutta"

    def start(self, state: Array) -> Iterate:
        xp = namespace_of(state)
        nothing = xp.zeros_like(state)
        return Iterate(state, (state, nothing, nothing, xp.full_like(state[:, 0], FIRST_STEP)))

    def update(self, equation: FixedPointMap, iterate: Iterate, evaluated: Evaluated, tolerance: float) -> Iterate:
        xp = namespace_of(iterate.state)
        before, slope_before, _, length = iterate.memory
        error, allowed = self._error(iterate, evaluated, tolerance)
        good = error <= allowed
        ratio = 0.9 * (allowed / xp.where(error > 0, error, 1e-6 * allowed)) ** (1 / 3)
        ratio = xp.where(ratio < SHRINK, SHRINK, xp.where(ratio > GROW, GROW, ratio))
        length = length * xp.where(xp.isfinite(ratio), ratio, SHRINK)
        state = xp.where(good[:, None], iterate.state, before)
        first = xp.where(good[:, None], evaluated.residual, slope_before)
        step = length[:, None]
        second = _slope(equation, state + step / 2 * first)
        third = _slope(equation, state + 3 * step / 4 * second)
        partial = step * (-5 / 72 * first + second / 12 + third / 9)
        return Iterate(state + step * (2 / 9 * first + second / 3 + 4 / 9 * third), (state, first, partial, length))

    def reached(self, iterate: Iterate, evaluated: Evaluated, best: Array) -> Array:
        error, allowed = self._error(iterate, evaluated, 0.0)
        return namespace_of(best).where((error <= allowed)[:, None], iterate.state, iterate.memory[0])

    def _error(self, iterate: Iterate, evaluated: Evaluated, tolerance: float) -> tuple[Array, Array]:
        """Return the estimated error of the last step of each row, and the allowed error, shape (batch,)."""
        before, _, partial, length = iterate.memory
        sizes = namespace_of(before).maximum(row_norms(before), row_norms(iterate.state))
        return row_norms(partial - (length / 8)[:, None] * evaluated.residual), ACCURACY * sizes + tolerance


def _slope(equation: FixedPointMap, state: Array) -> Array:
    return equation.image(state) - state


@final
@dataclass(frozen=True)
class Flow(Solver):
    """Follows the dynamics τ ṙ = −r + f(W r + x) from the start: the fixed point is where the network settles.

    Each stimulus is integrated with error control until its state is close to a fixed point. Newton's method then finds this
    point. It is accepted only if it is stable and if the dynamics between the state and the point are close to linear.
    Otherwise the integration continues. A stimulus with rates that oscillate for ever does not converge. The result of a
    stimulus does not depend on the other stimuli. One iteration is one step of `RungeKutta`, with three products.

    A start that is a fixed point is returned unchanged, even if it is unstable.
    """

    linear: ClassVar[bool] = False  # a linear equation has one solution, which any solver may find

    @property
    def name(self) -> str:
        return "flow"

    def prepare(self, problem: Problem, known: "Knowledge | None" = None) -> Prepared:
        return _Followed(self, problem)


@dataclass(frozen=True)
class _Followed(Prepared):
    """The dynamics of each row, followed from its start."""

    solver: Flow
    problem: Problem

    @property
    def name(self) -> str:
        return self.solver.name

    def solve(self, rows: slice) -> Solution:
        return follow(*self.problem.take(rows), self.problem.tolerance, self.problem.max_iterations)


def follow(equation: FixedPointEquation, start: Array, tolerance: float, budget: int, patience: int | None = None) -> Solution:
    """Return the states that the dynamics of each row reach; only rows that have reached a fixed point are converged.

    Parameters
    ----------
    equation
        The equation of the fixed points.
    start
        The state at time 0, shape (batch, n).
    tolerance
        The residual to reach.
    budget
        Most steps of the integration.
    patience
        A row is given up after this many rounds without progress. None: it is not given up.
    """
    xp = namespace_of(start)
    solution = certified(equation, start, xp.zeros_like(start[:, 0], dtype=xp.int64), tolerance)
    alive = xp.ones_like(start[:, 0], dtype=xp.bool)
    state, best = start, xp.full_like(start[:, 0], xp.inf)
    idle, tried = xp.zeros_like(best), best
    for spent in range(0, budget, ROUND):
        part = iterated(RungeKutta(), equation, state, tolerance, min(ROUND, budget - spent))
        near = part.residual < CLOSE * row_norms(part.state) + tolerance
        trying = ~part.converged & near & (part.residual < AGAIN * tried)
        tried = xp.where(trying, part.residual, tried)
        part = _finished(equation, part, trying, tolerance, min(NEWTON_ITERATIONS, budget - spent - ROUND))
        solution = solution.completed(part, alive)
        idle = xp.where(part.residual < PROGRESS * best, 0.0, idle + 1)
        best = xp.minimum(best, part.residual)
        going = ~part.converged & xp.isfinite(part.residual)
        if patience is not None:
            going = going & (idle < patience)
        if not bool(xp.any(going)):
            break
        alive, rows = spread(going, alive), xp.nonzero(going)[0]
        equation = equation.take(rows)
        state, best, idle, tried = (take_rows(each, rows) for each in (part.state, best, idle, tried))
    return solution


def _finished(equation: FixedPointEquation, part: Solution, trying: Array, tolerance: float, budget: int) -> Solution:
    """Return the states; for rows in `trying`, the nearby fixed points that Newton's method finds and that are accepted."""
    xp = namespace_of(part.state)
    if budget <= 0 or not bool(xp.any(trying)):
        return part
    rows = xp.nonzero(trying)[0]
    equation = equation.take(rows)
    found = iterated(Newton(part.state.shape[1]), equation, take_rows(part.state, rows), tolerance, budget)
    near = take_rows(part.inputs, rows), take_rows(part.residual, rows)
    accepted = found.converged & linear_between(equation, *near, found)
    accepted = accepted & stable_rows(equation, found.gains, accepted)
    if not bool(xp.any(accepted)):
        return part
    return part.completed(found.take(xp.nonzero(accepted)[0]), spread(accepted, trying))


def spread(values: Array, among: Array) -> Array:
    """Return a mark for each row of a batch: False where `among` is False; elsewhere the values, in order."""
    xp = namespace_of(among)
    place = xp.cumulative_sum(xp.astype(among, xp.int64)) - 1
    return among & take_rows(values, xp.where(place < 0, 0, place))


def linear_between(equation: FixedPointEquation, inputs: Array, residual: Array, found: Solution) -> Array:
    """Tell whether φ is nearly linear between states, given by inputs and residuals, and fixed points, shape (batch,).

    The remainder ‖φ(z) − φ(z*) − φ′(z*) (z − z*)‖ is compared with the residual ‖φ(z) − s‖. If the remainder is small, the
    dynamics from s to s* are linear, with the Jacobian at s*.
    """
    remainder = equation.respond(inputs) - equation.respond(found.inputs) - found.gains * (inputs - found.inputs)
    return row_norms(remainder) <= LINEAR * residual


def stable_rows(equation: FixedPointEquation, gains: Array, asked: Array) -> Array:
    """Tell for the rows in `asked` whether all eigenvalues of −I + G T have negative real parts, shape (batch,).

    Eigenvalues are computed on the host. On a device, vectors are followed along the linear dynamics instead, and no array is
    moved.
    """
    xp = namespace_of(gains)
    rows = xp.nonzero(asked)[0]
    if not rows.shape[0]:
        return asked
    gains, operator = take_rows(gains, rows), equation.operator
    if is_numpy_array(gains):
        _, unstable = unstable_stimuli(operator, gains)
        return asked & spread(~xp.any(rows[:, None] == take_rows(rows, unstable)[None, :], axis=1), asked)
    return spread(_shrinking(operator, gains), asked)


def _shrinking(operator: Operator, gains: Array) -> Array:
    """Tell for each row whether a vector shrinks in the second half of `LINEAR_STEPS` half-steps of v̇ = −v + G T v."""
    xp, n = namespace_of(gains), gains.shape[1]
    vector = xp.sin(1.7 * xp.arange(1, n + 1, dtype=gains.dtype, device=device(gains))) + xp.zeros_like(gains)
    lengths = []
    for _ in range(2):
        for _ in range(LINEAR_STEPS // 2):
            vector = 0.5 * (vector + gains * operator.apply(vector))
        lengths.append(row_norms(vector))
    return lengths[1] < lengths[0]
