"""The command `asset-sync webhook send`: send a signed sample to a running ingress."""

import http.client
import re
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import click

from service.adapters.tls import context
from service.apps.endpoints import endpoints_of
from service.apps.sources import load_sources
from service.cli.options import bytes_of, direct_opener, stop, why_no_answer
from service.cli.output import say
from service.settings import IngressSettings, Loaded, SettingsError, load
from service.webhooks.endpoint import Endpoint
from service.webhooks.signing import NotSignableError, sign

TIMEOUT_SECONDS = 30.0
"""Longer than ingress waits for Kafka."""

_HEADER = re.compile(r"\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*:\s*([^\r\n\0]*?)\s*")

_MEANINGS = {
    200: "Accepted: its record is in the topic {topic}.",
    401: "Refused: the signature does not match. Ingress and this command need the same secret.",
    404: "Refused: ingress has no webhook with the path {path}. Does it use the same sources file?",
    413: "Refused: the sample is larger than INGRESS__MAX_BODY_BYTES.",
    503: "Not accepted: ingress is busy, stops, or cannot reach Kafka. See its log; try again.",
}


@click.group()
def webhook() -> None:
    """Try the webhooks of the sources file."""


@webhook.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--source", required=True, metavar="NAME", help="Source whose webhook to send to.")
@click.option(
    "--url",
    metavar="URL",
    help="Address of ingress without the path; default: this machine, ASSET_SYNC_INGRESS__PORT. "
    "Required if ingress serves HTTPS.",
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file with the private CA of an https address.",
)
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Another header.")
def send(
    *, file: Path, source: str, url: str | None, ca_file: Path | None, headers: tuple[str, ...]
) -> None:
    """Sign the content of FILE as the DAM would, and send it to a running ingress.

    The secret comes from ASSET_SYNC_SECRET__NAME or ASSET_SYNC_SECRETS_DIR, as for ingress. Sends
    to this machine unless --url is given. SNS and Adobe sign with keys that only they have, so
    their webhooks cannot be tried this way.

    Exit codes: 0 if ingress answered 200, 1 otherwise, 2 for wrong settings.

    Example: asset-sync webhook send sample.json --source contentful
    """
    try:
        loaded = load(needs_pim=False)
        endpoint = _endpoint(loaded, source)
        body = file.read_bytes()
        signed = sign(endpoint.scheme, body, loaded.secrets.get, uuid.uuid4().hex, int(time.time()))
    except SettingsError as error:
        stop(str(error), 2)
    except NotSignableError as error:
        stop(str(error))
    base = url or _own_address(loaded.settings.ingress)
    more = dict(_header(text) for text in headers)
    all_headers = {"content-type": "application/json", **signed, **more}
    status = _post(base.rstrip("/") + endpoint.path, body, all_headers, ca_file)
    meaning = _meaning_of(status).format(topic=endpoint.topic, path=endpoint.path)
    if status != http.HTTPStatus.OK:
        stop(f"{status} {meaning}")
    say(f"{status} {meaning}")


def _meaning_of(status: int) -> str:
    if http.HTTPStatus.MULTIPLE_CHOICES <= status < http.HTTPStatus.BAD_REQUEST:
        return "Not accepted: this address redirects to another one. Give that one with --url."
    return _MEANINGS.get(status, "Not accepted.")


def _endpoint(loaded: Loaded, source: str) -> Endpoint:
    endpoints = {one.source: one for one in endpoints_of(load_sources(loaded.settings))}
    if source not in endpoints:
        stop(f"No source {source} with a webhook. Sources with one: {', '.join(endpoints)}.", 2)
    return endpoints[source]


def _own_address(ingress: IngressSettings) -> str:
    """Return the address of ingress on this machine; with HTTPS only its certificate has a name."""
    if ingress.tls_cert_file is not None:
        stop(
            "Ingress serves HTTPS (ASSET_SYNC_INGRESS__TLS_CERT_FILE): give --url https://HOST:PORT"
            " with a name of its certificate, and --ca-file if a private CA signed that.",
            2,
        )
    return f"http://127.0.0.1:{ingress.port}"


def _header(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if found is None:
        stop(f"--header {text!r} is not of the form NAME:VALUE.", 2)
    return found[1], found[2]


def _post(url: str, body: bytes, headers: dict[str, str], ca_file: Path | None) -> int:
    """Send the sample and return the status, without following a proxy or a redirect."""
    if not url.lower().startswith(("http://", "https://")):
        stop(f"--url {url} is not an http or https address.", 2)
    in_utf_8 = {name: bytes_of(value).decode("latin-1") for name, value in headers.items()}
    handlers: list[urllib.request.BaseHandler] = []
    if ca_file is not None:
        try:
            trusting = urllib.request.HTTPSHandler(context=context("--ca-file", ca_file))
        except SettingsError as error:
            stop(str(error), 2)
        handlers.append(trusting)
    try:
        request = urllib.request.Request(url, method="POST", data=body, headers=in_utf_8)  # noqa: S310 - checked
        with direct_opener(*handlers).open(request, timeout=TIMEOUT_SECONDS) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError, http.client.HTTPException) as error:
        stop(f"No asset-sync ingress answers at {url}: {why_no_answer(error)}.")
