"""Every reference to a document of this project leads somewhere."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FOLDERS = ("service", "tests", "benchmarks", "docs", "deploy", "tools")
SUFFIXES = {".py", ".md", ".yaml", ".html", ".tpl", ".gotmpl"}

SECTIONS = re.compile(r"\b([\w-]+)\.md,? ((?:§[\d.]*\d(?:, )?)+)")
DECISIONS = re.compile(r"\barchitecture\.md ((?:D\d+(?:, )?)+)")
RECORDS = re.compile(r"\bADR (\d+)\b")
PAGES = re.compile(r"\bdocs/([\w./-]+\.md)\b")
NAMES = re.compile(r"(?<![\w:/.-])(?:[\w.-]+/)*([\w.-]+\.md)\b")
"""Any file of this kind, outside of a link to another site."""
OF_OTHERS = {"assets-filter-logical-operators.md", "b.md"}
"""A page of Akeneo's documentation, and a file that a test makes up."""
LINKS = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def texts() -> Iterator[tuple[Path, str]]:
    """Every text of the project that a person reads."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield path, path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("*.md")):
        yield path, path.read_text(encoding="utf-8")


@functools.cache
def sections_of(document: str) -> set[str]:
    """The numbers of a document's sections, as its headings have them; none if they have none."""
    path = DOCS / f"{document}.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {f"§{number}" for number in re.findall(r"^#{2,3} (\d[\d.]*?)\.? ", text, re.MULTILINE)}


@functools.cache
def documents() -> frozenset[str]:
    """The names of the documents in docs/ and in the root."""
    return frozenset(path.name for path in (*DOCS.rglob("*.md"), *ROOT.glob("*.md")))


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
    yield from set(NAMES.findall(text)) - documents() - OF_OTHERS
    for link in LINKS.findall(text) if folder.suffix == ".md" else ():
        if not (folder.parent / link).exists():
            yield link


def test_every_reference_leads_somewhere() -> None:
    """Sections, decisions, decision records, pages and links; no document that is not here."""
    found = {
        str(path.relative_to(ROOT)): sorted(set(wrong))
        for path, text in texts()
        if path != Path(__file__) and (wrong := list(wrong_references(text, path)))
    }

    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "akeneo.md §99",
        "kafka.md §2, §77",
        "sources.md §1",
        "contract.md, §10",
        "architecture.md D44",
        "ADR 999",
        "docs/nothing.md",
        "nothing.md",
        "folder/nothing.md",
    ],
)
def test_a_wrong_reference_is_found(text: str) -> None:
    """The patterns above match what people write."""
    assert list(wrong_references(text, Path(__file__)))
