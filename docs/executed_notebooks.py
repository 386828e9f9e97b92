"""The notebooks of the gallery with the outputs of the run that made the pages.

The gallery runs each tutorial once. It writes a page with outputs and a notebook without them. The outputs of the page are put
into the notebook, so that a download shows what the page shows.
"""

import base64
import json
import re
from pathlib import Path
from textwrap import dedent

GALLERY = Path(__file__).parent / "gallery"

BLOCK = ".. GENERATED FROM PYTHON SOURCE LINES"
"""What begins each block of a page, text or code."""

CODE = ".. code-block:: Python"
TEXT = re.compile(r"\.\. rst-class:: sphx-glr-script-out\n\n \.\. code-block:: none\n\n((?:    .*\n|\s*\n)+)")
PICTURE = re.compile(r"\.\. image-sg:: /gallery/(images/\S+\.png)")


def write(app=None):
    """Put the outputs into every notebook; Sphinx calls it after the gallery is written."""
    for page in sorted(GALLERY.glob("*.rst")):
        notebook = page.with_suffix(".ipynb")
        if notebook.is_file():
            content = json.loads(notebook.read_text(encoding="utf-8"))
            filled(content, page.read_text(encoding="utf-8"), page.parent)
            notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def filled(notebook: dict, page: str, folder: Path) -> None:
    """Put the outputs of a page into the code cells of a notebook.

    Raises
    ------
    ValueError
        If the page and the notebook have different numbers of blocks of code.
    """
    blocks = [block for block in page.split(BLOCK)[1:] if CODE in block]
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if len(blocks) != len(cells):
        raise ValueError(f"the page has {len(blocks)} blocks of code and its notebook {len(cells)}; they should agree")
    for number, (block, cell) in enumerate(zip(blocks, cells, strict=True), 1):
        cell["execution_count"] = number
        cell["outputs"] = [*map(picture_output, pictures(block, folder)), *map(text_output, TEXT.findall(block))]


def pictures(block: str, folder: Path) -> list[bytes]:
    """Return the pictures of a block."""
    return [(folder / name).read_bytes() for name in PICTURE.findall(block)]


def picture_output(png: bytes) -> dict:
    """Return a picture as the output of a cell."""
    data = {"image/png": base64.b64encode(png).decode()}
    return {"output_type": "display_data", "data": data, "metadata": {}}


def text_output(text: str) -> dict:
    """Return printed text as the output of a cell."""
    lines = dedent(text).strip("\n").splitlines(keepends=True)
    return {"output_type": "stream", "name": "stdout", "text": lines}
