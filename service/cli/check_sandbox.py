"""`asset-sync check --sandbox`: ask before it writes, and print how a PIM differs."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
from rich.table import Table
from rich.text import Text

from service.adapters.akeneo.api import HttpAssetApi, Uploads
from service.adapters.akeneo.sandbox import NoAnswerError, Sandbox
from service.adapters.akeneo.sandbox_questions import QUESTIONS, Answer, SampleFile, answer
from service.cli.options import confirm, is_asked, stop
from service.cli.output import complain, console, json_text, progress, say, shown
from service.settings import Loaded

STYLES = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


def check_sandbox(loaded: Loaded, family: str, *, yes: bool, as_json: bool) -> int:
    """Ask all questions in this family; return the exit code: 1 if the PIM differs from documents.

    What the documents leave open may differ: asset-sync goes by what the PIM answers.
    """
    _ask_first(loaded.settings.pim.base_url, family, yes=yes)
    try:
        answers, left = asyncio.run(_ask(loaded, family))
    except NoAnswerError as error:
        stop(f"The family {shown(family)} cannot be used: {error}")
    if as_json:
        for one in answers:
            say(line_of(_members(one)))
    else:
        console().print(_table(answers))
    if left:
        complain(f"{len(left)} assets could not be deleted: {', '.join(left[:10])}")
    return 1 if left or any(one.grade == "failed" for one in answers) else 0


def line_of(members: Mapping[str, object]) -> str:
    """Return a JSON object on one line, which every terminal may show."""
    return json_text(msgspec.json.encode(members))


def _ask_first(url: str, family: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere nobody can answer, so `--yes` is needed.

    Raises:
        click.Abort: the answer is no.
        KeyboardInterrupt: the answer is Ctrl-C.
    """
    if yes:
        return
    if not is_asked():
        stop("This writes test assets to the PIM: give --yes where nobody can be asked.", 2)
    question = f"Write test assets to the family {shown(family)} of {url}, and delete them again?"
    confirm(question)


async def _ask(loaded: Loaded, family: str) -> tuple[list[Answer], list[str]]:
    """Return the answers, and the codes of assets that may be left."""
    pim = loaded.settings.pim
    api = HttpAssetApi(pim, loaded.credentials, uploads=Uploads(SampleFile(), pim.timeout_seconds))
    sandbox = Sandbox(api, family)
    answers: list[Answer] = []
    try:
        await sandbox.open()
        try:
            with progress("questions", len(QUESTIONS)) as update:
                for question in QUESTIONS:
                    answers.append(await answer(question, sandbox))
                    update(len(answers))
        finally:  # also after Ctrl-C
            left = await sandbox.clean_up()
    finally:
        await api.close()
    return answers, left


def _members(one: Answer) -> dict[str, object]:
    question = one.question
    return {
        "part": "sandbox",
        "grade": one.grade,
        "question": question.text,
        "believed": question.believed,
        "found": one.found,
        "source": f"docs/akeneo.md {question.source}",
        "is_open": question.is_open,
    }


def _table(answers: Sequence[Answer]) -> Table:
    table = Table("", "question", "believed", "this PIM", "akeneo.md")
    for one in answers:
        table.add_row(
            Text(one.grade, STYLES[one.grade]),
            one.question.text,
            one.question.believed,
            shown(one.found),
            one.question.source,
        )
    return table
