"""Where generated pages and pictures are, and how pages are written."""

from pathlib import Path

GENERATED = Path(__file__).parent / "generated"


def write_page(name: str, text: str) -> None:
    """Write a generated page, unless it is there already with the same text."""
    path = GENERATED / name
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
