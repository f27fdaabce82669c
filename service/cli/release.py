"""The command `asset-sync release`: ask a running service to let go what it holds back."""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import TypeVar

import click
import msgspec

from service import __version__
from service.adapters.http.release_token import HEADER, TokenFile
from service.cli.options import confirm, direct_opener, is_asked, stop, why_no_answer
from service.cli.output import say, shown
from service.contracts.json_flaw import UNREADABLE
from service.core.status import HeldFamily
from service.settings import SettingsError, load_without_pim

TIMEOUT_SECONDS = 5.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""How much of an answer is read: another program on the port may send anything."""


class _Held(msgspec.Struct):
    deletes: list[HeldFamily]
    further_families: int
    dead_letters: dict[str, int]
    others: int


class _Released(msgspec.Struct):
    released: int


class _Refusal(msgspec.Struct):
    message: str


_Answer = TypeVar("_Answer")


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    help="Port of the service on this machine; default: ASSET_SYNC_HTTP__PORT (8080).",
)
@click.option(
    "--source", metavar="NAME", help="The source of `asset-sync translate` that was stopped."
)
@click.option("--yes", is_flag=True, help="Do not ask on a terminal before it is released.")
def release(*, port: int | None, source: str | None, yes: bool) -> None:
    """Resume after the dead-letter limit stopped intake, or the ceiling held deletes back.

    First it shows what is held back: deletes by family with the first codes, dead letters by
    reason. On a terminal it then asks. The changes that the limit holds back become dead letters;
    the deletes are sent to the PIM.

    Before, find out why most changes would be dead-lettered (`asset-sync dead-letters list --since
    1h`), or whether so many assets are to be deleted. Run this command where the service runs (in
    its container, as its user). A restart of the service resumes too.
    """
    try:
        port = port or load_without_pim().http.port
    except SettingsError as error:
        stop(str(error), 2)
    query = f"?{urllib.parse.urlencode({'source': source})}" if source else ""
    url = f"http://127.0.0.1:{port}/release{query}"
    headers = {HEADER: TokenFile(port).read() or ""}
    request = urllib.request.Request(url, headers=headers)
    for line in lines_of(_ask(request, _Held)):
        say(line)
    if not yes and is_asked():
        confirm("Release them?")
    request = urllib.request.Request(url, method="POST", data=b"", headers=headers)
    released = _ask(request, _Released).released
    say(
        f"Resumed. {released} changes were held back. Those over the dead-letter limit become dead "
        "letters now; deletes over the ceiling go to the PIM."
    )


def lines_of(held: _Held) -> Iterator[str]:
    """Yield a line for each kind of change that is held back."""
    yield "Held back:"
    for one in held.deletes:
        named = ", ".join(map(shown, one.codes))
        more = ", …" if one.deletes > len(one.codes) else ""
        yield f"  {one.deletes:,} deletes of {shown(one.family)}: {named}{more}"
    if held.further_families:
        yield f"  deletes of {held.further_families:,} more families"
    for reason, count in held.dead_letters.items():
        yield f"  {count:,} dead letters, {shown(reason)}"
    if held.others:
        yield f"  {held.others:,} other changes, which wait behind these"


def _ask(request: urllib.request.Request, kind: type[_Answer]) -> _Answer:
    """Return the answer of the service on this machine, without any proxy or redirect."""
    try:
        with direct_opener().open(request, timeout=TIMEOUT_SECONDS) as answer:
            status, text = answer.status, answer.read(ANSWER_BYTES_MAX)
        return msgspec.json.decode(text, type=kind)
    except urllib.error.HTTPError as error:
        stop(_message_of(error))
    except UNREADABLE:
        stop(_other_program(status))
    except (OSError, ValueError, http.client.HTTPException) as error:
        stop(f"No asset-sync answers at {request.full_url}: {why_no_answer(error)}.")


def _message_of(error: urllib.error.HTTPError) -> str:
    """Return what the service says; another program on the port may say anything."""
    try:
        return msgspec.json.decode(error.read(ANSWER_BYTES_MAX), type=_Refusal).message
    except (*UNREADABLE, OSError, ValueError, http.client.HTTPException):
        return _other_program(error.code)


def _other_program(status: int) -> str:
    return (
        f"The port answers {status}: it does not belong to `asset-sync run` or `translate` of "
        f"version {__version__}."
    )
