"""Every status, result, reason and error code: what it means, who acts, and what to do.

`asset-sync schema reasons` prints these tables as docs/reasons.md.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, get_args

from service.contracts.outcome import ErrorCode, Reason, Result, Status


class Meaning(NamedTuple):
    """The meaning of one status, result or reason."""

    meaning: str
    who: str
    remedy: str


NOBODY = "nobody"
CONTENT = "content people"
DAM = "the DAM's integrators"
DAM_ADMINISTRATOR = "the DAM's administrator"
PIM = "the PIM's administrator"
OPERATOR = "the operator"

STATUSES: Mapping[Status, Meaning] = {
    "applied": Meaning("The PIM has the change.", NOBODY, "None needed."),
    "superseded": Meaning(
        "Not sent, because a later delete of the same asset was applied.",
        NOBODY,
        "None needed.",
    ),
    "rejected": Meaning(
        "The change cannot be applied as it is. Its record is a dead letter.",
        "by reason",
        "Fix the cause named by the reason, then resend the change.",
    ),
    "failed": Meaning(
        "The retry budget of the change or of its family is used up. Its record is a dead letter.",
        "by reason",
        "Fix the cause named by the reason, then replay the dead letter.",
    ),
    "skipped": Meaning("Not applied on purpose.", "by reason", "None if this is intended."),
}

REASONS_OF: Mapping[Status, tuple[Reason, ...]] = {
    "rejected": (
        "undecodable",
        "invalid_event",
        "too_large",
        "unknown_family",
        "refused_by_pim",
        "invalid_values",
        "media_refused",
    ),
    "failed": ("pim_error", "timeout", "forbidden", "media_failed"),
    "skipped": ("unknown_type", "deletes_off"),
}
"""The reasons that each status of a change may have; a status that is not here has none."""

REASONS_OF_TRANSLATION: Mapping[Status, tuple[Reason, ...]] = {
    "rejected": ("undecodable", "invalid_event", "too_large", "unmappable"),
    "failed": ("fetch_failed",),
    "skipped": ("not_selected", "no_family", "not_found"),
}
"""The reasons why an item of a raw record becomes no change."""

RESULTS: Mapping[Result, Meaning] = {
    "created": Meaning("The asset did not exist before.", NOBODY, "None needed."),
    "updated": Meaning("The asset existed.", NOBODY, "None needed."),
    "deleted": Meaning("The asset was deleted.", NOBODY, "None needed."),
    "absent": Meaning("The asset to delete did not exist.", NOBODY, "None needed."),
    "merged": Meaning(
        "Sent in one call with a later change of the same asset, whose outcome has the result.",
        NOBODY,
        "See the outcome named by `merged_into`.",
    ),
}

REASONS: Mapping[Reason, Meaning] = {
    "undecodable": Meaning(
        "The record is not JSON, or it has the framing of a schema registry.",
        DAM,
        "Send JSON in one of the three forms of contract.md §4.",
    ),
    "invalid_event": Meaning(
        "The record is JSON but not a valid event: family or code is missing, headers are "
        "incomplete, or values have a wrong shape.",
        DAM,
        "`message` and `errors` say what is wrong; check events with `asset-sync convert`.",
    ),
    "too_large": Meaning(
        "The record, its `context` or the call for it exceeds a size limit.",
        DAM,
        "Send smaller events, or raise ASSET_SYNC_KAFKA__MAX_RECORD_BYTES.",
    ),
    "unknown_family": Meaning(
        "The PIM has no such asset family, or the connection may not see it.",
        f"{DAM}, or {PIM}",
        "Correct the family's code (it is case-sensitive). Or create the family or grant access to "
        "it, wait 30 s, and replay the dead letters.",
    ),
    "refused_by_pim": Meaning(
        "The PIM refused the change; `pim.errors` has its messages.",
        CONTENT,
        "Fix the values named by `errors`, then resend the change.",
    ),
    "invalid_values": Meaning(
        "The values do not fit the family's attributes. The change was not sent.",
        f"{CONTENT}, or {PIM}",
        "Fix the value or the attribute named by `errors`. To have missing options created, set "
        "ASSET_SYNC_STRUCTURE__CREATE_OPTIONS.",
    ),
    "media_refused": Meaning(
        "A file of the change may not or cannot be fetched: its host is not allowed, it is not "
        "there, or it breaks a limit on type or size. Nothing was sent.",
        f"{DAM}, or {OPERATOR}",
        "`message` names the file and the limit: correct the URL or the file, or allow the host by "
        "ASSET_SYNC_MEDIA__HOSTS; then replay.",
    ),
    "pim_error": Meaning(
        "The PIM answered this change with an error at every try, while other changes succeeded.",
        PIM,
        "See `pim.message` and the PIM's log, fix the cause, then replay.",
    ),
    "timeout": Meaning(
        "The PIM did not answer this change in time, while other changes succeeded.",
        PIM,
        "Check the rules and transformations of the asset's family in the PIM, or raise "
        "ASSET_SYNC_PIM__TIMEOUT_SECONDS; then replay.",
    ),
    "forbidden": Meaning(
        "The connection lacks the permission to do this.",
        PIM,
        "Grant the permission (`asset-sync check` names it), then replay.",
    ),
    "media_failed": Meaning(
        "A file of the change could not be fetched at any try.",
        DAM_ADMINISTRATOR,
        "See `message`, fix the cause where the file is kept, then replay.",
    ),
    "unknown_type": Meaning(
        "The event's type is not an asset change, or the event comes from the PIM itself.",
        NOBODY,
        "None if this is intended. ASSET_SYNC_EVENTS__TYPE_PREFIX limits which types are applied.",
    ),
    "deletes_off": Meaning(
        "Deletes are switched off.",
        OPERATOR,
        "To apply deletes, set ASSET_SYNC_DELETES=apply.",
    ),
    "not_selected": Meaning(
        "No rule of the source takes the event or the item.",
        NOBODY,
        "None if this is intended. `asset-sync mapping explain` shows which conditions did not "
        "hold.",
    ),
    "no_family": Meaning(
        "The item names no asset family, so it is not a product asset.",
        NOBODY,
        "None if this is intended. To have such items rejected, set `no_family: reject`.",
    ),
    "not_found": Meaning(
        "The DAM no longer has the asset that the event is about.",
        NOBODY,
        "None needed. `not_found` in the sources file can make it a delete.",
    ),
    "unmappable": Meaning(
        "The event lacks or breaks what the mapping needs.",
        DAM,
        "`message` names the rule, the attribute, the path and the line of the sources file: "
        "correct the event or the mapping, then replay.",
    ),
    "fetch_failed": Meaning(
        "The DAM repeatedly did not return this asset, while it returned others.",
        DAM_ADMINISTRATOR,
        "See `message` and the DAM's log, fix the cause, then replay.",
    ),
}


ERROR_CODES: Mapping[ErrorCode, Meaning] = {
    "unknown_attribute": Meaning(
        "The family has no such attribute.",
        f"{DAM}, or {PIM}",
        "Correct the attribute's code (it is case-sensitive), or create the attribute.",
    ),
    "unknown_option": Meaning(
        "The attribute has no such option.",
        f"{CONTENT}, or {PIM}",
        "Correct the option's code or create the option; ASSET_SYNC_STRUCTURE__CREATE_OPTIONS has "
        "missing options created.",
    ),
    "missing_locale": Meaning(
        "The attribute has a value per locale; the entry names no locale.",
        DAM,
        "Give `locale`, or set ASSET_SYNC_STRUCTURE__DEFAULT_LOCALE.",
    ),
    "unexpected_locale": Meaning(
        "The attribute has no value per locale; the entry names one.", DAM, "Leave `locale` out."
    ),
    "missing_channel": Meaning(
        "The attribute has a value per channel; the entry names no channel.", DAM, "Give `channel`."
    ),
    "unexpected_channel": Meaning(
        "The attribute has no value per channel; the entry names one.", DAM, "Leave `channel` out."
    ),
    "duplicate_value": Meaning(
        "The attribute has two values for the same locale and channel.", DAM, "Send one of them."
    ),
    "missing_data": Meaning("An entry has no `data`.", DAM, "Give `data`; null erases the value."),
    "wrong_type": Meaning(
        "The value is of a JSON type that the event's format or the attribute does not accept.",
        DAM,
        "Send the type that `message` and contract.md §4 name.",
    ),
    "not_a_number": Meaning(
        "The attribute is of type number; the value is not a number.", CONTENT, "Correct the value."
    ),
    "no_decimals": Meaning(
        "The attribute accepts whole numbers only.", CONTENT, "Correct the value."
    ),
    "out_of_range": Meaning(
        "The number is below the attribute's minimum or above its maximum.",
        CONTENT,
        "Correct the value.",
    ),
    "too_long": Meaning(
        "The text has more characters than the attribute accepts.", CONTENT, "Shorten the text."
    ),
    "too_deep": Meaning(
        "The value nests too deeply.", DAM, "Send a value of a form that contract.md §4 names."
    ),
    "missing_asset": Meaning(
        "The event names no asset.", DAM, "Give family and code, or a key of the form FAMILY/CODE."
    ),
    "missing_member": Meaning(
        "A member or header that the event needs is missing or empty.", DAM, "Give it."
    ),
    "invalid_name": Meaning(
        "A family or code is empty, too long, or has characters that are not allowed.",
        DAM,
        "Correct it by contract.md §4.",
    ),
    "invalid_base64": Meaning("`data_base64` is not Base64.", DAM, "Encode it, or give `data`."),
    "contradiction": Meaning("Two members exclude each other.", DAM, "Give one of them."),
    "wrong_content_type": Meaning(
        "The content type does not say what the record is, or says that it is not JSON.",
        DAM,
        "Set the header or attribute as contract.md §4 says.",
    ),
    "unsupported_version": Meaning("The CloudEvents version is not 1.0.", DAM, "Send 1.0."),
    "quoted_header": Meaning(
        "A `ce_*` header is in JSON quotes.", DAM, "Write these headers as plain text."
    ),
    "not_utf8": Meaning("A header is not UTF-8.", DAM, "Encode headers in UTF-8."),
}


def document() -> str:
    """Return docs/reasons.md: a table each of statuses, results, reasons and error codes."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# Statuses, results, reasons and error codes of outcomes"
    yield ""
    yield "This page is generated: `make schemas`. Within v1, results, reasons and error codes may"
    yield "be added. No status is added. An error code is the `code` of an entry in `errors`; it is"
    yield "null for an error that the PIM named."
    tables = {
        "Statuses": [(word, STATUSES[word]) for word in get_args(Status)],
        "Results": [(word, RESULTS[word]) for word in get_args(Result)],
        "Reasons": [(word, REASONS[word]) for word in get_args(Reason)],
        "Error codes": [(word, ERROR_CODES[word]) for word in get_args(ErrorCode)],
    }
    for title, rows in tables.items():
        yield from ("", f"## {title}", "")
        yield from ("| word | means | who acts | what to do |", "|---|---|---|---|")
        for word, (meaning, who, remedy) in rows:
            yield f'| <a id="{word}"></a>`{word}` | {meaning} | {who} | {remedy} |'
    yield ""
