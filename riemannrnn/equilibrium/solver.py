"""The interface of solvers: a name, declared abilities, and preparation for a problem."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from manifolds import Array
from riemannrnn.equilibrium.equation import FixedPointEquation, Rows, take_rows
from riemannrnn.equilibrium.solution import Solution

if TYPE_CHECKING:  # `factors` imports this module
    from riemannrnn.equilibrium.factors import Knowledge


@dataclass(frozen=True)
class Problem:
    """An equation, the states at the start, and the required accuracy and work limit.

    Parameters
    ----------
    equation
        The equation s = φ(T s + d) for a batch of rows.
    start
        The states at the start, shape (batch, n). None: φ(d).
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
        """Return the equation of some rows, and their states at the start."""
        equation = self.equation.take(rows)
        return equation, equation.respond(equation.drive) if self.start is None else take_rows(self.start, rows)


class Prepared(ABC):
    """A solver that is prepared for one problem: the work shared by all rows is done.

    Several threads may solve chunks of rows at once.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the solver, with its choice or guarantee, if any."""

    @abstractmethod
    def solve(self, rows: slice) -> Solution:
        """Return the solution of some rows."""

    def finish(self, solution: Solution) -> Solution:
        """Return the solution of the whole batch, after all chunks of rows have been solved. Default: unchanged."""
        return solution

    @property
    def knowledge(self) -> "Knowledge | None":
        """Results about T for other equations with T or its transpose. Default: None."""
        return None


class Solver(ABC):
    """A way to solve s = φ(T s + d): an iteration, or a strategy that chooses among several."""

    nonlinear: ClassVar[bool] = True
    """Whether it finds fixed points."""

    linear: ClassVar[bool] = True
    """Whether it solves the linear equations of derivatives. If not, the automatic solver solves them."""

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
            The problem.
        known
            Results for another equation with the same T or its transpose.
        """
