"""Fixed points as a twice differentiable primitive of autograd, for user-defined costs of the rates."""

from collections.abc import Callable

import autograd.numpy as anp
from autograd.extend import defvjp, primitive

from manifolds import Array
from riemannrnn.equilibrium.fixed_points import default_tolerance, solve_fixed_points
from riemannrnn.equilibrium.implicit import solve_linear
from riemannrnn.equilibrium.solver import Solver
from riemannrnn.network.activations import Activation, as_activation
from riemannrnn.network.dense import Dense
from riemannrnn.network.operator import Operator


def differentiable_fixed_points(
    activation: str | Activation | Callable[[Array], Array] = "tanh",
    *,
    solver: str | Solver = "auto",
    tolerance: float | None = None,
    max_iterations: int = 1000,
) -> Callable[[Array, Array], Array]:
    """Return the function (W, x) ↦ r = f(W r + x) for autograd, differentiated implicitly, to second order.

    Parameters
    ----------
    activation
        f: a name, an `Activation`, or a function written with `autograd.numpy`.
    solver, tolerance, max_iterations
        As for `solve_fixed_points`.

    Returns
    -------
    Callable
        (weights of shape (n, n), drive of shape (batch, n)) ↦ rates of shape (batch, n), NumPy arrays. It raises
        `FixedPointError` if a stimulus has no fixed point, or if a linear system of the derivative is not solved.

    Examples
    --------
    >>> import autograd.numpy as anp
    >>> from autograd import grad
    >>> rates = differentiable_fixed_points("tanh")
    >>> W, x = 0.1 * anp.eye(3), anp.ones((2, 3))
    >>> grad(lambda W: anp.sum(rates(W, x) ** 2))(W).shape
    (3, 3)
    """
    f = as_activation(activation)

    def solve(operator: Operator, right_hand_side: Array, inputs: Array, what: str) -> Array:
        gains = f.derivative(inputs, f.function(inputs))
        residual = default_tolerance(inputs) if tolerance is None else tolerance
        return solve_linear(operator, right_hand_side, gains, solver, residual, max_iterations).required(what)

    @primitive  # type: ignore[untyped-decorator]
    def rates(weights: Array, drive: Array) -> Array:
        return solve_fixed_points(weights, drive, f, solver=solver, tolerance=tolerance, max_iterations=max_iterations).rates

    @primitive  # type: ignore[untyped-decorator]
    def adjoint(weights: Array, inputs: Array, errors: Array) -> Array:
        """u = G (ℓ + Wᵀ u)."""
        return solve(Dense().bind(weights).transpose, errors, inputs, "adjoint")

    def inputs_of(weights: Array, drive: Array, values: Array) -> Array:
        return anp.dot(values, weights.T) + drive

    def pull(values: Array, weights: Array, drive: Array, errors: Array) -> Array:
        return adjoint(weights, inputs_of(weights, drive, values), errors)

    defvjp(
        rates,
        lambda values, weights, drive: lambda errors: anp.dot(pull(values, weights, drive, errors).T, values),
        lambda values, weights, drive: lambda errors: pull(values, weights, drive, errors),
    )

    # The adjoint of the adjoint: t = G (v + W t) is a tangent, and q = v + W t.
    def tangent(weights: Array, inputs: Array, vectors: Array) -> Array:
        return solve(Dense().bind(weights), vectors, inputs, "tangent")

    def pull_inputs(solution: Array, weights: Array, inputs: Array, errors: Array, vectors: Array) -> Array:
        source = vectors + tangent(weights, inputs, vectors) @ weights.T
        return source * f.second_derivative(inputs, f.function(inputs)) * (errors + solution @ weights)

    defvjp(
        adjoint,
        lambda u, weights, inputs, errors: lambda vectors: u.T @ tangent(weights, inputs, vectors),
        lambda u, weights, inputs, errors: lambda vectors: pull_inputs(u, weights, inputs, errors, vectors),
        lambda u, weights, inputs, errors: lambda vectors: tangent(weights, inputs, vectors),
    )
    return rates  # type: ignore[no-any-return]
