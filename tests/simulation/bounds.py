"""Which limits hold something back, as far as a replica's state and effects tell."""

from collections.abc import Iterator, Sequence

from service.core.effects import Effect, SetIntake, Settle, StartCall
from service.core.facts import Note
from service.core.pipeline import Pipeline

BY_CORE = (
    "assets a window",
    "breaker's held changes",
    "bytes a transaction",
    "bytes a window",
    "calls a second",
    "calls at once",
    "changes an asset",
    "dead letters",
    "map",
    "outcomes a transaction",
    "pending bytes",
    "pending changes",
    "span",
)
LIMITS = (
    *BY_CORE,
    "calls a second of the PIM",
    "commit metadata",
    "patience's share",
    "retry budget",
    "unknown families remembered",
)
"""Every limit that worlds make small."""


def bounds(pipeline: Pipeline, effects: Sequence[Effect]) -> Iterator[str]:
    """The limits that bound in this step."""
    yield from _of_gate(pipeline)
    for effect in effects:
        match effect:
            case StartCall(call_id):
                yield from _of_call(pipeline, call_id)
            case Settle():
                yield from _of_settlement(pipeline, effect)
            case SetIntake(paused) if paused:
                yield from _of_intake(pipeline)
            case Note("window.closed", fields) if fields["by"] in {"assets", "bytes"}:
                yield f"{fields['by']} a window"
            case Note("dead_letters.limit_reached"):
                yield "dead letters"
    if pipeline.ledger.waits_for_watermark:
        yield "map"


def _of_gate(pipeline: Pipeline) -> Iterator[str]:
    gate, windows = pipeline.calls.gate, pipeline.calls.windows
    if windows.longest_wait(pipeline._moment.seconds) <= 0.0:
        return
    if len(gate.in_flight) >= gate.cap > 0:
        yield "calls at once"
    elif gate.cap > 0 and len(gate._sent) >= gate.rate:
        yield "calls a second"


def _of_call(pipeline: Pipeline, call_id: int) -> Iterator[str]:
    call = pipeline.calls.in_flight.get(call_id)
    most = pipeline._rules.changes_per_asset_max
    if call is not None and any(job.behind and len(job.open_changes) == most for job in call.jobs):
        yield "changes an asset"


def _of_settlement(pipeline: Pipeline, settle: Settle) -> Iterator[str]:
    left = pipeline.ledger._ready
    if not left:
        return
    rules, chosen = pipeline._rules, pipeline.ledger._chosen
    outcomes = len(settle.settlement.outcomes) + len(left[0])
    size = sum(one.size for group in (*chosen, left[0]) for one in group)
    if outcomes > rules.transaction_outcomes_max:
        yield "outcomes a transaction"
    elif size > rules.transaction_bytes_max:
        yield "bytes a transaction"
    else:
        yield "map"


def _of_intake(pipeline: Pipeline) -> Iterator[str]:
    ledger, rules = pipeline.ledger, pipeline._rules
    if any(ledger.span(one) >= rules.span_pause_offsets for one in ledger.partitions):
        yield "span"
    if ledger.held_changes >= rules.pending_changes_max:
        yield "pending changes"
    if ledger.held_bytes >= rules.pending_bytes_max:
        yield "pending bytes"
    is_open = pipeline.calls.lanes.breaker.is_open
    if is_open and rules.breaker_held_changes <= ledger.held_changes < rules.pending_changes_max:
        yield "breaker's held changes"
