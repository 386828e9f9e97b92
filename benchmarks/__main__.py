"""`make bench`: how fast steps and learning are, beside their matrix products, the peers and the released method."""

from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import conditioning as conditions
from benchmarks import default_step, records, stack_peers, stacks, tables, training
from benchmarks import growth as growing
from benchmarks import learning as learn
from benchmarks import metrics as changed
from benchmarks import rates as learning_rates
from benchmarks.contest import side_by_side
from benchmarks.convolution import convolution_row
from benchmarks.drawing import draw_conditioning, draw_growth, draw_metrics, draw_rates
from benchmarks.epoch import epoch_row
from benchmarks.memory import peak
from benchmarks.peers import installed_peers
from benchmarks.products import products_table
from benchmarks.records import RESULTS, Row
from benchmarks.released import released_table
from benchmarks.stack_drawing import draw_stack_peers
from riemannrnn.data import DATA_VARIABLE, Dataset, load_mnist

Integers = Annotated[list[int] | None, typer.Option(help="Repeatable.")]
Numbers = Annotated[list[float] | None, typer.Option(help="Repeatable.")]
Names = Annotated[list[str] | None, typer.Option(help="Repeatable.")]
Sizes = Annotated[list[str] | None, typer.Option(help="Units of each layer, such as 300,150. Repeatable.")]
Stimuli = Annotated[int | None, typer.Option(min=1, help="Learn only this many of the stimuli.")]
Data = Annotated[Path | None, typer.Option(envvar=DATA_VARIABLE, help="The folder of MNIST's four IDX files.")]
Output = Annotated[Path, typer.Option(help="Where the JSON files are.")]

app = typer.Typer(pretty_exceptions_enable=False)
console = Console(width=130)


@app.command()
def products(repeats: int = 15, output: Output = RESULTS) -> None:
    """Measure a step of each rule beside the matrix products that it needs."""
    table, rows = products_table(repeats)
    console.print(table)
    records.write("products", rows, output)


@app.command()
def released(repeats: int = 3, output: Output = RESULTS) -> None:
    """Measure ΔW1 and ΔW3 beside the cost of the released method."""
    table, rows = released_table(repeats)
    console.print(table)
    records.write("released", rows, output)


@app.command()
def peers(
    units: Integers = None,
    radius: Numbers = None,
    dtype: Names = None,
    stimuli: int = 512,
    repeats: int = 7,
    output: Output = RESULTS,
) -> None:
    """Measure one exact-gradient step beside the peers that are installed."""
    console.print(f"Installed peers: {', '.join(installed_peers())}")
    for n in units or [100, 300, 1000, 2000]:
        for each in dtype or ["float32", "float64"]:
            for spectral_radius in radius or [0.5, 0.9, 1.1]:
                rows = side_by_side(n, spectral_radius, np.dtype(each), stimuli, repeats, console)
                records.write("peers", rows, output)


@app.command()
def growth(
    units: Integers = None,
    stimuli: Integers = None,
    radius: Numbers = None,
    dtype: Names = None,
    repeats: int = 7,
    output: Output = RESULTS,
) -> None:
    """Measure how the time of a step grows, beside its matrix products, and draw it."""
    sizes = [(n, growing.BATCH) for n in units or growing.UNITS]
    sizes += [(growing.NETWORK, count) for count in stimuli or growing.STIMULI]
    radii = radius or [0.5, 0.9]
    settings = dict.fromkeys((*size, r, each) for each in dtype or ["float32"] for r in radii for size in sizes)
    for setting in track(settings, "growth", console=console):
        row = growing.grow(*setting, repeats)
        show(row)
        records.write("growth", [row], output)
    record, peers_record = records.read("growth", output), records.read("peers", output)
    if record:
        draw_growth(record["rows"], peers_record["rows"] if peers_record else [], output / "growth.png")


@app.command()
def convolution(channels: Integers = None, dtype: Names = None, repeats: int = 7, output: Output = RESULTS) -> None:
    """Measure a convolution of images on one core beside its Fourier transforms and products."""
    for count in channels or [16, 32, 54]:
        for each in dtype or ["float32"]:
            row = convolution_row(count, repeats, each)
            show(row)
            records.write("convolution", [row], output)


@app.command()
def epoch(data: Data = None, repeats: int = 3, output: Output = RESULTS) -> None:
    """Measure an epoch of MNIST with ΔW3 beside its matrix products."""
    if (parts := mnist(data)) is not None:
        row = epoch_row(parts[0], repeats)
        show(row)
        records.write("epoch", [row], output)


@app.command()
def memory(
    units: Integers = None, stimuli: Integers = None, radius: Numbers = None, dtype: Names = None, output: Output = RESULTS
) -> None:
    """Measure the peak memory of fixed points and adjoints."""
    rows = [
        peak(n, count, spectral_radius, each)
        for n in units or [300]
        for count in stimuli or [512, 8192]
        for each in dtype or ["float32", "float64"]
        for spectral_radius in radius or [0.5, 0.9, 1.1]
    ]
    for row in rows:
        show(row)
    records.write("memory", rows, output)


@app.command()
def learning(
    data: Data = None,
    contender: Names = None,
    epochs: int = learn.EPOCHS,
    output: Output = RESULTS,
) -> None:
    """Measure seconds and steps to a test accuracy on MNIST, for every rule and for torchdeq."""
    if (parts := mnist(data)) is None:
        return
    task = learn.Task(*parts, epochs)
    curves = [(name, rate) for name in contender or learn.contenders() for rate in learn.RATES[name]]
    for name, rate in track(curves, "learning", console=console):
        row = learn.curve(name, rate, task)
        show(row)
        records.write("learning", [row], output)


@app.command()
def step(repeats: int = 15, output: Output = RESULTS) -> None:
    """Measure a full step of the default of `train` beside a Euclidean one, and count its factorisations."""
    for dtype in ("float32", "float64"):
        for age in default_step.AGES:
            row = default_step.beside_euclidean(np.dtype(dtype), age, repeats)
            show(row)
            records.write("step", [row], output)


@app.command(name="default")
def default_training(data: Data = None, seeds: int = 5, output: Output = RESULTS) -> None:
    """Train on MNIST as `train` does by default, and without scales, and certify every stimulus at the end."""
    if (parts := mnist(data)) is None:
        return
    each = list(product(training.STABLE, range(seeds)))
    for manifold, seed in track(each, "default", console=console):
        row = training.certified(manifold, learn.Task(*parts, seed=seed))
        show(row)
        records.write("default", [row], output)


@app.command(name="stacks")
def stacks_on_mnist(
    data: Data = None,
    layers: Sizes = None,
    seeds: int = 5,
    epochs: int = stacks.EPOCHS,
    stimuli: Stimuli = None,
    output: Output = RESULTS,
) -> None:
    """Train stacks with everything trained on MNIST, and certify every stimulus at the end."""
    if (parts := mnist(data, stimuli)) is None:
        return
    each = list(product(range(seeds), sizes(layers)))
    for seed, size in track(each, "stacks", console=console):
        row = stacks.certified_run(stacks.Problem(*parts, size, seed, epochs))
        show(row)
        records.write("stacks", [row], output)


@app.command(name="stack-step")
def stack_step(repeats: int = 15, output: Output = RESULTS) -> None:
    """Measure the processor time of a step with everything trained beside a step with W alone."""
    for dtype in ("float32", "float64"):
        for age in default_step.AGES:
            row = stacks.step_price(dtype, age, repeats)
            show(row)
            records.write("stack-step", [row], output)


@app.command(name="stack-peers")
def stacks_beside_peers(
    data: Data = None,
    contender: Names = None,
    layers: Sizes = None,
    rate: Numbers = None,
    seeds: int = 1,
    epochs: int = stacks.EPOCHS,
    stimuli: Stimuli = None,
    output: Output = RESULTS,
) -> None:
    """Train our stack, torchdeq's and a monotone operator network on MNIST side by side."""
    if (parts := mnist(data, stimuli)) is None:
        return
    chosen = []
    for name in contender or stack_peers.CONTENDERS:
        if absent := stack_peers.missing(name):
            console.print(f"Missing: {name} needs {' and '.join(absent)}; pip install {' '.join(absent)}.")
        else:
            chosen += [(name, each) for each in rate or stack_peers.RATES[name]]
    cells = list(product(range(seeds), sizes(layers), chosen))
    for seed, size, (name, each) in track(cells, "stack-peers", console=console):
        row = stack_peers.raced(name, each, stacks.Problem(*parts, size, seed, epochs))
        show(row)
        records.write("stack-peers", [row], output)
    if record := records.read("stack-peers", output):
        draw_stack_peers(record["rows"], output / "stack-peers.png")


@app.command()
def manifolds(
    data: Data = None,
    manifold: Names = None,
    optimiser: Names = None,
    rate: Annotated[
        float | None, typer.Option(help="Instead of the best of four, by the loss after an epoch without guard.")
    ] = None,
    output: Output = RESULTS,
) -> None:
    """Train on MNIST on every manifold by every optimiser, each at its best rate of a few."""
    if (parts := mnist(data)) is None:
        return
    cells = [(each, by) for each in manifold or training.MANIFOLDS for by in optimiser or training.OPTIMISERS]
    for each, by in track(cells, "manifolds", console=console):
        row = training.cell(each, by, learn.Task(*parts), rate)
        show(row)
        records.write("manifolds", [row], output)


@app.command()
def rates(
    manifold: Names = None,
    optimiser: Names = None,
    output: Output = RESULTS,
) -> None:
    """Train on the digits over decades of learning rates, and draw over how many each manifold stays near its best."""
    digits = learning_rates.Digits()
    settings = [
        (each, by, rate)
        for by in optimiser or learning_rates.EXPONENTS
        for each in manifold or training.MANIFOLDS
        for rate in learning_rates.rates(by)
    ]
    for setting in track(settings, "rates", console=console):
        records.write("rates", [digits.learn(*setting)], output)
    if record := records.read("rates", output):
        draw_rates(record["rows"], output / "rates.png")


@app.command()
def conditioning(
    metric: Names = None,
    condition: Numbers = None,
    output: Output = RESULTS,
) -> None:
    """Count the steps of descent to the optimum against the condition of the stimuli, and draw them."""
    settings = [(name, each) for each in condition or conditions.CONDITIONS for name in metric or conditions.METRICS]
    for setting in track(settings, "conditioning", console=console):
        row = conditions.descend(*setting)
        show(row)
        records.write("conditioning", [row], output)
    if record := records.read("conditioning", output):
        draw_conditioning(record["rows"], output / "conditioning.png")


@app.command()
def metrics(metric: Names = None, solver: Names = None, seeds: int = changed.SEEDS, output: Output = RESULTS) -> None:
    """Run solvers of pymanopt on the digits from the same starts, and draw conjugate gradients under four metrics."""
    each = product(range(seeds), metric or changed.SHOWN, solver or [changed.USUAL])
    for seed, name, by in track(list(each), "metrics", console=console):
        records.write("metrics", [changed.learn(name, by, seed, changed.digits(seed))], output)
    if record := records.read("metrics", output):
        draw_metrics(record["rows"], output / "metrics.png")


@app.command(name="tables")
def write_tables(output: Output = RESULTS) -> None:
    """Write the tables of the README and of the page on benchmarks from the results."""
    for document, words in tables.SECTIONS.items():
        text = document.read_text(encoding="utf-8")
        document.write_text(tables.with_section(text, words(output)), encoding="utf-8")
        console.print(f"Wrote the section of {document}.")


def sizes(layers: list[str] | None) -> list[tuple[int, ...]]:
    """Return the sizes of layers that were given as texts such as 300,150, or the usual ones."""
    return [tuple(map(int, each.split(","))) for each in layers] if layers else list(stacks.LAYERS)


def mnist(folder: Path | None, stimuli: int | None = None) -> tuple[Dataset, Dataset] | None:
    """Return MNIST, or this many of its stimuli to learn; say so where no folder is named."""
    if folder is None:
        console.print(f"Skipped: it needs MNIST; name its folder with --data or {DATA_VARIABLE}.")
        return None
    training_set, test = load_mnist(folder)
    return training_set if stimuli is None else training_set.split(stimuli, seed=0)[0], test


def show(row: Row) -> None:
    """Print a row."""
    table = Table(show_header=True, box=None)
    for key in row:
        table.add_column(key, justify="right")
    table.add_row(*map(shown, row.values()))
    console.print(table)


def shown(value: object) -> str:
    """Return a value as it is printed: numbers short, and lists of numbers without brackets."""
    if isinstance(value, list):
        return " ".join(map(shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    app()
