"""The command `asset-sync release`: ask a running service to let go what it holds back."""

import json
import urllib.error
import urllib.parse
import urllib.request

import click

from service.adapters.http.release_token import HEADER, TokenFile
from service.cli.options import stop
from service.cli.output import say
from service.settings import SettingsError, load_without_pim

TIMEOUT_SECONDS = 5.0


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    help="Port of the service on this machine; default: ASSET_SYNC_HTTP__PORT (8080).",
)
@click.option(
    "--source", metavar="NAME", help="The source of `asset-sync translate` that was stopped."
)
def release(*, port: int | None, source: str | None) -> None:
    """Resume after the dead-letter limit stopped intake, or the ceiling held deletes back.

    The changes that the limit holds back become dead letters; the deletes are sent to the PIM.
    First find out why most changes would be dead-lettered (`asset-sync dead-letters list --since
    1h`), or whether so many assets are to be deleted. Run this command where the service runs (in
    its container, as its user). A restart of the service resumes too.
    """
    try:
        port = port or load_without_pim().http.port
    except SettingsError as error:
        stop(str(error), 2)
    query = f"?{urllib.parse.urlencode({'source': source})}" if source else ""
    url = f"http://127.0.0.1:{port}/release{query}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {HEADER: TokenFile(port).read() or ""}
    request = urllib.request.Request(url, method="POST", data=b"", headers=headers)
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            released = json.load(answer)["released"]
    except urllib.error.HTTPError as error:
        stop(json.load(error)["message"])
    except (OSError, ValueError) as error:
        stop(f"No asset-sync answers at {url}: {error}")
    say(
        f"Resumed. {released} changes were held back. Those over the dead-letter limit become dead "
        "letters now; deletes over the ceiling go to the PIM."
    )
