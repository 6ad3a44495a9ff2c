import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_generated_pages_are_current() -> None:
    pages = runpy.run_path(str(DOCS / "generate.py"))["PAGES"]
    for path, render in pages.items():
        assert path.read_text(encoding="utf-8") == render(), "run: python docs/generate.py"
