"""MNIST: ΔW1, ΔW3 and ΔW4 at the authors' learning rates, compared with the recorded curves."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed

import numpy as np
import xarray as xr

from riemannrnn.data import Dataset
from riemannrnn.paper.mnist_experiment import LAST, Curve, Experiment, Settings
from riemannrnn.paper.recorded import load_recorded
from riemannrnn.paper.reproduction import Claim, Reproduction, Row
from riemannrnn.progress import Progress, ignore
from riemannrnn.runtime import workers

POINTS = 0.03
"""Largest difference at which a recorded accuracy counts as reproduced."""

FALL = 0.1
"""Largest relative difference at which a fall of the loss counts as reproduced."""

COLLAPSE = 0.03
"""A recorded curve collapses if it ends this far below its best stretch of 20 steps."""

Keep = Callable[[Reproduction], None]
"""Called with the results so far after each curve."""


def reproduce(
    training: Dataset,
    test: Dataset,
    settings: Settings | None = None,
    progress: Progress = ignore,
    keep: Keep = lambda reproduction: None,
) -> Reproduction:
    """Train every curve for every seed, several at a time if there are several cores.

    Parameters
    ----------
    training, test
        MNIST, as returned by `load_mnist`.
    settings
        Default: the paper's settings with exact fixed points.
    progress
        Called as training proceeds.
    keep
        Called with the results so far after each curve; they survive a crash after hours of work.

    Returns
    -------
    Reproduction
        `loss` and `accuracy` over seed, rule, learning_rate, part (training, test) and step, the other results of
        `Experiment.run`, and the recorded curves as `recorded_loss` and `recorded_accuracy`. After Ctrl-C: the results so far.
    """
    settings = settings or Settings()
    records: list[xr.Dataset] = []
    notes: list[str] = []
    interrupted = False
    try:
        for (seed, rule, rate), record in _train(settings, training, test, progress):
            if "stopped" in record.attrs:
                notes.append(f"{rule} at rate {rate:g}, seed {seed}, stopped early: {record.attrs.pop('stopped')}")
            records.append(record.expand_dims(seed=[seed], rule=[rule], learning_rate=[rate]))
            keep(_report(records, settings, notes, interrupted=len(records) < len(settings.seeds) * len(settings.curves)))
    except KeyboardInterrupt:
        interrupted = True
    if not records:
        raise KeyboardInterrupt
    return _report(records, settings, notes, interrupted)


def _train(
    settings: Settings, training: Dataset, test: Dataset, progress: Progress
) -> Iterator[tuple[tuple[int, str, float], xr.Dataset]]:
    """Yield the record of each finished curve; after Ctrl-C unfinished curves end at their next step and are lost."""
    jobs = [(seed, *curve) for seed in settings.seeds for curve in settings.curves]
    experiments = {seed: Experiment(settings, seed, training, test) for seed in settings.seeds}
    total, done = len(jobs) * experiments[settings.seeds[0]].steps, iter(range(1, 10**9))
    with workers() as (pool, stop):

        def after_step() -> bool:
            progress(min(next(done) / total, 1.0))
            return stop.is_set()

        futures = {pool.submit(experiments[job[0]].run, job[1], job[2], after_step): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _report(records: Iterable[xr.Dataset], settings: Settings, notes: Iterable[str], interrupted: bool) -> Reproduction:
    data = xr.merge([*records, _recorded(settings.curves)], join="outer", compat="no_conflicts", combine_attrs="drop")
    mode = "as released: 5 τ of Euler steps, updates from test batches" if settings.as_released else "exact fixed points"
    data.attrs = {
        "title": f"MNIST, {mode}",
        "seeds": ", ".join(str(seed) for seed in settings.seeds),
        "units": settings.n_units,
        "batch size": settings.batch_size,
        "epochs": settings.epochs,
    }
    data["loss"].attrs["units"] = "nat"
    data["seconds"].attrs["units"] = "s"
    summary = _summary(data)
    claims = [_ranking(summary), _collapse(summary), _lost(summary, settings.as_released)]
    if settings.as_released:
        claims[:0] = [_matches(summary), _falls(summary), _residual(data)]
    return Reproduction("mnist", data, tuple(claims), _details(summary), tuple(notes), interrupted)


def _recorded(curves: Iterable[Curve]) -> xr.Dataset:
    """Return the authors' numbers for these curves, over rule, learning_rate, part and recorded_step."""
    recorded = load_recorded("mnist")
    parts = []
    for rule, rate in curves:
        rows = recorded["rules"][rule]
        place = rows["learning_rates"].index(rate)
        accuracy = [[np.nan] * len(recorded["steps"]), rows["test_accuracy"][place]]
        final, best = rows["test_accuracy_mean_last20"][place], rows["best_test_accuracy_mean20"][place]
        values = {
            "recorded_loss": (("part", "recorded_step"), [rows["train_loss"][place], rows["test_loss"][place]]),
            "recorded_accuracy": (("part", "recorded_step"), accuracy),
            "recorded_last": final,
            "recorded_best": best,
            "recorded_fall": rows["test_loss"][place][0] - rows["test_loss_mean_last20"][place],
            "recorded_collapses": float(final < best - COLLAPSE),
            "recorded_largest_real_part": rows["max_real_eigenvalue_of_W_after"][place],
            "recorded_seconds": rows["authors_wall_seconds"] / len(rows["learning_rates"]) / (recorded["steps"][-1] + 1),
        }
        coordinates = {"part": ["training", "test"], "recorded_step": recorded["steps"]}
        parts.append(xr.Dataset(values, coords=coordinates).expand_dims(rule=[rule], learning_rate=[rate]))
    return xr.merge(parts, join="outer", compat="no_conflicts")


def _summary(data: xr.Dataset) -> xr.Dataset:
    """Return one row for each curve: means and spreads over seeds of the quoted numbers."""
    last = data["accuracy"].sel(part="test").isel(step=slice(-LAST, None)).mean("step", skipna=False)
    loss = data["loss"].sel(part="test")
    fall = loss.isel(step=0) - loss.isel(step=slice(-LAST, None)).mean("step", skipna=False)
    several = data.sizes["seed"] > 1
    summary = xr.Dataset(
        {
            "last": last.mean("seed", skipna=False),
            "spread": last.std("seed", ddof=1) if several else xr.full_like(last.mean("seed"), np.nan),
            "fall": fall.mean("seed", skipna=False),
            "steps": data["seconds"].notnull().sum("step").max("seed"),
            "lost_steps": (data["lost"] > 0).sum("step").max("seed"),
            "seconds": data["seconds"].median(("seed", "step")),
            **{name: data[name].mean("seed") for name in ("final_accuracy", "largest_real_part")},
            **{name: data[name].max("seed") for name in ("final_lost", "final_unstable", "worst_abscissa")},
            **{name: value for name, value in data.items() if value.dims == ("rule", "learning_rate")},
        }
    )
    rows = summary.stack(curve=("rule", "learning_rate"))
    return rows.isel(curve=np.flatnonzero(np.isfinite(rows["recorded_last"])))


def _label(row: xr.Dataset) -> str:
    return f"{row['rule'].item()} at {row['learning_rate'].item():g}"


def _matches(summary: xr.Dataset) -> Claim:
    steady = summary.isel(curve=np.flatnonzero((summary["recorded_collapses"] == 0) & (summary["steps"] > 0)))
    deviation = abs(steady["last"] - steady["recorded_last"]).fillna(np.inf)  # a curve that stopped is not within any bound
    off = [
        f"{_label(row)} by {100 * abs(float(row['last'] - row['recorded_last'])):.1f}"
        for row in _rows(steady, deviation > POINTS)
    ]
    count = steady.sizes["curve"]
    measured = f"{count - len(off)} of {count} curves that do not collapse are within 3 points" + (
        f"; further off: {', '.join(off)}" if off else ""
    )
    paper = f"Mean test accuracy of the last {LAST} steps"
    return Claim(paper, "the curves of all three rules", measured, not off if count else None)


def _falls(summary: xr.Dataset) -> Claim:
    """Compare the fall of the loss. Curves that hardly learn keep the accuracy of their random network, which says less."""
    steady = summary.isel(curve=np.flatnonzero((summary["recorded_collapses"] == 0) & (summary["steps"] > 0)))
    ratio = (steady["fall"] / steady["recorded_fall"]).fillna(np.inf)
    off = [f"{_label(row)} × {float(row['fall'] / row['recorded_fall']):.2f}" for row in _rows(steady, abs(ratio - 1) > FALL)]
    count = steady.sizes["curve"]
    measured = f"{count - len(off)} of {count} curves that do not collapse fall as far within {FALL:.0%}" + (
        f"; others: {', '.join(off)}" if off else ""
    )
    return Claim("Fall of the test loss over training", "the curves of all three rules", measured, not off if count else None)


def _rows(summary: xr.Dataset, where: xr.DataArray) -> list[xr.Dataset]:
    return [summary.isel(curve=place) for place in np.flatnonzero(where)]


def _residual(data: xr.Dataset) -> Claim:
    typical, worst = float(data["residual"].median()), float(data["residual"].max())
    measured = f"relative residual {typical:.1%} (median of all steps), {worst:.1%} (worst step)"
    return Claim("Rates after 5 τ are taken for fixed points", "not recorded", measured, worst < 1e-3)


def _ranking(summary: xr.Dataset) -> Claim:
    best = {rule: rows.max() for rule, rows in summary["last"].groupby("rule") if np.isfinite(rows).any()}
    theirs = {rule: rows.max() for rule, rows in summary["recorded_last"].groupby("rule")}
    order = sorted(theirs, key=lambda rule: -float(theirs[rule]))
    complete = len(best) == len(theirs) > 1 and bool(np.isfinite(summary["last"]).any())
    return Claim(
        "At their best rates ΔW3 learns most and ΔW1 least",
        "best rates: " + ", ".join(f"{rule} {float(theirs[rule]):.1%}" for rule in order),
        "best rates: " + ", ".join(f"{rule} {float(best[rule]):.1%}" for rule in order if rule in best),
        sorted(best, key=lambda rule: -float(best[rule])) == order if complete else None,
    )


def _collapse(summary: xr.Dataset) -> Claim:
    """Compare the collapses: whether curves that collapsed for the authors collapse here, with or without fixed points."""
    curves = [row for row in _rows(summary, summary["recorded_collapses"] == 1) if np.isfinite(row["last"])]
    recorded = [
        f"{_label(row)} ends at {float(row['recorded_last']):.1%} after {float(row['recorded_best']):.1%}" for row in curves
    ]
    measured = [f"{_label(row)} ends at {float(row['last']):.1%}" for row in curves]
    lower = [bool(row["last"] < row["recorded_best"] - COLLAPSE) for row in curves]
    return Claim(
        "At its largest rate ΔW1 collapses",
        ", ".join(recorded) or "no such curve here",
        ", ".join(measured) or "not run",
        all(lower) if curves else None,
    )


def _lost(summary: xr.Dataset, as_released: bool) -> Claim:
    """Report lost fixed points. A released run never stops for lack of them, so only the trained networks are judged."""
    during = summary["lost_steps"] * (not as_released)
    ended = summary["final_lost"].isnull() & (summary["steps"] > 0)
    gone = _rows(summary, (summary["final_lost"] > 0) | (summary["final_unstable"] > 0) | (during > 0) | ended)
    words = [
        f"{_label(row)} ({float(row['lost_steps']):.0f} steps; at the end {float(row['final_lost']):.0f} test stimuli without, "
        f"{float(row['final_unstable']):.0f} with an unstable one)"
        for row in gone
    ]
    measured = f"lost in {', '.join(words)}" if words else "every stimulus has a stable fixed point on every curve"
    return Claim("Networks keep their stable fixed points while they learn", "not recorded", measured, not words)


def _details(summary: xr.Dataset) -> tuple[Row, ...]:
    return tuple(_detail(row) for row in _rows(summary, summary["final_accuracy"].notnull()))


def _detail(row: xr.Dataset) -> Row:
    number = {name: float(value) for name, value in row.items()}
    spread = f" ± {100 * number['spread']:.1f}" if np.isfinite(number["spread"]) else ""
    return {
        "curve": _label(row),
        f"test accuracy, last {LAST} steps (%)": f"{100 * number['last']:.1f}{spread}",
        "recorded (%)": f"{100 * number['recorded_last']:.1f}{' (collapses)' if number['recorded_collapses'] else ''}",
        "fall of test loss (nat)": f"{number['fall']:.3f}",
        "recorded fall": f"{number['recorded_fall']:.3f}",
        "whole test set, exact (%)": f"{100 * number['final_accuracy']:.1f}",
        "steps with lost stimuli": f"{number['lost_steps']:.0f}",
        "test stimuli lost / unstable": f"{number['final_lost']:.0f} / {number['final_unstable']:.0f}",
        "worst abscissa (1/τ)": f"{number['worst_abscissa']:+.3f}",
        "largest Re λ(W)": f"{number['largest_real_part']:.3f}",
        "recorded Re λ(W)": f"{number['recorded_largest_real_part']:.3f}",
        "s/step": f"{number['seconds']:.3f}",
        "authors' s/step": f"{number['recorded_seconds']:.2f}",
    }
