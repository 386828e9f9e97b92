"""The tables for the benchmarks of stacks."""

import statistics
from collections.abc import Iterable

from benchmarks.markdown import Record, measured, table
from benchmarks.records import Row
from benchmarks.stacks import ACTIVATION, RATE

EXPLAINED = "The guard is off: the recurrent weights of every layer are monotone, so that no step can lose a fixed point."


def stacks(record: Record) -> str:
    """Return the results of stacks on MNIST, a line for each seed, and the means of each architecture."""
    words = (
        f"Stacks on MNIST, everything trained: {ACTIVATION}, batches of 256, float32, rate {RATE:g}; certified to 1e-6 and "
        "stable in float64"
    )
    headings = ["layers", "seed", "one epoch", "last epoch", "epochs", "CPU s an epoch", "iterations", "radius", "certified"]
    rows = [
        [
            *(row["layers"], str(row["seed"]), f"{row['accuracies'][0]:.2%}", f"{row['accuracies'][-1]:.2%}"),
            *(str(row["epochs"]), f"{row['seconds'] / row['epochs']:.1f}", f"{row['iterations']:.0f}"),
            *(", ".join(f"{radius:.1f}" for radius in row["radius"]), certified(row)),
        ]
        for row in record["rows"]
    ]
    means = (
        f"Mean of {layers}: {statistics.fmean(row['accuracies'][0] for row in runs):.2%} after one epoch, "
        f"{statistics.fmean(row['accuracies'][-1] for row in runs):.2%} at the end."
        for layers, runs in by(record["rows"], "layers").items()
    )
    return f"{measured(words, record)}\n\n{table(headings, rows)}\n{' '.join(means)} {EXPLAINED}\n"


def stack_step(record: Record) -> str:
    """Return the ratio of a step with everything trained to a step with W alone."""
    each = (
        "{ratio:.2f} in {dtype} after {age} steps ({everything_ms:.0f} ms of CPU to {recurrent_ms:.0f} ms)".format(**row)
        for row in record["rows"]
    )
    words = "A step with everything trained over a step with W alone, one layer of {units} units, {stimuli} stimuli"
    return f"{measured(words.format(**record['rows'][-1]), record)} {'; '.join(each)}.\n"


def streams(record: Record) -> str:
    """Return the speed of training from a file, as a share of the speed of training from memory."""
    words = "Speed of training from a file over that from memory, one layer of {units} units, {stimuli:,} stimuli"
    each = ("{speed:.2f} ({file_ms:.0f} and {memory_ms:.0f} ms a step)".format(**row) for row in record["rows"])
    return f"{measured(words.format(**record['rows'][-1]), record)} {'; '.join(each)}.\n"


def stack_peers(record: Record) -> str:
    """Return the accuracy after each epoch and the certified test stimuli of each contender, at its best rate."""
    words = (
        "Side by side on MNIST: the same sizes, batches of 256 and epochs; every contender at the best of its rates, judged at "
        "exact fixed points"
    )
    headings = ["layers", "contender", "rate", "test accuracy after each epoch", "CPU s", "iterations", "certified"]
    rows = [
        [layers, contender, f"{runs[0]['rate']:g}", *contender_cells(runs)]
        for (layers, contender), runs in best_runs(record["rows"]).items()
    ]
    lost = sorted({f"{row['contender']} at {row['rate']:g}" for row in record["rows"] if not row["accuracies"][-1]})
    ended = f"\nParameters became infinite: {'; '.join(lost)}.\n" if lost else ""
    return f"{measured(words, record, versions=True)}\n\n{table(headings, rows)}{ended}"


def best_runs(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return the runs of each contender for each architecture, at the rate with the best mean accuracy at the end."""
    found = {}
    for layers, cells in by(rows, "layers").items():
        for contender, runs in by(cells, "contender").items():
            found[layers, contender] = max(by(runs, "rate").values(), key=lambda each: mean_of(each, "accuracies")[-1])
    return found


def mean_of(runs: list[Row], key: str) -> list[float]:
    """Return the means over runs of a quantity that is measured after every epoch."""
    return [statistics.fmean(each) for each in zip(*(row[key] for row in runs), strict=True)]


def contender_cells(runs: list[Row]) -> list[str]:
    """Return means over seeds: accuracies, processor seconds and iterations; and the lowest count of certified stimuli."""
    return [
        ", ".join(f"{accuracy:.1%}" for accuracy in mean_of(runs, "accuracies")),
        f"{statistics.fmean(row['seconds'][-1] for row in runs):.0f}",
        f"{statistics.fmean(row['iterations'] for row in runs):.0f}",
        certified(min(runs, key=lambda row: int(row["certified"]))),
    ]


def certified(row: Row) -> str:
    """Return the number of stimuli with a stable fixed point to the residual, and of all stimuli."""
    return f"{row['certified']:,} of {row['stimuli']:,}"


def by(rows: Iterable[Row], key: str) -> dict[str, list[Row]]:
    """Return rows by the value of a key, in the order of the first occurrence."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found
