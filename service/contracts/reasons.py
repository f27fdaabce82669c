"""Every status, result and reason: what it means, who acts, what to do.

docs/reasons.md is made of it.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, get_args

from service.contracts.outcome import Reason, Result, Status


class Meaning(NamedTuple):
    """What a word of an outcome means."""

    meaning: str
    who: str
    remedy: str


NOBODY = "nobody"
CONTENT = "content people"
DAM = "the DAM's integrators"
PIM = "the PIM's administrator"
OPERATOR = "the operator"

STATUSES: Mapping[Status, Meaning] = {
    "applied": Meaning("The PIM has the change.", NOBODY, "None needed."),
    "superseded": Meaning(
        "A later delete of the same asset, which was applied, made it needless.",
        NOBODY,
        "None needed.",
    ),
    "rejected": Meaning(
        "The change can never be applied as it is; its record is a dead letter.",
        "by reason",
        "Mend what the reason names, then send the change again.",
    ),
    "failed": Meaning(
        "The change's own or its family's patience is used up; its record is a dead letter.",
        "by reason",
        "Mend what the reason names, then replay the dead letter.",
    ),
    "skipped": Meaning("On purpose not applied.", "by reason", "None, where it was meant."),
}

REASONS_OF: Mapping[Status, tuple[Reason, ...]] = {
    "rejected": (
        "undecodable",
        "invalid_event",
        "too_large",
        "unknown_family",
        "refused_by_pim",
        "invalid_values",
    ),
    "failed": ("pim_error", "timeout", "forbidden"),
    "skipped": ("unknown_type", "deletes_off"),
}
"""The reasons that each status may have; a status that is not here has none."""

RESULTS: Mapping[Result, Meaning] = {
    "created": Meaning("The asset was not there before.", NOBODY, "None needed."),
    "updated": Meaning("The asset was there.", NOBODY, "None needed."),
    "deleted": Meaning("The asset is gone.", NOBODY, "None needed."),
    "absent": Meaning("A delete of what was not there.", NOBODY, "None needed."),
    "merged": Meaning(
        "Went to the PIM in one call with a later change, which carries the call's result.",
        NOBODY,
        "See the outcome that `merged_into` names.",
    ),
}

REASONS: Mapping[Reason, Meaning] = {
    "undecodable": Meaning(
        "The record is no JSON, or framed for a schema registry.",
        DAM,
        "Send JSON by one of the three forms of contract.md §4.",
    ),
    "invalid_event": Meaning(
        "JSON, but no event: no family or code, incomplete headers, values of a wrong shape.",
        DAM,
        "`message` and `errors` name the place; `asset-sync convert` tries an event.",
    ),
    "too_large": Meaning(
        "The record, its context or its call exceeds a limit.",
        DAM,
        "Send less at once, or raise ASSET_SYNC_KAFKA__MAX_RECORD_BYTES.",
    ),
    "unknown_family": Meaning(
        "The PIM has no such asset family, or hides it from the connection.",
        f"{DAM}, or {PIM}",
        "Correct the family's code (it is case-sensitive), or create or grant the family, wait "
        "30 s, and replay the dead letters.",
    ),
    "refused_by_pim": Meaning(
        "The PIM judged the change and refused it; `pim.errors` has its own words.",
        CONTENT,
        "Mend what `errors` name.",
    ),
    "invalid_values": Meaning(
        "The family's attributes do not take these values; no call was made for it.",
        f"{CONTENT}, or {PIM}",
        "Mend the value or the attribute that `errors` name; "
        "ASSET_SYNC_STRUCTURE__CREATE_OPTIONS creates missing options.",
    ),
    "pim_error": Meaning(
        "The PIM failed on this change again and again, and on others not.",
        PIM,
        "`pim.message` has the fault; look into the PIM's log, then replay.",
    ),
    "timeout": Meaning(
        "The PIM did not answer for this change, and for others it did.",
        PIM,
        "Look into the asset's rules and transformations; ASSET_SYNC_PIM__TIMEOUT_SECONDS.",
    ),
    "forbidden": Meaning(
        "The connection has no right to do this.",
        PIM,
        "Grant it (`asset-sync check` names which), then replay.",
    ),
    "unknown_type": Meaning(
        "The event's type is none of an asset's, or is the PIM's own echo.",
        NOBODY,
        "None, where it was meant; ASSET_SYNC_EVENTS__TYPE_PREFIX narrows what is ours.",
    ),
    "deletes_off": Meaning(
        "Deletes are switched off here.",
        OPERATOR,
        "ASSET_SYNC_DELETES=apply, where they should be applied.",
    ),
}


def document() -> str:
    """docs/reasons.md: three tables."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# What an outcome's words mean"
    yield ""
    yield "Made by `asset-sync schema reasons`; a test holds it to the code. Within v1 the statuses"
    yield "are closed; results and reasons may be added."
    tables = {
        "Statuses": [(word, STATUSES[word]) for word in get_args(Status)],
        "Results": [(word, RESULTS[word]) for word in get_args(Result)],
        "Reasons": [(word, REASONS[word]) for word in get_args(Reason)],
    }
    for title, rows in tables.items():
        yield from ("", f"## {title}", "")
        yield from ("| word | means | who acts | what to do |", "|---|---|---|---|")
        for word, (meaning, who, remedy) in rows:
            yield f'| <a id="{word}"></a>`{word}` | {meaning} | {who} | {remedy} |'
    yield ""
