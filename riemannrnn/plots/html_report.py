"""report.html: figures and numbers of a run in one self-contained file."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from riemannrnn.analysis.report import Number
from riemannrnn.run_folder import write_atomically

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
img { max-width: 100%; height: auto; } table { border-collapse: collapse; }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd; }
td:nth-child(2) { white-space: nowrap; font-variant-numeric: tabular-nums; }
"""

TYPES = {".png": "image/png", ".gif": "image/gif"}


def write_html(
    path: Path,
    title: str,
    numbers: Sequence[Number],
    notes: Sequence[str],
    pictures: Sequence[tuple[Path, str]],
    verdict: Sequence[str] = (),
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        The file.
    title
        The heading.
    numbers
        Rows of the table.
    notes
        Sentences about failed parts of the report.
    pictures
        PNG or GIF files, which are embedded in the page, each with a caption that is also its alternative text.
    verdict
        Sentences about the main results, at the end of the page.
    """
    rows = "".join(
        f"<tr><td>{escape(n.name)}</td><td>{escape(n.value)}</td><td>{escape(n.meaning)}</td></tr>\n" for n in numbers
    )
    failed, remarkable = ("".join(f"<li>{escape(each)}</li>\n" for each in sentences) for sentences in (notes, verdict))
    parts = [
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>",
        f"<style>{STYLE}</style></head>",
        f"<body><h1>{escape(title)}</h1>",
        *(_figure(*picture) for picture in pictures),
        f"<h2>Numbers</h2><table><tr><th>what</th><th>value</th><th>what it means</th></tr>\n{rows}</table>",
        f"<h2>Notes</h2><ul>\n{failed}</ul>" if notes else "",
        f"<h2>Verdict</h2><ul>\n{remarkable}</ul>" if verdict else "",
        "</body></html>\n",
    ]
    write_atomically(path, lambda temporary: temporary.write_text("\n".join(parts), encoding="utf-8"))


def _figure(picture: Path, caption: str) -> str:
    data = base64.b64encode(picture.read_bytes()).decode("ascii")
    source = f"data:{TYPES[picture.suffix]};base64,{data}"
    return (
        f"<figure><img alt='{escape(caption, quote=True)}' src='{source}'><figcaption>{escape(caption)}</figcaption></figure>"
    )
