"""A metric given by its inverse tensor ♯; all of its geometry follows from ♯ and its derivatives.

Notation: U, V are tangent vectors, P, Q covectors (Euclidean gradients); ♯_W P is a vector, ♭_W = ♯_W⁻¹.
"""

from collections.abc import Callable
from math import isfinite
from typing import TypeAlias, final

import autograd.numpy as anp
from array_api_compat import array_namespace
from autograd import grad, make_vjp
from autograd.differential_operators import make_jvp_reversemode

from manifolds.arrays import Array, frobenius_norm, inner, machine_epsilon
from manifolds.autograd_chart import vanishing_derivatives
from manifolds.errors import ConvergenceError, SingularPointError

Musical: TypeAlias = Callable[[Array, Array], Array]
"""A function of a point and of a covector or vector at the point: ♯ or ♭."""

Derivative: TypeAlias = Callable[[Array, Array, Array], Array]
"""A function of a point and of two covectors or vectors at the point: a derivative of ♯."""

MAX_ITERATIONS = 1000
"""Most iterations of conjugate gradients; a system that needs more does not converge."""


def conjugate_gradient(
    operator: Callable[[Array], Array],
    right_side: Array,
    preconditioner: Callable[[Array], Array] | None = None,
    tolerance: float = 0.0,
    symbol: str = "♯",
    enough: float = 0.0,
    most: int = MAX_ITERATIONS,
) -> Array:
    """Solve operator(P) = V for a symmetric positive definite operator on matrices.

    Parameters
    ----------
    operator, right_side
        The operator and V.
    preconditioner
        An approximate inverse of the operator, also symmetric and positive definite. Default: none.
    tolerance
        Largest norm of the residual, relative to the norm of V; at least the rounding error.
    symbol
        Symbol of the operator in error messages.
    enough
        A relative residual that is accepted if rounding keeps the residual above the tolerance.
    most
        Largest number of iterations.

    Raises
    ------
    SingularPointError
        If the operator is not positive definite.
    ConvergenceError
        After `most` iterations, or if a product is not finite.

    References
    ----------
    Hestenes and Stiefel, J. Res. Nat. Bur. Standards 49, 1952, section 3; preconditioned: Golub and Van Loan, *Matrix
    Computations*, 2013, section 11.5.
    """
    solution, residual = array_namespace(right_side).zeros_like(right_side), right_side
    size = frobenius_norm(right_side)
    goal = max(4 * machine_epsilon(right_side), tolerance) * size
    direction, previous = right_side, 0.0
    for iteration in range(most):
        if frobenius_norm(residual) <= goal:
            return solution
        nearer = residual if preconditioner is None else preconditioner(residual)
        squared = inner(residual, nearer)
        direction = nearer + squared / previous * direction if iteration else nearer
        image = operator(direction)
        curvature = inner(direction, image)
        if not isfinite(curvature):
            raise ConvergenceError(
                f"⟨P, {symbol}P⟩ = {curvature:.3g} after {iteration} iterations",
                f"a vector or its product with {symbol} is not finite or too large for {right_side.dtype}",
                "Shorten the vector, or use float64",
            )
        if curvature <= 0:
            raise SingularPointError(
                f"⟨P, {symbol}P⟩ = {curvature:.3g} for a P that is not zero",
                "the metric is not positive definite there",
                "Stay away from this point, or correct sharp",
            )
        solution += squared / curvature * direction
        residual = residual - squared / curvature * image
        previous = squared
    if frobenius_norm(residual) <= enough * size:
        return solution
    raise ConvergenceError(
        f"relative residual {frobenius_norm(residual) / size:.1e} after {most} iterations",
        f"conjugate gradients did not invert {symbol}, which is ill-conditioned or not symmetric",
        "Pass flat, or correct sharp",
    )


@final
class Cometric:
    """The inverse metric tensor ♯ with ♭, its first derivatives, the Levi-Civita connection and the curvature.

    Parameters
    ----------
    sharp
        (W, P) ↦ ♯_W P, linear, symmetric and positive definite in P.
    flat
        Its inverse (W, V) ↦ ♭_W V. Default: conjugate gradients.
    sharp_derivative
        (W, P, V) ↦ D_W(♯_W P)[V], linear in P and V. Default: `sharp` differentiated by autograd.
    sharp_gradient
        (W, P, Q) ↦ ∂_W⟨P, ♯_W Q⟩, symmetric in P and Q. Default: the adjoint of `sharp_derivative`, by autograd.
    """

    def __init__(
        self,
        sharp: Musical,
        flat: Musical | None = None,
        sharp_derivative: Derivative | None = None,
        sharp_gradient: Derivative | None = None,
    ) -> None:
        self.sharp = sharp
        self._flat = flat
        self._derivative = sharp_derivative
        self._gradient = sharp_gradient

    def flat(self, point: Array, vector: Array) -> Array:
        """Return ♭_W V, which solves ♯_W(♭_W V) = V."""
        if self._flat is not None:
            return self._flat(point, vector)
        return conjugate_gradient(lambda covector: self.sharp(point, covector), vector)

    def derivative(self, point: Array, covector: Array, vector: Array) -> Array:
        """Return the vector D_W(♯_W P)[V]."""
        if self._derivative is not None:
            return self._derivative(point, covector, vector)
        with vanishing_derivatives():
            return make_jvp_reversemode(lambda W: self.sharp(W, covector))(point)(vector)

    def gradient(self, point: Array, covector_a: Array, covector_b: Array) -> Array:
        """Return the covector ∂_W⟨P, ♯_W Q⟩: the adjoint of V ↦ D_W(♯_W Q)[V], applied to P."""
        if self._gradient is not None:
            return self._gradient(point, covector_a, covector_b)
        with vanishing_derivatives():
            if self._derivative is None:
                pull, _ = make_vjp(lambda W: self.sharp(W, covector_b))(point)
            else:  # linear in V, so the adjoint is the same at every V
                derivative = self._derivative
                pull, _ = make_vjp(lambda V: derivative(point, covector_b, V))(anp.zeros_like(point))
            return pull(covector_a)

    def christoffel(self, point: Array, covector_a: Array, covector_b: Array) -> Array:
        """Return Γ_W(♯P, ♯Q) = ½ (♯ ∂⟨P, ♯Q⟩ − D(♯Q)[♯P] − D(♯P)[♯Q]), so that ∇_U V = DV[U] + Γ(U, V).

        Koszul's formula for constant fields, with D♭ = −♭ D♯ ♭ (Lee, *Introduction to Riemannian Manifolds*, 2018, chapter 5).
        """
        vector_a, vector_b = self.sharp(point, covector_a), self.sharp(point, covector_b)
        dual = self.sharp(point, self.gradient(point, covector_a, covector_b))
        turned = self.derivative(point, covector_b, vector_a) + self.derivative(point, covector_a, vector_b)
        return (dual - turned) / 2

    def hessian(self, point: Array, covector: Array, change: Array, vector: Array) -> Array:
        """Return ∇_V(♯P) for a field of covectors P with the derivative `change` along V. If P is a gradient, this is Hess[V].

        It is ♯ DP[V] + D(♯P)[V] + Γ(V, ♯P), arranged so that ♯ is applied only twice.
        """
        along, field = self.flat(point, vector), self.sharp(point, covector)
        dual = self.sharp(point, change + self.gradient(point, along, covector) / 2)
        return dual + (self.derivative(point, covector, vector) - self.derivative(point, along, field)) / 2

    def curvature(self, point: Array, covector_a: Array, covector_b: Array) -> float:
        """Return ⟨R(U, V)V, U⟩ for U = ♯P, V = ♯Q, by two second derivatives of ♯.

        With U = ♯P and V = ♯Q as fields of constant P and Q, and |P|² = ⟨P, ♯P⟩, it is
        ½ (UU|Q|² + VV|P|² − (UV + VU)⟨P, ♯Q⟩) + ¼ (|∂⟨P, ♯Q⟩|² − ⟨∂|P|², ♯∂|Q|²⟩) − ¾ |[U, V]|².

        References
        ----------
        Micheli, Michor and Mumford, Izvestiya: Mathematics 77(3), 2013 ("Mario's formula"; their sign of R is the opposite).

        Raises
        ------
        NotImplementedError
            If `sharp_gradient` replaces autograd, because the second derivatives need autograd.
        """
        if self._gradient is not None:
            raise NotImplementedError("the curvature needs second derivatives of ♯ by autograd; leave out sharp_gradient")
        vector_a, vector_b = self.sharp(point, covector_a), self.sharp(point, covector_b)

        def second(a: Array, b: Array, along: Array) -> float:
            """Return the derivative along ♯a of W ↦ (♯a)|b|² − (♯b)⟨a, ♯b⟩."""

            def first(W: Array) -> Array:
                change = self.derivative(W, b, self.sharp(W, a))
                turn = self.derivative(W, b, self.sharp(W, b))
                return anp.sum(b * change) - anp.sum(a * turn)

            with vanishing_derivatives():
                return inner(grad(first)(point), along)

        both = self.gradient(point, covector_a, covector_b)
        grad_a, grad_b = self.gradient(point, covector_a, covector_a), self.gradient(point, covector_b, covector_b)
        bracket = self.derivative(point, covector_b, vector_a) - self.derivative(point, covector_a, vector_b)
        return (
            (second(covector_a, covector_b, vector_a) + second(covector_b, covector_a, vector_b)) / 2
            + (inner(both, self.sharp(point, both)) - inner(grad_a, self.sharp(point, grad_b))) / 4
            - 3 * inner(bracket, self.flat(point, bracket)) / 4
        )
