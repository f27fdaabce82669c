"""Which limits hold something back, as far as a replica's state and effects tell."""

from collections.abc import Iterator, Sequence

from service.core.effects import Commit, Effect, SetIntake, StartCall
from service.core.facts import DeadLetterLimitReached, DeleteCeilingReached, WindowClosed
from service.core.pipeline import Pipeline

BY_CORE = (
    "assets a window",
    "pending changes while the breaker is open",
    "bytes a transaction",
    "bytes a window",
    "calls a second",
    "calls at once",
    "changes an asset",
    "dead letters",
    "deletes an hour",
    "downloads at once",
    "files on disk",
    "map",
    "outcomes a transaction",
    "pending bytes",
    "pending changes",
    "span",
    "uploads at once",
)
LIMITS = (
    *BY_CORE,
    "calls a second of the PIM",
    "commit metadata",
    "bytes a transaction of the broker",
    "share in repair",
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
            case Commit():
                yield from _of_transaction(pipeline, effect)
            case SetIntake(paused) if paused:
                yield from _of_intake(pipeline)
            case WindowClosed(by="assets" | "bytes" as by):
                yield f"{by} a window"
            case DeadLetterLimitReached():
                yield "dead letters"
            case DeleteCeilingReached():
                yield "deletes an hour"
    if pipeline.ledger.waits_for_watermark:
        yield "map"
    yield from _of_files(pipeline)


def _of_gate(pipeline: Pipeline) -> Iterator[str]:
    gate, windows = pipeline.dispatcher.gate, pipeline.dispatcher.windows
    if windows.longest_wait(pipeline._moment.seconds) <= 0.0:
        return
    if len(gate.in_flight) >= gate.cap > 0:
        yield "calls at once"
    elif gate.cap > 0 and not gate.rate.allows(pipeline._moment.seconds):
        yield "calls a second"


def _of_files(pipeline: Pipeline) -> Iterator[str]:
    downloads, gate = pipeline.dispatcher.files.downloads, pipeline.dispatcher.gate
    waiting = downloads._queue.first(pipeline._moment.seconds) if downloads else None
    if waiting is not None:
        is_full = downloads.in_flight >= downloads._limits.media.downloads_at_once_max
        yield "downloads at once" if is_full else "files on disk"
    if gate.cap and not gate.may_upload and pipeline.dispatcher.lanes._uploads:
        yield "uploads at once"


def _of_call(pipeline: Pipeline, call_id: int) -> Iterator[str]:
    call = pipeline.dispatcher.slots.writes.get(call_id)
    most = pipeline._limits.changes_per_asset_max
    if call is not None and any(
        work.behind and len(work.open_changes) == most for work in call.batch
    ):
        yield "changes an asset"


def _of_transaction(pipeline: Pipeline, complete: Commit) -> Iterator[str]:
    left = pipeline.ledger._ready
    if not left:
        return
    limits, chosen = pipeline._limits, pipeline.ledger._chosen
    outcomes = len(complete.transaction.outcomes) + len(left[0])
    size = sum(one.size for group in (*chosen, left[0]) for one in group)
    if outcomes > limits.transaction_outcomes_max:
        yield "outcomes a transaction"
    elif size > pipeline._outbox._size.bytes_max:
        yield "bytes a transaction"
    else:
        yield "map"


def _of_intake(pipeline: Pipeline) -> Iterator[str]:
    ledger, limits = pipeline.ledger, pipeline._limits
    if any(ledger.span(one) >= limits.span_pause_offsets for one in ledger.partitions):
        yield "span"
    if ledger.pending_changes >= limits.pending_changes_max:
        yield "pending changes"
    if ledger.pending_bytes >= limits.pending_bytes_max:
        yield "pending bytes"
    is_open = pipeline.dispatcher.lanes.breaker.is_open
    if (
        is_open
        and limits.breaker_pending_changes <= ledger.pending_changes < limits.pending_changes_max
    ):
        yield "pending changes while the breaker is open"
