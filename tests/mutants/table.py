"""The result for people: docs/mutants.md."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.mutants.patch import Mutant
from tests.mutants.results import Results
from tests.mutants.survivors import SURVIVORS

HEAD = """\
# Mutants

`make mutants` puts small bugs into `service/core`, the runner, the adapters of Kafka and of media
files, and the packages `mapping`, `translation` and `webhooks` of `service`, one at a time, and
runs the tests against each: first those that need no broker, then, if the bug survives, those on a
real broker. The command writes this page, also when it is interrupted; a later run tries the tests
that are named here first. The bugs that a person wrote are in `tests/mutants/written.py`,
`written_media.py` and `written_sources.py`, each with what it breaks: a promise of the
[contract](contract.md) (P1 to P8), a section of it (§7 to §9), a decision of the
[architecture](architecture.md) (D3 to D8), or a part of [media.md](media.md) or
[sources.md](sources.md). The generated ones are chosen with a fixed seed from all comparisons,
constants, boundaries and calls of the core, the runner and the adapter of Kafka.

"""

NOT_RUN = "not tried on all tests yet"
_ROW = re.compile(r"^\| ([a-z0-9-]+) \|.*\| `(.+?)`( \(broker\))? \|$", re.MULTILINE)


def read_table(page: str) -> dict[str, tuple[str, bool]]:
    """Return by mutant the test that found it, and whether that was on a broker."""
    return {name: (f"tests/{test}", bool(broker)) for name, test, broker in _ROW.findall(page)}


def summary(mutants: Sequence[Mutant], results: Results) -> str:
    """How many were found, and how."""
    lines = []
    for title, group in _groups(mutants):
        found = [result for mutant in group if (result := results.get(mutant)) and result.found_by]
        fast = sum(not result.has_broker for result in found)
        lines.append(
            f"{title}: {len(group)}, of which {len(found)} were found, {fast} without a broker."
        )
    lines += [f"Survived: {mutant.name} ({mutant.path}:{mutant.line}) {mutant.change}"
              for mutant in mutants if _survived(mutant, results)]  # fmt: skip
    return "\n".join(lines)


def is_satisfied(mutants: Sequence[Mutant], results: Results, explained: Mapping[str, str]) -> bool:
    """Whether the list was found, and what survived all tests of the rest is explained."""
    survivors = [
        mutant
        for mutant in mutants
        if (result := results.get(mutant)) and result.has_broker and result.found_by is None
    ]
    return all(not mutant.holds and mutant.name in explained for mutant in survivors)


def write_table(path: Path, mutants: Sequence[Mutant], results: Results) -> None:
    """Write the page."""
    parts = [HEAD]
    for title, group in _groups(mutants):
        parts.append(f"## {title}\n\n{_counts(group, results)}\n\n")
        parts.append("| Mutant | Breaks | Where and what | Found by |\n|---|---|---|---|\n")
        parts += [_row(mutant, results) for mutant in group]
        parts.append("\n")
    path.write_text("".join(parts).rstrip("\n") + "\n")


def _groups(mutants: Sequence[Mutant]) -> list[tuple[str, list[Mutant]]]:
    groups = [
        ("Written by a person", [mutant for mutant in mutants if mutant.holds]),
        ("Generated", [mutant for mutant in mutants if not mutant.holds]),
    ]
    return [(title, group) for title, group in groups if group]


def _counts(group: Sequence[Mutant], results: Results) -> str:
    found = [result for mutant in group if (result := results.get(mutant)) and result.found_by]
    fast = sum(not result.has_broker for result in found)
    not_run = sum(results.get(mutant) is None for mutant in group)
    return (
        f"{len(group)} mutants: {fast} found without a broker, {len(found) - fast} with one, "
        f"{len(group) - len(found) - not_run} not found, {not_run} not tried on all tests yet."
    )


def _row(mutant: Mutant, results: Results) -> str:
    result = results.get(mutant)
    if result is None:
        found = NOT_RUN
    elif result.found_by is None:
        found = f"**not found**: {SURVIVORS.get(mutant.name, 'not explained yet')}"
    else:
        broker = " (broker)" if result.has_broker else ""
        found = f"`{result.found_by.removeprefix('tests/')}`{broker}"
    return f"{described(mutant)} {found} |\n"


def described(mutant: Mutant) -> str:
    """Return the mutant's row up to the test that found it."""
    breaks = f"{mutant.holds}: {mutant.breaks}" if mutant.holds else mutant.breaks
    change = mutant.change.replace("|", "\\|")
    return f"| {mutant.name} | {breaks} | {mutant.path}: {change} |"


def _survived(mutant: Mutant, results: Results) -> bool:
    result = results.get(mutant)
    return result is not None and result.found_by is None
