"""The blocks of the quick start and of each chapter of the guide run as they stand, and their results are as the text says."""

import re
from pathlib import Path

from blocks import ROOT, python_blocks, run_blocks

DOCS = ROOT / "docs"

CLAIMS = {
    "quickstart": """
assert fixed_points.converged.all() and fixed_points.stability().max() < 0
assert history.test_accuracy[-1] > 0.75
assert result.entries[1].training_loss < result.entries[0].training_loss
assert flowers.test_accuracy[-1] > 0.85
assert report and mine.loss[-1] < mine.loss[0]
""",
    "guide/fixed_points": """
assert fixed_points.residual.max() < 1e-9 and abscissa.max() < 0
assert settled.rates.mean() < -0.5 and settled.converged.all()
""",
    "guide/derivatives": """
assert abs(difference - np.sum(gradient * direction)) < 1e-5 * abs(difference)
assert abs(product - change).max() < 1e-4 * abs(product).max()
assert abs(evaluation.gradient - gradient).max() < 1e-12
""",
    "guide/metrics": """
assert 89 < resolvent.dist(np.array([[0.9]]), np.array([[0.99]])) < 91
assert manifold.stable_by_construction and np.linalg.eigvals(W_far).real.max() < 1
assert np.linalg.eigvals(left_invariant(n).exp(W, long_step)).real.max() > 1
assert results["MonotoneManifold"] < results["PullbackManifold"]
""",
    "guide/rules": """
assert all(loss < 2.3 for loss in losses.values())
""",
    "guide/training": """
assert fixed_points.converged.all() and fixed_points.stability().max() < 0
assert guarded.guard_actions > 0
assert len(short.loss) < len(history.loss)
""",
    "guide/data": """
assert history.loss[-1] < 0.5 * history.loss[0]
assert gaps.loss[-1] < gaps.loss[0]
assert r_squared(predicted, responses).min() > 0
assert abs(model.predict(stimuli[:5]) - predicted[:5]).max() < 1e-9
""",
    "guide/scaling": """
assert str(history.weights.dtype) == "float32"
assert deep.loss[-1] < deep.loss[0]
""",
}
"""What is asserted after the last block of each page."""


def test_pages_run(tmp_path: Path) -> None:
    """Each page runs with names of its own; one process runs all of them, because starting one takes longer than a page."""
    pages = {page: "\n".join([*python_blocks(DOCS / f"{page}.md"), CLAIMS[page]]) for page in CLAIMS}
    script = f"""
for page, text in {pages!r}.items():
    exec(compile(text, page, "exec"), {{"__name__": "__main__"}})
    print(page, "ran")
"""
    printed = run_blocks([script], "", tmp_path)
    assert re.findall(r"^(\S+) ran$", printed, re.MULTILINE) == [*CLAIMS]


def test_every_chapter_is_run() -> None:
    chapters = {f"guide/{path.stem}" for path in (DOCS / "guide").glob("*.md")} - {"guide/index"}
    assert chapters == CLAIMS.keys() - {"quickstart"}


def test_code_fits_the_column() -> None:
    pages = [DOCS / f"{page}.md" for page in CLAIMS]
    lines = [line for page in pages for block in python_blocks(page) for line in block.splitlines()]
    assert [line for line in lines if len(line) > 110] == []


def test_pages_refer_to_pages_that_are_there() -> None:
    for page in [DOCS / "index.md", DOCS / "choosing.md", *(DOCS / f"{each}.md" for each in CLAIMS)]:
        for target in re.findall(r"\{doc\}`([^`]+)`", page.read_text(encoding="utf-8")):
            assert target == "../gallery/index" or (page.parent / f"{target}.md").is_file(), f"{page.name} refers to {target}"
