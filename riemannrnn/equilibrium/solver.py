"""What every solver has: a name, what it declares that it can do, and how it is prepared for a problem."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from manifolds import Array
from riemannrnn.equilibrium.equation import FixedPointEquation, Rows, take_rows
from riemannrnn.equilibrium.solution import Solution

if TYPE_CHECKING:  # which is made of maps that solvers iterate
    from riemannrnn.equilibrium.factors import Knowledge


@dataclass(frozen=True)
class Problem:
    """An equation, the states to start from, and the accuracy and the work that are asked for.

    Parameters
    ----------
    equation
        The equation s = φ(T s + d) for a batch of rows.
    start
        The states to start from, shape (batch, n). None: φ(d).
    tolerance
        The largest residual of a row.
    max_iterations
        The largest number of iterations of a row.
    """

    equation: FixedPointEquation
    start: Array | None
    tolerance: float
    max_iterations: int

    def take(self, rows: Rows) -> tuple[FixedPointEquation, Array]:
        """Return the equation of some rows, and the states that they start from."""
        equation = self.equation.take(rows)
        return equation, equation.respond(equation.drive) if self.start is None else take_rows(self.start, rows)


class Prepared(ABC):
    """A solver that is ready for one problem: the work that all rows share is done.

    Chunks of rows may be solved by several threads at once.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the solver, and where it chose or promised something, what that is."""

    @abstractmethod
    def solve(self, rows: slice) -> Solution:
        """Return the solution of some rows."""

    def finish(self, solution: Solution) -> Solution:
        """Return the solution of the whole batch, after all chunks of rows have been solved. By default it is unchanged."""
        return solution

    @property
    def knowledge(self) -> "Knowledge | None":
        """What was learnt of T and serves other equations with T or its transpose. By default nothing."""
        return None


class Solver(ABC):
    """A way to solve s = φ(T s + d): an iteration, or a strategy that chooses among several."""

    nonlinear: ClassVar[bool] = True
    """Whether it finds fixed points."""

    linear: ClassVar[bool] = True
    """Whether it solves the linear equations of derivatives. Where it does not, the automatic solver solves them."""

    exact: ClassVar[bool] = True
    """Whether its solutions are meant to reach the tolerance."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the solver in results and on the command line."""

    @abstractmethod
    def prepare(self, problem: Problem, known: "Knowledge | None" = None) -> Prepared:
        """Do the work that all rows share.

        Parameters
        ----------
        problem
            What is to be solved.
        known
            What was learnt from another equation with the same T or its transpose.
        """
