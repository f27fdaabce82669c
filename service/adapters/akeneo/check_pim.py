"""The checks of the PIM in `asset-sync check`; they change nothing in the PIM."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from service.adapters.akeneo.api import HttpAssetApi
from service.contracts.json_flaw import UNREADABLE
from service.core.inputs import CallFault, FaultKind
from service.ports import FAMILIES_PATH, Finding
from service.settings import PimSettings

SYSTEM_PATH = "/api/rest/v1/system-information"
SKEW_SECONDS_MAX = 60.0

GRANT = "Give the role of the connection the permission to {}."


async def check_pim(api: HttpAssetApi, pim: PimSettings) -> list[Finding]:
    """Return all findings; only one if the PIM does not answer or refuses the credentials."""
    families = await api.ask("GET", FAMILIES_PATH)
    if isinstance(families, CallFault):
        return [_fault(families)]
    codes = _codes(families.body)
    if families.status != 200 or not codes:
        return [_no_families(families.status, codes, pim)]
    findings = [
        Finding("ok", f"The PIM at {pim.base_url} answers and accepts the credentials."),
        Finding("ok", f"{len(codes)} asset families on the first page: {', '.join(codes[:5])}."),
        _skew(families.headers),
        await _version(api),
        await _permission(api, "list asset families", "GET", f"/{codes[0]}/attributes", None),
        await _permission(
            api, "create and update assets", "PATCH", f"/{codes[0]}/assets", b'[{"code":""}]'
        ),
        await _permission(
            api,
            "delete assets",
            "DELETE",
            f"/{codes[0]}/assets/asset_sync_{uuid.uuid4().hex}",
            None,
        ),
    ]
    if urlsplit(pim.base_url).scheme == "http" and pim.allow_http:
        remedy = "Use https: with http, the credentials are readable on the network."
        findings.append(Finding("warning", "The PIM is called over plain http.", remedy))
    return findings


def _fault(fault: CallFault) -> Finding:
    remedy = {
        FaultKind.CREDENTIALS: "Check ASSET_SYNC_PIM__CLIENT_ID, __CLIENT_SECRET, __USERNAME "
        "and __PASSWORD, or ASSET_SYNC_PIM__APP_TOKEN.",
        FaultKind.TIMEOUT: "Check that no firewall blocks the PIM, and ASSET_SYNC_PIM__PROXY_URL "
        "if there is a proxy.",
    }.get(
        fault.kind,
        "Check ASSET_SYNC_PIM__BASE_URL, ASSET_SYNC_PIM__CA_FILE if a private CA signed its "
        "certificate, and ASSET_SYNC_PIM__PROXY_URL if there is a proxy.",
    )
    return Finding("failed", fault.message, remedy)


def _no_families(status: int, codes: list[str] | None, pim: PimSettings) -> Finding:
    if status == 200 and codes is None:
        remedy = (
            "Check ASSET_SYNC_PIM__BASE_URL, and ASSET_SYNC_PIM__PROXY_URL if there is a proxy."
        )
        return Finding(
            "failed",
            f"What answers at {pim.base_url} is not the API of a PIM: it answers HTTP 200, but "
            "with no list of asset families.",
            remedy,
        )
    if status == 200:
        remedy = "Create one, or let the user of the connection see one (its role and groups)."
        return Finding("failed", "The PIM shows no asset family.", remedy)
    remedy = {
        401: "Check the credentials.",
        403: GRANT.format("list asset families"),
        404: "Check ASSET_SYNC_PIM__BASE_URL. The Asset API needs the Enterprise edition or SaaS.",
    }.get(status, "Check that the PIM itself answers at ASSET_SYNC_PIM__BASE_URL.")
    return Finding("failed", f"Listing the asset families failed with HTTP {status}.", remedy)


def _skew(headers: Mapping[str, str]) -> Finding:
    try:
        theirs = parsedate_to_datetime(headers.get("date", ""))
        skew = abs((datetime.now(UTC) - theirs).total_seconds())
    except Exception:  # noqa: BLE001 - the parser is meant for e-mail and raises various errors
        return Finding("ok", "The PIM sent no Date header, so the clocks were not compared.")
    if skew > SKEW_SECONDS_MAX:
        remedy = "Synchronize the clocks: times in outcomes and Retry-After depend on them."
        return Finding("warning", f"The clocks here and in the PIM differ by {skew:.0f} s.", remedy)
    return Finding("ok", f"The clocks here and in the PIM agree to within {SKEW_SECONDS_MAX:g} s.")


async def _version(api: HttpAssetApi) -> Finding:
    reply = await api.ask("GET", SYSTEM_PATH)
    if isinstance(reply, CallFault) or reply.status != 200:
        return Finding(
            "warning", "The PIM does not report its version.", "Akeneo 6.0 or later does."
        )
    try:
        found = msgspec.json.decode(reply.body, type=_System)
    except UNREADABLE:
        return Finding("warning", "The PIM reports its version in an unknown format.")
    version, edition = found.version, found.edition
    if edition == "CE":
        remedy = "The Asset API needs the Enterprise edition or SaaS."
        return Finding("failed", f"Version {version}, edition {edition}.", remedy)
    return Finding("ok", f"Version {version}, edition {edition}.")


async def _permission(
    api: HttpAssetApi, permission: str, method: str, path: str, body: bytes | None
) -> Finding:
    """Send a request that cannot change anything; 403 means that the permission is missing."""
    reply = await api.ask(method, f"{FAMILIES_PATH}{path}", body)
    if isinstance(reply, CallFault):
        return _fault(reply)
    if reply.status == 403:
        message = f"The connection has no permission to {permission}."
        return Finding("failed", message, GRANT.format(permission))
    if reply.status >= 500:
        message = f"The check of the permission to {permission} failed with HTTP {reply.status}."
        return Finding("warning", message, "Try again later.")
    return Finding("ok", f"The connection has the permission to {permission}.")


class _System(msgspec.Struct):
    version: str = "unknown"
    edition: str = "unknown"


class _Family(msgspec.Struct):
    code: str


class _Items(msgspec.Struct):
    items: list[_Family]


class _Page(msgspec.Struct):
    embedded: _Items = msgspec.field(name="_embedded")


def _codes(body: bytes) -> list[str] | None:
    """Return the codes of a page of families, or None if the body is not such a page."""
    try:
        return [found.code for found in msgspec.json.decode(body, type=_Page).embedded.items]
    except UNREADABLE:
        return None
