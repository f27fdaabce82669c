"""OpenTelemetry spans, named by its conventions for messaging and HTTP.

A record's `process` span lasts from its arrival to its committed outcome, as a child of the span
that its `traceparent` header names. A call links to the spans of the changes that it carries; an
outcome carries the context of its change. Only this file imports OpenTelemetry, which is an extra
(`otel`): without an endpoint in the settings, this file is not imported and adds no work.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
from msgspec.structs import replace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace import set_span_in_context as within
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.contracts.outcome import DEAD_STATUSES
from service.core.facts import Fact, TransactionCommitted
from service.core.inputs import Answer, Arrived, CallReply, CommonInput, DrainKind, Refusal
from service.core.model import Headers, Origin, Partition, SourceRecord
from service.core.records import ChangeRecord, LogRecord, Transaction
from service.core.requests import Request
from service.core.settle.report import CONTEXT_HEADERS
from service.ports import ENDPOINTS, AssetApi, Inbox, Observers, OutcomeLog
from service.settings import Settings
from service.translation.facts import RecordsTranslated

SPANS_OPEN_MAX = 20_000
"""Most records in progress whose spans are kept; beyond it, the oldest spans are dropped."""
LINKS_MAX = 128

_propagator = TraceContextTextMapPropagator()

RecordId = tuple[Partition, int]


class _Names(NamedTuple):
    """Names of the group, the outcomes topic and the PIM for the attributes of spans."""

    group: str
    outcomes_topic: str
    pim_host: str
    pim_port: int


class Traces:
    """The spans of one replica; as an `Observer`, it ends a record's span with its outcome."""

    def __init__(
        self, settings: Settings, version: str, exporter: SpanExporter | None = None
    ) -> None:
        """Set up the export of spans.

        Args:
            settings: name the endpoint, the share of traces, and what the spans name.
            version: the version of asset-sync.
            exporter: takes the spans instead of the endpoint in the settings.
        """
        resource = Resource.create({"service.name": "asset-sync", "service.version": version})
        if exporter is None:
            session = requests.Session()
            session.trust_env = False  # the proxy variables of the environment do not count
            exporter = OTLPSpanExporter(endpoint=settings.traces.endpoint, session=session)
        self._processor = BatchSpanProcessor(exporter)
        by_ratio = ParentBased(TraceIdRatioBased(settings.traces.sample_ratio))
        chosen = TracerProvider(sampler=by_ratio, resource=resource, shutdown_on_exit=False)
        chosen.add_span_processor(self._processor)
        always = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        always.add_span_processor(self._processor)
        self._by_ratio = chosen.get_tracer("asset-sync", version)
        self._always = always.get_tracer("asset-sync", version)
        url = urlsplit(settings.pim.base_url)
        self._names = _Names(
            settings.kafka.group_id,
            settings.kafka.outcomes_topic,
            url.hostname or "",
            url.port or (443 if url.scheme == "https" else 80),
        )
        self._epoch = -1
        self._open: OrderedDict[RecordId, Span] = OrderedDict()

    def arrived(self, arrived: Arrived) -> None:
        """Begin a span for each record that was read, and add one for each topic of the poll."""
        by_topic: dict[str, list[Span]] = {}
        began = time.time_ns()
        for record in arrived.records:
            span = self._begin(record)
            by_topic.setdefault(record.origin.partition.topic, []).append(span)
        for topic, spans in by_topic.items():
            attributes = self._messaging("poll", "receive", topic)
            attributes["messaging.batch.message_count"] = len(spans)
            links = _links(spans)
            if links:
                self._always.start_span(
                    f"poll {topic}",
                    context=Context(),
                    kind=SpanKind.CLIENT,
                    attributes=attributes,
                    links=links,
                    start_time=began,
                ).end()

    def note(self, fact: Fact) -> None:
        if isinstance(fact, TransactionCommitted):
            for completed in fact.completed:
                self._end(completed.partition, completed.offset, completed.status, completed.reason)
        elif isinstance(fact, RecordsTranslated):
            for record in fact.completed:
                # A span has one status: the first that needs a person, if there is any.
                worst = min(record.results, key=lambda one: one.result not in DEAD_STATUSES)
                self._end(record.partition, record.offset, worst.result, worst.reason)

    def _end(self, partition: Partition, offset: int, status: str, reason: str | None) -> None:
        """End the span of a record with the status of its outcome."""
        span = self._open.pop((partition, offset), None)
        if span is None:
            return
        span.set_attribute("asset_sync.outcome.status", status)
        if reason is not None:
            span.set_attribute("asset_sync.outcome.reason", reason)
        if status in DEAD_STATUSES:
            span.set_attribute("error.type", reason or status)
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def around_api(self, api: AssetApi) -> AssetApi:
        """Return the API with a span for each call."""
        return _TracedApi(api, self)

    def around_log(self, log: OutcomeLog) -> OutcomeLog:
        """Return the log with a span for each transaction, and with trace context in outcomes."""
        return _TracedLog(log, self)

    def around_inbox(self, inbox: Inbox, observers: Observers) -> Inbox:
        """Return the inbox with a span for each poll and for each record."""
        return _TracedInbox(inbox, self, observers)

    def close(self) -> None:
        """Export the remaining spans, which takes a few seconds at most."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    @contextmanager
    def call(self, request: Request, origins: Iterable[Origin]) -> Iterator[Span | None]:
        """Open the span of a call; None if no change that the call carries is traced."""
        _, method, template = ENDPOINTS[type(request)]
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.template": template,
            "server.address": self._names.pim_host,
            "server.port": self._names.pim_port,
        }
        changes = [span for one in origins if (span := self._open.get(_record_id(one)))]
        if not changes:
            yield None
            return
        parent = within(changes[0]) if len(changes) == 1 else Context()
        links = _links(changes) if len(changes) > 1 else ()
        with self._always.start_as_current_span(
            f"{method} {template}",
            context=parent,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            links=links,
        ) as span:
            yield span

    @contextmanager
    def send(self, transaction: Transaction) -> Iterator[Transaction]:
        """Open the span of a transaction, and yield it with trace context in its records."""
        spans: list[Span] = []
        outcomes = tuple(self._outcome_with_context(one, spans) for one in transaction.outcomes)
        changes = tuple(self._change_with_context(one, spans) for one in transaction.changes)
        if not spans:
            yield transaction
            return
        topic = self._names.outcomes_topic
        attributes = self._messaging("send", "send", topic)
        attributes["messaging.batch.message_count"] = len(outcomes) + len(changes)
        with self._always.start_as_current_span(
            f"send {topic}",
            context=Context(),
            kind=SpanKind.PRODUCER,
            attributes=attributes,
            links=_links(dict.fromkeys(spans)),
        ):
            yield replace(transaction, outcomes=outcomes, changes=changes)

    def _begin(self, record: SourceRecord) -> Span:
        origin = record.origin
        if origin.epoch != self._epoch:
            self._epoch = origin.epoch
            self._open.clear()  # the new owner of these partitions traces their records
        topic, number = origin.partition
        attributes = self._messaging("process", "process", topic)
        attributes["messaging.destination.partition.id"] = str(number)
        attributes["messaging.kafka.offset"] = origin.offset
        if record.key is not None:
            attributes["messaging.kafka.message.key"] = record.key.decode("utf-8", "replace")
        if record.value is None:
            attributes["messaging.kafka.message.tombstone"] = True
        span = self._by_ratio.start_span(
            f"process {topic}",
            context=_context(record.headers),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
        )
        if span.is_recording():
            self._open[_record_id(origin)] = span
            if len(self._open) > SPANS_OPEN_MAX:
                self._open.popitem(last=False)
        return span

    def _outcome_with_context(self, record: LogRecord, spans: list[Span]) -> LogRecord:
        """Return the outcome with the context of its record's span, if the record is traced."""
        span = self._open.get(_record_id_of_outcome(record.headers))
        if span is None:
            return record
        spans.append(span)
        return replace(record, headers=_with_context(record.headers, span))

    def _change_with_context(self, change: ChangeRecord, spans: list[Span]) -> ChangeRecord:
        """Return the change with the context of its raw record's span, if that is traced."""
        span = self._open.get((change.partition, change.offset))
        if span is None:
            return change
        spans.append(span)
        return replace(change, headers=_with_context(change.headers, span))

    def _messaging(self, name: str, kind: str, topic: str) -> dict[str, str | int | bool]:
        found: dict[str, str | int | bool] = {
            "messaging.system": "kafka",
            "messaging.operation.name": name,
            "messaging.operation.type": kind,
            "messaging.destination.name": topic,
        }
        if kind != "send":
            found["messaging.consumer.group.name"] = self._names.group
        return found


class _TracedApi:
    """An `AssetApi` that adds a span to each call."""

    def __init__(self, api: AssetApi, traces: Traces) -> None:
        self._api = api
        self._traces = traces

    async def send(
        self,
        request: Request,
        origins: tuple[Origin, ...] = (),
        *,
        permit: Callable[[], Awaitable[None]],
        may_write: Callable[[], bool],
    ) -> Answer:
        with self._traces.call(request, origins) as span:
            answer = await self._api.send(request, origins, permit=permit, may_write=may_write)
            if span is not None:
                _record_answer(span, answer)
            return answer


class _TracedLog:
    """An `OutcomeLog` that adds a span to each transaction."""

    def __init__(self, log: OutcomeLog, traces: Traces) -> None:
        self._log = log
        self._traces = traces

    async def write(self, transaction: Transaction) -> Refusal | None:
        with self._traces.send(transaction) as carried:
            refusal = await self._log.write(carried)
            if refusal is not None:
                span = get_current_span()
                span.set_attribute("error.type", refusal.value)
                span.set_status(Status(StatusCode.ERROR))
            return refusal


class _TracedInbox:
    """An `Inbox` that adds spans to the records that are taken in."""

    def __init__(self, inbox: Inbox, traces: Traces, observers: Observers) -> None:
        self._inbox = inbox
        self._traces = traces
        self._observers = observers

    def submit(self, happened: CommonInput) -> None:
        self._inbox.submit(happened)

    async def take_in(self, arrived: Arrived) -> None:
        try:
            self._traces.arrived(arrived)
        except Exception as error:  # noqa: BLE001 - events are taken in with or without spans
            self._observers.report(self._traces, "arrived", error)
        await self._inbox.take_in(arrived)

    async def drain(self, kind: DrainKind, seconds: float) -> int:
        return await self._inbox.drain(kind, seconds)


def _record_answer(span: Span, answer: Answer) -> None:
    if isinstance(answer, CallReply):
        span.set_attribute("http.response.status_code", answer.status)
        if answer.status >= 400:
            span.set_attribute("error.type", str(answer.status))
            span.set_status(Status(StatusCode.ERROR))
    else:
        span.set_attribute("error.type", answer.kind.value)
        span.set_status(Status(StatusCode.ERROR, answer.message))


def _links(spans: Iterable[Span]) -> list[Link]:
    found = [Link(span.get_span_context()) for span in spans if span.is_recording()]
    return found[:LINKS_MAX]


def _context(headers: Headers) -> Context:
    """Return the trace context of a record, from its headers or its CloudEvents extension."""
    carrier: dict[str, str] = {}
    for name, content in headers:
        key = name.removeprefix("ce_")
        if key in CONTEXT_HEADERS and content and (name == key or key not in carrier):
            carrier[key] = content.decode("utf-8", "replace")
    return _propagator.extract(carrier, Context())


def _with_context(headers: Headers, span: Span) -> Headers:
    """Return the headers with the context of a span instead of that of its parent."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, within(span, Context()))
    kept = tuple(header for header in headers if header[0] not in CONTEXT_HEADERS)
    return (*kept, *((name, text.encode()) for name, text in carrier.items()))


def _record_id(origin: Origin) -> RecordId:
    return origin.partition, origin.offset


def _record_id_of_outcome(headers: Headers) -> RecordId:
    """Return the record that an outcome belongs to: its id is topic, offset, perhaps a part."""
    for name, content in headers:
        if name == "ce_id" and content:
            record_id, _, _ = content.decode().partition("#")
            topic, number, offset = record_id.rsplit("/", 2)
            return Partition(topic, int(number)), int(offset)
    raise AssertionError("every outcome has an id")
