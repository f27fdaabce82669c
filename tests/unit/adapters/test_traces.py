"""The spans of a replica, their parents and their links."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service.adapters.telemetry import traces as module
from service.adapters.telemetry.traces import Traces
from service.core.facts import Fact, TransactionCommitted
from service.core.inputs import (
    Answer,
    Arrived,
    CallFault,
    CallReply,
    CommitRefusal,
    DrainKind,
    FaultKind,
    Input,
)
from service.core.model import Headers, Origin, Partition, SourceRecord
from service.core.records import ChangeRecord, CompletedChange, LogRecord, Transaction
from service.core.requests import DeleteOne, GetFamilies, Request
from service.ports import Observers
from service.settings import load
from service.translation.facts import PartResult, RecordsTranslated, TranslatedRecord

PLACE = Partition("events", 1)
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01".encode()
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00".encode()


@dataclass
class TracedRun:
    """A tracer, its exported spans, and a PIM and a log that answer as the test sets them."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    answer: Answer = field(default_factory=lambda: CallReply(204))
    refusal: CommitRefusal | None = None
    written: list[Transaction] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Trace every event whose producer did not decide."""
        pim = {"ASSET_SYNC_PIM__BASE_URL": "https://pim.example", "ASSET_SYNC_PIM__APP_TOKEN": "t"}
        self.traces = Traces(load(pim, None).settings, "1.2.3", self.exporter)

    async def send(
        self,
        request: Request,  # noqa: ARG002 - of the port
        origins: tuple[Origin, ...] = (),  # noqa: ARG002
        *,
        permit: Callable[[], Awaitable[None]],  # noqa: ARG002
        may_write: Callable[[], bool],  # noqa: ARG002
    ) -> Answer:
        """Answer as an `AssetApi`."""
        return self.answer

    async def write(self, transaction: Transaction) -> CommitRefusal | None:
        """Answer as an `OutcomeLog`."""
        self.written.append(transaction)
        return self.refusal

    def arrive(self, *headers: Headers, epoch: int = 1) -> list[Origin]:
        """Let a record arrive for each, and return their origins."""
        origins = [Origin(PLACE, offset, epoch) for offset in range(len(headers))]
        records = (
            SourceRecord(origin, b"f/a", None, found)
            for origin, found in zip(origins, headers, strict=True)
        )
        self.traces.arrived(Arrived(tuple(records)))
        return origins

    async def call(self, *origins: Origin, request: Request = DeleteOne("f", "a")) -> None:  # noqa: B008 - frozen
        """Make a call that carries these changes."""

        async def permit() -> None: ...

        api = self.traces.around_api(self)
        await api.send(request, origins, permit=permit, may_write=lambda: True)

    async def commit(self, *origins: Origin, reason: bool = False) -> list[Headers]:
        """Commit the outcomes of these changes, and return the headers of the outcomes."""
        outcomes = [_outcome(origin) for origin in origins]
        log = self.traces.around_log(self)
        refusal = await log.write(Transaction(tuple(outcomes), (), {}))
        if refusal is None:
            completed = tuple(
                CompletedChange(
                    PLACE,
                    origin.offset,
                    outcome,
                    None,
                    1,
                    status="rejected" if reason else "applied",
                    reason="too_large" if reason else None,
                )
                for origin, outcome in zip(origins, outcomes, strict=True)
            )
            self.traces.note(TransactionCommitted(len(completed), 0.1, completed))
        return [record.headers for record in self.written[-1].outcomes]

    def spans(self, name: str) -> list[ReadableSpan]:
        """Return the ended spans, by the first word of their names."""
        self.traces._processor.force_flush()
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(name)]


def _outcome(origin: Origin) -> LogRecord:
    return LogRecord(b"f/a", b"{}", (("ce_id", origin.outcome_id.encode()), ("traceparent", b"x")))


def traced(content: bytes = PARENT, name: str = "traceparent") -> Headers:
    """Return the headers of a record that is traced."""
    return ((name, content),)


def linked(span: ReadableSpan) -> set[int]:
    """Return the ids of the spans that the span links to."""
    return {link.context.span_id for link in span.links}


def id_of(span: ReadableSpan) -> int:
    """Return the id of the span."""
    assert span.context is not None
    return int(span.context.span_id)


async def test_from_the_event_to_the_outcome_is_one_trace() -> None:
    """The record's span is a child of the producer's, and the outcome carries its context."""
    run = TracedRun()
    (origin,) = run.arrive(traced())
    await run.call(origin)
    (headers,) = await run.commit(origin)

    (process,) = run.spans("process events")
    assert process.kind is SpanKind.CONSUMER
    assert process.parent is not None
    assert process.parent.span_id == 0xB7AD6B7169203331
    assert process.attributes is not None
    assert process.attributes["messaging.kafka.offset"] == 0
    assert process.attributes["messaging.kafka.message.tombstone"] is True
    assert process.attributes["asset_sync.outcome.status"] == "applied"
    carried = dict(headers)["traceparent"]
    assert carried == f"00-{TRACE}-{id_of(process):016x}-01".encode()
    assert [name for name, _ in headers].count("traceparent") == 1

    (call,) = run.spans("DELETE /api/rest/v1/asset-families/{asset_family_code}/assets/{code}")
    assert call.kind is SpanKind.CLIENT
    assert call.parent is not None
    assert call.parent.span_id == id_of(process)
    assert call.attributes is not None
    assert call.attributes["http.response.status_code"] == 204
    assert call.attributes["server.address"] == "pim.example"


async def test_the_changes_and_outcomes_of_a_raw_record_continue_its_trace() -> None:
    """Each carries the context of the record's span, which ends as the worst of its items."""
    run = TracedRun()
    (origin,) = run.arrive(traced())
    part = LogRecord(b"k", b"{}", (("ce_id", f"{origin.outcome_id}#1".encode()),))
    change = ChangeRecord(b"f/a", b"{}", (("content-type", b"x"), *traced()), PLACE, 0)
    written = Transaction((part,), (), {}, (change,))
    assert await run.traces.around_log(run).write(written) is None
    results = (PartResult("upsert"), PartResult("rejected", "unmappable"))
    record = TranslatedRecord(PLACE, 0, results, 0, 0)
    run.traces.note(RecordsTranslated(1, 1, 0.1, (record,)))

    (process,) = run.spans("process events")
    context = f"00-{TRACE}-{id_of(process):016x}-01".encode()
    carried = run.written[-1]
    assert dict(carried.outcomes[0].headers)["traceparent"] == context
    assert carried.changes[0].headers == (("content-type", b"x"), ("traceparent", context))
    assert (carried.changes[0].partition, carried.changes[0].offset) == (PLACE, 0)
    assert process.attributes is not None
    assert process.attributes["asset_sync.outcome.reason"] == "unmappable"
    (send,) = run.spans("send")
    assert send.attributes is not None
    assert send.attributes["messaging.batch.message_count"] == 2
    assert [link.context.span_id for link in send.links] == [id_of(process)]


async def test_what_carries_several_changes_links_to_each() -> None:
    """Poll, call and send have no single parent."""
    run = TracedRun()
    origins = run.arrive(traced(), traced(), ())
    await run.call(*origins)
    await run.commit(*origins)

    wanted = {id_of(span) for span in run.spans("process")}
    assert len(wanted) == 3
    for name in ("poll events", "DELETE", "send pim.asset-outcomes"):
        (span,) = run.spans(name)
        assert span.parent is None
        assert linked(span) == wanted
    (poll,) = run.spans("poll")
    assert poll.attributes is not None
    assert poll.attributes["messaging.batch.message_count"] == 3


@pytest.mark.parametrize("name", ["traceparent", "ce_traceparent"])
async def test_what_the_producer_left_out_is_left_out(name: str) -> None:
    """The producer's decision holds for all later spans, and nothing is kept."""
    run = TracedRun()
    (origin,) = run.arrive(traced(UNSAMPLED, name))
    await run.call(origin)
    (headers,) = await run.commit(origin)
    assert run.spans("") == []
    assert dict(headers)["traceparent"] == b"x", "as the record brought it"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"00-zz-1-01", b"x" * 10_000])
async def test_a_context_that_cannot_be_read_begins_a_trace(content: bytes) -> None:
    """Unreadable headers are a normal case."""
    run = TracedRun()
    (origin,) = run.arrive(traced(content))
    await run.commit(origin)
    (process,) = run.spans("process")
    assert process.parent is None


async def test_failures_are_marked() -> None:
    """A failed call, transaction or change is an error in its span."""
    run = TracedRun(answer=CallFault(FaultKind.TIMEOUT, "No answer."))
    (origin,) = run.arrive(traced())
    await run.call(origin)
    run.answer = CallReply(503)
    await run.call(origin)
    run.refusal = CommitRefusal.REBALANCE_IN_PROGRESS
    await run.commit(origin)
    run.refusal = None
    await run.commit(origin, reason=True)

    told = [
        (span.status.status_code, (span.attributes or {}).get("error.type"))
        for name in ("DELETE", "send", "process")
        for span in run.spans(name)
    ]
    assert told == [
        (StatusCode.ERROR, "timeout"),
        (StatusCode.ERROR, "503"),
        (StatusCode.ERROR, "rebalance_in_progress"),
        (StatusCode.UNSET, None),
        (StatusCode.ERROR, "too_large"),
    ]


async def test_logins_and_other_assignments_are_not_traced() -> None:
    """A login carries no change, and a record of an earlier assignment never ends."""
    run = TracedRun()
    await run.call(request=GetFamilies())
    (old,) = run.arrive(traced())
    run.arrive(traced(), traced(), epoch=2)
    await run.call(old)
    assert len(run.traces._open) == 2
    assert len(run.spans("GET")) == 0


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records whose outcome was committed before a restart arrive again and never end."""
    monkeypatch.setattr(module, "SPANS_OPEN_MAX", 10)
    run = TracedRun()
    run.arrive(*[traced()] * 50)
    assert len(run.traces._open) == 10


async def test_closing_sends_what_is_left() -> None:
    """A replica that stops exports its last spans."""
    run = TracedRun()
    (origin,) = run.arrive(traced())
    await run.commit(origin)
    await asyncio.to_thread(run.traces.close)
    assert len(run.exporter.get_finished_spans()) == 3


class Taken:
    """An `Inbox`, and an observer of what fails."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self.facts: list[Fact] = []

    def submit(self, happened: Input) -> None:
        raise AssertionError(happened)

    async def take_in(self, arrived: Arrived) -> None:
        self.arrived.append(arrived)

    async def drain(self, kind: DrainKind, seconds: float) -> int:
        raise AssertionError(kind, seconds)

    def note(self, fact: Fact) -> None:
        self.facts.append(fact)


async def test_records_are_taken_in_even_if_no_span_can_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug in tracing is reported; it must not stop the intake."""
    tracer, taken = TracedRun(), Taken()
    inbox = tracer.traces.around_inbox(taken, Observers(taken))
    monkeypatch.setattr(tracer.traces, "_begin", None)
    record = SourceRecord(Origin(PLACE, 0, 1), b"f/a", None, traced())
    await inbox.take_in(Arrived((record,)))

    assert [one.records for one in taken.arrived] == [(record,)]
    assert [fact.name for fact in taken.facts] == ["observer.failed"]
