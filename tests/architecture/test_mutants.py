"""Every bug of `make mutants` still applies to the code as it stands."""

from tests.mutants.patch import located, sources
from tests.mutants.table import described
from tests.mutants.trial import ROOT
from tests.mutants.written import WRITTEN


def test_every_written_bug_applies_at_exactly_one_place() -> None:
    files = sources(ROOT)
    for written in WRITTEN:
        located(written, files)  # raises where its text is not found exactly once
    assert len({written.name for written in WRITTEN}) == len(WRITTEN)


def test_the_page_describes_every_written_bug_as_it_is() -> None:
    """A bug, or the line that it changes, may be rewritten without a new run of `make mutants`."""
    files = sources(ROOT)
    page = (ROOT / "docs" / "mutants.md").read_text()
    assert [row for one in WRITTEN if (row := described(located(one, files))) not in page] == []
