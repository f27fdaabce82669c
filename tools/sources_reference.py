"""Write the reference of the sources file, docs/sources-reference.md."""

from pathlib import Path

from service.mapping.file.reference import reference

FILE = Path(__file__).resolve().parent.parent / "docs/sources-reference.md"

if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
