"""The published schemas are frozen; the official SDK reads what we write."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured_event

from service import __version__
from service.contracts.asyncapi import Topics, asyncapi
from service.contracts.asyncapi_sources import RawSource, translate_asyncapi, whole_asyncapi
from service.contracts.dead_letter import DeadLetterHeaders, ReplayMark
from service.contracts.reasons import document
from service.contracts.schema import Language, schema
from service.core.group.asset_work import AssetWork
from service.core.model import Change, Omission, SourceRecord
from service.core.records import LogRecord
from service.core.settle.report import Reporter
from service.core.verdict_types import PimResponse
from service.mapping.file.reference import reference as sources_reference
from service.mapping.file.schema import sources_schema
from service.settings import reference, variables
from tests.support.builders import cloud, command, decoded, plain, rejected

SCHEMAS = Path(__file__).parent / "schemas"
ROOT = Path(__file__).resolve().parent.parent.parent


def outcome() -> LogRecord:
    """The outcome of a change that was applied."""
    source = cloud(time="2026-11-23T10:14:59Z")
    change = decoded(source)
    admitted = Change(source, source.size, command(source), change.event, (), 0.0, 0, attempts=1)
    job = AssetWork.of(admitted.asset, [admitted], 1000)
    job.apply(PimResponse(201), "created")
    (((found, ending),),) = job.take_ended()
    return Reporter("/asset-sync/test").of_change(found, ending, 1_795_000_000_000).outcome


@pytest.mark.parametrize("language", get_args(Language))
def test_a_schema_changes_only_on_purpose(language: Language) -> None:
    """`make schemas` writes them anew; the diff is a change of the contract."""
    frozen = json.loads((SCHEMAS / f"{language}.json").read_text())

    assert frozen == schema(language)


def test_the_asyncapi_document_changes_only_on_purpose() -> None:
    """Likewise."""
    frozen = json.loads((SCHEMAS / "asyncapi.json").read_text())

    assert frozen == whole_asyncapi(__version__)


def references(document: object) -> Iterator[str]:
    """Yield every reference in a document."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from [value] if name == "$ref" else references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


def of_translate() -> dict[str, Any]:
    """Return the document of a translate with two sources."""
    sources = [
        RawSource("s3", ("dam.s3", "dam.minio"), "acme.translate.s3"),
        RawSource("thin", ("dam.thin",), "acme.translate.thin"),
    ]
    return translate_asyncapi("1.2.3", Topics(("changes",), "outcomes", "acme"), sources)


@pytest.mark.parametrize(
    "document",
    [asyncapi("1.2.3", Topics()), whole_asyncapi("1.2.3"), of_translate()],
    ids=["run", "all", "translate"],
)
def test_every_reference_of_an_asyncapi_document_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found
    for path in found:
        place: Any = document
        for name in path.removeprefix("#/").split("/"):
            place = place[name]


def test_the_asyncapi_document_of_translate_has_its_topics() -> None:
    """It reads raw topics and no events topic, and writes changes and outcomes."""
    document = of_translate()
    operations = document["operations"].items()
    receives = {
        document["channels"][one["channel"]["$ref"].rpartition("/")[2]]["address"]: one["bindings"]
        for _, one in operations
        if one["action"] == "receive"
    }
    groups = {topic: bound["kafka"]["groupId"]["enum"][0] for topic, bound in receives.items()}
    sends = {one["channel"]["$ref"] for _, one in operations if one["action"] == "send"}
    assert groups == {
        "dam.s3": "acme.translate.s3",
        "dam.minio": "acme.translate.s3",
        "dam.thin": "acme.translate.thin",
    }
    assert {"#/channels/events", "#/channels/outcomes"} <= sends
    assert document["channels"]["events"]["address"] == "changes"


def test_the_schema_of_the_sources_file_changes_only_on_purpose() -> None:
    """Likewise; the page that is made from it is written anew too."""
    frozen = json.loads((SCHEMAS / "sources.json").read_text())

    assert frozen == sources_schema()
    assert (ROOT / "docs" / "sources-reference.md").read_text() == sources_reference()


def test_the_page_of_reasons_is_the_codes() -> None:
    """`make schemas` writes it anew; every word has a meaning."""
    assert (ROOT / "docs" / "reasons.md").read_text() == document()


def test_the_page_of_settings_is_the_settings() -> None:
    """`make schemas` writes it anew; every variable has a meaning."""
    assert (ROOT / "docs" / "settings.md").read_text() == reference()
    assert all(group.model_fields[name].description for _, group, name in variables())


def test_an_outcome_is_what_its_schema_says() -> None:
    """And carries what the contract shows."""
    value = outcome().value
    assert value is not None
    event: dict[str, Any] = json.loads(value)

    jsonschema.validate(event, schema("outcomes"))
    assert event["id"] == "events/0/0"
    assert event["causationid"] == "e1"
    assert event["data"]["result"] == "created"
    assert event["data"]["pim"] == {"status_code": 201, "message": None, "errors": []}


@pytest.mark.parametrize(
    "record",
    [
        plain(values=[]),
        SourceRecord(plain().origin, None, b"{", (("a", b"b"),), -1),
        msgspec.structs.replace(
            plain(), omission=Omission("too_large", "Large.", ("value", "headers"))
        ),
    ],
)
def test_the_headers_of_a_dead_letter_are_what_their_schema_says(record: SourceRecord) -> None:
    """Those of the original record stand before them, and may be any."""
    reporter = Reporter("/asset-sync/test")
    letter = reporter.of_rejection(record, rejected(record), 1_795_000_000_000).dead_letter
    assert letter is not None
    headers = {name: (content or b"").decode() for name, content in letter.headers}
    jsonschema.validate(headers, schema("dead-letters"))
    headers["dlq.original.partition"] = "x"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(headers, schema("dead-letters"))


def test_every_header_of_a_dead_letter_is_described() -> None:
    """A header that is added in the code is added to the schema too."""
    described = {field.encode_name for field in msgspec.structs.fields(DeadLetterHeaders)}
    described |= {field.encode_name for field in msgspec.structs.fields(ReplayMark)}
    sources = "".join(path.read_text() for path in (ROOT / "service" / "core").rglob("*.py"))
    named = set(re.findall(r'"(dlq\.[a-z.]+[a-z])"', sources))
    assert named - {"dlq.original"} == described


def test_the_official_sdk_reads_an_outcome() -> None:
    """Structured mode, by the Kafka binding."""
    record = outcome()
    assert record.value is not None
    headers = {name: content or b"" for name, content in record.headers}
    event = from_structured_event(KafkaMessage(headers, record.key, record.value))

    assert event.get_type() == "asset-sync.asset.applied.v1"
    assert event.get_subject() == "packshots/a"
    assert headers["ce_id"] == b"events/0/0"


FILE = {"url": "https://cdn.example/boot.jpg", "name": None, "sha256": "9f" * 32}
BASE64 = base64.b64encode(b'{"asset_family": "packshots", "code": "a", "values": {}}').decode()


@pytest.mark.parametrize(
    "source",
    [
        plain(),
        plain(action="delete"),
        plain(code="a b"),
        plain(code="x"),
        plain(code="\U0001f4f7" * 255),
        cloud(),
        cloud(data=..., data_base64=BASE64),
        plain(values={"media": FILE, "other": [{"locale": "de", "data": FILE}]}),
    ],
)
def test_what_is_read_is_what_the_schema_says(source: SourceRecord) -> None:
    """The decoder and the published types agree on these."""
    jsonschema.validate(json.loads(source.value or b""), schema("events"))
    decoded(source)


@pytest.mark.parametrize("code", ["", " a", "a ", "\u00a0a", "a/b", "a\u0000", "\u0085", "x" * 256])
def test_a_code_that_is_refused_is_refused_by_the_schema_too(code: str) -> None:
    """So that a producer sees it before it sends."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(plain(code=code).value or b""), schema("events"))
    assert rejected(plain(code=code)).reason == "invalid_event"


@pytest.mark.parametrize(
    "wrong", [{"url": ""}, {"sha256": "9f"}, {"size": 5}, {"name": "x" * 1_001}]
)
def test_a_file_that_is_refused_is_refused_by_the_schema_too(wrong: dict[str, object]) -> None:
    """Likewise."""
    record = plain(values={"media": FILE | wrong})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(record.value or b""), schema("events"))
    assert rejected(record).reason == "invalid_event"
