"""`asset-sync release`."""

import json
import urllib.error
import urllib.request

import click

from service.cli.options import stop
from service.settings import SettingsError, load_without_pim

SECONDS_MAX = 5.0


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    help="The service's port on this machine; default ASSET_SYNC_HTTP__PORT, 8080.",
)
def release(*, port: int | None) -> None:
    """Let go what the limit on dead letters holds back, and go on.

    To be run beside the service (in its container), after a look at why most changes end as dead
    letters: `/readyz?verbose` and the log tell. A restart goes on too.
    """
    try:
        url = f"http://127.0.0.1:{port or load_without_pim().http.port}/release"
    except SettingsError as error:
        stop(str(error), 2)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, method="POST", data=b"")
    try:
        with opener.open(request, timeout=SECONDS_MAX) as answer:
            released = json.load(answer)["released"]
    except urllib.error.HTTPError as error:
        stop(json.load(error)["message"])
    except (OSError, ValueError) as error:
        stop(f"No asset-sync answers at {url}: {error}")
    click.echo(f"{released} changes were held back; they are dead-lettered now, and work goes on.")
