"""Is the PIM as the service needs it? One finding a question; nothing is changed there."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.akeneo.client import RawReply
from service.adapters.akeneo.wire import API, FAMILIES_PATH
from service.core.inputs import CallFault, FaultKind
from service.ports import Finding
from service.settings import PimSettings

SKEW_SECONDS_MAX = 60.0
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

ASSET_RIGHTS = "Give the connection's role the right to {}."


async def check_pim(api: HttpAssetApi, pim: PimSettings) -> list[Finding]:
    """Every finding; where nobody answers or lets us in, only that one."""
    families = await api.ask("GET", FAMILIES_PATH)
    if isinstance(families, CallFault):
        return [_fault(families)]
    if families.status != 200 or not (codes := _codes(families.body)):
        return [_no_families(families)]
    findings = [
        Finding("ok", f"The PIM at {pim.base_url} answers and lets us in."),
        Finding("ok", f"{len(codes)} asset families on the first page: {', '.join(codes[:5])}."),
        _skew(families.headers),
        await _version(api),
        await _right(api, "list asset families", "GET", f"/{codes[0]}/attributes", None),
        await _right(
            api, "create and update assets", "PATCH", f"/{codes[0]}/assets", b'[{"code":""}]'
        ),
        await _right(
            api,
            "delete assets",
            "DELETE",
            f"/{codes[0]}/assets/asset_sync_{uuid.uuid4().hex}",
            None,
        ),
    ]
    if urlsplit(pim.base_url).scheme == "http" and pim.allow_http:
        remedy = "Use https: the credentials cross the network readable."
        findings.append(Finding("warning", "The PIM is called over plain http.", remedy))
    return findings


def _fault(fault: CallFault) -> Finding:
    remedy = {
        FaultKind.CREDENTIALS: "Check ASSET_SYNC_PIM__CLIENT_ID and its three neighbours, or "
        "ASSET_SYNC_PIM__APP_TOKEN.",
        FaultKind.TIMEOUT: "Is something between us and the PIM? ASSET_SYNC_PIM__PROXY_URL?",
    }.get(
        fault.kind,
        "Check ASSET_SYNC_PIM__BASE_URL, ASSET_SYNC_PIM__CA_FILE for its TLS, and "
        "ASSET_SYNC_PIM__PROXY_URL where there is a proxy.",
    )
    return Finding("failed", fault.message, remedy)


def _no_families(reply: RawReply) -> Finding:
    if reply.status == 200:
        remedy = "Create one, or let the connection see it (its role and user groups)."
        return Finding("failed", "The PIM shows no asset family.", remedy)
    remedy = {
        401: "Check the credentials.",
        403: ASSET_RIGHTS.format("list asset families"),
        404: "Is ASSET_SYNC_PIM__BASE_URL the PIM's own? Assets need its Enterprise edition.",
    }.get(reply.status, "Is it the PIM that answers there?")
    return Finding("failed", f"The asset families: HTTP {reply.status}.", remedy)


def _skew(headers: Mapping[str, str]) -> Finding:
    try:
        theirs = parsedate_to_datetime(headers.get("date", ""))
        skew = abs((datetime.now(UTC) - theirs).total_seconds())
    except Exception:  # noqa: BLE001 - whatever the parser of e-mails makes of it
        return Finding("ok", "The PIM tells no time.")
    if skew > SKEW_SECONDS_MAX:
        remedy = "Synchronize the clocks: times in outcomes and Retry-After dates go by them."
        return Finding("warning", f"Our clock and the PIM's differ by {skew:.0f} s.", remedy)
    return Finding("ok", "Our clock and the PIM's agree.")


async def _version(api: HttpAssetApi) -> Finding:
    reply = await api.ask("GET", f"{API}/system-information")
    if isinstance(reply, CallFault) or reply.status != 200:
        return Finding("warning", "The PIM does not tell its version.", "Akeneo 6.0 or later does.")
    try:
        found = msgspec.json.decode(reply.body, type=_System)
    except _UNREADABLE:
        return Finding("warning", "The PIM tells its version unreadably.")
    version, edition = found.version, found.edition
    if edition == "CE":
        remedy = "The Asset API is part of the Enterprise edition."
        return Finding("failed", f"Version {version}, edition {edition}.", remedy)
    return Finding("ok", f"Version {version}, edition {edition}.")


async def _right(
    api: HttpAssetApi, right: str, method: str, path: str, body: bytes | None
) -> Finding:
    """Ask for something that cannot change anything: only 403 says that the right is missing."""
    reply = await api.ask(method, f"{FAMILIES_PATH}{path}", body)
    if isinstance(reply, CallFault):
        return _fault(reply)
    if reply.status == 403:
        remedy = ASSET_RIGHTS.format(right)
        return Finding("failed", f"We have no right to {right}.", remedy)
    if reply.status >= 500:
        return Finding("warning", f"To {right}: HTTP {reply.status}.", "Try again later.")
    return Finding("ok", f"We have the right to {right}.")


class _System(msgspec.Struct):
    version: str = "unknown"
    edition: str = "unknown"


class _Family(msgspec.Struct):
    code: str


class _Items(msgspec.Struct):
    items: list[_Family]


class _Page(msgspec.Struct):
    embedded: _Items = msgspec.field(name="_embedded")


def _codes(body: bytes) -> list[str]:
    try:
        return [found.code for found in msgspec.json.decode(body, type=_Page).embedded.items]
    except _UNREADABLE:
        return []
