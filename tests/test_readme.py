"""The README's Python blocks run as they stand, in order, in one namespace."""

from pathlib import Path

from blocks import python_blocks, run_blocks

README = Path(__file__).parents[1] / "README.md"


def test_code_blocks_run() -> None:
    blocks = python_blocks(README)
    assert len(blocks) == 4
    namespace = run_blocks(README, blocks)
    assert namespace["history"].stopped == "All 10 epochs done."
    assert namespace["history"].loss[-1] < 0.7 * namespace["history"].loss[0]
    assert bool(namespace["fixed_points"].converged.all())
    assert bool(namespace["report"])
    assert namespace["result"].cost < namespace["cost"](namespace["W"])
    assert bool(namespace["own_report"])
    assert namespace["own_result"].cost < namespace["cost"](namespace["W"])


def test_chart_and_metric_of_ones_own_are_short() -> None:
    for block in python_blocks(README)[1:]:
        assert len([line for line in block.splitlines() if line.strip()]) < 15
