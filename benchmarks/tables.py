"""The tables for the README and the page on benchmarks, made from the recorded results."""

import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import rates as learned
from benchmarks import records
from benchmarks.conditioning import METRICS
from benchmarks.contest import OUR_PICARD, OURS
from benchmarks.convolution_tables import convolution, convolution_epochs, convolution_memory
from benchmarks.growth import curves, exponent
from benchmarks.learning import BY_DEFAULT, EXACT, MARKS, PATIENCE
from benchmarks.markdown import Record, figure, measured, processors, spread, table
from benchmarks.metrics import BUDGET, TRAINING, UNITS, by_metric, shown
from benchmarks.rates import NEAR, decades
from benchmarks.records import Row
from benchmarks.scaling_tables import scaling
from benchmarks.small import small_table
from benchmarks.stack_tables import stack_peers, stack_step, stacks, streams
from benchmarks.steps import LIMIT
from benchmarks.training import MANIFOLDS, OPTIMISERS

ROOT = Path(__file__).parents[1]
README, PAGE, SCALING = ROOT / "README.md", ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "scaling.md"
OPENING, CLOSING = "<!-- benchmarks -->", "<!-- /benchmarks -->"


def with_section(text: str, section: str) -> str:
    """Return a document with the text between the markers replaced.

    Raises
    ------
    ValueError
        If the markers are missing.
    """
    pattern = re.compile(f"{re.escape(OPENING)}.*?{re.escape(CLOSING)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the document holds no {OPENING} … {CLOSING}; put them where the results should stand")
    return pattern.sub(lambda match: f"{OPENING}\n{section}{CLOSING}", text, count=1)


def section(folder: Path = records.RESULTS) -> str:
    """Return the tables, sentences and pictures of every benchmark that has results, for the page on benchmarks."""
    parts = []
    for name, words in WRITERS.items():
        record = records.read(name, folder)
        if record and record["rows"]:
            parts.append(words(record))
    for name, words in PICTURES.items():
        if (folder / f"{name}.png").exists():
            parts.append(f"![{words}](../benchmarks/results/{name}.png)\n")
    return "\n".join(parts)


def short_section(folder: Path = records.RESULTS) -> str:
    """Return the table of the README; empty if its benchmark has not been run."""
    record = records.read("metrics", folder)
    return metrics(record) if record else ""


SECTIONS: dict[Path, Callable[[Path], str]] = {README: short_section, PAGE: section, SCALING: scaling}
"""The documents with results, and the functions for the text between their markers."""


def metrics(record: Record) -> str:
    """Return the results of conjugate gradients in each metric: losses, accuracies, stimuli without a stable fixed point."""
    seeds = len({row["seed"] for row in record["rows"]})
    words = (
        f"Conjugate gradients on {TRAINING} digits, n = {UNITS}, {BUDGET} evaluations, {seeds} seeds: least to largest (median)"
    )
    rows = [
        [metric, spread(runs, "loss", ".2f"), spread(runs, "accuracy", ".1%"), spread(runs, "unstable", ".0f")]
        for metric, runs in shown(record["rows"]).items()
    ]
    headings = ["metric", "training loss", "test accuracy", "stimuli without a stable fixed point"]
    return f"{measured(words, record)}\n\n{table(headings, rows)}"


def every_metric(record: Record) -> str:
    """Return mean test accuracies and lost stimuli for every measured metric and optimiser."""
    rows = record["rows"]
    optimisers = list(dict.fromkeys(row["optimiser"] for row in rows))
    words = f"The same digits and {BUDGET} evaluations: mean test accuracy over seeds, and how many of the seeds lost stimuli"
    runs = {optimiser: by_metric(rows, optimiser) for optimiser in optimisers}
    cells = [[metric, *(mean_and_lost(runs[optimiser][metric]) for optimiser in optimisers)] for metric in runs[optimisers[0]]]
    return f"{measured(words, record)}\n\n{table(['manifold', *optimisers], cells)}"


def mean_and_lost(runs: list[Row]) -> str:
    """Return the mean test accuracy of runs, and how many of them ended with stimuli without a stable fixed point."""
    if not runs:
        return "–"
    lost = sum(row["unstable"] > 0 for row in runs)
    return f"{statistics.fmean(row['accuracy'] for row in runs):.1%}, {lost} of {len(runs)}"


def peers(record: Record) -> str:
    """Return a row for each setting: ours, the fastest other package, and our plain iteration."""
    words = (
        "One exact-gradient step, all held to one residual (1e-5 in float32, 3e-5 beyond 500 units, 1e-8 in float64) within "
        f"{LIMIT} iterations"
    )
    headings = ["n", "radius", "dtype", "ours (ms)", "fastest peer", "its time / ours", "our plain iteration / ours"]
    settings: dict[tuple[Any, ...], list[Row]] = {}
    for row in record["rows"]:
        settings.setdefault((row["units"], row["radius"], row["dtype"], row["stimuli"]), []).append(row)
    rows = (peers_row(rows) for _, rows in sorted(settings.items()))
    return f"{measured(words, record, versions=True)}\n\n{table([*headings, 'peers that miss'], rows)}"


def peers_row(rows: list[Row]) -> list[str]:
    """Return the row of one setting."""
    named = {row["contender"]: row for row in rows}
    others = [row for row in rows if not row["contender"].startswith(OURS)]
    meeting = [row for row in others if "ratio" in row]
    missing = [row["contender"] for row in others if not row["meets"]]
    fastest = min(meeting, key=lambda row: row["ratio"], default=None)
    return [
        *(str(rows[0][key]) for key in ("units", "radius", "dtype")),
        figure(named.get(OURS, {}), "milliseconds", ".1f"),
        fastest["contender"] if fastest else "none meets it",
        figure(fastest or {}, "ratio", ".2f"),
        figure(named.get(OUR_PICARD, {}), "ratio", ".2f"),
        f"{len(missing)} of {len(others)}",
    ]


def products(record: Record) -> str:
    """Return the ratios of a training step to its products and to a Euclidean step."""
    each = (
        f"{row['rule']} {row['ratio']:.2f} ({row['dtype']}, {row['products']:.0f} products, {row['over_dW1']:.2f} times dW1)"
        for row in record["rows"]
    )
    words = "A training step over its matrix products alone, n = 300, and over one of dW1"
    return f"{measured(words, record)} {'; '.join(each)}.\n"


def released(record: Record) -> str:
    """Return the cost of the released method relative to ours."""
    rows = (row | {"smaller": row["released_residual"] / row["residual"]} for row in record["rows"])
    each = ("{rule} {ratio:.0f} times ours, at a residual {smaller:,.0f} times ours".format(**row) for row in rows)
    return f"{measured('The cost of the released method', record)} {'; '.join(each)}.\n"


def growth(record: Record) -> str:
    """Return the exponents, and the ratio to the products at n = 1000."""
    words = []
    for axis, power in (("units", "n"), ("stimuli", "stimuli")):
        for (radius, dtype), rows in curves(record["rows"], axis).items():
            words.append(f"{power}^{exponent(rows, axis):.2f} up to {rows[-1][axis]} (radius {radius}, {dtype})")
    large = (
        f"{row['ratio']:.2f} times its {row['products']:.0f} matrix products (radius {row['radius']}, {row['dtype']})"
        for row in record["rows"]
        if row["units"] == 1000
    )
    return f"{measured('Growth of the time of a step', record)} {'; '.join(words)}. At n = 1000 it takes {'; '.join(large)}.\n"


def epoch(record: Record) -> str:
    """Return the time of an epoch."""
    row = record["rows"][-1]
    words = f"{row['seconds']:.1f} s, {row['ratio']:.2f} times its {row['products']:.0f} matrix products"
    return f"{measured('An epoch of MNIST with ΔW3, 60,000 stimuli, n = 300, float32', record)} {words}.\n"


def memory(record: Record) -> str:
    """Return the worst peak for each batch."""
    worst: dict[int, Row] = {}
    for row in record["rows"]:
        worst[row["stimuli"]] = max(worst.get(row["stimuli"], row), row, key=lambda each: float(each["arrays"]))
    each = (f"{row['arrays']:.1f} for {stimuli} stimuli ({row['megabytes']:.0f} MB)" for stimuli, row in worst.items())
    words = "Peak memory of fixed points and adjoints at worst, in arrays of batch × n, n = 300"
    return f"{measured(words, record)} {'; '.join(each)}.\n"


def learning(record: Record) -> str:
    """Return for each contender the fastest rate to each test accuracy."""
    words = (
        "To a test accuracy on MNIST, n = 300, the fastest of a few rates; runs end at the last mark, after three epochs or "
        f"{PATIENCE:g} s; adam in the resolvent metric; fixed points to {EXACT:g}, the default of train "
        f"and what is as exact to {BY_DEFAULT:.1e}"
    )
    lines = []
    for contender in dict.fromkeys(row["contender"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["contender"] == contender]
        lines.append([contender, *(fastest_to(mark, rows) for mark in MARKS), processors(rows, record)])
    return f"{measured(words, record)}\n\n{table(['', *(f'to {mark:.0%}' for mark in MARKS), 'on'], lines)}"


def fastest_to(mark: float, rows: list[Row]) -> str:
    """Return the time, the steps and the rate that reached a test accuracy first."""
    key = f"seconds_{mark:.0%}"
    reached = [row for row in rows if row[key] is not None]
    if not reached:
        cut = any(row["stopped"] == "took too long" for row in rows)
        return f"not within {PATIENCE:g} s" if cut else "not reached"
    best = min(reached, key=lambda row: float(row[key]))
    return f"{best[key]:.1f} s, {best[f'steps_{mark:.0%}']} steps (rate {best['rate']:g})"


def conditioning(record: Record) -> str:
    """Return the steps under each metric, a line for each condition of the stimuli."""
    found = {(row["metric"], row["condition"]): row for row in record["rows"]}
    sizes = "n = {units}, {stimuli} stimuli".format(**record["rows"][-1])
    words = f"Steps to 1e-6 of the optimum of a linear network, {sizes}, each at the largest rate (of a grid of ratio √2)"
    rows = [
        [f"{condition:g}", *(descent(found.get((metric, condition))) for metric in METRICS)]
        for condition in sorted({row["condition"] for row in record["rows"]})
    ]
    heading = measured(f"{words} at which the cost falls at every step", record)
    return f"{heading}\n\n{table(['condition number of the stimuli', *METRICS], rows)}"


def default(record: Record) -> str:
    """Return the results of the default of `train` and of Adam on monotone weights without scales, a line for each seed."""
    words = (
        "The default of `train` on MNIST, and Adam on monotone weights without scales: n = 300, batches of 512, three epochs, "
        "float32; certified in float64"
    )
    headings = ["manifold", "activation", "seed", "one epoch", "three epochs", "CPU s", "certified to 1e-6", "margin", "radius"]
    rows = [
        [
            *(row["manifold"], row["activation"], str(row["seed"])),
            *(f"{row['accuracy_first']:.2%}", f"{row['accuracy_last']:.2%}", f"{row['seconds']:.0f}"),
            *(f"{row['certified']:,} of {row['stimuli']:,}", f"{row['margin']:.4f}", f"{row['radius']:.0f}"),
        ]
        for row in record["rows"]
    ]
    means = []
    for setting in dict.fromkeys((row["manifold"], row["activation"]) for row in record["rows"]):
        lasts = [row["accuracy_last"] for row in record["rows"] if (row["manifold"], row["activation"]) == setting]
        manifold, activation = setting
        mean = f"{statistics.fmean(lasts):.2%} (least {min(lasts):.2%})"
        means.append(f"Mean on {manifold} with {activation} after three epochs: {mean}.")
    margin = "The margin is the smallest eigenvalue of the symmetric part of I − M: positive, no stimulus can be unstable."
    return f"{measured(words, record)}\n\n{table(headings, rows)}\n{' '.join(means)} {margin}\n"


def step(record: Record) -> str:
    """Return the cost of a default step relative to Euclidean steps."""
    words = "A full step of the default of `train` beside one of Adam on Euclidean weights, n = 300, 512 stimuli"
    headings = [
        "",
        "after steps",
        "ms",
        "over one from the same weights by the same solver",
        "over the first Euclidean step",
    ]
    rows = [
        [
            *(row["dtype"], str(row["age"]), f"{row['default_ms']:.0f}", f"{row['over_same']:.2f}", f"{row['over_new']:.2f}"),
            f"{row['factorisations']}, {row['repeated']} repeated",
        ]
        for row in record["rows"]
    ]
    return f"{measured(words, record)}\n\n{table([*headings, 'factorisations'], rows)}"


def manifolds(record: Record) -> str:
    """Return the results on every manifold with every optimiser."""
    words = "Manifold × optimiser on MNIST, the same network and order"
    headings = ["manifold", "optimiser", "rate", "after one epoch", "after three"]
    headings += ["test stimuli lost, unstable", "guard acted", "left out"]
    rank = {name: place for place, name in enumerate([*MANIFOLDS, *OPTIMISERS])}
    rows = []
    for row in sorted(record["rows"], key=lambda each: (rank[each["manifold"]], rank[each["optimiser"]])):
        ended = row["stopped"].startswith("All")
        first, last = (f"{row[key]:.1%}" if row[key] == row[key] else "–" for key in ("accuracy_first", "accuracy_last"))
        cells = [
            *(row["manifold"], row["optimiser"], f"{row['rate']:g}", first),
            last if ended else f"{last}, stopped at step {row['steps']}",
            *(f"{row['lost']}, {row['unstable']}", str(row["guard_actions"]), str(row["left_out"]), f"{row['iterations']:.0f}"),
            f"{row['seconds'] / row['steps']:.2f}",
            processors([row], record),
        ]
        rows.append(cells)
    note = (
        "The guard is off where stability is promised. Left out are stimuli of mini-batches without a fixed point, each time "
        "that they come; a dash stands where some test stimulus has none."
    )
    return f"{measured(words, record)}\n\n{table([*headings, 'iterations', 'CPU s a step', 'on'], rows)}\n{note}\n"


def rates(record: Record) -> str:
    """Return the number of decades of learning rates for which each manifold stays near its best."""
    curves_: dict[tuple[str, str], list[Row]] = {}
    for row in record["rows"]:
        curves_.setdefault((row["optimiser"], row["manifold"]), []).append(row)
    optimisers = list(dict.fromkeys(optimiser for optimiser, _ in curves_))
    words = f"Decades of learning rate within {100 * NEAR:.0f} points of the best accuracy on the digits, n = {learned.UNITS}"
    words += f", after {learned.EPOCHS * learned.TRAINING // learned.BATCH} unguarded steps of {learned.BATCH}"
    rows = []
    for manifold in dict.fromkeys(manifold for _, manifold in curves_):
        spans = (decades(curves_[optimiser, manifold]) for optimiser in optimisers if (optimiser, manifold) in curves_)
        rows.append([manifold, *(f"{span:.1f} (best {best:.1%})" for best, span in spans)])
    return f"{measured(words, record)}\n\n{table(['manifold', *optimisers], rows)}"


def descent(row: Row | None) -> str:
    """Return the steps and the rate of a setting."""
    if row is None:
        return ""
    return f"{row['steps']:,} (rate {row['rate']:.3g})" if row["steps"] else "not reached"


def on_a_gpu(record: Record) -> str:
    """Return the time of each piece of work on a GPU."""
    rows = [[row["work"], str(row["units"]), str(row["stimuli"]), format(row["milliseconds"], ".3g")] for row in record["rows"]]
    return f"{measured('On a GPU, float32', record)}\n\n{table(['work', 'n', 'stimuli', 'ms'], rows)}"


WRITERS: dict[str, Callable[[Record], str]] = {
    "metrics": lambda record: f"{metrics(record)}\n\n{every_metric(record)}",
    "peers": peers,
    "small": small_table,
    "products": products,
    "released": released,
    "gpu": on_a_gpu,
    "growth": growth,
    "epoch": epoch,
    "memory": memory,
    "streams": streams,
    "convolution": convolution,
    "convolution-epochs": convolution_epochs,
    "convolution-memory": convolution_memory,
    "learning": learning,
    "step": step,
    "default": default,
    "stacks": stacks,
    "stack-step": stack_step,
    "stack-peers": stack_peers,
    "manifolds": manifolds,
    "rates": rates,
    "conditioning": conditioning,
}

PICTURES = {
    "stack-peers": "test error of stacks and their peers against epochs and processor time",
    "small": "time of a step of small networks over a plain NumPy loop, by units, radius, batch and dtype",
    "growth": "time of a step against units and stimuli",
    "rates": "accuracy against the learning rate",
    "conditioning": "steps to the optimum against the condition number of the stimuli",
}
