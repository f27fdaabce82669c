"""The command `asset-sync mapping test`: run the tests that stand in the sources file."""

import sys
from pathlib import Path

import click
from rich.text import Text

from service.apps.sources import reader_beside
from service.cli.mapping.inputs import sources_file
from service.cli.output import console, shown
from service.mapping.file_tests import FileTestResult, run_file_tests


@click.command(
    epilog="""\b
Examples:
  asset-sync mapping test
  asset-sync mapping test sources.yaml
"""
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
def test(file: Path | None) -> None:
    """Check the sources file, and run the tests in it.

    A failing test shows what was expected, what was found, and the line of the file that made it.

    Exit codes: 0 all tests passed, 1 a test failed, 2 the file is wrong.
    """
    path, loaded = sources_file(file)
    out = console()
    results = list(run_file_tests(loaded, reader_beside(path)))
    for result in results:
        for line in _lines(result):
            out.print(line)
    for name, source in loaded.model.sources.items():
        if not source.tests:
            out.print(Text.assemble(("warning ", "yellow"), f"Source {name} has no tests."))
    failed = sum(bool(result.differences) for result in results)
    total = f"{len(results)} test{'' if len(results) == 1 else 's'} of {shown(str(path))}"
    out.print(f"{failed} of {total} failed." if failed else f"{total}: all passed.")
    sys.exit(1 if failed else 0)


def _lines(result: FileTestResult) -> list[Text]:
    head = f"{result.source}: {shown(result.name)}"
    if not result.differences:
        return [Text.assemble(("ok      ", "green"), head)]
    lines = [Text.assemble(("failed  ", "red"), f"{head}  ({result.place})")]
    for found in result.differences:
        made_by = f"  made by {found.made_by}" if found.made_by else ""
        lines += [
            Text(f"        {shown(found.about)}{made_by}"),
            Text.assemble("          expected  ", (shown(found.expected), "green")),
            Text.assemble("          found     ", (shown(found.found), "red")),
        ]
    return lines
