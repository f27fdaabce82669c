"""Every reference to a document of this project leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FOLDERS = ("service", "tests", "benchmarks", "docs", "deploy")
SUFFIXES = {".py", ".md", ".yaml", ".html", ".tpl", ".gotmpl"}

SECTIONS = re.compile(r"\b(akeneo|kafka|contract)\.md ((?:§[\d.]*\d(?:, )?)+)")
DECISIONS = re.compile(r"\barchitecture\.md ((?:D\d+(?:, )?)+)")
RECORDS = re.compile(r"\bADR (\d+)\b")
PAGES = re.compile(r"\bdocs/([\w./-]+\.md)\b")
LINKS = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def texts() -> Iterator[tuple[Path, str]]:
    """Every text of the project that a person reads."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield path, path.read_text(encoding="utf-8")
    yield ROOT / "README.md", (ROOT / "README.md").read_text(encoding="utf-8")


def sections_of(document: str) -> set[str]:
    """The numbers of a document's sections, as its headings have them."""
    text = (DOCS / f"{document}.md").read_text(encoding="utf-8")
    return {f"§{number}" for number in re.findall(r"^#{2,3} (\d[\d.]*?)\.? ", text, re.MULTILINE)}


def wrong_references(text: str, folder: Path) -> Iterator[str]:
    """References in a text that lead nowhere."""
    for document, numbers in SECTIONS.findall(text):
        for number in numbers.rstrip(", ").split(", "):
            if number not in sections_of(document):
                yield f"{document}.md {number}"
    decisions = re.findall(r"^### (D\d+)\.", (DOCS / "architecture.md").read_text(), re.MULTILINE)
    for numbers in DECISIONS.findall(text):
        yield from (f"architecture.md {n}" for n in numbers.split(", ") if n and n not in decisions)
    for number in RECORDS.findall(text):
        if not list((DOCS / "adr").glob(f"{int(number):04}-*.md")):
            yield f"ADR {number}"
    for page in PAGES.findall(text):
        if not (DOCS / page).is_file():
            yield f"docs/{page}"
    for link in LINKS.findall(text) if folder.suffix == ".md" else ():
        if not (folder.parent / link).exists():
            yield link


def test_every_reference_leads_somewhere() -> None:
    """Sections, decisions, decision records, pages and links."""
    found = {
        str(path.relative_to(ROOT)): sorted(set(wrong))
        for path, text in texts()
        if path != Path(__file__) and (wrong := list(wrong_references(text, path)))
    }

    assert not found


def test_no_reference_names_what_is_not_here() -> None:
    """A document that only its writer has is no source for a reader."""
    foreign = re.compile(r"\b(?:design D\d|conventions\.md|dam-events\.md|peers\.md §|style\.md)")
    found = [
        str(path.relative_to(ROOT))
        for path, text in texts()
        if path != Path(__file__) and foreign.search(text)
    ]

    assert not found


@pytest.mark.parametrize(
    "text",
    ["akeneo.md §99", "kafka.md §2, §77", "architecture.md D44", "ADR 999", "docs/nothing.md"],
)
def test_a_wrong_reference_is_found(text: str) -> None:
    """The patterns above match what people write."""
    assert list(wrong_references(text, Path(__file__)))
