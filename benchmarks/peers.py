"""One exact-gradient step, ours and the peers': fixed points to a tolerance, adjoint to a tolerance, the gradient.

Every contender gets the same arrays and is held to one residual, computed afterwards in float64: the largest over stimuli of
‖tanh(W r + x) − r‖ and of the adjoint's ‖g ∘ (ℓ + Wᵀ u) − u‖, ℓ the gradient of the cross-entropy of one stimulus. Peers that
stop by a norm of the whole batch get the loosest tolerance of a ladder with which they meet it; one that never does is shown as
such.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from manifolds import Array
from riemannrnn import CrossEntropy, RateNetwork
from riemannrnn.equilibrium.chunks import one_blas_thread
from riemannrnn.equilibrium.implicit import Implicit

INPUTS, CLASSES = 784, 10
TOLERANCES = {"float32": 1e-5, "float64": 1e-8}
LADDER = (24.0, 8.0, 3.0, 1.0, 0.5, 0.2)
"""A tolerance on the norm of a batch of 512 can be √512 times that of its worst row."""

LIMIT = 1000
"""Iterations that every contender may use."""

PAUSE = 0.06
"""Seconds between contenders: the BLAS threads of the one before spin that long and would steal a core."""

SLACK = 1.05


@dataclass(frozen=True)
class Step:
    """The inputs of a step.

    Attributes
    ----------
    weights, drive, readout, labels
        W, x, the readout and the labels.
    """

    weights: Array
    drive: Array
    readout: Array
    labels: Array

    @classmethod
    def draw(cls, n: int, radius: float, dtype: np.dtype[Any], stimuli: int) -> "Step":
        """Draw a network, and sparse random images in [0, 1] of the size of MNIST's."""
        generator = np.random.default_rng(0)
        images = generator.random((stimuli, INPUTS)) * (generator.random((stimuli, INPUTS)) < 0.2)
        network = RateNetwork(n, INPUTS, CLASSES, seed=0, dtype=dtype)
        drive = network.drive(images.astype(dtype))
        return cls(network.initial_weights(radius), drive, network.readout, generator.integers(CLASSES, size=stimuli))

    def errors(self, rates: Array) -> Array:
        """Return ℓ for each stimulus."""
        return CrossEntropy(self.labels).gradient(rates @ self.readout.T) @ self.readout

    def residuals(self, rates: Array, adjoints: Array | None) -> tuple[float, float]:
        """Return the largest residuals of the fixed points and of the adjoints, in float64; 0 for adjoints not exposed."""
        W, x, R = (np.asarray(array, np.float64) for array in (self.weights, self.drive, rates))
        forward = float(np.linalg.norm(np.tanh(R @ W.T + x) - R, axis=1).max())
        if adjoints is None:
            return forward, 0.0
        U = np.asarray(adjoints, np.float64)
        errors = np.asarray(self.errors(rates), np.float64)
        return forward, float(np.linalg.norm((1 - R * R) * (errors + U @ W) - U, axis=1).max())


Outcome = tuple[Array, Array | None, Array]
"""Rates, adjoints where they are exposed, and the gradient."""


def ours(step: Step, solver: str = "auto") -> Callable[[float], Outcome]:
    """Return our step, by a solver."""
    network = RateNetwork(step.weights.shape[0], None, CLASSES, seed=0, dtype=step.weights.dtype)

    def run(tolerance: float) -> Outcome:
        with one_blas_thread():  # as in `train`
            fixed_points = network.solve(step.weights, step.drive, solver=solver, tolerance=tolerance, on_failure="mask")
            implicit = Implicit(fixed_points, solver, 0.5 * tolerance)
            adjoints = implicit.adjoint(step.errors(fixed_points.rates))
            return fixed_points.rates, adjoints, implicit.gradient(adjoints)

    return run


def numpy_picard(step: Step) -> Callable[[float], Outcome]:
    """Return a plain Picard loop, written in place as a careful NumPy user would."""
    transposed = step.weights.T

    def iterate(state: Array, product: Callable[[Array, Array], None], tolerance: float) -> Array:
        image = np.empty_like(state)
        for _ in range(LIMIT):
            product(state, image)
            state -= image
            residual = np.sqrt(np.einsum("ij,ij->i", state, state).max())
            state, image = image, state
            if residual < tolerance:
                break
        return state

    def run(tolerance: float) -> Outcome:
        def forward(rates: Array, out: Array) -> None:
            np.matmul(rates, transposed, out=out)
            np.add(out, step.drive, out=out)
            np.tanh(out, out=out)

        rates = iterate(np.tanh(step.drive), forward, tolerance)
        gains, errors = 1 - rates * rates, step.errors(rates)

        def backward(adjoints: Array, out: Array) -> None:
            np.matmul(adjoints, step.weights, out=out)
            np.add(out, errors, out=out)
            np.multiply(out, gains, out=out)

        adjoints = iterate(gains * errors, backward, tolerance)
        return rates, adjoints, adjoints.T @ rates

    return run


def jaxopt_step(step: Step, kind: str) -> Callable[[float], Outcome]:
    """Return jaxopt's fixed-point iteration or Anderson acceleration, forward and adjoint, compiled as one."""
    import jax
    import jax.numpy as jnp
    import jaxopt

    jax.config.update("jax_enable_x64", step.weights.dtype == np.float64)
    arrays = [jnp.asarray(array) for array in (step.weights, step.drive, step.readout, step.labels)]
    compiled: dict[float, Callable[..., Any]] = {}

    def make(tolerance: float) -> Callable[..., Any]:
        def solver(function: Callable[..., Any]) -> Any:
            options = {"maxiter": LIMIT, "tol": tolerance, "implicit_diff": False, "jit": True, "unroll": False}
            if kind == "Anderson":
                return jaxopt.AndersonAcceleration(
                    function, history_size=5, ridge=1e-8 if tolerance < 1e-6 else 1e-5, **options
                )
            return jaxopt.FixedPointIteration(function, **options)

        def whole(W: Any, x: Any, readout: Any, labels: Any) -> Any:
            def loss(rates: Any) -> Any:
                outputs = rates @ readout.T
                return jnp.sum(jax.nn.logsumexp(outputs, axis=1) - jnp.take_along_axis(outputs, labels[:, None], axis=1)[:, 0])

            rates = solver(lambda R, W, x: jnp.tanh(R @ W.T + x)).run(jnp.tanh(x), W, x).params
            errors, gains = jax.grad(loss)(rates), 1 - rates * rates
            adjoints = solver(lambda U, W, g, e: g * (e + U @ W)).run(gains * errors, W, gains, errors).params
            return rates, adjoints, adjoints.T @ rates

        return jax.jit(whole)

    def run(tolerance: float) -> Outcome:
        if tolerance not in compiled:
            compiled[tolerance] = make(tolerance)
        return jax.block_until_ready(compiled[tolerance](*arrays))

    return run


def torchdeq_step(step: Step, solver: str) -> Callable[[float], Outcome]:
    """Return torchdeq's step; its adjoints are not exposed, only the gradient is."""
    import torch
    import torchdeq

    W, x, readout, labels = (torch.as_tensor(array) for array in (step.weights, step.drive, step.readout, step.labels))

    def run(tolerance: float) -> Outcome:
        options = {"f_max_iter": LIMIT, "b_max_iter": LIMIT, "f_tol": tolerance, "b_tol": tolerance}
        deq = torchdeq.get_deq(
            core="indexing", ift=True, f_solver=solver, b_solver=solver, f_stop_mode="abs", b_stop_mode="abs", **options
        )
        weights = W.detach().requires_grad_(True)
        out, _ = deq(lambda R: torch.tanh(R @ weights.T + x), torch.tanh(x))
        torch.nn.functional.cross_entropy(out[-1] @ readout.T, labels, reduction="sum").backward()
        return out[-1].detach().numpy(), None, weights.grad.numpy()

    return run


def installed_peers() -> dict[str, Callable[[Step], Callable[[float], Outcome]]]:
    """Return the contenders other than ours, those of packages that are there."""
    found: dict[str, Callable[[Step], Callable[[float], Outcome]]] = {"NumPy Picard loop": numpy_picard}
    if find_spec("jaxopt"):
        found["jaxopt fixed-point iteration"] = lambda step: jaxopt_step(step, "fixed-point iteration")
        found["jaxopt Anderson"] = lambda step: jaxopt_step(step, "Anderson")
    if find_spec("torchdeq"):
        found["torchdeq fixed-point iteration"] = lambda step: torchdeq_step(step, "fixed_point_iter")
        found["torchdeq Anderson"] = lambda step: torchdeq_step(step, "anderson")
    return found


def calibrated(run: Callable[[float], Outcome], step: Step, tolerance: float) -> tuple[float, float, float, bool]:
    """Return the loosest tolerance of the ladder with which the residuals are met, those residuals, and whether they are."""
    for factor in LADDER:
        rates, adjoints, _ = run(factor * tolerance)
        forward, backward = step.residuals(np.asarray(rates), None if adjoints is None else np.asarray(adjoints))
        if max(forward, backward) <= SLACK * tolerance:
            return factor * tolerance, forward, backward, True
    return factor * tolerance, forward, backward, False


def side_by_side(
    n: int, radius: float, dtype: np.dtype[Any], stimuli: int, repeats: int, console: Console
) -> list[dict[str, Any]]:
    """Measure every contender in turn, again and again, and print and return a row for each."""
    step, tolerance = Step.draw(n, radius, dtype, stimuli), TOLERANCES[dtype.name]
    contenders = {"riemannrnn": ours(step), "riemannrnn, Picard": ours(step, "picard")}
    contenders |= {name: make(step) for name, make in installed_peers().items()}
    rows, runs = {}, {}
    for name, run in contenders.items():
        try:
            own, forward, backward, met = calibrated(run, step, tolerance)
        except Exception as error:
            console.print(f"{name}: {type(error).__name__}: {str(error)[:90]}")
            continue
        setting = {"units": n, "radius": radius, "dtype": dtype.name, "stimuli": stimuli, "tolerance": tolerance}
        rows[name] = {"contender": name, **setting, "residual": forward, "adjoint_residual": backward, "meets": met}
        runs[name] = (run, own)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, (run, own) in runs.items():
            if rows[name]["meets"] or not times[name]:
                time.sleep(PAUSE)
                began = time.perf_counter()
                run(own)
                times[name].append(time.perf_counter() - began)
    for name, row in rows.items():
        row["milliseconds"] = 1e3 * statistics.median(times[name])
        both = [a / b for a, b in zip(times[name], times["riemannrnn"], strict=False)]
        row["ratio"] = statistics.median(both)
    console.print(_table(list(rows.values())))
    return list(rows.values())


def _table(rows: list[dict[str, Any]]) -> Table:
    first = rows[0]
    words = f"radius {first['radius']}, {first['dtype']}, {first['stimuli']} stimuli, tolerance {first['tolerance']:g}"
    table = Table(title=f"n = {first['units']}, {words}")
    for heading in ("contender", "ms", "time / ours", "residual", "adjoint residual", "meets"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for row in rows:
        table.add_row(row["contender"], f"{row['milliseconds']:.1f}", f"{row['ratio']:.2f}", f"{row['residual']:.1e}",
                      f"{row['adjoint_residual']:.1e}", "yes" if row["meets"] else "no")  # fmt: skip
    return table
