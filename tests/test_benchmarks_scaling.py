"""The benchmark of scaling: rows, the speed of two workers, and the tables."""

from contextlib import nullcontext
from pathlib import Path

import pytest

pytest.importorskip("benchmarks", reason="benchmarks are found from the repository's root only: run `python -m pytest` there")

from benchmarks import records, scaling
from benchmarks.scaling_tables import scaling as section
from riemannrnn.sweep import Grid, local_client

SMALL = Grid(scaling.SMALLEST.base, {"train.learning_rate": [0.01, 0.1]})


def test_rows_are_measured_and_written_as_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GRID", "SMALLEST"):
        monkeypatch.setattr(scaling, name, SMALL)
    monkeypatch.setattr(scaling, "STIMULI", 64)
    monkeypatch.setattr(scaling, "UNITS", (10, 200))
    monkeypatch.setattr(scaling, "DTYPES", ("float32",))
    monkeypatch.setattr(scaling, "PARTITIONS", (1, 5))
    with local_client(2) as client:
        monkeypatch.setattr(scaling, "local_client", lambda workers: nullcontext(client))
        rows = list(scaling.scaling_rows(1))
    assert [row["work"] for row in rows] == ["evaluation", "evaluation", "task", "sweep"]
    assert all(row[f"{name}_us"] > 0 for row in rows[:2] for name in ("cost", "gradient", "hessian"))
    assert all(0 < row["kept_bytes"] < row["peak_bytes"] for row in rows[:2])
    assert rows[3]["equal"]
    assert rows[3]["faster"] == pytest.approx(rows[3]["seconds"] / rows[3]["seconds_together"])
    records.write("scaling", rows, tmp_path)
    text = section(tmp_path)
    assert "| 10 | float32 |" in text
    assert f"{rows[3]['faster']:.2f} times as fast, with the same values, bit for bit" in text
    core_seconds = 1000 * (rows[1]["cost_us"] + rows[1]["gradient_us"])  # 10⁹ stimuli
    assert (
        f"| computation, {core_seconds:,.0f} core-seconds | {core_seconds / 100:.0f} s | {core_seconds / 1000:.0f} s |" in text
    )
    assert "| partitions, two for each worker | 200 of 5,000,000 | 2,000 of 500,000 |" in text


def test_other_values_are_seen(tmp_path: Path) -> None:
    result, _ = scaling.timed(lambda: scaling.sweep(SMALL, output=tmp_path / "one"))
    assert scaling.same(result, result)
    other, _ = scaling.timed(
        lambda: scaling.sweep(Grid(SMALL.base, {"train.learning_rate": [0.01, 0.2]}), output=tmp_path / "two")
    )
    assert not scaling.same(result, other)
