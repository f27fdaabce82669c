"""A replica that traces, to a collector over OTLP."""

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from tests.support.collector import collector
from tests.support.proof import upsert
from tests.support.service import SystemUnderTest, aside

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_a_collector_receives_the_spans(system: SystemUnderTest) -> None:
    """One trace from the producer's span on, and the outcome carries it."""
    requests: list[ExportTraceServiceRequest] = []
    async with collector(requests.append) as traces:
        producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap)
        await producer.start()
        headers = [("traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())]
        value = upsert("packshots", "a", {"n": "1"})
        await producer.send_and_wait(system.events, value, key=b"packshots/a", headers=headers)
        await producer.stop()
        replica = system.start(TRACES__ENDPOINT=traces.url)
        ((_, _, outcome),) = await system.read(system.outcomes, 1)
        replica.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(replica.wait, 30) == 0, system.logs()

    spans = [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    first = {span.name.split()[0]: span for span in spans}
    assert Counter(span.name.split()[0] for span in spans) >= Counter(
        ["poll", "process", "PATCH", "send"]
    )
    assert first["process"].trace_id.hex() == first["PATCH"].trace_id.hex() == TRACE
    assert outcome["traceparent"].decode() == f"00-{TRACE}-{first['process'].span_id.hex()}-01"


async def test_a_collector_that_is_away_costs_nothing_but_spans(system: SystemUnderTest) -> None:
    """Outcomes go on, and the replica ends in time."""
    await system.publish([(0, None, upsert("packshots", str(n), {})) for n in range(50)])
    replica = system.start(TRACES__ENDPOINT="http://127.0.0.1:9/v1/traces")
    assert len(await system.outcome_data(50)) == 50
    replica.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(replica.wait, 45) == 0, system.logs()
    assert "Traceback" not in system.logs()


@pytest.mark.usefixtures("real_starts")
async def test_without_the_extra_it_says_what_to_install(system: SystemUnderTest) -> None:
    """Where the libraries are not installed."""
    (system.folder / "opentelemetry.py").write_text("raise ImportError('x', name='opentelemetry')")
    shown = await aside(system, "run", TRACES__ENDPOINT="http://127.0.0.1:9")
    assert shown.returncode == 2
    assert b"install asset-sync[otel]" in shown.stderr
