"""The tables of the benchmarks of layers of images."""

from itertools import pairwise

from benchmarks.convolution import SHAPE, STIMULI, SUPPORT, growth
from benchmarks.convolution_epochs import ACTIVATION, BATCH, RESIDUAL
from benchmarks.markdown import Record, measured, table
from benchmarks.records import Row

ABSENT = "torch was not installed, so that its convolution is missing."


def convolution(record: Record) -> str:
    """Return the times of an application, its limit, torch's convolution, a step and a certificate, and how they grow."""
    usual = [row for row in record["rows"] if (row["height"], row["width"]) == SHAPE]
    words = f"A convolution of {STIMULI} images of {SHAPE[0]} × {SHAPE[1]} by kernels of {SUPPORT} × {SUPPORT}, CPU time"
    headings = ["channels", "dtype", "application (ms)", "over its FFTs and products", "torch over ours"]
    headings += ["Fourier transform of the kernels (ms)", "step (ms)", "certificate (ms)"]
    rows = [
        [
            *(str(row["channels"]), row["dtype"], f"{row['apply']:.1f}", f"{row['apply_over_limit']:.2f}"),
            f"{row['torch_over_apply']:.2f}" if "torch" in row else "–",
            *(f"{row['bind']:.2f}", f"{row['step']:,.0f}", f"{row['certificate']:.1f}"),
        ]
        for row in sorted(usual, key=lambda row: (row["dtype"], row["channels"]))
    ]
    sentences = [sentence for dtype in dict.fromkeys(row["dtype"] for row in usual) if (sentence := grown(record, dtype))]
    sentences += [ABSENT] if any("torch" not in row for row in usual) else []
    return f"{measured(words, record, versions=True)}\n\n{table(headings, rows)}\n{' '.join(sentences)}\n"


def grown(record: Record, dtype: str) -> str:
    """Return the growth of the time of an application in a sentence; nothing where too few sizes were measured."""
    rows = [row for row in record["rows"] if row["dtype"] == dtype]
    positions = sorted({(row["height"], row["width"]) for row in rows})
    channels = sorted({row["channels"] for row in rows})
    if len(positions) < 2 or len(channels) < 2:
        return ""
    transforms, products, misfit = growth(rows)
    (low, high), (few, many) = (positions[0], positions[-1]), (channels[0], channels[-1])
    return (
        f"In {dtype}, on grids of {low[0]} × {low[1]} to {high[0]} × {high[1]} with {few} to {many} channels, an application "
        f"takes {transforms:.2f} ns × H W log₂(H W) C + {products:.2f} ns × H W C² for each image, to within {misfit:.0%}."
    )


def convolution_epochs(record: Record) -> str:
    """Return what a layer of images reaches on MNIST, a line for each run."""
    runs: dict[tuple[int, int, int], list[Row]] = {}
    for row in record["rows"]:
        runs.setdefault((row["channels"], row["epochs"], row["seed"]), []).append(row)
    words = (
        f"A layer of images on MNIST, everything trained: {ACTIVATION}, batches of {BATCH}, float32; certified to {RESIDUAL:g} "
        "in float64"
    )
    headings = ["channels", "seed", "epochs", "test accuracy after each epoch", "iterations", "CPU s an epoch", "certified"]
    rows = [
        [
            *(str(channels), str(seed), str(epochs), ", ".join(f"{row['accuracy']:.2%}" for row in run)),
            *(f"{run[-1]['iterations']:.1f}", seconds(run)),
            f"{run[-1]['certified']:,} of {run[-1]['stimuli']:,}" if "certified" in run[-1] else "–",
        ]
        for (channels, epochs, seed), run in sorted(runs.items())
    ]
    return f"{measured(words, record)}\n\n{table(headings, rows)}"


def convolution_memory(record: Record) -> str:
    """Return the peak memory of training a layer of images."""
    each = (
        "{peak_gib:.2f} GiB with {channels} channels and batches of {stimuli} ({before_gib:.2f} GiB before)".format(**row)
        for row in record["rows"]
    )
    return f"{measured('Peak memory of a process that trains a layer of images of 28 × 28', record)} {'; '.join(each)}.\n"


def seconds(run: list[Row]) -> str:
    """Return the processor time of an epoch of a run, evaluation included; nothing where it was stopped and went on.

    The time of a run that went on is counted from there.
    """
    times = [0.0, *(row["processor_seconds"] for row in run)]
    whole = len(run) == run[0]["epochs"] and all(before < after for before, after in pairwise(times))
    return f"{times[-1] / len(run):.0f}" if whole else "–"
