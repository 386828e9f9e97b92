"""The steps of other packages, each in the best setting found, with the same method for fixed points and adjoints.

By default Anderson acceleration has an absolute ridge that exceeds residuals of the required size; it then only averages the
last iterates. The ridges below are small relative to the residuals, and the history lengths are the fastest ones.
"""

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.steps import LIMIT, Outcome, Run, Step, numpy_picard
from benchmarks.timing import seconds
from riemannrnn.runtime import cores

RIDGE = {"float32": 1e-12, "float64": 1e-16}
BATCH_HISTORY, ROW_HISTORY = 3, 8
"""Number of iterates mixed: jaxopt has one mixture for the whole batch, torchdeq one for each stimulus."""

PROBE = 0.01
"""The tolerance at which the faster number of threads is found."""

LONG = 2.0
"""Seconds above which one such run is enough."""

Maker = Callable[[Step], Run]
Solve = Callable[..., Any]
"""Solves s = function(s, *arguments) from a start to a tolerance."""


def installed_peers() -> dict[str, Maker]:
    """Return the contenders other than ours, for the installed packages."""
    found: dict[str, Maker] = {"NumPy Picard loop": numpy_picard}
    if find_spec("jaxopt"):
        found["jaxopt fixed-point iteration"] = partial(jax_step, solve=jaxopt_iteration)
        found["jaxopt Anderson"] = partial(jax_step, solve=jaxopt_anderson)
    if find_spec("optimistix"):
        found["optimistix fixed-point iteration"] = partial(jax_step, solve=optimistix_iteration)
        found["optimistix, Krylov adjoint"] = partial(jax_step, solve=optimistix_iteration, krylov=True)
    if find_spec("torchdeq"):
        found["torchdeq fixed-point iteration"] = partial(torchdeq_step, solver="fixed_point_iter")
        found["torchdeq Anderson"] = partial(torchdeq_step, solver="anderson")
    return found


def jaxopt_iteration(function: Solve, start: Any, tolerance: Any, *arguments: Any) -> Any:
    """Iterate with jaxopt, which stops by a norm of the whole batch."""
    import jaxopt

    options: dict[str, Any] = {"maxiter": LIMIT, "implicit_diff": False, "jit": True, "unroll": False}
    return jaxopt.FixedPointIteration(function, tol=tolerance, **options).run(start, *arguments).params


def jaxopt_anderson(function: Solve, start: Any, tolerance: Any, *arguments: Any) -> Any:
    """Iterate with jaxopt's Anderson acceleration, which stops by a norm of the whole batch."""
    import jaxopt

    options: dict[str, Any] = {"maxiter": LIMIT, "implicit_diff": False, "jit": True, "unroll": False}
    options |= {"history_size": BATCH_HISTORY, "ridge": RIDGE[start.dtype.name]}
    return jaxopt.AndersonAcceleration(function, tol=tolerance, **options).run(start, *arguments).params


def optimistix_iteration(function: Solve, start: Any, tolerance: Any, *arguments: Any, adjoint_tolerance: Any = None) -> Any:
    """Iterate with optimistix, which stops by a given norm; with an adjoint tolerance it can be differentiated."""
    os.environ.setdefault("EQX_ON_ERROR", "nan")  # a breakdown of a linear solver is a missed tolerance, without a traceback
    import lineax
    import optimistix

    options: dict[str, Any] = {"max_steps": LIMIT, "throw": False}
    if adjoint_tolerance is not None:
        krylov: dict[str, Any] = {"rtol": 0.0, "atol": adjoint_tolerance, "norm": largest_row, "max_steps": LIMIT}
        # BiCGStab is the faster, but breaks down in float32.
        linear = lineax.GMRES(**krylov) if start.dtype == np.float32 else lineax.BiCGStab(**krylov)
        options["adjoint"] = optimistix.ImplicitAdjoint(linear)
    solver = optimistix.FixedPointIteration(rtol=0.0, atol=tolerance, norm=largest_row)
    return optimistix.fixed_point(lambda state, rest: function(state, *rest), solver, start, arguments, **options).value


def largest_row(difference: Any) -> Any:
    """Return the largest norm of a row, as in the common residual."""
    import jax.numpy as jnp

    return jnp.sqrt(jnp.max(jnp.sum(difference * difference, axis=1)))


def jax_step(step: Step, solve: Solve, krylov: bool = False) -> Run:
    """Return a step compiled as a whole, with adjoints by `solve` or by the solver's own derivative."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", step.weights.dtype == np.float64)
    arrays = [jnp.asarray(array) for array in (step.weights, step.drive)]
    readout, labels = jnp.asarray(step.readout), jnp.asarray(step.labels)

    def image(R: Any, W: Any, x: Any) -> Any:
        return jnp.tanh(R @ W.T + x)

    def loss(rates: Any) -> Any:
        outputs = rates @ readout.T
        return jnp.sum(jax.nn.logsumexp(outputs, axis=1) - jnp.take_along_axis(outputs, labels[:, None], axis=1)[:, 0])

    def by_iteration(W: Any, x: Any, tolerance: Any, adjoint_tolerance: Any) -> Any:
        rates = solve(image, jnp.tanh(x), tolerance, W, x)
        errors, gains = jax.grad(loss)(rates), 1 - rates * rates
        adjoints = solve(lambda U, W, g, e: g * (e + U @ W), gains * errors, adjoint_tolerance, W, gains, errors)
        return rates, adjoints, adjoints.T @ rates

    def by_derivative(W: Any, x: Any, tolerance: Any, adjoint_tolerance: Any) -> Any:
        def whole(W: Any, x: Any) -> Any:
            rates = solve(image, jnp.tanh(x), tolerance, W, x, adjoint_tolerance=adjoint_tolerance)
            return loss(rates), rates

        # The derivative with respect to the drive is the adjoint; it is computed along with the derivative of the weights.
        (gradient, adjoints), rates = jax.grad(whole, (0, 1), has_aux=True)(W, x)
        return rates, adjoints, gradient

    dtype = arrays[0].dtype
    compiled = jax.jit(by_derivative if krylov else by_iteration).lower(*arrays, *(jnp.ones((), dtype),) * 2).compile()

    def run(tolerance: float, adjoint_tolerance: float) -> Outcome:
        both = (jnp.asarray(each, dtype) for each in (tolerance, adjoint_tolerance))
        rates, adjoints, gradient = jax.block_until_ready(compiled(*arrays, *both))
        return np.asarray(rates), np.asarray(adjoints), np.asarray(gradient)

    return run


def torchdeq_step(step: Step, solver: str) -> Run:
    """Return torchdeq's step, which stops by the worst stimulus."""
    import torch
    import torchdeq
    from torchdeq.solver import register_solver
    from torchdeq.solver.anderson import anderson_solver

    if solver == "anderson":
        solver = f"anderson with a small ridge, {step.weights.dtype}"
        register_solver(solver, partial(anderson_solver, m=ROW_HISTORY, lam=RIDGE[step.weights.dtype.name]))
    W, x, readout, labels = (torch.as_tensor(array) for array in (step.weights, step.drive, step.readout, step.labels))

    def run(tolerance: float, adjoint_tolerance: float) -> Outcome:
        options = {"f_max_iter": LIMIT, "b_max_iter": LIMIT, "f_tol": tolerance, "b_tol": adjoint_tolerance}
        deq = torchdeq.get_deq(
            core="indexing", ift=True, f_solver=solver, b_solver=solver, f_stop_mode="abs", b_stop_mode="abs", **options
        )
        weights, drive = W.detach().requires_grad_(True), x.detach().requires_grad_(True)
        out, _ = deq(lambda R: torch.tanh(R @ weights.T + drive), torch.tanh(x))
        torch.nn.functional.cross_entropy(out[-1] @ readout.T, labels, reduction="sum").backward()
        return out[-1].detach().numpy(), drive.grad.numpy(), weights.grad.numpy()

    best = best_threads(partial(run, PROBE, PROBE))

    def run_on_best(tolerance: float, adjoint_tolerance: float) -> Outcome:
        torch.set_num_threads(best)
        return run(tolerance, adjoint_tolerance)

    return run_on_best


def best_threads(run: Callable[[], object]) -> int:
    """Return the faster number of threads for torch; small networks are faster with one."""
    import torch

    probes = {}
    for threads in {cores(), 1}:
        torch.set_num_threads(threads)
        first = seconds(run)
        probes[threads] = min(first, *(seconds(run) for _ in range(2))) if first < LONG else first
    return min(probes, key=lambda threads: probes[threads])
