"""The README's Python blocks run as they stand, in order, in one namespace."""

import re
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"


def test_code_blocks_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)
    assert namespace["history"].stopped == "All 10 epochs done."
    assert namespace["history"].loss[-1] < 0.7 * namespace["history"].loss[0]
    assert bool(namespace["fixed_points"].converged.all())
    assert bool(namespace["report"])
    assert namespace["result"].cost < namespace["cost"](namespace["W"])
    assert bool(namespace["own_report"])
    assert namespace["own_result"].cost < namespace["cost"](namespace["W"])


def test_chart_and_metric_of_ones_own_are_short() -> None:
    for block in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1:]:
        assert len([line for line in block.splitlines() if line.strip()]) < 15
