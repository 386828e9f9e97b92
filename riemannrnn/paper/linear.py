"""The linear network: loss curves of ΔW1, ΔW2 and ΔW3 at five learning rates, compared with the recorded curves."""

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from manifolds import Array
from riemannrnn.paper.linear_network import LinearTask, delta_a, delta_w1, delta_w3, fixed_points
from riemannrnn.paper.recorded import load_recorded
from riemannrnn.paper.reproduction import Claim, Reproduction, Row
from riemannrnn.progress import Progress, ignore
from riemannrnn.runtime import workers

STEPS = 3500
"""Number of steps of a curve."""

RULES = ("dW1", "dW2", "dW2 as released", "dW3")
"""The released code computes the residual of its ΔW2 at the A after its step; the plain rule is computed for comparison."""

MATCH, FLOOR = 1e-6, 1e-12
"""Largest relative deviation at which a recorded loss above the floor counts as reproduced."""


def losses(task: LinearTask, rule: str, learning_rates: Array, steps: int) -> Iterator[Array]:
    """Yield the losses of a rule at all rates before each step, shape (n_rates,), and after the last step.

    Parameters
    ----------
    task
        The regression.
    rule
        One of `RULES`.
    learning_rates
        η, shape (n_rates,).
    steps
        Number of steps.
    """
    rates = learning_rates[:, None, None]
    state = np.broadcast_to(task.initial_weights, (rates.size, *task.initial_weights.shape))
    in_response = rule.startswith("dW2")
    if in_response:  # ΔW2 is a straight step in A, so only A is needed
        state = np.linalg.inv(np.eye(state.shape[-1]) - state)
    for step in range(steps + 1):
        fixed = task.stimuli @ state.mT if in_response else fixed_points(state, task.stimuli)
        yield task.loss(fixed)
        if step == steps:
            return
        errors = task.errors(fixed)
        if rule == "dW1":
            change = delta_w1(state, fixed, errors)
        elif rule == "dW3":
            change = delta_w3(state, task.stimuli, errors)
        else:
            change = delta_a(task.stimuli, errors)
            if rule == "dW2 as released":
                stepped = task.stimuli @ (state + rates * change).mT
                change = delta_a(task.stimuli, task.errors(stepped))
        state = state + rates * change


def reproduce(
    progress: Progress = ignore,
    *,
    n_units: int = 200,
    n_samples: int = 100,
    steps: int = STEPS,
    learning_rates: Sequence[float] | None = None,
) -> Reproduction:
    """Run every rule at every rate.

    Parameters
    ----------
    progress
        Called with the progress.
    n_units, n_samples, steps, learning_rates
        Default: the paper's sizes. Recorded losses exist only for these sizes.

    Returns
    -------
    Reproduction
        `loss` over rule, learning_rate and step, `recorded_loss` over rule, learning_rate and recorded_step.
    """
    recorded = load_recorded("linear")
    grid = np.array(recorded["learning_rates"] if learning_rates is None else learning_rates)
    task = LinearTask.draw(n_units, n_samples)
    values = np.empty((len(RULES), grid.size, steps + 1))
    done, total = iter(range(1, 10**9)), len(RULES) * (steps + 1)

    with workers() as (pool, stop):

        def run(number: int) -> None:
            for step, loss in enumerate(losses(task, RULES[number], grid, steps)):
                values[number, :, step] = loss
                progress(next(done) / total)
                if stop.is_set():
                    return

        list(pool.map(run, range(len(RULES))))
    data = xr.Dataset(
        {"loss": (("rule", "learning_rate", "step"), values, {"long_name": "mean squared error"})},
        coords={"rule": list(RULES), "learning_rate": grid, "step": np.arange(steps + 1)},
        attrs={
            "title": "Linear network: learning curves of ΔW1, ΔW2, ΔW3",
            "units": n_units, "samples": n_samples, "seed": "numpy.random.RandomState(2023)",
        },
    )  # fmt: skip
    if (n_units, n_samples) == (200, 100) and learning_rates is None:
        data["recorded_loss"] = _recorded().sel(learning_rate=grid)
    return Reproduction("linear", data, tuple(_claims(data)), tuple(_details(data)), (_start(data),))


def _recorded() -> xr.DataArray:
    recorded = load_recorded("linear")
    values = [recorded["dW1"], recorded["dW2"], recorded["dW3"]]
    coordinates = {
        "rule": ["dW1", "dW2 as released", "dW3"],
        "learning_rate": recorded["learning_rates"],
        "recorded_step": recorded["steps"],
    }
    return xr.DataArray(values, coordinates, ("rule", "learning_rate", "recorded_step")).reindex(rule=list(RULES))


def deviation(data: xr.Dataset) -> xr.DataArray:
    """Return |loss / recorded − 1| over rule, learning_rate and recorded_step; NaN if the recorded loss is at the floor."""
    here = data["loss"].reindex(step=data["recorded_step"].values).rename(step="recorded_step")
    return abs(here / data["recorded_loss"] - 1).where(data["recorded_loss"] > FLOOR)


def _claims(data: xr.Dataset) -> Iterator[Claim]:
    if "recorded_loss" in data:
        # A curve that is not finite must not count as one that agrees.
        run = deviation(data).where(data["recorded_step"] < data.sizes["step"], 0.0)
        worst = run.fillna(np.inf).where(data["recorded_loss"] > FLOOR, 0.0).max(("learning_rate", "recorded_step"))
        here = {rule: float(worst.sel(rule=rule)) for rule in ("dW1", "dW2 as released", "dW3")}
        yield Claim(
            "The released notebook's loss curves",
            "three rules, five rates, seven steps",
            "largest relative deviation: " + ", ".join(f"{rule} {value:.0e}" for rule, value in here.items()),
            max(here.values()) <= MATCH,
        )
    final = data["loss"].isel(step=-1)
    best = {rule: float(final.sel(rule=rule).min()) for rule in ("dW1", "dW2", "dW3")}
    yield Claim(
        "ΔW2 and ΔW3 reach lower losses than ΔW1",
        _recorded_best(data),
        f"after {data['step'].values[-1]} steps at the best rate: "
        + ", ".join(f"{rule} {value:.1e}" for rule, value in best.items()),
        max(best["dW2"], best["dW3"]) < best["dW1"],
    )
    rate = float(data["learning_rate"].max())
    fast = data["loss"].sel(learning_rate=rate)
    yield Claim(
        "At large rates ΔW1 stalls while ΔW2 and ΔW3 converge",
        _recorded_stall(data),
        f"rate {rate:g}, halfway and at the end: "
        + ", ".join(f"{rule} {float(fast.sel(rule=rule).isel(step=data.sizes['step'] // 2)):.1e} and "
                    f"{float(fast.sel(rule=rule).isel(step=-1)):.1e}" for rule in ("dW1", "dW2", "dW3")),
        bool((fast.sel(rule=["dW2", "dW3"]).isel(step=-1) < 1e-3 * fast.sel(rule="dW1").isel(step=-1)).all()),
    )  # fmt: skip
    apart = float(abs(data["loss"].sel(rule="dW3") / data["loss"].sel(rule="dW2") - 1).isel(learning_rate=0).max())
    released = data["loss"].sel(rule="dW2 as released") / data["loss"].sel(rule="dW2") - 1
    released = abs(released.where(data["loss"].sel(rule="dW2") > FLOOR))
    yield Claim(
        "ΔW3 approximates ΔW2 at small rates",
        _recorded_apart(data),
        f"losses differ by at most {apart:.1g} of themselves at rate {float(data['learning_rate'][0]):g}; "
        f"losses of the released and the plain ΔW2 differ by up to {float(released.max()):.0%} over all rates",
        apart < 0.1,
    )


def _start(data: xr.Dataset) -> str:
    early = data["loss"].isel(step=min(100, data.sizes["step"] - 1), learning_rate=0)
    values = ", ".join(f"{rule} {float(early.sel(rule=rule)):.3g}" for rule in ("dW1", "dW2", "dW3"))
    where = f"rate {float(early['learning_rate']):g}, step {int(early['step'])}"
    return f"Who is ahead depends on when one looks: at {where}: {values}."


def _recorded_best(data: xr.Dataset) -> str:
    if "recorded_loss" not in data:
        return "not at this size"
    best = data["recorded_loss"].isel(recorded_step=-1).min("learning_rate")
    return ", ".join(f"{name[:3]} {float(best.sel(rule=name)):.1e}" for name in ("dW1", "dW2 as released", "dW3"))


def _recorded_apart(data: xr.Dataset) -> str:
    if "recorded_loss" not in data:
        return "not at this size"
    recorded = data["recorded_loss"].where(data["recorded_loss"] > FLOOR)
    apart = abs(recorded.sel(rule="dW3") / recorded.sel(rule="dW2 as released") - 1).max("recorded_step")
    return "losses apart by up to " + ", ".join(
        f"{float(apart.sel(learning_rate=rate)):.1%} at rate {rate:g}" for rate in data["learning_rate"].values
    )


def _recorded_stall(data: xr.Dataset) -> str:
    if "recorded_loss" not in data:
        return "not at this size"
    final = data["recorded_loss"].isel(recorded_step=-1, learning_rate=-1)
    return "at the end: " + ", ".join(
        f"{name[:3]} {float(final.sel(rule=name)):.1e}" for name in ("dW1", "dW2 as released", "dW3")
    )


def _details(data: xr.Dataset) -> Iterator[Row]:
    for rule in RULES:
        for rate in data["learning_rate"].values:
            curve = data.sel(rule=rule, learning_rate=rate)
            row = {"rule": rule, "rate": f"{rate:g}", "loss after the last step": f"{float(curve['loss'][-1]):.3e}"}
            if "recorded_loss" in data:
                theirs = float(curve["recorded_loss"][-1])
                worst = float(deviation(data).sel(rule=rule, learning_rate=rate).max())
                row |= {"recorded": f"{theirs:.3e}", "largest deviation": f"{worst:.0e}"}
            yield row
