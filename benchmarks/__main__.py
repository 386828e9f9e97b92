"""`make bench`: the speed of steps and of learning, compared with matrix products, other packages and the released method."""

from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from benchmarks import conditioning as conditions
from benchmarks import convolution as convolutions
from benchmarks import default_step, records, stack_commands, tables, training
from benchmarks import gpu as on_device
from benchmarks import growth as growing
from benchmarks import learning as learn
from benchmarks import metrics as changed
from benchmarks import rates as learning_rates
from benchmarks import small as beside
from benchmarks.argument import draw_argument
from benchmarks.command import Data, Integers, Names, Numbers, Output, app, console, mnist, show
from benchmarks.contest import side_by_side
from benchmarks.convolution_epochs import CHANNELS, Images, epochs
from benchmarks.convolution_memory import training_peak
from benchmarks.drawing import draw_conditioning, draw_growth, draw_metrics, draw_rates
from benchmarks.epoch import epoch_row
from benchmarks.memory import peak
from benchmarks.peers import installed_peers
from benchmarks.products import products_table
from benchmarks.records import RESULTS
from benchmarks.released import released_table
from benchmarks.streams import streamed_row
from riemannrnn.backend import BackendError, namespace

app.add_typer(stack_commands.app)


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
def small(
    units: Integers = None,
    radius: Numbers = None,
    stimuli: Integers = None,
    dtype: Names = None,
    repeats: int = 7,
    peers: Annotated[bool, typer.Option(help="Measure the peers that are installed, too.")] = True,
    output: Output = RESULTS,
) -> None:
    """Measure steps of small networks beside a plain NumPy loop, and draw the ratios."""
    grid = product(units or beside.UNITS, radius or beside.RADII, stimuli or beside.STIMULI, dtype or beside.DTYPES)
    for setting in track(list(grid), "small", console=console):
        row = beside.small_row(*setting, repeats, peers)
        show(row)
        records.write("small", [row], output)
    record = records.read("small", output)
    if record:
        beside.draw_small(record["rows"], output / "small.png")


@app.command()
def gpu(units: Integers = None, repeats: int = 3, seconds: float = 240.0, output: Output = RESULTS) -> None:
    """Measure large networks on a GPU, within some seconds; print the reason if no GPU is usable."""
    try:
        namespace("cupy")
    except BackendError as error:
        console.print(f"No GPU was measured. {error}")
        return
    for row in on_device.device_rows("cupy", tuple(units or on_device.UNITS), on_device.EPOCH_STIMULI, repeats, seconds):
        show(row)
        records.write("gpu", [row], output)


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
def convolution(
    channels: Integers = None,
    size: Annotated[list[int] | None, typer.Option(help="Height and width of the grid. Repeatable.")] = None,
    dtype: Names = None,
    repeats: int = 7,
    output: Output = RESULTS,
) -> None:
    """Measure a convolution of images on one core beside its Fourier transforms and products, and torch's convolution."""
    if find_spec("torch") is None:
        console.print("Missing: torch's convolution needs torch; pip install torch.")
    shapes = [(each, each) for each in size] if size else convolutions.SHAPES
    for shape, count, each in product(shapes, channels or convolutions.CHANNELS, dtype or ["float32"]):
        row = convolutions.convolution_row(count, repeats, each, shape)
        show(row)
        records.write("convolution", [row], output)


@app.command(name="convolution-memory")
def convolution_memory(channels: Integers = None, output: Output = RESULTS) -> None:
    """Measure the peak memory of a process that trains a layer of images."""
    for count in channels or [54]:
        row = training_peak(count)
        show(row)
        records.write("convolution-memory", [row], output)


@app.command(name="convolution-epochs")
def convolution_epochs(
    data: Data = None,
    channels: int = CHANNELS,
    seed: int = 0,
    count: Annotated[int, typer.Option("--epochs", min=1)] = 1,
    stimuli: Annotated[int | None, typer.Option(min=1, help="Learn only this many of the stimuli.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="Folder for checkpoints, from which a stopped run goes on.")] = None,
    output: Output = RESULTS,
) -> None:
    """Train a layer of images on MNIST, write its accuracy after each epoch, and certify the test stimuli at the end."""
    if (parts := mnist(data, stimuli)) is None:
        return

    def tell(row: records.Row) -> None:
        show(row)
        records.write("convolution-epochs", [row], output)

    if checkpoints is not None:
        checkpoints.mkdir(parents=True, exist_ok=True)
    tell(epochs(Images(*parts, channels=channels, seed=seed, epochs=count), tell, checkpoints))


@app.command()
def epoch(data: Data = None, repeats: int = 3, output: Output = RESULTS) -> None:
    """Measure an epoch of MNIST with ΔW3 beside its matrix products."""
    if (parts := mnist(data)) is not None:
        row = epoch_row(parts[0], repeats)
        show(row)
        records.write("epoch", [row], output)


@app.command()
def streams(data: Data = None, repeats: int = 5, output: Output = RESULTS) -> None:
    """Measure an epoch of MNIST from a file beside one from memory."""
    if (parts := mnist(data)) is not None:
        row = streamed_row(parts[0], repeats)
        show(row)
        records.write("streams", [row], output)


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
    """Train on MNIST as `train` does by default, with relu, and without scales, and certify every stimulus at the end."""
    if (parts := mnist(data)) is None:
        return
    each = list(product(training.STABLE, range(seeds)))
    for (manifold, activation), seed in track(each, "default", console=console):
        row = training.certified(manifold, learn.Task(*parts, seed=seed, activation=activation))
        show(row)
        records.write("default", [row], output)


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
def metrics(metric: Names = None, optimiser: Names = None, seeds: int = changed.SEEDS, output: Output = RESULTS) -> None:
    """Run optimisers of pymanopt on the digits from the same starts, and draw conjugate gradients under four metrics."""
    each = product(range(seeds), metric or changed.SHOWN, optimiser or [changed.USUAL])
    for seed, name, by in track(list(each), "metrics", console=console):
        records.write("metrics", [changed.learn(name, by, seed, changed.digits(seed))], output)
    if record := records.read("metrics", output):
        draw_metrics(record["rows"], output / "metrics.png")
        draw_argument(record["rows"], output / "argument.png")


@app.command(name="tables")
def write_tables(output: Output = RESULTS) -> None:
    """Write the tables of the README and of the page on benchmarks from the results."""
    for document, words in tables.SECTIONS.items():
        text = document.read_text(encoding="utf-8")
        document.write_text(tables.with_section(text, words(output)), encoding="utf-8")
        console.print(f"Wrote the section of {document}.")


if __name__ == "__main__":
    app()
