"""The benchmarks of stacks and of scaling on the command line."""

from itertools import product
from typing import Annotated

import typer
from rich.progress import track

from benchmarks import default_step, records, stack_peers, stacks
from benchmarks import scaling as growth
from benchmarks.command import Data, Names, Numbers, Output, console, mnist, show
from benchmarks.records import RESULTS
from benchmarks.stack_drawing import draw_stack_peers

Sizes = Annotated[list[str] | None, typer.Option(help="Units of each layer, such as 300,150. Repeatable.")]
Stimuli = Annotated[int | None, typer.Option(min=1, help="Learn only this many of the stimuli.")]

app = typer.Typer()


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
def scaling(repeats: int = 7, output: Output = RESULTS) -> None:
    """Measure how time and memory grow with units and dtypes, and what two workers gain in a sweep."""
    for row in growth.scaling_rows(repeats):
        show(row)
        records.write("scaling", [row], output)


def sizes(layers: list[str] | None) -> list[tuple[int, ...]]:
    """Return the sizes of layers from texts such as 300,150, or the default sizes."""
    return [tuple(map(int, each.split(","))) for each in layers] if layers else list(stacks.LAYERS)
